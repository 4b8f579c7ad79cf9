"""How training went: what the checks of learning rate, fit and regularisation read from a chart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from descend.doctor._chart import Chart
from descend.doctor._check import Remedy
from descend.doctor._signals import percent, remedy
from descend.doctor._statistics import jitter, stretches
from descend.run import Floats, Series

EVALUATIONS: Final = 5  # of which a course can be read; of fewer, the losses of the batches are the better course
STRETCHES: Final = 30  # of the losses of the batches, where there are too few evaluations
FEW: Final = 16  # rows: the first loss of smaller batches is one of chance
ADAPTIVE: Final = frozenset(
    {"adam", "adamw", "rmsprop", "adagrad", "lion", "muon", "nadam", "radam", "adamax", "adadelta"}
)
"""Optimizers that divide the gradient by its own size: a constant factor on it changes nothing."""


@dataclass(frozen=True)
class Course:
    """The training loss over time: at least one value, all finite, none negative where the loss is not."""

    steps: Floats
    values: Floats
    series: str
    start: float  # the loss before the first update

    @property
    def best(self) -> float:
        return float(self.values.min())

    @property
    def best_step(self) -> int:
        return int(self.steps[self.values.argmin()])

    @property
    def level(self) -> float:
        """Where the loss stands: the median of the last quarter."""
        return float(np.median(self.last(4)))

    def last(self, share: int) -> Floats:
        """The values of the last half (2), third (3), quarter (4)."""
        return self.values[-max(1, len(self.values) // share) :]

    @property
    def kept(self) -> float:
        """The share of the first loss that is left."""
        return self.level / self.start if self.start > 0 else math.inf


STRAIGHT: Final = 0.15
"""Fall of the last third over fall of the first: 0.19 to 1.4 at a hundredth of a good learning rate."""


def thirds(seen: Course) -> tuple[float, float]:
    """By how much the loss fell in the first and in the last third of training."""
    third = max(1, len(seen.values) // 3)
    start, end = seen.values[0], seen.values[-1]
    return float(start - seen.values[third - len(seen.values)]), float(seen.values[-1 - third] - end)


def falls(seen: Course) -> bool:
    """Whether the loss still falls in the last third: hardly ever back, and by more than its jitter."""
    _, last = thirds(seen)
    return bool(np.mean(np.diff(seen.values) > 0) < 0.2 and last > 3 * jitter(seen.values))


def fall(seen: Course) -> float:
    """The share of the loss that was lost in the last third of training; 0 where that is not more than its jitter."""
    sixth = max(1, len(seen.values) // 6)
    before, after = np.median(seen.values[-3 * sixth : -2 * sixth]), np.median(seen.values[-sixth:])
    lost = float(before - after)
    return lost / float(before) if lost > 3 * jitter(seen.last(2)) and before > 0 else 0.0


def batch_losses(chart: Chart) -> Series:
    """The losses of the batches, as far as they are finite."""
    series = chart.series("loss/batch")
    finite = np.isfinite(series.y)
    return Series(series.x[finite], series.y[finite])


def course(chart: Chart) -> Course | None:
    """The loss on the training rows in evaluation mode; of few evaluations, the losses of the batches.

    None where neither was recorded.
    """
    batches, evaluated = batch_losses(chart), chart.series("loss/train")
    finite = np.isfinite(evaluated.y)
    x, y = evaluated.x[finite], evaluated.y[finite]
    if len(y) >= EVALUATIONS:
        return Course(x, y, "loss/train", float(y[0]))
    if not len(batches.y):
        return None
    size = batch_size(chart)
    first = float(np.median(batches.y[:5])) if size is not None and size < FEW else float(batches.y[0])
    start = float(y[0]) if len(y) and x[0] == 0 else first
    return Course(stretches(batches.x, STRETCHES), stretches(batches.y, STRETCHES), "loss/batch", start)


def outliers(losses: Floats, start: float) -> NDArray[np.intp]:
    """Places of batches with a loss above the first one and 25 times the median, between ordinary ones (5 times).

    In 200 healthy runs with batches of more than 8 rows there were none: what a high loss leaves behind is high too.
    Where five of 560 targets were 100 times too large, 32 of 450 batches were.
    """
    median = float(np.median(losses))
    ordinary = np.concatenate([[True], losses < 5 * median, [True]])
    high = (losses > max(start, 25 * median)) & ordinary[:-2] & ordinary[2:]
    return np.flatnonzero(high) if median > 0 else np.empty(0, dtype=np.intp)


@dataclass(frozen=True)
class Room:
    """How far the training rows are from fitted: the share of them (of their variance) that the network gets wrong.

    `neighbours` is what is wrong when each row is predicted from its five nearest others, which know neither the row
    nor any weight; `uninformed` when they are rows at random.
    """

    wrong: float
    neighbours: float
    uninformed: float
    rows: int
    what: str

    @property
    def share(self) -> float:
        """0: as good as the neighbours; 1: no better than chance."""
        return (self.wrong - self.neighbours) / max(self.uninformed - self.neighbours, 1e-9)

    @property
    def certain(self) -> bool:
        """Whether the difference is more than the rows' number makes by chance (three standard errors)."""
        variance = sum(share * (1 - share) for share in (min(self.wrong, 1.0), min(self.neighbours, 1.0)))
        return self.wrong - self.neighbours > 3 * math.sqrt(variance / self.rows) if self.rows else False

    @property
    def says(self) -> str:
        return (
            f"The network gets {percent(self.wrong)} of {self.what} wrong; the five nearest neighbours of each row "
            f"would get {percent(self.neighbours)} wrong."
        )


def room(chart: Chart) -> Room | None:
    """What nearest neighbours say of how well the training rows can be fitted; None where that is not known."""
    known = chart.fact("data", "train", "neighbours")
    accuracy, r2 = chart.series("accuracy/train").y, chart.series("r2/train").y
    if not known or not (len(accuracy) or len(r2)):
        return None
    right = accuracy if len(accuracy) else r2
    wrong = 1 - float(np.median(right[-max(1, len(right) // 4) :]))
    if not math.isfinite(wrong):
        return None
    uninformed = known["expected"] if len(accuracy) else 1.0  # five rows at random do worse than the mean: 1.2
    if uninformed - known["disagree"] < 0.1:
        return None
    what = "its training rows" if len(accuracy) else "the variance of its training targets"
    return Room(wrong, known["disagree"], uninformed, int(known["rows"]), what)


def setting(chart: Chart, name: str) -> Any:
    """A setting of the recipe, or of the watched loop, or of its optimizer; None where it is not known."""
    if (value := chart.settings.get(name)) is not None:
        return value
    groups = [group[name] for group in chart.fact("optimizer", "groups") or () if group.get(name) is not None]
    return max(groups) if groups and isinstance(groups[0], (int, float)) else groups[0] if groups else None


def number(chart: Chart, name: str) -> float:
    """A setting that is a number; 0 where it is not known."""
    value = setting(chart, name)
    return float(value) if isinstance(value, (int, float)) else 0.0


def optimizer(chart: Chart) -> str:
    """The optimizer's name in lower case; "" where it is not known."""
    return str(chart.settings.get("optimizer") or chart.fact("optimizer", "kind") or "").lower()


def batch_size(chart: Chart) -> int | None:
    """Rows of a batch; None where that is not known."""
    rows, size = rows_of(chart), setting(chart, "batch_size")
    if size is None:
        size = chart.fact("data", "train", "batch_size")
    if size == "all":
        return rows
    return min(int(size), rows or int(size)) if isinstance(size, (int, float)) else None


def rows_of(chart: Chart) -> int | None:
    """Rows of the training set."""
    rows = chart.fact("data", "train", "rows")
    if rows is None:
        rows = next((note.details.get("rows") for note in chart.notes if note.kind == "started"), None)
    return None if rows is None else int(rows)


def steps_an_epoch(chart: Chart) -> int | None:
    """Updates of one epoch, the incomplete last batch counted unless it is dropped."""
    rows, size = rows_of(chart), batch_size(chart)
    if not rows or not size:
        return None
    return max(1, rows // size if chart.settings.get("last_batch") == "dropped" else -(-rows // size))


def parameters_of(chart: Chart) -> int | None:
    """Weights and biases of the network."""
    count = chart.fact("network", "parameters")
    if count is None:
        count = next((note.details.get("parameters") for note in chart.notes if note.kind == "started"), None)
    return None if count is None else int(count)


SMALL: Final = 0.25
"""Weights for each training row and class: small networks that cannot fit have 0.01 to 0.1, healthy ones 1 to 100."""


def small(chart: Chart) -> bool:
    """Whether the network is linear, or has few weights for each row."""
    count, rows = parameters_of(chart), rows_of(chart)
    classes = max(1, len(chart.fact("data", "train", "classes") or ()))
    return bool(chart.fact("network", "affine")) or bool(count and rows and count < SMALL * rows * classes)


def dropout_of(chart: Chart) -> float:
    """The largest share of units that a layer leaves out while training; 0 where there is no dropout."""
    return number(chart, "dropout") or float(chart.fact("network", "dropout") or 0.0)


def limit_of(chart: Chart) -> dict[str, Any] | None:
    """The learning rate beyond which full-batch training diverges, where `fit` could compute it."""
    return next((note.details for note in chart.notes if note.kind == "limit"), None)


def faster(chart: Chart, factor: float) -> Remedy:
    """A learning rate `factor` times higher."""
    advice, diff = f"Raise the learning rate {factor:g} times.", {"lr=...": f"lr=... * {factor:g}"}
    return (
        remedy(chart, advice, "safe", diff, lr=factor * number(chart, "lr")) if number(chart, "lr") else Remedy(advice)
    )


def steady_rate(chart: Chart) -> bool:
    """Whether the learning rate at the end is still at least half of its highest value."""
    rates = chart.series("lr/0").y
    return bool(len(rates) == 0 or rates[-1] >= 0.5 * rates.max())


def update_ratios(chart: Chart) -> Series:
    """The lengths of the updates relative to the weights', finite ones; biases that begin at 0 blow up the first."""
    series = chart.series("update_ratio/all")
    known = np.isfinite(series.y) & (series.x > 1)
    return Series(series.x[known], series.y[known])
