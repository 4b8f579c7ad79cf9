"""The vmap lane: a run among others is the run that `fit` makes of its recipe alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import descend
from descend.catalog import OPTIMIZERS
from descend.recipe import Recipe
from descend.sweeping._cohort import Cohort, cohorts
from descend.sweeping._stack import Losses
from descend.sweeping.together import TogetherStack, why_not
from descend.train.fit import load_model

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def of_all_optimizers(base: Recipe) -> list[Recipe]:
    """A run of each optimizer, over three seeds."""
    return [base.but(optimizer=name, seed=number % 3) for number, name in enumerate(OPTIMIZERS)]


def cohort_of(recipes: list[Recipe]) -> Cohort:
    (cohort,) = cohorts(recipes, lambda parts, recipe: ("together", why_not(parts, recipe)))
    assert not cohort.why
    return cohort


def assert_the_runs_of_fit(cohort: Cohort, stack: TogetherStack, losses: Losses, folder: Path) -> None:
    for number, recipe in enumerate(cohort.recipes):
        run = descend.fit(recipe, runs=folder)
        died = int(stack.died[number])
        assert (run.status == "non-finite") == bool(died)
        ours, series = losses.losses[:, number], run.series("loss/batch")
        torch.testing.assert_close(ours[: len(series.y)], torch.from_numpy(series.y), equal_nan=True, **EXACT)
        assert ours[len(series.y) :].isnan().all()
        if died:
            assert series.x[-1] == died
            continue
        ours = stack.parameters | stack.buffers
        for name, value in load_model(run).state_dict().items():
            torch.testing.assert_close(ours[name][number], value, **EXACT)


MODELS = {
    "linear": Recipe(data="employee_bonus", model="linear", steps=30, dtype="float64", monitors="none", lr=0.01),
    "mlp": Recipe(data="digits", model="mlp", width=8, steps=30, dtype="float64", monitors="none", lr=0.01),
}


@pytest.mark.parametrize("model", MODELS)
def test_runs_together_are_those_that_fit_makes_one_by_one_and_one_that_diverges_disturbs_none(model, tmp_path):
    base = MODELS[model]
    cohort = cohort_of([*of_all_optimizers(base), base.but(lr=1e200)])
    stack = TogetherStack(cohort)
    losses = stack.advance(30)
    assert int((stack.died > 0).sum()) == 1
    assert_the_runs_of_fit(cohort, stack, losses, tmp_path)
