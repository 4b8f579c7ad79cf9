"""What the checks of the data share."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Evidence, Unknown
from descend.run import Series

DATA: Final = Unknown("the data: give `descend.watch` the training and validation rows")

UNFINISHED: Final = Unknown("the end of training: what is behind now may catch up")

CLEAR: Final = 5.0
"""Standard errors between what is called different: by chance once in 1.7 million times, and 120 runs are judged."""

GROWN: Final = 10.0
"""Times the first loss that are more than the noise of batches: in healthy runs it is up to 4 times at the start."""


def split(chart: Chart, name: str = "train") -> dict[str, Any]:
    """Facts about the rows of a split; empty where they are not known."""
    return dict(chart.fact("data", name) or {})


def before_training(chart: Chart) -> bool:
    """Whether nothing but facts is known, as in `descend.preflight`."""
    return chart.run is None


def column(chart: Chart, number: int) -> str:
    """ "column 3", or "column 3 ('age')"; numbers count from 0, as in code."""
    names = chart.fact("data", "features") or ()
    return f"column {number} ('{names[number]}')" if number < len(names) else f"column {number}"


def columns(chart: Chart, numbers: list[int], most: int = 3) -> str:
    """ "column 3", "columns 0, 1 and 2", "columns 0, 1, 2 and 9 more"."""
    if len(numbers) == 1:
        return column(chart, numbers[0])
    named = [column(chart, number).removeprefix("column ") for number in numbers[:most]]
    rest = len(numbers) - len(named)
    last = [f"{rest:,} more"] if rest else [named.pop()]
    return f"columns {', '.join(named)} and {last[0]}"


def error_of(share: float, rows: int) -> float:
    """The standard error of a share that was counted in so many rows; never 0, since no count is certain."""
    smoothed = (share * rows + 1) / (rows + 2)
    return math.sqrt(smoothed * (1 - smoothed) / max(1, rows)) if 0 < smoothed < 1 else 1 / max(1, rows)


def apart(one: float, rows: int, other: float, others: int) -> float:
    """By how many standard errors one share lies above another."""
    return (one - other) / math.hypot(error_of(one, rows), error_of(other, others))


def score(chart: Chart, name: str) -> Series:
    """The accuracy of a split over time, or its R2, as far as it is finite; empty where neither was recorded."""
    series = next((s for s in (chart.series(f"{what}/{name}") for what in ("accuracy", "r2")) if len(s.y)), None)
    if series is None:
        return Series(np.empty(0), np.empty(0))
    finite = np.isfinite(series.y)
    return Series(series.x[finite], series.y[finite])


def fit(chart: Chart) -> float | None:
    """The accuracy or R2 on the training rows at the end: in evaluation mode, or on the batches where that is better.

    So neither dropout nor running statistics that lag behind count against the fit. None where nothing was recorded.
    """
    ours, batches = score(chart, "train").y, score(chart, "batch").y
    ends = [*ours[-1:], *([np.median(batches[-max(1, len(batches) // 4) :])] if len(batches) else [])]
    return float(max(ends)) if ends else None


def grew(chart: Chart) -> Evidence | None:
    """That the loss rose far above its first value, if it did; one that was infinite or NaN at once did not."""
    for name, times, last in (("loss/batch", GROWN, False), ("loss/train", 1.1, True)):
        losses = chart.series(name).y
        known = losses[np.isfinite(losses)]
        if len(known) < 2:
            continue
        first, high = float(known[0]), float(known[-1] if last else known.max())
        if high > times * max(first, 0):
            return Evidence(name, high, times * first, f"The loss rose from {first:.2g} to {high:.2g}.")
    return None
