"""Lines over time: thinned, with a mark where a number stopped being finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from descend.plots._runs import CLOCK, first_non_finite
from descend.plots._style import INK, Axes, Line2D, MultipleLocator
from descend.run import Floats, Series

POINTS: Final = 600  # about one a pixel of a panel
STRETCHES: Final = 150
_HUGE: Final = 1e150  # greater numbers are drawn here: the margins of an axis that held them would overflow


def curve(axes: Axes, values: Series, colour: str, **style: Any) -> None:
    """Draw a series; a lone point as a dot, and a cross on the upper edge where it stops being finite."""
    x, y = values.downsample(POINTS)
    y = np.where(np.isfinite(y), np.clip(y, -_HUGE, _HUGE), np.nan)
    lone = np.count_nonzero(np.isfinite(y)) == 1
    axes.plot(x, y, color=colour, marker="o" if lone else None, markersize=4, **style)
    lost = first_non_finite(values)
    if lost:
        axes.update_datalim([(lost[0], 0)], updatey=False)
        edge = axes.get_xaxis_transform()  # x in data, y in parts of the panel
        axes.scatter([lost[0]], [1], transform=edge, color=colour, marker="x", s=28, clip_on=False)


def time_axis(axes: Axes, clock: str) -> None:
    """Name the x-axis of a drawn panel after its clock; updates and examples are counted in whole numbers."""
    axes.set_xlabel(CLOCK[clock])
    low, high = axes.get_xlim()
    if clock != "seconds" and high - low < 4:
        axes.set_xlim(low - 1, high + 1)
        axes.xaxis.set_major_locator(MultipleLocator(1))


def name_crosses(axes: Axes, drawn: Sequence[Series]) -> None:
    """Say beside the first cross what it means."""
    lost = min(filter(None, map(first_non_finite, drawn)), default=None)
    if lost:
        side = -1 if lost[0] > sum(axes.get_xlim()) / 2 else 1
        axes.annotate(
            lost[1],
            (lost[0], 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(6 * side, 0),
            textcoords="offset points",
            ha="right" if side < 0 else "left",
            va="center",
        )


def smooth(values: Series) -> Series:
    """The mean of each of some 150 stretches, at the stretch's middle; a stretch that is not finite stays so."""
    if len(values.x) <= STRETCHES:
        return values
    starts = np.arange(STRETCHES) * len(values.x) // STRETCHES
    lengths = np.diff(np.append(starts, len(values.x)))
    with np.errstate(invalid="ignore", over="ignore"):
        return Series(np.add.reduceat(values.x, starts) / lengths, np.add.reduceat(values.y, starts) / lengths)


def key(label: str, colour: str = INK, **style: Any) -> Line2D:
    """A line for the legend."""
    return Line2D([], [], color=colour, label=label, **style)


def middle(members: Sequence[Series]) -> tuple[Floats, Floats]:
    """Median, least and greatest of several series at common places: x [points] and y [3, points].

    Between its points a series is a straight line in log y where it is positive; before its first point it is not
    yet there, and after its last it keeps its last value, as a trained model does.
    """
    begin = max(float(values.x[0]) for values in members)
    grid = np.unique(np.concatenate([values.x[values.x >= begin] for values in members]))
    grid = grid[np.unique(np.linspace(0, len(grid) - 1, min(len(grid), POINTS // 2)).astype(int))]
    table = np.stack([_between(grid, values) for values in members])
    return grid, np.stack([np.median(table, axis=0), table.min(axis=0), table.max(axis=0)])


def _between(grid: Floats, values: Series) -> Floats:
    y = np.where(np.isfinite(values.y), np.clip(values.y, -_HUGE, _HUGE), np.inf)
    if not np.all(y > 0):
        return np.interp(grid, values.x, y)
    with np.errstate(invalid="ignore", over="ignore"):
        between = 10 ** np.interp(grid, values.x, np.log10(y))
    return np.where(np.isnan(between), np.inf, between)
