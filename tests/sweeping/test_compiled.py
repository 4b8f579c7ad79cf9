"""A compiled run is the run that `fit` would make: compared with the loop below, which is fit's without its records."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

pytest.importorskip("numba")

from descend import Recipe
from descend.catalog import OPTIMIZERS
from descend.models._layers import ACTIVATIONS
from descend.optim import clip_by_norm, clip_by_value, global_norm
from descend.sweeping._cohort import Cohort, cohorts
from descend.sweeping.compiled import LOSSES, CompiledStack, why_not
from descend.train.build import build
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
