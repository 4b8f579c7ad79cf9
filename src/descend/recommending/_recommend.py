"""Train what a recommendation rests on: the tuning runs, the fresh runs, and short ones that take the time."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Final

import numpy as np
from jaxtyping import Float64

from descend.catalog import OPTIMIZERS
from descend.comparison import LEARNS, require_comparable
from descend.errors import RecipeError
from descend.recipe import Recipe
from descend.recommending._contestant import Contestant
from descend.recommending._recommendation import Recommendation
from descend.recommending._window import TOLERANCE
from descend.run import Floats
from descend.sweeping._outcomes import Outcomes, outcomes
from descend.train.fit import fit

LR_RANGE: Final = (1e-5, 10.0)
"""Where learning rates are drawn: wide enough for Lion (1e-4) and for SGD on standardised data (1) alike."""

EVALUATIONS: Final = 20  # of a fresh run: a target's updates are counted to a 20th of the run

TIMED_SECONDS: Final = 0.05  # of training in a run that takes the time


def recommend(
    recipes: Recipe | Mapping[str, Recipe],
    *,
    configurations: int = 16,
    repeats: int = 10,
    fresh: int = 3,
    lr_range: tuple[float, float] = LR_RANGE,
    tolerance: float = TOLERANCE,
    timed: bool = True,
    progress: bool = False,
) -> Recommendation:
    """Tune every contestant with the same budget and say which is ahead, and of which that is no more than chance.

        recommend(Recipe(data="digits", model="mlp"))

    One recipe stands for itself with every optimizer of the catalog; a mapping gives contestants by name. Each trains
    repeats * (configurations + fresh) runs: in every repeat `configurations` learning rates, log-uniform in `lr_range`
    (one in each of as many equal parts), and the best of them `fresh` times again. All else is as the recipe says. The
    recipe's `target_loss` is the loss whose cost is compared; without one it is the highest of the contestants' medians
    among those that learn. `timed` measures what an update costs in runs of their own, which take turns.

    Raises RecipeError for a budget of nothing, or recipes that cannot be compared.
    """
    contestants = entered(recipes) if isinstance(recipes, Recipe) else dict(recipes)
    _require_fair(contestants, configurations, repeats, fresh, lr_range, tolerance)
    bare = {label: recipe.but(target_loss=None, monitors="none") for label, recipe in contestants.items()}
    shape = len(bare), repeats, configurations

    lrs = np.array([_drawn(recipe, place, *shape[1:], lr_range) for place, recipe in enumerate(bare.values())])
    tuning = outcomes(
        [
            recipe.but(lr=float(lr), seed=recipe.seed + repeat)
            for recipe, drawn in zip(bare.values(), lrs, strict=True)
            for repeat, row in enumerate(drawn)
            for lr in row
        ],
        progress=progress,
    )
    measure = "loss/validation" if "loss/validation" in tuning.names() else "loss/train"
    tuned = tuning.lowest(measure).reshape(shape)
    chosen = np.take_along_axis(lrs, tuned.argmin(2)[..., None], 2)[..., 0]

    steps = int(tuning.steps.max())
    again = outcomes(
        [
            recipe.but(
                lr=float(lr),
                seed=recipe.seed + repeats + repeat * fresh + number,
                evaluate_every=recipe.evaluate_every or max(1, steps // EVALUATIONS),
            )
            for recipe, row in zip(bare.values(), chosen, strict=True)
            for repeat, lr in enumerate(row)
            for number in range(fresh)
        ],
        progress=progress,
    )
    shape = len(bare), repeats, fresh
    losses = again.lowest(measure).reshape(shape)
    start = float(np.median([again.curve(run, measure).y[0] for run in range(len(again.recipes))]))
    target = _target(contestants, losses, start)
    score, scores = _scores(again, measure)
    updates, scores = again.cost(measure, target).reshape(shape), scores.reshape(shape)
    died = (again.died > 0).reshape(shape)
    paces = _paces(list(bare.values()), repeats, lr_range[0]) if timed else np.full((len(bare), repeats), np.nan)
    return Recommendation(
        {
            label: Contestant(
                recipe, lrs[k], tuned[k], chosen[k], losses[k], updates[k], scores[k], paces[k], int(died[k].sum())
            )
            for k, (label, recipe) in enumerate(contestants.items())
        },
        measure,
        score,
        target,
        steps,
        lr_range,
        tolerance,
    )


def entered(recipe: Recipe, optimizers: Sequence[str] | None = None) -> dict[str, Recipe]:
    """The recipe with each of these optimizers of the catalog, or with all of them, by name."""
    return {name: recipe.but(optimizer=name) for name in optimizers or OPTIMIZERS}


def _require_fair(
    contestants: Mapping[str, Recipe],
    configurations: int,
    repeats: int,
    fresh: int,
    lr_range: tuple[float, float],
    tolerance: float,
) -> None:
    require_comparable(contestants)
    counts = {"configurations": configurations, "repeats": repeats, "fresh": fresh}
    for name, value in counts.items():
        if value < 1:
            raise RecipeError(f"{name} is {value}, but must be at least 1.")
    low, high = lr_range
    if not 0 < low < high < math.inf:
        raise RecipeError(
            f"Learning rates go from {low:g} to {high:g}, but must go from above 0 to something greater: 1e-5 to 10."
        )
    if not 0 < tolerance < math.inf:
        raise RecipeError(f"tolerance is {tolerance:g}, but must be a number above 0: 0.25 allows losses 25 % higher.")
    for label, recipe in contestants.items():
        if recipe.patience is not None:
            raise RecipeError(
                f"patience is {recipe.patience} for {label}, but everyone here makes the same number of updates and is "
                "judged by the lowest loss on the way, as early stopping would. Leave it out."
            )
    lengths = {(recipe.epochs, recipe.steps, recipe.batch_size) for recipe in contestants.values()}
    if len(lengths) > 1:
        raise RecipeError(
            "The same budget means the same epochs or steps and the same batch_size, but these recipes differ in them."
        )


def _drawn(
    recipe: Recipe, place: int, repeats: int, configurations: int, lr_range: tuple[float, float]
) -> Float64[np.ndarray, "repeats configurations"]:
    """Learning rates of every repeat: the range, on a log scale, in equal parts, and a point of each part.

    One random number shifts all points of a repeat, so that they are as far apart as they can be. Every contestant has
    its own, by its place.
    """
    low, high = lr_range
    shifts = np.random.default_rng([recipe.seed, place]).random((repeats, 1))
    return low * (high / low) ** ((np.arange(configurations) + shifts) / configurations)


def _target(
    contestants: Mapping[str, Recipe], losses: Float64[np.ndarray, "contestants repeats fresh"], start: float
) -> float:
    """The recipes' own target if they share one, else the highest of the medians of those that learn."""
    asked = {recipe.target_loss for recipe in contestants.values()}
    if len(asked) == 1 and (only := asked.pop()) is not None:
        return only
    medians = np.median(losses, axis=(1, 2))
    return float(max((loss for loss in medians if loss < LEARNS * start), default=-math.inf))


def _scores(again: Outcomes, measure: str) -> tuple[str, Floats]:
    """The name of the score beside the loss, and its value in every run at the evaluation with the lowest loss."""
    split = measure.partition("/")[2]
    name = next((f"{kind}/{split}" for kind in ("accuracy", "r2") if f"{kind}/{split}" in again.names()), measure)

    def kept(run: int) -> float:
        losses = again.curve(run, measure).y
        return float(again.curve(run, name).y[np.argmin(np.where(np.isfinite(losses), losses, np.inf))])

    return name, np.array([kept(run) for run in range(len(again.recipes))])


def _paces(recipes: Sequence[Recipe], repeats: int, lr: float) -> Float64[np.ndarray, "contestants repeats"]:
    """Seconds that an update takes, in short runs alone: one of each recipe in turn, and the round `repeats` times.

    The first round, which warms up, only says how many updates the others time. The learning rate, which costs no time,
    is small enough to diverge nowhere.
    """
    names = count()
    with tempfile.TemporaryDirectory() as folder:

        def pace(recipe: Recipe, steps: int) -> float:
            short = recipe.but(lr=lr, steps=steps, evaluate_every=steps)
            run = fit(short, runs=folder, name=str(next(names)))
            return run.seconds / run.steps

        slowest = max(pace(recipe, 20) for recipe in recipes)
        steps = max(5, int(TIMED_SECONDS / slowest))
        return np.array([[pace(recipe, steps) for recipe in recipes] for _ in range(repeats)]).T
