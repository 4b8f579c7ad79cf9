"""Batches are so small that their noise, not their gradient, moves the weights.

The gradient of a batch of B rows is the true one plus noise, whose variance falls as 1 / B. At a constant learning rate
the weights end up wandering about the minimum, at a height that grows with lr / B: more steps do not help, and what
training ends with is luck. Larger batches or a lower (or falling) learning rate lower that height in proportion.

Small batches are healthy as long as the loss gets lower: its scatter from batch to batch says nothing, since those are
different rows. The training loss over all rows has no such scatter. Where it goes up as often as down from one
evaluation to the next, by much, and has stopped to reach new lows, it is the weights that wander.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._probe import beside
from descend.doctor._signals import percent, remedy, slower, two_digits
from descend.doctor._training import batch_size, course, rows_of, steady_rate, update_ratios
from descend.run import Series

EVALUATIONS: Final = 8

SMALL: Final = 8  # rows; instability with larger batches is the learning rate's
OF_ROWS: Final = 0.05  # and of the training set

WANDERS: Final = 0.08
"""Change of the training loss's logarithm from one evaluation to the next, root mean square, in the last half. Noisy
runs 0.1 to 0.26. Healthy runs with batches of 8 rows or fewer 1e-4 to 0.04, or 0.18 while they still reach new lows."""

UPS: Final = 0.4
"""Of the evaluations, that are worse than the one before: noisy runs 0.45 to 0.67; healthy ones 0 to 0.4."""

NO_BETTER: Final = 0.8
"""The lowest loss of the last half over that of the first: noisy runs 0.85 to 1.1; healthy ones 0.2 to 0.7."""

FORK: Final = 0.7  # of the unchanged fork's loss

LEFT: Final = 0.02
"""Of the first loss: below it wandering does no harm."""

FEW: Final = 4  # evaluations, where updates are long

LONG: Final = 0.01
"""Of the weights' length, an update in the last half: noisy runs 0.011 to 0.08; with such batches healthy ones
0.006."""

ROSE: Final = 0.1
"""Of the training loss, from one evaluation to the next: noisy runs 0.16 and more; healthy ones 0.06 at most."""


def look(chart: Chart) -> Finding | Unknown | None:
    size, rows, seen = batch_size(chart), rows_of(chart), course(chart)
    if size is None or rows is None:
        return Unknown("the number of rows of a batch and of the training set")
    if size > SMALL or size > OF_ROWS * rows:
        return None
    evaluated = chart.series("loss/train")
    evaluated = Series(evaluated.x[np.isfinite(evaluated.y)], evaluated.y[np.isfinite(evaluated.y)])
    if seen is None or len(evaluated.y) < FEW:
        return Unknown(f"{FEW} evaluations of the training rows")
    if not steady_rate(chart) or evaluated.y.min() <= 0 or seen.kept < LEFT:
        return None
    evidence = _wanders(evaluated) or _thrown_about(chart, evaluated)
    if evidence is None:
        return None
    sure, larger = 0.75, beside(chart, "batch_up")
    if larger is not None and larger < FORK:
        says = f"A short fork with larger batches ended at {percent(larger)} of the unchanged fork's loss."
        evidence += (Evidence("facts/probe/batch_up", larger, FORK, says),)
        sure = 0.9
    return Finding(
        f"Batches of {size} of {rows:,} rows are too noisy for this learning rate: the weights wander. "
        f"{evidence[0].says}",
        evidence,
        sure,
        since=int(evaluated.x[len(evaluated.x) // 2]),
        remedies=_remedies(chart, size),
    )


def _wanders(evaluated: Series) -> tuple[Evidence, ...] | None:
    """The loss over all rows goes up and down, and gets no lower."""
    if len(evaluated.y) < EVALUATIONS:
        return None
    first, half = np.split(evaluated.y, [len(evaluated.y) - len(evaluated.y) // 2])
    changes = np.diff(np.log(half))
    ups, wanders = float((changes > 0).mean()), float(np.sqrt(np.mean(changes**2)))
    newest = float(half.min() / first.min())
    if ups < UPS or wanders < WANDERS or newest < NO_BETTER:
        return None
    noise = (
        f"In the last half the loss over all training rows changed by {percent(math.expm1(wanders))} from one "
        f"evaluation to the next, and rose at {percent(ups)} of them."
    )
    still = (
        f"Its lowest value was {two_digits(first.min())} in the first half of training and {two_digits(half.min())} in "
        "the second."
    )
    return (Evidence("loss/train", wanders, WANDERS, noise), Evidence("loss/train", newest, NO_BETTER, still))


def _thrown_about(chart: Chart, evaluated: Series) -> tuple[Evidence, ...] | None:
    """Updates are long, and the loss over all rows rises by far on the way."""
    ratios = update_ratios(chart).y
    rises = np.diff(evaluated.y[1:]) / evaluated.y[1:-1]
    length = float(np.median(ratios[len(ratios) // 2 :])) if len(ratios) else 0.0
    most = float(rises.max())
    if length < LONG or most < ROSE:
        return None
    step = int(evaluated.x[2 + int(rises.argmax())])
    rose = f"The loss over all training rows rose by {percent(most)} from one evaluation to the next, at step {step:,}."
    long = f"In the last half an update typically has {percent(length)} of the weights' length; 0.1 % to 1 % is usual."
    return (Evidence("loss/train", most, ROSE, rose), Evidence("update_ratio/all", length, LONG, long))


def _remedies(chart: Chart, size: int) -> tuple[Remedy, ...]:
    diff = {f"batch_size={size}": f"batch_size={8 * size}"}
    cosine = "Let the learning rate fall to zero (a cosine schedule), so that the noise averages out."
    return (
        remedy(chart, f"Make batches 8 times as large ({8 * size} rows).", "safe", diff, batch_size=8 * size),
        slower(chart, 8),
        remedy(chart, cosine, "safe", schedule="cosine"),
    )


noisy_batches = Check(
    look,
    symptom="The loss jumps up and down, also on all training rows together, and gets no lower.",
    sick=Example(
        data="employee_bonus",
        rows=200,
        noise=20.0,
        validation=0.3,
        scale="standard",
        model="linear",
        lr=0.1,
        batch_size=1,
        steps=1000,
        evaluate_every=50,
    ),
    near_miss=Example(
        data="employee_bonus",
        rows=200,
        noise=20.0,
        validation=0.3,
        scale="standard",
        model="linear",
        lr=0.01,
        batch_size=4,
        steps=1000,
        evaluate_every=50,
    ),
    look_alike="Losses of small batches that scatter, each of other rows, while the loss over all rows gets lower.",
    source="Bottou, Curtis & Nocedal 2018, section 4; McCandlish et al. 2018, large-batch training",
    explains=frozenset({"dead_relus", "loss_spikes", "plateau", "saturated_units", "underfitting"}),
)
