"""Statistics that a few wild values cannot move, for curves that are short, noisy or both."""

from __future__ import annotations

import numpy as np

from descend.run import Floats


def spread(values: Floats) -> float:
    """A standard deviation that up to half of the values cannot move: 1.4826 times the median distance from the median.

    The factor makes it the standard deviation where the values are normal.
    """
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else 0.0


def jitter(values: Floats) -> float:
    """How far the values of a curve lie from the curve, as a standard deviation.

    Second differences take a straight line out, and have six times the variance of independent noise (1 + 4 + 1).
    """
    return spread(np.diff(values, 2)) / 6**0.5 if len(values) > 2 else 0.0


def stretches(values: Floats, count: int) -> Floats:
    """The medians of `count` equal stretches, or the values themselves where there are no more."""
    return np.array([np.median(part) for part in np.array_split(values, count)]) if len(values) > count else values


def moving_median(values: Floats, width: int) -> Floats:
    """The medians of every `width` values in a row; the values themselves where there are fewer."""
    if len(values) < width:
        return values
    medians: Floats = np.median(np.lib.stride_tricks.sliding_window_view(values, width), axis=1)
    return medians
