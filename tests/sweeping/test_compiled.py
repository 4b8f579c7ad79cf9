"""A compiled run is the run that `fit` would make: compared with the loop below, which is fit's without its records."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("numba")

from descend import Recipe
from descend.catalog import OPTIMIZERS
from descend.models._layers import ACTIVATIONS
from descend.optim import clip_by_norm, clip_by_value, global_norm
from descend.sweeping._cohort import Cohort, cohorts
from descend.sweeping.compiled import CompiledStack
from descend.train.build import build
from descend.train.compiled import LOSSES, why_not
from descend.train.non_finite import healthy

LINEAR = Recipe(data="employee_bonus", monitors="none", dtype="float64", lr=0.01)
MLP = Recipe(
    data="moons", rows=90, model="mlp", width=20, monitors="none", dtype="float64", optimizer="momentum", lr=0.05
)
ELEMENTWISE = [name for name in OPTIMIZERS if OPTIMIZERS[name].elementwise]
STEPS = 23


@dataclasses.dataclass
class Alone:
    """One run by autograd, torch's kernels and the eager optimizer."""

    losses: list[float]
    norms: list[float]
    weights: dict[str, Tensor]
    died: int


def alone(recipe: Recipe, steps: int = STEPS) -> Alone:
    torch.manual_seed(recipe.seed)
    parts = build(recipe)
    optimizer, losses, norms, died = parts.optimizer, [], [], 0
    for step, (inputs, targets) in enumerate(itertools.islice(parts.batches.after(0), steps)):
        for group, lr in zip(optimizer.param_groups, parts.lrs, strict=True):
            group["lr"] = lr * parts.schedule(step)
        optimizer.zero_grad()
        loss = parts.loss(parts.model(inputs), targets)
        loss.backward(torch.tensor(parts.batches.weight(len(inputs)), dtype=loss.dtype))
        losses.append(loss.item())
        if not healthy(loss.item(), optimizer.flats):
            died = step + 1
            break
        gradients = [gradients for _, gradients in optimizer.flats]
        norms.append(global_norm(gradients).item())
        if recipe.clip_norm is not None:
            clip_by_norm(gradients, recipe.clip_norm)
        if recipe.clip_value is not None:
            clip_by_value(gradients, recipe.clip_value)
        optimizer.step()
    return Alone(losses, norms, {name: weight.detach() for name, weight in parts.model.named_parameters()}, died)


def cohort_of(recipes: Sequence[Recipe]) -> Cohort:
    [cohort] = cohorts(recipes, lambda parts, recipe: ("compiled", why_not(parts, recipe)))
    assert not cohort.why
    return cohort


def assert_equal(recipes: Sequence[Recipe], rtol: float = 1e-9, steps: int = STEPS) -> None:
    """Every run of the stack is the run alone: losses, norms, weights and the step of its death."""
    cohort = cohort_of(recipes)
    stack = CompiledStack(cohort)
    losses, norms = stack.advance(steps)
    for number, recipe in enumerate(cohort.recipes):
        one = alone(recipe, steps)
        assert int(stack.died[number]) == one.died
        shown = losses[:, number].tolist()
        assert shown[: len(one.losses)] == pytest.approx(one.losses, rel=rtol, abs=1e-12, nan_ok=True)
        assert all(math.isnan(loss) for loss in shown[len(one.losses) :])
        if norms is not None:
            assert norms[: len(one.norms), number].tolist() == pytest.approx(one.norms, rel=rtol)
            assert norms[len(one.norms) :, number].isnan().all()
        for name, weight in one.weights.items():
            scale = max(1.0, float(weight.abs().max()))
            torch.testing.assert_close(stack.parameters[name][number], weight, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("base", [LINEAR, MLP], ids=["linear", "mlp"])
@pytest.mark.parametrize("optimizer", ELEMENTWISE)
def test_every_rule_of_the_catalog_makes_the_run_that_fit_makes(base, optimizer):
    assert_equal([base.but(optimizer=optimizer, lr=lr, seed=seed) for lr in (1e-4, 3e-3) for seed in (0, 1)])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_makes_the_run_that_fit_makes(activation):
    assert_equal([MLP.but(activation=activation, seed=seed) for seed in (0, 1)])


@pytest.mark.parametrize("model", ["linear", "mlp"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_makes_the_run_that_fit_makes(model, loss):
    data = "digits" if loss == "cross_entropy" else "employee_bonus"
    assert_equal([Recipe(data=data, model=model, loss=loss, dtype="float64", lr=lr) for lr in (0.01, 0.02)])


def test_smoothed_labels_make_the_run_that_fit_makes():
    assert_equal([MLP.but(loss="cross_entropy", label_smoothing=0.1, lr=lr) for lr in (0.01, 0.1)])


@pytest.mark.parametrize("base", [LINEAR, MLP.but(optimizer="adamw")], ids=["linear", "mlp"])
@pytest.mark.parametrize(
    "changes",
    [
        {"clip_norm": 0.5},
        {"clip_value": 0.01},
        {"weight_decay": 0.3, "decay_exempt": "biases_and_norms"},
        {"schedule": "cosine", "warmup": 5},
        {"order": "replacement"},
        {"order": "fixed"},
        {"batch_size": "all"},
        {"last_batch": "dropped"},
        {"last_batch": "unweighted"},
        {"init": "xavier_normal"},
    ],
    ids=str,
)
def test_every_setting_makes_the_run_that_fit_makes(base, changes):
    varied = base.but(**changes)
    shared = {name: changes[name] for name in changes if name in ("order", "batch_size", "last_batch")}
    assert_equal([varied, base.but(**shared, lr=0.003, seed=3), varied.but(seed=4)])


def test_layers_have_learning_rates_of_their_own():
    assert_equal([MLP.but(layer_lrs="hidden.0=0.3,head=0.001"), MLP, MLP.but(layer_lrs="head.bias=0.2")])


@pytest.mark.parametrize("base", [LINEAR, MLP], ids=["linear", "mlp"])
def test_a_run_that_diverges_dies_at_the_step_where_fit_stops_and_leaves_its_neighbours_alone(base):
    wild = base.but(optimizer="sgd", dtype="float32", data="employee_bonus", lr=1e12)
    calm = wild.but(lr=1e-3)
    cohort = cohort_of([calm, wild, calm.but(seed=1)])
    stack = CompiledStack(cohort)
    losses, _ = stack.advance(STEPS)
    died = alone(wild).died
    assert 1 < died < STEPS
    assert stack.died.tolist() == [0, died, 0]
    assert losses[died:, 1].isnan().all()
    without = CompiledStack(cohort_of([calm, calm.but(seed=1)]))
    assert torch.equal(without.advance(STEPS).losses, losses[:, [0, 2]])
    for name, weight in without.parameters.items():
        assert torch.equal(weight, stack.parameters[name][[0, 2]])


@settings(max_examples=8)
@given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=5), linear=st.booleans())
def test_a_stack_is_the_same_to_the_bit_however_its_steps_are_cut(cuts, linear):
    base = (LINEAR if linear else MLP).but(optimizer="adam", dtype="float32", clip_norm=1.0)
    cohort = cohort_of([base.but(lr=lr, seed=seed) for lr in (0.01, 0.03) for seed in (0, 1)])
    uncut, cut = CompiledStack(cohort), CompiledStack(cohort)
    whole = uncut.advance(sum(cuts))
    parts = [cut.advance(steps) for steps in cuts]
    assert torch.equal(whole.losses, torch.cat([part.losses for part in parts]))
    assert torch.equal(whole.norms, torch.cat([part.norms for part in parts]))
    assert all(torch.equal(weight, cut.parameters[name]) for name, weight in uncut.parameters.items())


@pytest.mark.parametrize("base", [LINEAR, MLP], ids=["linear", "mlp"])
def test_runs_that_are_kept_go_on_as_if_the_others_were_there(base):
    recipes = [
        base.but(optimizer=optimizer, lr=lr, seed=seed)
        for optimizer in ("adam", "sgd")
        for lr in (0.001, 0.003)
        for seed in (0, 1, 2)
    ]
    together, fewer = CompiledStack(cohort_of(recipes)), CompiledStack(cohort_of(recipes))
    for stack in (together, fewer):
        stack.advance(7)
    kept = torch.tensor([10, 1, 4])
    fewer.keep(kept)
    assert torch.equal(together.advance(9).losses[:, kept], fewer.advance(9).losses)
    assert torch.equal(together.died[kept], fewer.died)
    for name, weight in together.parameters.items():
        assert torch.equal(weight[kept], fewer.parameters[name])


@pytest.mark.parametrize("count", [1, 16, 17, 200])
def test_a_run_is_the_same_to_the_bit_whatever_lane_it_trains_in(count):
    recipes = [LINEAR.but(optimizer="adam", dtype="float32", lr=float(lr)) for lr in np.geomspace(1e-3, 0.1, count)]
    alone_in_its_stack = CompiledStack(cohort_of(recipes[-1:])).advance(STEPS).losses
    assert torch.equal(CompiledStack(cohort_of(recipes)).advance(STEPS).losses[:, -1:], alone_in_its_stack)


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (Recipe(data="digits", model="cnn"), "Only linear models and plain multi-layer perceptrons"),
        (MLP.but(norm="batch"), "Only linear models and plain multi-layer perceptrons"),
        (MLP.but(dropout=0.1), "Only linear models and plain multi-layer perceptrons"),
        (MLP.but(residual=True), "Only linear models and plain multi-layer perceptrons"),
        (MLP.but(width=512), "more than 256 units"),
        (MLP.but(optimizer="muon"), "muon works on whole matrices"),
        (MLP.but(input_noise=0.1), "Input noise"),
        (MLP.but(micro_batch=8), "micro-batches"),
        (MLP.but(non_finite="skip"), "non_finite = 'skip'"),
        (LINEAR.but(loss="huber"), "The loss huber"),
    ],
    ids=str,
)
def test_what_is_not_compiled_says_why(recipe, reason):
    assert reason in why_not(build(recipe), recipe)
