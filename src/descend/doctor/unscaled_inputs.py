"""The inputs have large or very different scales, so that no learning rate fits all weights.

The gradient of a weight is proportional to its input. For a linear model and the squared error the largest curvature of
the loss is the largest eigenvalue of (2/n) X'X with a column of ones: the learning rate must stay below 2 divided by
it, and then the weights of small inputs hardly move. On the employee-bonus data as it comes, gradient descent needs 48
times the steps that it needs on standardised columns (kappa 2243 and 47). In a network large inputs drive units into
saturation, or make the first answers wrong by hundreds. Trees do not mind; networks do.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, STEPS_TOO_LONG
from descend.doctor._data import DATA, UNFINISHED, before_training, columns, fit, grew, score, split
from descend.doctor._probe import beside
from descend.doctor._signals import two_digits
from descend.doctor._training import ADAPTIVE, room
from descend.recipe import Recipe

LIMITED: Final = 30.0  # times smaller the largest stable learning rate is; pixels 0 to 1 have 1.6, raw bonus data 63
HUGE: Final = 1000.0  # where a loss that grows is no mere matter of the rate; pixels 0 to 16 have 365, wine 140,000
SMALL: Final = 0.02  # root mean square: then biases learn alone; scikit-learn's diabetes columns have 0.048
BEHIND: Final = 0.25  # of the way from the neighbours' answers to chance; healthy runs on raw inputs have 0.1 or less
SLOW: Final = 0.05  # of the variance, that the best linear model explains and the network does not
RATE: Final = 0.1  # up to which the learning rate of plain gradient descent may go when the inputs are scaled
FORK: Final = 0.3  # of the unchanged fork's loss: the raw bonus data 0.02; pixels from 0 to 1, which do no harm, 0.59
NO_FORK: Final = 0.95  # standardised inputs that help no more than this are not what is missing
LARGE_START: Final = 3.0  # the first loss, in units of what it should be


def look(chart: Chart) -> Finding | Unknown | None:
    facts = split(chart)
    if facts.get("tokens"):
        return None
    curvature = facts.get("curvature")
    if not curvature:
        return DATA
    limited = curvature["raw"] / curvature["standardised"]
    size = math.hypot(facts["input_mean"], facts["input_std"])
    if not (limited >= LIMITED or size < SMALL):
        return None
    witness = _before(chart, limited) if before_training(chart) else _harm(chart, limited)
    if not isinstance(witness, Evidence):
        return witness
    return _finding(chart, facts, limited, size, witness)


def _before(chart: Chart, limited: float) -> Evidence | None:
    first, expected = chart.fact("start", "loss"), chart.fact("start", "expected")
    if limited >= LIMITED and first and expected and first > LARGE_START * expected:
        says = f"The first loss is {first:.2g}, {first / expected:.2g} times what it would be without an answer."
        return Evidence("facts/start", first / expected, LARGE_START, says)
    if limited >= HUGE:
        says = f"The largest learning rate at which a linear model converges is {limited:.2g} times smaller."
        return Evidence("facts/data/train/curvature", limited, HUGE, says)
    return None


def _harm(chart: Chart, limited: float) -> Evidence | Unknown | None:
    if limited >= HUGE and (risen := grew(chart)):
        return risen
    if chart.status == "running":
        return UNFINISHED
    left, fork = room(chart), beside(chart, "scaled")
    if (fork is None or fork < NO_FORK) and (slow := _slow(chart)):
        return slow
    if left is None and fork is not None and fork < FORK:
        says = f"A short fork on standardised inputs ended at {fork:.2g} of the unchanged fork's loss."
        return Evidence("facts/probe/scaled", fork, FORK, says)
    if left is None:
        return Unknown("how well nearest neighbours predict the training rows")
    left = dataclasses.replace(left, wrong=min(left.wrong, 1 - (fit(chart) or 0.0)))
    if left.share < BEHIND or not left.certain or (fork is not None and fork > NO_FORK):
        return None
    return Evidence("loss/train", left.share, BEHIND, left.says)


def _slow(chart: Chart) -> Evidence | None:
    """Whether the network is behind the best linear model, which it could have reached: it is on its way, slowly."""
    best, r2 = chart.fact("data", "train", "linear", "unexplained"), fit(chart)
    if best is None or r2 is None or not 1 - r2 - best > SLOW:
        return None
    ours = score(chart, "train").y  # `fit` takes the batches where they are better, which a diverging run is not
    end = float(ours[-1]) if len(ours) and r2 < 0 else r2
    left = f"{1 - end:.2f} of" if 1 - end < 10 else f"{two_digits(1 - end)} times"
    says = f"Training ended with {left} the variance unexplained, the best linear model leaves {best:.2f}."
    return Evidence("r2/train", 1 - r2, best + SLOW, says)


def _finding(chart: Chart, facts: dict[str, Any], limited: float, size: float, witness: Evidence) -> Finding:
    spread = facts["columns"]["std"]
    varying = [number for number, value in enumerate(spread) if value > 0]
    size_of = {number: math.hypot(facts["columns"]["mean"][number], spread[number]) for number in varying}
    large, small = max(size_of, key=size_of.__getitem__), min(size_of, key=size_of.__getitem__)
    index = facts["columns"].get("index") or range(len(spread))
    differ = size_of[large] > 10 * size_of[small]
    if differ:
        what = (
            f"{columns(chart, [index[large]])} is about {size_of[large]:.2g}, {columns(chart, [index[small]])} about "
            f"{size_of[small]:.2g}"
        )
    else:
        what = (
            f"they go from {facts['input_min']:.2g} to {facts['input_max']:.2g}, their root mean square is {size:.2g}"
        )
    consequence = (
        f"a linear model on them needs a learning rate {limited:.2g} times smaller than on standardised columns"
        if limited >= LIMITED
        else "the weights' gradients are as small, so that the biases learn alone"
    )
    return Finding(
        f"The inputs are not scaled: {what}, so {consequence}. {witness.says}",
        (Evidence("facts/data/train/curvature", limited, LIMITED, f"{consequence.capitalize()}."), witness),
        sure=0.85,
        where=columns(chart, [index[large]]) if differ else None,
        remedies=(
            Remedy(
                "Subtract from each column its mean over the training rows and divide by its deviation; the same "
                "numbers for validation rows. (Pixels: divide by 255.)",
                change=_scaled(limited) if chart.recipe is not None and "scale" in chart.recipe.options else None,
                safety="safe" if chart.recipe is not None else "advice only",
                diff={"x = table": "x = (table - table[train].mean(0)) / table[train].std(0)"},
            ),
        ),
    )


def _scaled(limited: float) -> Callable[[Recipe], Recipe]:
    """Standardised inputs; where updates go with the gradient, with the larger rate that these allow."""

    def change(recipe: Recipe) -> Recipe:
        scaled, lr = recipe.but(scale="standard"), float(recipe.options["lr"] or 0.0)
        return scaled if recipe.optimizer in ADAPTIVE else scaled.but(lr=max(lr, min(lr * limited, RATE)))

    return change


unscaled_inputs = Check(
    look,
    symptom="Training is slow at every learning rate that does not diverge, or units saturate at once.",
    sick=Example(data="employee_bonus", rows=200, validation=0.2, model="linear", optimizer="sgd", lr=1e-3, epochs=8),
    near_miss=Example(
        data="employee_bonus",
        rows=200,
        validation=0.2,
        scale="none",
        model="linear",
        optimizer="sgd",
        lr=3e-3,
        epochs=40,
    ),
    look_alike="Columns that are not scaled, under an optimizer or a normalisation that copes: the fit is good.",
    source="LeCun et al. 1998, Efficient BackProp, section 4.3",
    explains=LEARNS_NOTHING | STEPS_TOO_LONG | {"first_loss", "noisy_batches"},
)
