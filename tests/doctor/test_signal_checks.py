"""Checks of signals that do not get through: silent where it looks the same and is healthy, whatever the units are.

That each fires on its sick run and not on its look-alike is tested in test_every_check.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import descend
from descend.catalog import CHECKS
from descend.doctor._chart import Chart
from descend.doctor._check import CERTAIN, Finding, Unknown
from descend.recipe import Recipe
from descend.run import Recorder, Run

ChartOf = Callable[..., Chart]
Series = dict[str, dict[int, float]]

STEPS = range(1, 401, 20)
GUESSING = {"start": {"expected": math.log(2), "classes": 2}}


def constant(value: float) -> dict[int, float]:
    return dict.fromkeys(STEPS, value)


def losses(left: float) -> Series:
    """The training loss of a run with two classes that ends with this share of the loss of guessing."""
    return {"loss/train": {step: math.log(2) * (left if step > 100 else 1.0) for step in STEPS}}


def answer(name: str, chart: Chart) -> Finding | Unknown | None:
    found: Finding | Unknown | None = CHECKS[name].look(chart)
    return found


def found(name: str, chart: Chart) -> Finding:
    finding = answer(name, chart)
    assert isinstance(finding, Finding)
    return finding


# --- vanishing gradients ----------------------------------------------------------------------------------------------


def deep(factor: float, scale: float = 1.0, layers: int = 8) -> Series:
    """A network in which gradients shrink by a factor from each layer to the one before."""
    places = [f"{layer}.weight" for layer in range(layers)]
    series = {
        f"grad_norm/{place}": constant(scale * factor ** (layers - 1 - layer)) for layer, place in enumerate(places)
    }
    return series | {f"weight_norm/{place}": constant(5.0) for place in places}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_vanishing_gradient_is_found_whatever_the_unit_of_the_loss(scale: float, chart_of: ChartOf):
    finding = found("vanishing_gradients", chart_of(deep(0.1, scale) | losses(1.0), GUESSING))
    assert finding.where == "0.weight"
    assert finding.evidence[0].value == pytest.approx(0.1**6)  # between the thirds, of two layers each
    assert "1e+07" in finding.sentence  # seven layers between the first and the last


@pytest.mark.parametrize(
    "series",
    [
        deep(0.1) | losses(0.1),  # it has learned
        deep(0.6) | losses(1.0),  # stuck, but not for that: 0.6^6 = 0.05
        deep(1.0, 1e-9) | losses(1.0),  # small in all layers
        deep(0.1, layers=3) | losses(1.0),  # not deep
    ],
)
def test_small_gradients_alone_do_not_vanish(series: Series, chart_of: ChartOf):
    assert answer("vanishing_gradients", chart_of(series, GUESSING)) is None


def test_frozen_layers_do_not_count_as_vanished(chart_of: ChartOf):
    series = {name: constant(0.0) if name.startswith("grad_norm/0") else values for name, values in deep(1.0).items()}
    assert answer("vanishing_gradients", chart_of(series | losses(1.0), GUESSING)) is None


def test_a_deep_relu_network_that_is_deaf_is_told_as_such_and_sigmoids_as_vanishing(chart_of: ChartOf):
    heard = {"input_variance/a": constant(1e-6), "input_variance/output": constant(1e-7)}
    relu = chart_of(deep(0.1) | losses(1.0) | heard, GUESSING)
    assert answer("vanishing_gradients", relu) is None
    assert found("deaf_network", relu).sure >= CERTAIN
    sigmoid = chart_of(deep(0.1) | losses(1.0) | heard | {"saturation/a": constant(0.0)}, GUESSING)
    assert found("vanishing_gradients", sigmoid)
    assert "deaf_network" in CHECKS["vanishing_gradients"].explains


# --- exploding gradients and numbers that are not finite --------------------------------------------------------------


def test_a_gradient_that_grows_with_the_loss_explodes_and_one_that_grows_while_it_falls_does_not(chart_of: ChartOf):
    grows = {"grad_norm/all": {step: 10.0 ** (step / 60) for step in STEPS}}
    worse = {"loss/train": {step: math.log(2) * (1 + step / 10) for step in STEPS}}
    finding = found("exploding_gradients", chart_of(grows | worse, GUESSING))
    assert finding.since == 1
    assert finding.evidence[0].value == pytest.approx(10 ** (380 / 60))
    assert answer("exploding_gradients", chart_of(grows | losses(0.3), GUESSING)) is None


def test_a_norm_in_the_thousands_is_no_explosion(chart_of: ChartOf):
    large = {
        "grad_norm/all": constant(3019.0),
        "grad_norm/weight": constant(3019.0),
        "weight_norm/weight": constant(1.0),
    }
    assert answer("exploding_gradients", chart_of(large | losses(1.0), GUESSING)) is None


def noted(tmp_path: Any, values: Mapping[int, float], **details: object) -> Chart:
    """A run with these losses of batches and a note of what was not finite at step 50."""
    with Recorder(tmp_path / "run", {}) as recorder:
        for step, value in values.items():
            recorder.log(step, step, float(step), {"loss/batch": value})
        recorder.note("non_finite", 50, **details)
    return Chart(Run(tmp_path / "run"))


STEADY = dict.fromkeys(range(1, 50), 0.7)


def test_the_first_operation_is_named_and_that_the_loss_did_not_grow_towards_it(tmp_path: Any):
    said = "At step 50 log in head (Linear) was minus infinite, and its inputs were finite."
    chart = noted(
        tmp_path,
        STEADY | {50: math.inf},
        what="operation",
        operation="log",
        layer="head",
        sentence=said,
        value=-math.inf,
    )
    finding = found("non_finite", chart)
    assert finding.sentence == f"{said} Before, the loss was 0.7: it did not grow towards it."
    assert (finding.where, finding.since) == ("head", 50)
    assert "log_softmax" in finding.remedies[0].advice


def test_growth_before_it_is_divergence_and_not_an_operation(tmp_path: Any):
    growing = {step: 1.5**step for step in range(1, 50)}
    finding = found(
        "non_finite", noted(tmp_path, growing, what="operation", operation="log", sentence="At step 50, log.")
    )
    assert finding.sentence.startswith("Training diverged until the numbers overflowed: from step")
    assert [remedy.advice for remedy in finding.remedies] == ["Lower the learning rate 10 times."]


@pytest.mark.parametrize(
    ("details", "advice"),
    [
        ({"what": "input", "where": "row 3"}, "Repair or drop the rows"),
        ({"what": "weight", "where": "head.weight"}, "Lower the learning rate"),
        ({"what": "gradient", "operation": "sqrt_backward", "layer": "norm"}, "under the root"),
        ({"what": "operation", "operation": "cosh", "layer": "head"}, "what goes into cosh in head"),
        ({"what": "loss", "where": "the batch"}, "the loss and what leads to it"),
    ],
)
def test_what_to_do_depends_on_what_it_was(details: dict[str, str], advice: str, tmp_path: Any):
    finding = found("non_finite", noted(tmp_path, STEADY, value=math.nan, sentence="At step 50 it was NaN.", **details))
    assert advice in finding.remedies[0].advice


def test_a_gradient_scaler_that_skips_a_step_is_nothing_to_tell(tmp_path: Any):
    goes_on = STEADY | dict.fromkeys(range(50, 100), 0.6)
    chart = noted(tmp_path, goes_on, what="gradient", where="head.weight", value=math.inf, sentence="At step 50, inf.")
    assert answer("non_finite", chart) is None


def test_a_loss_that_is_nan_without_a_note_is_found_where_it_begins(chart_of: ChartOf):
    assert found("non_finite", chart_of({"loss/batch": STEADY | {50: math.nan, 51: math.nan}})).since == 50


# --- units ------------------------------------------------------------------------------------------------------------

RELU = {"network": {"nonlinear_kinds": ["relu"]}} | GUESSING


def layer(mean: float, std: float) -> Series:
    return {"activation_mean/act": constant(mean), "activation_std/act": constant(std)}


def test_a_layer_that_died_is_dated_and_one_that_was_never_alive_too(chart_of: ChartOf):
    died = {name: {step: 0.0 if step > 100 else 0.5 for step in STEPS} for name in layer(0, 0)}
    finding = found("dead_relus", chart_of(died | losses(1.0), RELU))
    assert (finding.where, finding.since, finding.sure) == ("act", 101, CERTAIN)
    assert found("dead_relus", chart_of(layer(0.0, 0.0) | losses(1.0), RELU)).since == 1


@pytest.mark.parametrize(
    ("series", "left"),
    [
        (layer(0.4, 0.5) | {"dead_units/act": constant(0.57)}, 1.0),  # ordinary sparsity
        (layer(0.4, 0.5) | {"dead_units/act": constant(0.9)}, 0.1),  # few are enough
        (layer(0.0, 0.0), 0.1),  # a residual connection leads around it
    ],
)
def test_dead_units_that_do_no_harm_are_left_alone(series: Series, left: float, chart_of: ChartOf):
    assert answer("dead_relus", chart_of(series | losses(left), RELU)) is None


def test_a_layer_of_which_nearly_all_is_dead_is_found_while_the_loss_is_high(chart_of: ChartOf):
    series = layer(0.4, 0.5) | {"dead_units/act": constant(0.95)}
    assert "95 % of the units of act" in found("dead_relus", chart_of(series | losses(0.8), RELU)).sentence


def test_units_that_became_sure_are_no_problem_and_ones_that_were_born_sure_are(chart_of: ChartOf):
    grown = {"saturation/tanh": constant(0.7) | {1: 0.0, 21: 0.1}}
    assert answer("saturated_units", chart_of(grown | losses(0.1), GUESSING)) is None
    assert found("saturated_units", chart_of(grown | losses(0.5), GUESSING)).since == 41
    born = found("saturated_units", chart_of({"saturation/tanh": constant(0.7)} | losses(0.1), GUESSING))
    assert "from the start" in born.sentence


# --- what the network is ----------------------------------------------------------------------------------------------


def network(**facts: object) -> dict[str, dict[str, object]]:
    names = ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"]
    return {"network": {"names": names, "symmetric": [], "zero": [], "frozen": []} | facts}


@pytest.mark.parametrize(
    "facts",
    [
        network(symmetric=["4.weight"], zero=["4.weight"]),  # a last layer that begins at zero
        network(symmetric=["2.weight"], zero=["2.weight"]),  # the end of a branch that begins at zero
        network(symmetric=["0.weight"], frozen=["0.weight"]),  # a filter that averages, and is not trained
        network(names=["weight", "bias"], symmetric=["weight"], zero=["weight"]),  # a linear model
    ],
)
def test_what_may_begin_at_zero_is_not_called_alike(facts: dict[str, Any], chart_of: ChartOf):
    assert answer("symmetric_init", Chart(facts=facts)) is None


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            network(symmetric=["0.weight", "2.weight", "4.weight"], zero=["0.weight", "2.weight", "4.weight"]),
            "all zero",
        ),
        (network(symmetric=["0.weight", "2.weight"], zero=[]), "the same for every unit"),
    ],
)
def test_units_that_begin_alike_are_found_before_the_first_step(facts: dict[str, Any], said: str):
    finding = found("symmetric_init", Chart(facts=facts))
    assert said in finding.sentence
    assert finding.where == "0.weight"


def linear(layers: int, disagree: float) -> dict[str, dict[str, Any]]:
    """An affine network; of the training rows' neighbours this share disagrees with them."""
    neighbours = {"rows": 400, "disagree": disagree, "expected": 0.5}
    return {"network": {"affine": True, "hidden_linear": layers - 1}, "data": {"train": {"neighbours": neighbours}}}


def test_a_linear_network_is_a_problem_where_neighbours_know_more(chart_of: ChartOf):
    record = losses(0.9) | {"accuracy/train": constant(0.6)}
    assert found("missing_nonlinearity", chart_of(record, linear(3, 0.02) | GUESSING)).sure >= CERTAIN
    assert answer("missing_nonlinearity", chart_of(record, linear(1, 0.02) | GUESSING)) is None  # a linear model
    possible = found("missing_nonlinearity", chart_of(record, linear(3, 0.4) | GUESSING))
    assert possible.certainty == "possible"  # noise: nobody knows more


def test_a_deep_linear_network_that_fits_a_linear_truth_is_what_was_wanted(chart_of: ChartOf):
    exact = {"loss/train": constant(1e-6), "r2/train": constant(1 - 1e-6)}
    assert answer("missing_nonlinearity", chart_of(exact, linear(3, 0.05))) is None


# --- updates, chance level, one batch ---------------------------------------------------------------------------------


def updates(**ratios: float) -> Series:
    return {f"update_ratio/{name}": constant(value) for name, value in ratios.items()}


def test_a_layer_with_a_rate_of_its_own_is_named_where_it_stands_still(chart_of: ChartOf):
    frozen = {"update_ratio/body.weight": constant(1e-7), "update_ratio/head.weight": constant(3e-3)}
    rest = updates(all=1e-3) | losses(0.5)
    finding = found("update_ratio", chart_of(frozen | rest, GUESSING))
    assert finding.where == "body.weight"
    assert finding.evidence[0].value == pytest.approx(381 * 1e-7)  # of its length, in 381 steps
    slower = {"update_ratio/body.weight": constant(3e-5), "update_ratio/head.weight": constant(3e-3)}
    assert answer("update_ratio", chart_of(slower | rest, GUESSING)) is None  # fine-tuning
    assert (
        answer("update_ratio", chart_of(frozen | {"update_ratio/body.weight": constant(0.0)} | rest, GUESSING)) is None
    )


@pytest.mark.parametrize(("ratio", "left", "word"), [(1e-7, 1.0, "short"), (0.5, 1.0, "long")])
def test_updates_out_of_range_are_found_where_nothing_was_learned(
    ratio: float, left: float, word: str, chart_of: ChartOf
):
    assert f"far too {word}" in found("update_ratio", chart_of(updates(all=ratio) | losses(left), GUESSING)).sentence
    assert answer("update_ratio", chart_of(updates(all=ratio) | losses(0.01), GUESSING)) is None  # it has converged


def test_the_remedy_for_short_updates_brings_them_to_a_thousandth(tmp_path: Any):
    recipe = Recipe(data="digits", model="mlp", optimizer="sgd", lr=1e-5, steps=150, evaluate_every=50)
    finding = found("update_ratio", Chart(descend.fit(recipe, runs=tmp_path)))
    change = finding.remedies[0].change
    assert change is not None
    treated = descend.fit(change(recipe), runs=tmp_path)
    assert 1e-4 < np.median(treated.series("update_ratio/all").y) < 1e-2


def test_chance_level_is_judged_from_200_steps_and_by_the_best_loss(chart_of: ChartOf):
    stuck = losses(0.995)
    assert found("chance_level", chart_of(stuck, GUESSING)).certainty == "likely"
    assert answer("chance_level", chart_of(losses(0.9), GUESSING)) is None
    short = {"loss/train": {step: math.log(2) for step in range(1, 100, 10)}}
    assert isinstance(answer("chance_level", chart_of(short, GUESSING)), Unknown)
    assert isinstance(answer("chance_level", chart_of(stuck)), Unknown)  # nobody knows the loss of guessing


@pytest.mark.parametrize(
    ("left", "parameters", "problem"), [(0.9, 5000, True), (0.29, 5000, False), (0.9, 20, False), (1e-3, 5000, False)]
)
def test_a_batch_that_is_not_learned_by_heart_is_told_where_there_are_weights_enough(
    left: float, parameters: int, problem: bool
):
    """0.29 is what label smoothing of 0.1 leaves of ln 2; with 20 weights 16 rows need not be learned."""
    tried = {"loss_first": math.log(2), "loss_last": left * math.log(2), "steps": 150, "lr": 0.01, "rows": 16}
    finding = answer(
        "cannot_overfit_one_batch", Chart(facts={"one_batch": tried, "network": {"parameters": parameters}})
    )
    assert isinstance(finding, Finding) == problem


def test_a_network_that_is_deaf_before_training_is_told_by_the_facts_alone():
    deaf = {"network": {"output_variation": 1e-7, "zero": [], "normalisation": []}}
    assert found("deaf_network", Chart(facts=deaf)).certainty == "likely"
    for healthy in ({"output_variation": 1e-3}, {"zero": ["head.weight"]}, {"normalisation": ["bn"]}):
        assert answer("deaf_network", Chart(facts={"network": deaf["network"] | healthy})) is None


def test_a_slip_in_forward_is_told_by_the_layer_behind_which_inputs_are_alike(chart_of: ChartOf):
    heard = {"input_variance/gru": constant(0.8), "input_variance/out": constant(0.0)}
    finding = found("deaf_network", chart_of(heard | {"input_variance/output": constant(0.0)} | losses(0.9), GUESSING))
    assert finding.where == "out"
    assert "between gru" in finding.remedies[0].advice
