"""The gradient noise scale against its definition, and against the analytic value on a linear model."""

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from descend.catalog import MONITORS
from descend.monitors._monitor import Step
from descend.monitors._panel import read


def squared_error(parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
    return (inputs @ parameters["weight"] + parameters["bias"] - targets).square().mean()


def at(weight: Tensor, inputs: Tensor, targets: Tensor, memory: dict[str, object]) -> Step:
    parameters = {"weight": weight, "bias": torch.zeros((), dtype=weight.dtype)}
    loss = squared_error(parameters, inputs, targets)
    return Step(
        1, loss, inputs, targets, targets, "regression", 0.1, parameters, {}, loss_of=squared_error, memory=memory
    )


@settings(max_examples=25)
@given(rows=st.integers(2, 40), seed=st.integers(0, 2**16))
def test_trace_and_signal_are_the_unbiased_estimates_from_the_variance_of_the_chunks(rows: int, seed: int) -> None:
    torch.manual_seed(seed)
    inputs, targets, weight = torch.randn(rows, 3).double(), torch.randn(rows).double(), torch.randn(3).double()
    values = read(MONITORS["gradient_noise"].measure(at(weight, inputs, targets, {})))

    def gradient(x: Tensor, y: Tensor) -> Tensor:
        error = x @ weight - y
        return torch.cat([2 * (error[:, None] * x).mean(dim=0), 2 * error.mean()[None]])

    size = -(-rows // 8)
    used = rows - rows % size
    pieces = zip(inputs[:used].split(size), targets[:used].split(size), strict=True)
    gradients = torch.stack([gradient(x, y) for x, y in pieces])
    variance = gradients.var(dim=0).sum()
    signal = gradients.mean(dim=0).square().sum() - variance / len(gradients)
    assert 2 <= len(gradients) <= 8
    assert values["gradient_noise/signal"] == pytest.approx(float(signal), rel=1e-9, abs=1e-9)
    assert values["gradient_noise/trace"] == pytest.approx(float(size * variance), rel=1e-9, abs=1e-9)


def test_the_scale_is_the_analytic_value_of_a_linear_model() -> None:
    torch.manual_seed(0)
    distance, noise = torch.tensor([0.6, -0.3, 0.4, 0.2, -0.5]), 0.7
    memory: dict[str, object] = {}
    seen = []
    for _ in range(500):
        inputs = torch.randn(64, 5)
        targets = noise * torch.randn(64)  # the true weights are zero
        seen.append(read(MONITORS["gradient_noise"].measure(at(distance, inputs, targets, memory))))
    # With x of d standard normal numbers and a 1, and error e = x.w - y: g = 2 e x, G = 2 w, and
    # E|g|^2 = 4 E[e^2 |x|^2] = 4 ((d + 3) |w|^2 + (d + 1) noise^2).
    signal = 4 * float(distance.square().sum())
    trace = 4 * (8 * float(distance.square().sum()) + 6 * noise**2) - signal
    mean = {name: sum(values[name] for values in seen) / len(seen) for name in seen[0]}
    # 32,000 examples: standard errors of 1 % and 2 %
    assert mean["gradient_noise/trace"] == pytest.approx(trace, rel=0.05)
    assert mean["gradient_noise/signal"] == pytest.approx(signal, rel=0.05)
    assert mean["gradient_noise/scale"] == pytest.approx(trace / signal, rel=0.2)


def test_without_a_signal_the_scale_is_infinite_and_one_row_says_nothing() -> None:
    # opposite gradients: all of it is noise
    inputs, targets = torch.tensor([[1.0], [1.0]]), torch.tensor([1.0, -1.0])
    values = read(MONITORS["gradient_noise"].measure(at(torch.zeros(1), inputs, targets, {})))
    assert values["gradient_noise/scale"] == torch.inf
    assert values["gradient_noise/signal"] < 0
    assert MONITORS["gradient_noise"].measure(at(torch.zeros(1), inputs[:1], targets[:1], {})) == {}
