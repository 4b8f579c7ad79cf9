"""The checks of a loop's code: each against facts that say one thing, and against loops that only look wrong.

What every check must do is in test_every_check.py; here is what is special about those that read a loop's code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from descend import faults
from descend.catalog import CHECKS, LOOK_ALIKES
from descend.doctor._chart import Chart
from descend.doctor._check import Example, Finding, Unknown
from descend.doctor._judge import diagnose
from descend.recipe import Recipe

CODE = (
    "batch_dependence",
    "broadcast_loss",
    "double_softmax",
    "evaluated_in_training_mode",
    "loss_mismatch",
    "lost_accumulation",
    "missing_from_optimizer",
    "missing_zero_grad",
    "no_gradient",
    "output_activation",
    "running_statistics",
    "scheduler_clock",
    "summed_loss",
    "trained_in_evaluation_mode",
    "twice_in_optimizer",
)

MOONS = Recipe(data="moons", model="mlp", width=8, norm="batch", dropout=0.2, lr=0.05, epochs=4, batch_size=40)
BINARY = Recipe(data="moons", model="mlp", width=8, loss="bce_with_logits", lr=0.05, epochs=4)
SINES = Recipe(data="sines", model="mlp", width=8, optimizer="adam", lr=0.01, epochs=4)

ChartOf = Callable[..., Chart]


def look(check: str, **facts: Mapping[str, Any]) -> Finding | Unknown | None:
    """What a check says of facts alone."""
    answer: Finding | Unknown | None = CHECKS[check].look(Chart(None, facts))
    return answer


def found(check: str, **facts: Mapping[str, Any]) -> Finding:
    answer = look(check, **facts)
    assert isinstance(answer, Finding), answer
    return answer


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CODE)
def test_a_recipe_trained_by_fit_cannot_have_a_bug_in_its_loop(check, run_of):
    example = Example(data="moons", model="mlp", width=8, optimizer="adam", lr=0.01, schedule="cosine", steps=60)
    assert CHECKS[check].look(Chart(run_of(example))) is None


@pytest.mark.parametrize("check", [name for name in CODE if name != "running_statistics"])
def test_without_a_loop_to_look_at_it_says_what_it_needs(check):
    assert look(check) == Unknown("a loop that `descend.watch` saw")


@pytest.mark.parametrize(
    ("look_alike", "recipe"),
    [
        ("frozen_batch_norm", MOONS),
        ("frozen_body", MOONS),
        ("log_softmax_and_cross_entropy", MOONS),
        ("log_softmax_and_nll", MOONS),
        ("monte_carlo_dropout", MOONS),
        ("relu_of_amounts", SINES),
        ("sigmoid_and_bce", BINARY),
        ("sigmoid_of_shares", SINES),
        ("soft_targets", MOONS),
        ("summed_loss_with_its_rate", MOONS),
        ("two_optimizers", MOONS),
        ("unused_layer", MOONS),
        ("zero_grad_after_step", MOONS),
    ],
)
def test_loops_that_only_look_wrong_are_left_alone(look_alike, recipe, tmp_path):
    findings = diagnose(faults.run(recipe, look_alike, runs=tmp_path), checks=CODE).findings
    assert [each.check for each in findings if each.certainty != "possible"] == []


def test_every_look_alike_is_among_those_that_are_tested():
    (mark,) = test_loops_that_only_look_wrong_are_left_alone.pytestmark
    assert {name for name, _ in mark.args[1]} == {*LOOK_ALIKES}


@pytest.mark.parametrize(
    ("fault", "check", "recipe"),
    [
        ("zero_grad_once_an_epoch", "missing_zero_grad", MOONS),
        ("zero_grad_before_step", "no_gradient", MOONS),
        ("loss_without_history", "no_gradient", MOONS),
        ("layers_in_a_list", "no_gradient", MOONS),
        ("another_models_optimizer", "missing_from_optimizer", MOONS),
        ("double_sigmoid", "double_softmax", BINARY),
        ("sigmoid_output", "output_activation", SINES),
        ("relu_logits", "output_activation", MOONS),
        ("nll_of_probabilities", "loss_mismatch", MOONS),
        ("one_output_cross_entropy", "loss_mismatch", BINARY),
        ("batch_dependence", "batch_dependence", SINES),
        ("scheduler_clock", "scheduler_clock", SINES.but(schedule="cosine", epochs=6)),
        ("scheduler_clock", "scheduler_clock", SINES.but(schedule="exponential", epochs=6)),
        ("scheduler_once_an_epoch", "scheduler_clock", SINES.but(schedule="one_cycle")),
        ("scheduler_never_stepped", "scheduler_clock", SINES.but(schedule="one_cycle")),
    ],
)
def test_the_same_mistake_made_in_another_way_is_found_too(fault, check, recipe, tmp_path):
    first, *_ = diagnose(faults.run(recipe, fault, runs=tmp_path), checks=CODE).findings
    assert first.check == check
    assert first.certainty != "possible"
    assert first.remedies[0].diff, "it says which line to write instead"


# --- gradients --------------------------------------------------------------------------------------------------------


def test_steps_that_begin_with_old_gradients_are_counted():
    finding = found("missing_zero_grad", gradients={"steps": 200, "stale": 199, "lost": 0, "backwards": 1})
    assert "199 of 200 checked steps" in finding.sentence
    assert finding.since == 2


@given(epochs=st.integers(1, 20), batches=st.integers(2, 50))
def test_gradients_zeroed_once_an_epoch_are_found_for_any_number_of_batches(epochs, batches):
    steps = epochs * batches
    seen = {"steps": steps, "stale": epochs * (batches - 1), "lost": 0, "backwards": 1}
    assert isinstance(look("missing_zero_grad", gradients=seen), Finding if steps >= 4 else Unknown)


def test_accumulated_gradients_are_neither_old_nor_lost():
    seen = {"steps": 50, "stale": 0, "lost": 0, "backwards": 4}
    assert look("missing_zero_grad", gradients=seen) is None
    assert look("lost_accumulation", gradients=seen) is None


def test_parameters_that_no_gradient_reaches_are_named_up_to_the_cut():
    names = ["body.0.weight", "body.0.bias", "head.weight", "head.bias"]
    graph = {"unreached": names[:2]}
    finding = found("no_gradient", network={"names": names}, graph=graph, gradients={"none": names[:2]})
    assert finding.where == "body.0.bias"
    assert "the 2 behind them learn" in finding.sentence


def test_a_layer_that_nobody_uses_is_only_a_possible_mistake():
    names = ["body.weight", "spare.weight", "head.weight"]
    finding = found("no_gradient", network={"names": names}, graph={"unreached": ["spare.weight"]})
    assert finding.certainty == "possible"


@pytest.mark.parametrize("purpose", [{"network": "frozen"}, {"optimizer": "missing"}])
def test_layers_that_are_frozen_or_not_given_to_the_optimizer_get_no_gradient_on_purpose(purpose):
    names = ["body.weight", "head.weight"]
    facts: dict[str, dict[str, Any]] = {"network": {"names": names}, "graph": {"unreached": names[:1]}}
    for topic, field in purpose.items():
        facts.setdefault(topic, {})[field] = names[:1]
    assert look("no_gradient", **facts) is None


# --- optimizer --------------------------------------------------------------------------------------------------------


def test_a_new_head_beside_the_old_one_in_the_optimizer_is_certain():
    finding = found("missing_from_optimizer", optimizer={"missing": ["head.weight"], "foreign": 1})
    assert finding.certainty == "certain"
    assert finding.where == "head.weight"


def test_the_first_layers_may_be_left_out_but_not_those_in_the_middle():
    left_out = {"missing": ["body.weight"], "foreign": 0}
    assert look("missing_from_optimizer", optimizer=left_out | {"missing_first": True}) is None
    assert found("missing_from_optimizer", optimizer=left_out | {"missing_first": False}).certainty == "likely"


def test_a_part_that_the_loss_does_not_depend_on_need_not_be_in_the_optimizer():
    left_out = {"missing": ["spare.weight"], "foreign": 0, "missing_first": False}
    assert look("missing_from_optimizer", optimizer=left_out, graph={"unreached": ["spare.weight"]}) is None


def test_optimizers_of_two_kinds_may_take_turns():
    shared = {"twice": ["weight"], "kind": "Adam, LBFGS"}
    assert found("twice_in_optimizer", optimizer=shared).certainty == "possible"
    assert found("twice_in_optimizer", optimizer=shared | {"kind": "Adam"}).certainty == "certain"


# --- outputs and loss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_the_least_loss_behind_two_softmaxes_is_that_of_the_surest_right_answer(classes):
    graph = {"loss": "cross_entropy", "last_op": "softmax", "given": {"output_shape": [32, classes]}}
    surest = nn.functional.cross_entropy(torch.eye(classes).double(), torch.arange(classes))
    (evidence,) = found("double_softmax", graph=graph).evidence
    assert evidence.value == pytest.approx(float(surest), rel=1e-12)


def test_the_least_loss_behind_two_sigmoids_is_the_mean_over_both_classes():
    graph = {"loss": "bce_with_logits", "last_op": "sigmoid", "given": {"output_shape": [32, 1]}}
    surest = nn.functional.binary_cross_entropy_with_logits(torch.tensor([0.0, 1.0]).double(), torch.eye(2)[1].double())
    (evidence,) = found("double_softmax", graph=graph).evidence
    assert evidence.value == pytest.approx(float(surest), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "last"),
    [("nll", "log_softmax"), ("cross_entropy", "log_softmax"), ("bce", "sigmoid"), ("mse", "softmax"), (None, None)],
)
def test_one_squashing_is_right(loss, last):
    assert look("double_softmax", graph={"loss": loss, "last_op": last}) is None


@pytest.mark.parametrize(
    ("last", "low", "high", "wrong"),
    [
        ("relu", 0.0, 300.0, False),
        ("relu", -0.01, 1.0, False),  # noise on amounts
        ("relu", -1.0, 1.0, True),
        ("sigmoid", 0.0, 1.0, False),
        ("sigmoid", 1.0, 5.0, True),
        ("tanh", -1.0, 1.0, False),
        ("tanh", -3.0, 3.0, True),
        (None, -3.0, 3.0, False),
    ],
)
def test_a_last_activation_is_wrong_where_it_cannot_reach_the_targets(last, low, high, wrong):
    data = {"train": {"target_min": low, "target_max": high}}
    answer = look("output_activation", graph={"loss": "mse", "last_op": last}, data=data)
    assert isinstance(answer, Finding) == wrong


def test_shapes_that_are_broadcast_are_shown():
    given = {"broadcast": True, "output_shape": [32, 1], "target_shape": [32]}
    finding = found("broadcast_loss", graph={"given": given})
    assert "[32, 1]" in finding.sentence
    assert "[32, 32]" in finding.sentence
    assert finding.certainty == "certain"


@given(rows=st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=1, max_size=8))
def test_logarithms_of_probabilities_are_never_taken_for_logits(rows):
    logs = torch.tensor(rows).log_softmax(-1)
    given = {"output_shape": list(logs.shape), "output_max": float(logs.max()), "output_min": float(logs.min())}
    assert look("loss_mismatch", graph={"loss": "nll", "given": given}) is None


@pytest.mark.parametrize(
    ("counts", "disagree", "wrong"),
    [
        ([100] * 10, 0.05, True),
        ([100] * 10, 0.8, False),  # neighbours have other numbers: they are amounts
        ([400, 200, 90, 20, 3], 0.05, False),  # counts, the large ones rare
        ([100, 100], 0.05, False),  # two classes are fitted well
    ],
)
def test_class_numbers_are_no_amounts(counts, disagree, wrong):
    rows = {"classes": dict(zip(map(str, range(len(counts))), counts, strict=True))}
    neighbours = {"disagree": disagree, "expected": 0.9}
    graph = {"loss": "mse", "given": {"output_shape": [32]}}
    answer = look("loss_mismatch", graph=graph, data={"train": rows | {"neighbours": neighbours}})
    assert isinstance(answer, Finding) == wrong


def summed(chart_of: ChartOf, optimizer: str, *, update: float, last: float) -> Chart:
    losses = {step: 100.0 + (last - 100.0) * step / 50 for step in range(1, 51)}
    facts = {"graph": {"given": {"reduction": "sum"}}, "optimizer": {"kind": optimizer}}
    return chart_of({"loss/batch": losses, "update_ratio/all": {1: update, 21: update}}, facts)


@pytest.mark.parametrize(
    ("optimizer", "update", "last", "wrong"),
    [
        ("SGD", 0.4, 90.0, True),
        ("SGD", 0.4, math.nan, True),
        ("SGD", 0.01, 90.0, False),  # the rate matches
        ("SGD", 0.4, 1.0, False),  # it learns
        ("Adam", 0.4, 90.0, False),  # Adam does not see the factor
    ],
)
def test_a_sum_is_wrong_only_where_it_makes_the_steps_too_long(chart_of, optimizer, update, last, wrong):
    answer = CHECKS["summed_loss"].look(summed(chart_of, optimizer, update=update, last=last))
    assert isinstance(answer, Finding) == wrong


# --- modes ------------------------------------------------------------------------------------------------------------

AWAKE = {"stochastic_modules": 2, "normalisation_modules": 0, "train_steps": 100, "train_steps_in_eval": 0}


def test_a_model_without_dropout_and_batch_norm_has_one_mode():
    modes = AWAKE | {"stochastic_modules": 0, "plain_forwards": 10, "plain_forwards_in_train": 10}
    assert look("evaluated_in_training_mode", modes=modes) is None
    assert look("trained_in_evaluation_mode", modes=modes | {"train_steps_in_eval": 90}) is None


@pytest.mark.parametrize(("in_training", "wrong"), [(10, True), (9, False), (0, False)])
def test_some_passes_in_training_mode_may_be_meant_but_not_all(in_training, wrong):
    modes = AWAKE | {"plain_forwards": 10, "plain_forwards_in_train": in_training}
    assert isinstance(look("evaluated_in_training_mode", modes=modes), Finding) == wrong


def test_a_loop_without_validation_cannot_be_judged_for_it():
    modes = AWAKE | {"plain_forwards": 0, "plain_forwards_in_train": 0}
    assert isinstance(look("evaluated_in_training_mode", modes=modes), Unknown)


def test_functional_dropout_that_never_sleeps_is_found():
    finding = found("evaluated_in_training_mode", network={"repeatable": False}, graph={"loss": "cross_entropy"})
    assert "2 answers in 2 calls" in finding.sentence


def test_a_model_asleep_from_the_first_step_may_be_meant_one_that_fell_asleep_is_not():
    assert found("trained_in_evaluation_mode", modes=AWAKE | {"train_steps_in_eval": 100}).certainty == "likely"
    assert found("trained_in_evaluation_mode", modes=AWAKE | {"train_steps_in_eval": 90}).certainty == "certain"


def test_answers_that_hardly_differ_differ_in_their_rounding():
    depends = {"batch_invariant": False, "batch_difference": 0.5, "repeatable": True}
    assert found("batch_dependence", network=depends | {"output_variation": 0.3}).certainty == "certain"
    assert look("batch_dependence", network=depends | {"output_variation": 1e-6}) is None
    assert look("batch_dependence", network=depends | {"output_variation": 0.3, "repeatable": False}) is None


@pytest.mark.parametrize(("share", "wrong"), [(0.0, False), (0.04, False), (0.3, True), (0.8, True)])
def test_what_is_lost_in_evaluation_mode_is_a_share_of_what_was_learned(chart_of, share, wrong):
    steps = range(0, 201, 25)
    training = {step: 2.0 - 1.8 * step / 200 for step in steps}
    evaluation = {step: loss + share * (2.0 - loss) for step, loss in training.items()}
    chart = chart_of({"loss/train": evaluation, "loss/train_mode": training}, {"network": {"normalisation": ["norm"]}})
    answer = CHECKS["running_statistics"].look(chart)
    assert isinstance(answer, Finding) == wrong
    if isinstance(answer, Finding):
        assert answer.evidence[0].value == pytest.approx(share, rel=1e-9)


# --- schedule ---------------------------------------------------------------------------------------------------------


def scheduled(chart_of: ChartOf, rates: np.ndarray, **schedule: Any) -> Finding | Unknown | None:
    facts = {"schedule": {"optimizer_steps": 300, "epochs": 20.0} | schedule}
    chart = chart_of({"lr/0": dict(enumerate(rates.tolist(), start=1))}, facts)
    answer: Finding | Unknown | None = CHECKS["scheduler_clock"].look(chart)
    return answer


def rates_of(scheduler: Callable[[torch.optim.Optimizer], Any], every: int) -> np.ndarray:
    """The learning rates of 300 updates of which every so many are followed by a step of the scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    made, rates = scheduler(optimizer), []
    for update in range(300):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (update + 1) % every == 0:
            made.step()
    return np.array(rates)


S = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("kind", "period", "scheduler", "every", "wrong"),
    [
        ("StepLR", 7, lambda it: S.StepLR(it, 7), 15, False),
        ("StepLR", 7, lambda it: S.StepLR(it, 7), 1, True),
        ("StepLR", 100, lambda it: S.StepLR(it, 100), 1, False),
        ("MultiStepLR", 15, lambda it: S.MultiStepLR(it, [10, 15]), 15, False),
        ("ExponentialLR", None, lambda it: S.ExponentialLR(it, 0.8), 15, False),
        ("ExponentialLR", None, lambda it: S.ExponentialLR(it, 0.8), 1, True),
        ("ExponentialLR", None, lambda it: S.ExponentialLR(it, 0.99), 1, False),
        ("CosineAnnealingLR", 20, lambda it: S.CosineAnnealingLR(it, 20), 15, False),
        ("CosineAnnealingLR", 20, lambda it: S.CosineAnnealingLR(it, 20), 1, True),
        ("CosineAnnealingLR", 300, lambda it: S.CosineAnnealingLR(it, 300), 1, False),
        ("CosineAnnealingLR", 300, lambda it: S.CosineAnnealingLR(it, 300), 15, True),
        ("CosineAnnealingWarmRestarts", 20, lambda it: S.CosineAnnealingWarmRestarts(it, 20), 1, False),
        ("LinearLR", 20, lambda it: S.LinearLR(it, total_iters=20), 1, False),  # a warm-up
        ("OneCycleLR", 300, lambda it: S.OneCycleLR(it, 0.1, 301), 1, False),
        ("OneCycleLR", 301, lambda it: S.OneCycleLR(it, 0.1, 301), 15, True),
        ("LambdaLR", None, lambda it: S.LambdaLR(it, lambda step: min(1, (step + 1) / 50)), 1, False),
    ],
)
def test_a_schedule_is_wrong_where_it_is_stepped_by_the_other_clock(
    chart_of, recwarn, kind, period, scheduler, every, wrong
):
    answer = scheduled(chart_of, rates_of(scheduler, every), kind=kind, period=period, taken=300 // every)
    assert isinstance(answer, Finding) == wrong, answer


def test_a_scheduler_that_is_never_stepped_is_found(chart_of):
    answer = scheduled(chart_of, np.full(300, 0.1), kind="CosineAnnealingLR", period=20, taken=0)
    assert isinstance(answer, Finding)
    assert re.search("never stepped: after 300 updates", answer.sentence)


def test_a_single_epoch_cannot_tell_the_clocks_apart(chart_of):
    answer = scheduled(chart_of, np.full(300, 0.1), kind="CosineAnnealingLR", period=20, taken=0, epochs=1.0)
    assert isinstance(answer, Unknown)
