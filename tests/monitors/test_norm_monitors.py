"""Norms of gradients, weights and updates against their definition."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from descend.catalog import MONITORS
from descend.monitors._monitor import Step
from descend.monitors._panel import Panel, read

SHAPES = st.lists(st.lists(st.integers(1, 5), min_size=0, max_size=3).map(tuple), min_size=1, max_size=5)


def named(shapes: list[tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {f"{i}.weight": torch.randn(shape, generator=random).double() for i, shape in enumerate(shapes)}


def a_step(**fields: object) -> Step:
    nothing = torch.zeros(1, 1)
    return Step(1, torch.tensor(0.0), nothing, nothing, nothing, "regression", 0.1, **{**EMPTY, **fields})


EMPTY: dict[str, dict[str, Tensor]] = {"parameters": {}, "gradients": {}}


def slow_norm(*tensors: Tensor) -> float:
    return sum(float(number) ** 2 for tensor in tensors for number in tensor.reshape(-1)) ** 0.5


@given(shapes=SHAPES, seed=st.integers(0, 2**16))
def test_gradient_and_weight_norms_are_roots_of_sums_of_squares(shapes: list[tuple[int, ...]], seed: int) -> None:
    tensors = named(shapes, seed)
    step = a_step(gradients=tensors, parameters=tensors)
    for name in ("grad_norm", "weight_norm"):
        values = MONITORS[name].measure(step)
        assert list(values) == [f"{name}/{where}" for where in (*tensors, "all")]
        assert float(values[f"{name}/all"]) == pytest.approx(slow_norm(*tensors.values()), rel=1e-12)
        for where, tensor in tensors.items():
            assert float(values[f"{name}/{where}"]) == pytest.approx(slow_norm(tensor), rel=1e-12)


@given(shapes=SHAPES, seed=st.integers(0, 2**16))
def test_update_ratio_is_the_length_of_the_update_by_that_of_the_weights(
    shapes: list[tuple[int, ...]], seed: int
) -> None:
    weights, updates = named(shapes, seed), named(shapes, seed + 1)
    values = MONITORS["update_ratio"].measure(a_step(parameters=weights, updates=updates))
    expected = {where: slow_norm(updates[where]) / slow_norm(weights[where]) for where in weights}
    expected["all"] = slow_norm(*updates.values()) / slow_norm(*weights.values())
    assert {k: float(v) for k, v in values.items()} == pytest.approx(
        {f"update_ratio/{where}": value for where, value in expected.items()}, rel=1e-12
    )


def test_weights_that_stand_at_zero_or_leave_it_have_a_finite_update_ratio() -> None:
    zero, one = torch.zeros(3), torch.ones(3)
    step = a_step(
        parameters={"still": zero, "left": one, "came back": zero},
        updates={"still": zero, "left": one, "came back": one},
    )
    values = MONITORS["update_ratio"].measure(step)
    assert [float(value) for value in values.values()] == pytest.approx([0.0, 1.0, 0.0, 2**0.5])


def test_the_update_ratio_of_a_large_matrix_is_told_by_some_of_its_rows() -> None:
    weights, updates = named([(512, 784), (300, 200), (10, 512), (512,)], seed=0), {}
    panel = Panel({"update_ratio": MONITORS["update_ratio"]})
    step = a_step(parameters=weights)
    panel.measure(step, "before")
    for number, (where, weight) in enumerate(weights.items()):
        updates[where] = 10.0**-number * torch.randn(weight.shape, generator=torch.Generator().manual_seed(number))
        weight.add_(updates[where])
    values = panel.measure(step, "after")
    assert [len(update) for update in step.updates.values()] == [32, 34, 10, 512]
    exact = {where: float(updates[where].norm() / weights[where].norm()) for where in weights}
    exact["all"] = slow_total(updates) / slow_total(weights)
    # 32 rows of 784 normal numbers know the norm of all rows to 1 / sqrt(2 * 32 * 784) = 0.4 %, 34 of 200 to 0.9 %
    assert read(values) == pytest.approx({f"update_ratio/{where}": ratio for where, ratio in exact.items()}, rel=0.03)


def slow_total(tensors: dict[str, Tensor]) -> float:
    return float(torch.cat([tensor.flatten() for tensor in tensors.values()]).norm())
