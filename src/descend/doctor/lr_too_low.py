"""The learning rate is too low: the loss falls in a straight line, and training ends far from the bottom.

Small steps follow the gradient so closely that it hardly changes on the way, so progress per step is constant. That is
the mark of a rate that could be larger: as long as the loss falls in a straight line, twice the rate falls twice as
fast. Convergence looks flat too, but it curves: the fall of the last third is then a small part of that of the first.

The second mark is the length of the updates. In one step a weight usually changes by a thousandth to a hundredth of its
length. With updates of 1e-5 of their length, a thousand steps change the weights by one percent at most: whatever the
network can do at the end, it could do at the start.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._probe import further
from descend.doctor._signals import GUESSING, percent, progress, remedy, two_digits
from descend.doctor._training import STRAIGHT, course, falls, faster, limit_of, room, thirds, update_ratios

FEWEST: Final = 50  # steps
VALUES: Final = 6  # of the loss
MEASURED: Final = 3  # updates

LONGEST: Final = 6e-4
"""Of the weights' length, that 95 % of the updates do not reach: at a hundredth of a good rate 3e-5 to 3.7e-4, in 200
healthy runs 1.2e-3 (a deep ReLU network) and more."""

USUAL: Final = 2e-3
"""What the remedy aims at: the same statistic has this or more in nine of ten healthy runs."""

FAR: Final = 0.5
"""Of the first loss, that is left: 0.68 to 1 at a hundredth of a good rate."""

OF_LIMIT: Final = 0.01
"""A linear model's learning rate over its stability limit: half the limit is best for the steepest direction."""

WAY: Final = 0.02
"""Of the weights' length, that all updates together have: 0.005 to 0.015 where nothing had moved (learning rates 1e-3
of a good one), other runs that learned nothing 0.025 (deaf to their inputs) and more."""

NOTHING: Final = 0.95  # of what guessing costs, that is left

FORK: Final = 1.5  # times as much of the loss as the unchanged fork


def look(chart: Chart) -> Finding | Unknown | None:
    seen, limit = course(chart), limit_of(chart)
    if seen is None or chart.steps < FEWEST or len(seen.values) < VALUES:
        return Unknown(f"at least {FEWEST} steps")
    if len(update_ratios(chart).y) < MEASURED and limit is None:
        return Unknown("the lengths of some updates (monitor update_ratio)")
    if still := _still(chart):
        return still
    if seen.kept < FAR or not falls(seen):
        return None
    first, last = thirds(seen)
    straight = last > STRAIGHT * first
    left = room(chart)
    if not straight and not (left is not None and left.certain and left.share > FAR):
        return None
    small, factor = _small(chart, limit)
    if small is None:
        return None
    slope = last / first if first > 0 else 1.0
    says = (
        f"In the last third of training the loss fell {percent(slope)} as far as in the first: it does not level off."
    )
    evidence = [Evidence(seen.series, slope, STRAIGHT, says), small]
    sure = 0.85 if straight else 0.75
    fork = further(chart, "lr_up")
    if fork is not None and fork > FORK:
        says = f"A short fork with a higher learning rate lost {two_digits(fork)} times as much of the loss."
        evidence.append(Evidence("facts/probe/lr_up", fork, FORK, says))
        sure = 0.94
    return Finding(
        f"The learning rate is too low: after {chart.steps:,} steps the loss still has {percent(seen.kept)} of its "
        f"first value {'and falls in a straight line' if straight else 'and still falls'}. {small.says}",
        tuple(evidence),
        sure,
        since=1,
        remedies=_remedies(chart, factor),
    )


def _still(chart: Chart) -> Finding | None:
    """Nothing has been learned, and all updates together could not have changed much."""
    ratios, gone = update_ratios(chart).y, progress(chart)
    if gone is None or gone.whole != GUESSING or min(gone.best, gone.end) < NOTHING or len(ratios) < MEASURED:
        return None
    way = float(ratios.mean()) * chart.steps
    if not 0 < way < WAY or not math.isfinite(gone.end):
        return None
    moved = f"All updates together are {percent(way)} of the weights' length: the weights are where they began."
    return Finding(
        f"The learning rate is too low: {gone.says}. {moved}",
        (
            Evidence("update_ratio/all", way, WAY, moved),
            Evidence(gone.series, gone.end, NOTHING, f"{gone.says}.".capitalize()),
        ),
        0.75,
        since=1,
        remedies=_remedies(chart, USUAL / float(ratios.mean())),
    )


def _small(chart: Chart, limit: dict[str, Any] | None) -> tuple[Evidence | None, float]:
    """That steps are small, and by what factor they could be longer."""
    ratios = update_ratios(chart).y
    longest = float(np.quantile(ratios, 0.95)) if len(ratios) >= MEASURED else 1.0
    if 0 < longest < LONGEST:
        says = (
            f"Nineteen of twenty updates are shorter than {two_digits(longest)} of the weights' length; 0.001 to 0.01 "
            "is usual."
        )
        return Evidence("update_ratio/all", longest, LONGEST, says), USUAL / longest
    if limit is not None and limit["lr"] < OF_LIMIT * limit["limit"]:
        lr, most = two_digits(limit["lr"]), two_digits(limit["limit"])
        says = f"The learning rate is {lr}; these data allow up to {most} ({limit['formula']})."
        return Evidence("limit", limit["lr"], OF_LIMIT * limit["limit"], says), limit["limit"] / 2 / limit["lr"]
    return None, 1.0


def _remedies(chart: Chart, factor: float) -> tuple[Remedy, ...]:
    adam = "Train with Adam, whose steps do not shrink with the gradient (learning rate 0.003)."
    return (
        faster(chart, float(f"{factor:.1g}")),
        faster(chart, 10),
        remedy(chart, adam, "changes the result", optimizer="adam", lr=3e-3),
    )


lr_too_low = Check(
    look,
    symptom="The loss falls, but so slowly that training ends long before it is done.",
    sick=Example(data="moons", model="mlp", width=32, optimizer="sgd", lr=1e-3, epochs=30),
    near_miss=Example(data="moons", noise=0.5, rows=1000, model="mlp", width=16, optimizer="adam", lr=2e-3, epochs=20),
    look_alike="Convergence to a loss that noisy targets keep high: updates are small there too, but the fall curved.",
    source="Stanford CS231n, Neural Networks Part 3, ratio of weights to updates",
    explains=frozenset(
        {
            "cannot_overfit_one_batch",
            "chance_level",
            "minority_never_predicted",
            "plateau",
            "underfitting",
            "update_ratio",
        }
    ),
)
