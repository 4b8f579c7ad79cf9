"""What the losses of a range test say: where they fall fastest, where they turn, and where all is lost again.

On a quadratic whose largest curvature is lambda, gradient descent multiplies the error along it by 1 - lr lambda. When
the rate has been raised by a factor r at every step up to x / lambda, the error is exp(-Li(x) / ln r) times its first,
where Li(x) is the real part of the dilogarithm, the sum over steps of -ln|1 - t| as an integral over dt / t. Hence

* the error is least exactly at x = 2, where the rate passes the stability limit 2 / lambda: there the loss turns;
* it is back at its first size at x = 12.60, 6.30 times the limit, and that for every r (where Li is zero again).

With more than one curvature the others may hide the rise, so the loss turns between 1 and 6.30 times the limit; noise,
which keeps every direction awake, brings the turn close to 1. Half of the turn is 1 / lambda, the largest rate at which
no direction oscillates and, for the steepest one, the best. Neither depends on how fast the rate is raised, as the
place of the steepest fall does: that lies the lower, the more steps there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Float64

from descend.run import Floats

WIDTH: Final = 0.1  # decades: standard deviation of the smoothing kernel; symmetric, so that nothing is moved
SURE: Final = 4.0  # standard errors by which a loss must fall to have fallen
LEAST: Final = 0.01  # and at least this part of it, or this much where it may be negative
LOST: Final = 0.9  # of what had been gained: then the loss has exploded


@dataclass(frozen=True)
class Reading:
    """Places on the curve, as learning rates; None where there is no such place."""

    smoothed: Floats  # the loss over the rates at which every repeat was alive; the geometric mean where positive
    fastest: float | None  # steepest fall, of the log of the loss where it is positive
    turn: float | None  # lowest smoothed loss: the largest rate before it rises
    turns: tuple[float, ...]  # that of each repeat alone
    exploded: float | None  # nine tenths of what had been gained are lost, or a loss is not finite
    start: float  # the loss at rates too low to matter
    lowest: float


def read(
    rates: Float64[np.ndarray, " points"], losses: Float64[np.ndarray, "repeats points"], *, ended: bool
) -> Reading:
    """Read the losses of every repeat at rates that rise geometrically; NaN after a repeat has stopped.

    `ended` says that one stopped because its loss exploded. Loss and noise at the start are those of the first half
    decade.
    """
    alive = np.isfinite(losses).all(axis=0)
    points = len(alive) if alive.all() else int(alive.argmin())
    if not points:
        return Reading(np.empty(0), None, None, (), float(rates[0]), np.nan, np.nan)
    place, seen = np.log10(rates[:points]), losses[:, :points]
    positive = bool((seen > 0).all())
    seen = np.log(seen) if positive else seen
    mean = smooth(place, seen.mean(axis=0))
    early = place <= place[0] + 0.5
    start = float(mean[early].mean())
    error = float((seen - smooth(place, seen))[:, early].std()) / np.sqrt(len(seen) * _weight(place))
    least = np.log1p(LEAST) if positive else LEAST * abs(start)
    best = np.minimum.accumulate(mean)
    fell = start - best > max(SURE * error, least)
    lost = np.flatnonzero(fell & (mean > start - (1 - LOST) * (start - best)))
    end = int(lost[0]) if len(lost) else points
    exploded = float(rates[min(end, points - 1)]) if len(lost) or ended else None
    back = np.exp if positive else np.asarray
    shown = Reading(back(mean), None, None, (), exploded, float(back(start)), float(back(best[end - 1])))
    if not fell[end - 1]:
        return shown
    turn = int(mean[:end].argmin())
    slope = np.gradient(mean[: turn + 1], place[: turn + 1]) if turn else np.zeros(1)
    turns = tuple(float(rates[smooth(place, one)[:end].argmin()]) for one in seen)
    return Reading(
        shown.smoothed, float(rates[slope.argmin()]), float(rates[turn]), turns, exploded, shown.start, shown.lowest
    )


def smooth(place: Float[np.ndarray, " points"], values: Float[np.ndarray, "*repeats points"]) -> Floats:
    """Means under a Gaussian on the log axis; at the ends, of what is there."""
    kernel = np.exp(-0.5 * ((place[:, None] - place) / WIDTH) ** 2)
    smoothed: Floats = values @ (kernel / kernel.sum(axis=1, keepdims=True)).T
    return smoothed


def _weight(place: Float[np.ndarray, " points"]) -> float:
    """How many independent points a smoothed one is the mean of: 2 sqrt(pi) standard deviations' worth."""
    step = place[1] - place[0] if len(place) > 1 else 1.0
    return max(1.0, 2 * math.sqrt(math.pi) * WIDTH / float(step))
