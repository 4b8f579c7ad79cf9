"""What the checks of a network's signals read from a record: against closed forms, torch and laws."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from descend.doctor import _at_start
from descend.doctor._chart import Chart
from descend.doctor._signals import (
    GUESSING,
    by_depth,
    deaf,
    late,
    percent,
    progress,
    relus,
    saturated,
    sensitivities,
    since_below,
    two_digits,
    typical,
    weights,
)
from descend.run import Series

ChartOf = Callable[..., Chart]

STEPS = range(1, 201, 10)


def constant(value: float) -> dict[int, float]:
    return dict.fromkeys(STEPS, value)


def test_the_typical_value_is_the_median_of_what_is_finite():
    assert typical(np.array([3.0, np.nan, 1.0, np.inf, 2.0])) == 2.0
    assert math.isnan(typical(np.array([np.nan, np.inf])))
    assert late(Series(np.arange(20.0), np.arange(20.0))) == 17.0  # of the last five, 15 to 19


@given(st.floats(1e-12, 1e12))
def test_two_digits_are_within_half_a_unit_of_the_second(value: float):
    assert float(two_digits(value).replace(",", "")) == pytest.approx(value, rel=0.05)
    assert two_digits(-value) == f"-{two_digits(value)}"


@pytest.mark.parametrize(
    ("share", "said"), [(1.0, "100 %"), (0.987, "99 %"), (0.00123, "0.12 %"), (3.456, "350 %"), (35.2, "35 times")]
)
def test_shares_are_said_with_two_digits(share: float, said: str):
    assert percent(share) == said


def test_a_value_is_below_a_level_since_the_last_time_it_was_not():
    series = Series(np.array([1.0, 21.0, 41.0, 61.0]), np.array([0.1, 3.0, 0.1, 0.2]))
    assert since_below(series, 1.0) == 41
    assert since_below(series, 5.0) == 1
    assert since_below(series, 0.01) == 61  # never: the end


# --- progress ---------------------------------------------------------------------------------------------------------


def test_the_loss_of_guessing_is_ln_k_for_classes_and_the_variance_for_numbers(chart_of: ChartOf):
    losses = {step: math.log(10) * (1 - step / 400) for step in STEPS}
    classes = progress(chart_of({"loss/train": losses}, {"start": {"expected": math.log(10), "classes": 10}}))
    numbers = progress(chart_of({"loss/train": losses, "r2/train": {step: step / 400 for step in STEPS}}))
    for seen in (classes, numbers):
        assert seen is not None
        assert seen.whole == GUESSING
        assert seen.end == pytest.approx(1 - 186 / 400)  # the last two of 20: steps 181 and 191
        assert seen.end == seen.best < seen.first


def test_without_evaluations_the_losses_of_the_batches_tell(chart_of: ChartOf):
    noisy = {step: 2.0 + (-1) ** step * 0.5 for step in range(1, 101)}
    seen = progress(chart_of({"loss/batch": noisy}))
    assert seen is not None
    assert seen.series == "loss/batch"
    assert seen.end == pytest.approx(1.0)
    assert progress(chart_of({"loss/batch": dict.fromkeys(range(1, 20), 1.0)})) is None


def test_a_loss_that_ends_in_nan_is_no_progress(chart_of: ChartOf):
    losses = {step: 1 / step for step in range(1, 100)} | {100: math.nan}
    seen = progress(chart_of({"loss/batch": losses}))
    assert seen is not None
    assert math.isinf(seen.end)
    assert "not a finite number" in seen.says


# --- layers -----------------------------------------------------------------------------------------------------------


@given(factor=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_gradient_times_weight_stays_where_weights_are_moved_from_one_layer_to_the_next(factor: float, seed: int):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    inputs, targets = torch.randn(16, 5).double(), torch.randint(0, 3, (16,))

    def products() -> list[float]:
        network.zero_grad()
        nn.functional.cross_entropy(network(inputs), targets).backward()
        return [
            float(layer.weight.detach().norm() * layer.weight.grad.norm())
            for layer in network
            if hasattr(layer, "weight")
        ]

    before = products()
    with torch.no_grad():
        network[0].weight *= factor
        network[0].bias *= factor  # a ReLU lets a positive factor through
        network[2].weight /= factor
    assert products() == pytest.approx(before, rel=1e-9)  # rounding of float64, over three layers


def test_only_matrices_are_weights_and_products_are_taken_step_by_step(chart_of: ChartOf):
    places = {"0.weight": 2.0, "0.bias": 9.0, "1.weight": 5.0, "2.weight": 3.0}
    series = {f"grad_norm/{place}": constant(value) for place, value in places.items()}
    series |= {f"weight_norm/{place}": constant(10.0) for place in places}
    by_name = chart_of(series)
    assert list(weights(by_name, "grad_norm")) == ["0.weight", "1.weight", "2.weight"]
    known = chart_of(series, {"network": {"matrices": ["0.weight", "2.weight"]}})  # 1 is a norm
    assert {place: set(each.y.tolist()) for place, each in sensitivities(known).items()} == {
        "0.weight": {20.0},
        "2.weight": {30.0},
    }


@given(factor=st.floats(0.01, 0.99), layers=st.integers(4, 30), scale=st.floats(1e-6, 1e6))
def test_a_measure_that_shrinks_by_a_factor_a_layer_has_that_factor_between_the_thirds(
    factor: float, layers: int, scale: float
):
    """Geometric means of the first and the last third of a geometric series lie two thirds of the layers apart."""
    depth = by_depth(scale * factor ** np.arange(layers, 0, -1.0))
    assert depth is not None
    assert depth.order == pytest.approx(1.0)
    assert depth.ratio == pytest.approx(factor ** (layers - layers // 3), rel=1e-6)


def test_layers_without_a_gradient_are_no_trend():
    assert by_depth(np.array([1.0, 0.0, 2.0, np.nan, 3.0])) is None


def test_an_output_far_from_zero_is_not_deaf_as_long_as_the_last_hidden_layer_hears(chart_of: ChartOf):
    temperature = {"input_variance/act.0": constant(0.6), "input_variance/output": constant(1e-4)}
    assert not deaf(chart_of(temperature))
    assert deaf(chart_of(temperature | {"input_variance/act.0": constant(1e-6)}))
    assert not deaf(chart_of({}))


def test_a_layer_is_silent_only_where_mean_and_deviation_are_zero(chart_of: ChartOf):
    series = {"activation_mean/a": constant(0.0), "activation_std/a": constant(0.5)}
    series |= {"activation_mean/b": constant(0.0), "activation_std/b": constant(0.0)}
    found = relus(chart_of(series, {"network": {"nonlinear_kinds": ["relu"]}}))
    assert found["a"].y.all()
    assert not found["b"].y.any()
    assert not relus(chart_of(series, {"network": {"nonlinear_kinds": ["relu", "tanh"]}}))  # which is which?


def test_saturation_counts_where_it_is_most_of_a_layer_or_was_half_from_the_start(chart_of: ChartOf):
    grown = constant(0.55) | {1: 0.0}
    assert not saturated(chart_of({"saturation/tanh": grown}))
    assert saturated(chart_of({"saturation/tanh": constant(0.55)})) == {"tanh": 0.55}
    assert saturated(chart_of({"saturation/tanh": constant(0.9) | {1: 0.0}})) == {"tanh": 0.9}


# --- before any update ------------------------------------------------------------------------------------------------


def activations(growth: float, layers: int = 10) -> dict[str, dict[int, float]]:
    return {f"activation_std/{layer}": constant(0.5 * growth**layer) for layer in range(layers)}


def test_activations_that_grow_from_layer_to_layer_explode(chart_of: ChartOf):
    found = _at_start.explosion(chart_of(activations(2.0)))
    assert found is not None
    assert found.factor == pytest.approx(2.0**9)
    assert found.where == "9"
    assert _at_start.explosion(chart_of(activations(1.4))) is None  # 21-fold over 10 layers: what learns has 36
    assert _at_start.broken(chart_of(activations(2.0)))
    assert not _at_start.broken(chart_of(activations(1.0)))


@pytest.mark.parametrize(("recurrent", "explodes"), [(200.0, True), (3.0, False)])
def test_a_recurrent_matrix_that_gets_far_more_than_the_head_explodes_through_time(
    chart_of: ChartOf, recurrent: float, explodes: bool
):
    norms = {"rnn.weight_ih_l0": 1.0, "rnn.weight_hh_l0": recurrent, "head.weight": 1.0}
    series = {f"grad_norm/{place}": constant(norm) for place, norm in norms.items()}
    series |= {f"weight_norm/{place}": constant(1.0) for place in norms}
    found = _at_start.explosion(chart_of(series))
    assert (found is not None and found.where == "rnn.weight_hh_l0") == explodes


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_gradients_that_grow_backwards_explode_whatever_the_unit_of_the_loss(chart_of: ChartOf, scale: float):
    series = {f"grad_norm/{layer}.weight": constant(scale * 3.0**-layer) for layer in range(9)}
    series |= {f"weight_norm/{layer}.weight": constant(1.0) for layer in range(9)}
    found = _at_start.explosion(chart_of(series))
    assert found is not None
    assert found.factor == pytest.approx(3.0**6)  # from the middle of the first three to that of the last three
    assert _at_start.explosion(chart_of(series | {"saturation/a": constant(0.9)})) is None  # a problem of its own


def test_silence_and_saturation_before_the_first_update_are_nobodys_steps(chart_of: ChartOf):
    silent = {"activation_mean/a": constant(0.0), "activation_std/a": constant(0.0)}
    assert _at_start.broken(chart_of(silent, {"network": {"nonlinear_kinds": ["relu"]}}))
    assert _at_start.broken(chart_of({"saturation/a": constant(0.7)}))
    assert not _at_start.broken(chart_of({"saturation/a": constant(0.7) | {1: 0.1}}))
