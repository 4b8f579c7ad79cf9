"""The window of good learning rates: how far one may be off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64

from descend.comparison import CONFIDENCE
from descend.recommending._contestant import logs
from descend.run import Floats

TOLERANCE: Final = 0.25
"""A learning rate is good where its loss is at most this share above the best one's."""

GRID: Final = 40  # points of a curve in a decade of learning rates: the window's ends lie between them

BOOTSTRAPS: Final = 1000


@dataclass(frozen=True)
class Window:
    """Around the best learning rate, those whose loss is low enough; at `edges` of the range it may go on.

    Of the median over repeats, on log axes between the learning rates that were drawn. The interval of the factor from
    `low` to `high` is the bootstrap's, over repeats. Where even the best is not low enough, `low` is `high`.
    """

    low: float
    high: float
    interval: tuple[float, float]
    edges: bool

    @property
    def factor(self) -> float:
        """How many times the lowest good learning rate the highest one is."""
        return self.high / self.low


def window_of(
    lrs: Float64[np.ndarray, "repeats configurations"],
    losses: Float64[np.ndarray, "repeats configurations"],
    lr_range: tuple[float, float],
    tolerance: float = TOLERANCE,
    limit: float | None = None,
) -> Window:
    """The window of losses of at most `limit`, or, where that is not given, up to `tolerance` above the best one."""
    grid, curves = curves_of(lrs, losses, lr_range)

    def span(curve: Floats) -> tuple[float, float]:
        most = float(curve.min()) + math.log1p(tolerance) if limit is None else float(logs(np.array([limit]))[0])
        return _span(grid, curve, most)

    low, high = span(np.median(curves, axis=0))
    draw = np.random.default_rng(0)
    again = curves[draw.integers(0, len(curves), (BOOTSTRAPS, len(curves)))]
    widths = [end - begin for begin, end in map(span, np.median(again, axis=1))]
    tail = (1 - CONFIDENCE) / 2
    least, most = np.exp(np.quantile(widths, (tail, 1 - tail)))
    edges = bool(low == grid[0] or high == grid[-1])
    return Window(math.exp(low), math.exp(high), (float(least), float(most)), edges)


def curves_of(
    lrs: Float64[np.ndarray, "repeats configurations"],
    losses: Float64[np.ndarray, "repeats configurations"],
    lr_range: tuple[float, float],
) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, "repeats points"]]:
    """The log loss of every repeat over one grid of log learning rates, straight between those that were drawn."""
    low, high = np.log(lr_range)
    grid = np.linspace(low, high, 1 + math.ceil(GRID * (high - low) / math.log(10)))
    drawn = zip(np.log(lrs), logs(losses), strict=True)
    return grid, np.array([np.interp(grid, *curve) for curve in drawn])


def _span(grid: Floats, curve: Floats, limit: float) -> tuple[float, float]:
    """Where a curve first rises above a limit, on either side of its lowest value."""
    best = int(curve.argmin())
    if curve[best] > limit:
        return float(grid[best]), float(grid[best])
    above = np.flatnonzero(curve > limit)
    left, right = above[above < best], above[above > best]
    low = _crossing(grid, curve, int(left[-1]), 1, limit) if len(left) else float(grid[0])
    high = _crossing(grid, curve, int(right[0]), -1, limit) if len(right) else float(grid[-1])
    return low, high


def _crossing(grid: Floats, curve: Floats, outside: int, towards: int, limit: float) -> float:
    """Where the curve has the limit, between the first point above it and its neighbour."""
    inside = outside + towards
    share = (limit - curve[inside]) / (curve[outside] - curve[inside])
    return float(grid[inside] + share * (grid[outside] - grid[inside]))
