"""The targets of a regression are far from zero or far apart, and the network spends its time on reaching them.

A new network answers with numbers around 0, give or take 1. If the targets are 300,000 +- 100,000, the squared error
begins at 1e+11, and so does its gradient: SGD needs a tiny learning rate not to diverge, and Adam, which moves a weight
by about its learning rate a step, needs hundreds of thousands of steps of 0.001 to get there. Standardised targets
(mean 0, deviation 1) make the same problem an easy one; answers are turned back with the same two numbers.
"""

from __future__ import annotations

import math
from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, STEPS_TOO_LONG
from descend.doctor._data import DATA, UNFINISHED, before_training, fit, grew, score, split
from descend.doctor._training import room
from descend.recipe import Recipe

LARGE: Final = 10.0  # root mean square of the targets; standardised ones have 1
SMALL: Final = 0.02  # below it the squared error and its gradient vanish beside weight decay and Adam's eps
OFFSET: Final = 10.0  # the mean, in deviations: then most of the loss is the mean
WASTED: Final = 0.3  # of the evaluations, in which the answers are worse than the mean of the targets (R2 below 0)
BEHIND: Final = 0.25  # of the way from the neighbours' answers to the mean, at the end; runs that got there have 0


def look(chart: Chart) -> Finding | Unknown | None:
    facts = split(chart)
    if facts.get("task") != "regression":
        return None if facts.get("task") else DATA
    mean, std = facts["target_mean"], facts["target_std"]
    size = math.hypot(mean, std)
    if not std or (SMALL < size < LARGE and abs(mean) < OFFSET * std):
        return None
    if chart.fact("network", "affine") and chart.fact("network", "hidden_linear") == 0:
        return None  # of a linear model the targets' size changes neither which rates converge nor how fast
    witness = _before(chart, mean, std) if before_training(chart) else _harm(chart)
    if not isinstance(witness, Evidence):
        return witness
    return Finding(
        f"The targets are not scaled: their mean is {mean:.2g} and their deviation {std:.2g}, where a new network "
        f"answers about 0 +- 1. {witness.says}",
        (
            Evidence("facts/data/train/target_std", size, LARGE, f"The root mean square of the targets is {size:.2g}."),
            witness,
        ),
        sure=0.9,
        where="targets",
        remedies=(
            Remedy(
                "Train on (y - mean) / deviation, with the numbers of the training rows, and turn answers back.",
                change=_scaled if chart.recipe is not None and "scale_target" in chart.recipe.options else None,
                safety="safe" if chart.recipe is not None else "advice only",
                diff={"loss = mse(model(x), y)": "loss = mse(model(x), (y - y_train.mean()) / y_train.std())"},
            ),
        ),
    )


def _before(chart: Chart, mean: float, std: float) -> Evidence | None:
    first = chart.fact("start", "loss")
    ratio = math.hypot(mean, std) / std
    says = f"To answer 0 to everything, as a new network does, makes an error of {ratio:.2g} deviations"
    if math.hypot(mean, std) < LARGE:
        return None
    return Evidence(
        "facts/start", first or ratio, LARGE, f"{says}." if first is None else f"{says}; the loss is {first:.2g}."
    )


def _harm(chart: Chart) -> Evidence | Unknown | None:
    if risen := grew(chart):
        return risen
    if chart.status == "running":
        return UNFINISHED
    r2 = score(chart, "train")
    if len(r2.y) < 3:
        return Unknown("three evaluations on training rows")
    wasted, left = float((r2.y < 0).mean()), room(chart)
    behind = left.share > BEHIND and left.certain if left else (fit(chart) or 0.0) < 0
    if wasted < WASTED or not behind:
        return None
    says = (
        f"In {100 * wasted:.0f} % of the evaluations the answers were worse than the mean of the targets (R2 below 0)."
    )
    return Evidence("r2/train", wasted, WASTED, says)


def _scaled(recipe: Recipe) -> Recipe:
    return recipe.but(scale_target="standard")


unscaled_targets = Check(
    look,
    symptom="The first loss is huge, and falls slowly or becomes infinite.",
    sick=Example(fault="unscaled_targets", data="sines", model="mlp", optimizer="adam", lr=1e-3, epochs=15),
    near_miss=Example(data="employee_bonus", rows=200, model="mlp", optimizer="adam", lr=0.03, epochs=40),
    look_alike="Targets in the hundreds that the network reaches within a few epochs.",
    source="LeCun et al. 1998, Efficient BackProp, section 4.5; Goodfellow et al. 2016, section 6.2",
    explains=LEARNS_NOTHING | STEPS_TOO_LONG | {"first_loss", "noisy_batches", "unscaled_inputs"},
)
