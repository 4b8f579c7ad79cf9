"""The network does not fit the rows that it is trained on, and the data are not to blame.

A training loss is "too high" only against something that is lower. Here that is what nearest neighbours do with the
same rows: each row predicted from its five nearest others. Where they are right and the network is wrong, there is
structure that it has not learned, and irreducible noise is no excuse. Why not is one of three things. Capacity: the
loss has levelled off and the network is small, or linear. Time: the loss was still falling when training ended.
Regularisation: dropout lifts the loss while training; see dropout_too_strong and decay_too_strong.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import percent, remedy, two_digits
from descend.doctor._training import (
    STRAIGHT,
    Course,
    Room,
    course,
    dropout_of,
    fall,
    falls,
    faster,
    number,
    parameters_of,
    room,
    rows_of,
    small,
    steps_an_epoch,
    thirds,
)

FEWEST: Final = 50  # steps

POOR: Final = 0.15
"""Of the way from chance to the neighbours, that is left: a line through moons 0.24, through spirals or circles 0.7 to
0.9, 2 to 4 hidden units 0.6 to 0.8; healthy runs that have levelled off 0.1 at most (0.12 with dropout of 0.5)."""

UNFINISHED: Final = 0.45
"""The same for a run that is still falling: stopped after a tenth of the steps 0.6 to 0.85; healthy short runs 0.1 to
0.28, and 0.42 with 32 rows."""

FALLING: Final = 0.05
"""Of the loss, lost in the last third. Runs at their capacity lose 0.03 at most, ones stopped early 0.05 to 0.4."""

LIFTED: Final = 0.1
"""Of the first loss, by which dropout lifts it: 0.17 to 0.31 where it is too strong, healthy runs 0.03 at most."""


class Reason(NamedTuple):
    """Why the training rows are not fitted."""

    lacking: str
    evidence: Evidence
    sure: float
    remedies: tuple[Remedy, ...]


def look(chart: Chart) -> Finding | Unknown | None:
    seen, left = course(chart), room(chart)
    if not chart.ended:
        return Unknown("the end of training")
    if seen is None or chart.steps < FEWEST:
        return Unknown(f"at least {FEWEST} steps")
    if left is None:
        return Unknown("what nearest neighbours reach on the training rows, and the accuracy or R2 there")
    if left.share < POOR or not left.certain or seen.level > seen.start:  # risen: it diverged, and lacks nothing
        return None
    reason = _regularised(chart, seen) or _capacity(chart, seen) or _time(chart, seen, left)
    if reason is None:
        return None
    wrong = Evidence("facts/data/train/neighbours", left.wrong, left.neighbours, left.says)
    return Finding(
        f"The network underfits for lack of {reason.lacking}. {reason.evidence.says} {left.says}",
        (wrong, reason.evidence),
        reason.sure,
        remedies=reason.remedies,
    )


def _regularised(chart: Chart, seen: Course) -> Reason | None:
    training = chart.series("loss/train_mode").y
    if not len(training) or seen.series != "loss/train" or not dropout_of(chart) or seen.start <= 0:
        return None
    lifted = (float(np.median(training[-max(1, len(training) // 4) :])) - seen.level) / seen.start
    if not lifted > LIFTED:
        return None
    says = f"Dropout lifts the training loss by {percent(lifted)} of its first value."
    without = remedy(chart, "Take dropout out.", "changes the result", dropout=0.0)
    return Reason("freedom: dropout holds it back", Evidence("loss/train_mode", lifted, LIFTED, says), 0.75, (without,))


def _capacity(chart: Chart, seen: Course) -> Reason | None:
    falling = fall(seen)
    if falling > FALLING or not small(chart):
        return None
    count, rows = parameters_of(chart), rows_of(chart)
    size = "linear" if chart.fact("network", "affine") else f"small ({count:,} weights for {rows:,} rows)"
    says = f"The training loss has levelled off at {two_digits(seen.level)}, and the network is {size}."
    return Reason("capacity", Evidence(seen.series, falling, FALLING, says), 0.85, _larger(chart))


def _larger(chart: Chart) -> tuple[Remedy, ...]:
    advice = "Put a hidden layer with ReLUs between input and output."
    if chart.settings.get("model") == "linear":
        return (remedy(chart, advice, "changes the result", model="mlp"),)
    width, depth = max(16, int(8 * number(chart, "width"))), int(number(chart, "depth")) + 1
    return (
        remedy(chart, f"Widen the network ({width} units a layer).", "changes the result", width=width),
        remedy(chart, f"Widen it, and add a layer ({depth}).", "changes the result", width=width, depth=depth),
    )


def _time(chart: Chart, seen: Course, left: Room) -> Reason | None:
    falling, (first, last) = fall(seen), thirds(seen)
    straight = falls(seen) and last > STRAIGHT * first
    if left.share < UNFINISHED or not (falling > FALLING or straight):
        return None
    falling = max(falling, last / float(seen.values[0]))
    epoch = steps_an_epoch(chart)
    epochs = chart.steps / epoch / 3 if epoch else 0.0
    pace = f", {percent(falling / epochs)} an epoch" if epochs >= 1 else ""
    says = f"In the last third of training the loss still fell by {percent(falling)}{pace}."
    longer = {"steps": 10 * chart.steps}
    return Reason(
        "time",
        Evidence(seen.series, falling, FALLING if falling > FALLING else 0.0, says),
        0.75,
        (
            remedy(chart, "Train ten times as long.", "safe", {"epochs = ...": "epochs = ... * 10"}, **longer),
            faster(chart, 3),
        ),
    )


underfitting = Check(
    look,
    symptom="Training and validation loss are alike, and both are poor.",
    sick=Example(data="moons", model="linear", optimizer="adam", lr=0.03, epochs=40),
    near_miss=Example(data="blobs", noise=2.0, model="linear", optimizer="sgd", lr=0.1, epochs=40),
    look_alike="Noisy targets: nobody can fit them better, and the nearest neighbours are no better either.",
    source="Goodfellow et al. 2016, Deep Learning, sections 5.2 and 11.4; Cover & Hart 1967 for nearest neighbours",
)
