"""Derivatives from values alone, and how wrong they are.

A central difference (f(x+h) - f(x-h)) / 2h errs in two ways. Truncation: the curve is not straight, which gives an
error of h^2 |f'''| / 6. Rounding: f is known only to some noise, which gives an error of noise / h. One grows with
h, the other as h shrinks. The best h lies between, at about eps^(1/3): 6e-6 in float64, where the relative error can be
1e-10, and 5e-3 in float32, where 1e-5 is the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np

from descend.backprop.array import Floats

Function = Callable[[Floats], Any]
"""From an array to one number; what it returns is made a float."""


def forward_difference(f: Function, x: Floats, h: float) -> Floats:
    """(f(x+h) - f(x)) / h for every entry of x: an error of the order h, and one evaluation for each entry."""
    here = float(f(x))
    return _entry_by_entry(x, lambda i: (float(f(_moved(x, i, h))) - here) / h)


def central_difference(f: Function, x: Floats, h: float) -> Floats:
    """(f(x+h) - f(x-h)) / 2h for every entry of x: an error of the order h^2, and two evaluations for each entry."""
    return _entry_by_entry(x, lambda i: (float(f(_moved(x, i, h))) - float(f(_moved(x, i, -h)))) / (2 * h))


@dataclass(frozen=True)
class Difference:
    """A central difference by one entry, with the errors that it estimates of itself."""

    numeric: float
    h: float
    truncation: float
    """A third of what doubling h changes: the error is c h^2, so it would become 4 c h^2."""
    rounding: float
    """noise / h"""
    jump: float
    """Difference of the slopes to the right and to the left: about h f'' where f is smooth, and not so at a kink."""
    bent: float
    """How far `jump` is from half the jump at 2h. Near zero where f is smooth."""

    @property
    def error(self) -> float:
        """Both errors together."""
        return self.truncation + self.rounding

    @property
    def kink(self) -> bool:
        """Whether the two slopes differ as they do not on a smooth curve."""
        return self.bent > 10 * self.rounding + 0.1 * self.jump


def difference(f: Function, x: Floats, index: tuple[int, ...], h: float, noise: float) -> Difference:
    """The central difference by x[index], from five values of f, of which each is known to within `noise`."""
    here = float(x[index])
    # a float32 cannot move by exactly h: each step is taken as it came out, or that would be the largest error
    points = [_moved(x, index, step) for step in (-2 * h, -h, 0.0, h, 2 * h)]
    far_left, left, middle, right, far_right = (float(f(point)) for point in points)
    steps = [float(point[index]) - here for point in points]
    if 0 in (steps[1], steps[3]):
        raise ValueError(f"A step of {h:g} does not change {here:g} in {x.dtype}. Take a larger h.")
    numeric = (right - left) / (steps[3] - steps[1])
    wide = (far_right - far_left) / (steps[4] - steps[0])
    jump = (right - middle) / steps[3] - (left - middle) / steps[1]
    wide_jump = (far_right - middle) / steps[4] - (far_left - middle) / steps[0]
    return Difference(numeric, h, abs(wide - numeric) / 3, noise / h, abs(jump), abs(jump - wide_jump / 2))


def noise_of(f: Function, x: Floats, seed: int = 0) -> float:
    """Standard deviation of the rounding in f near x, by fourth differences (Moré & Wild 2011, "ECnoise").

    On nine points so close together that f is a straight line, fourth differences contain nothing but noise. It is
    never taken below half a unit in the last place of f.
    """
    value = float(f(x))
    here = np.abs(x)
    ulp = np.spacing(np.maximum(here, here.mean(dtype=x.dtype) + np.finfo(x.dtype).tiny))
    direction = np.random.default_rng(seed).choice(np.array([-1, 1], x.dtype), x.shape)
    for widen in (4, 40, 400, 4000):  # until f moves from point to point: rounding can hold it still
        values = np.array([float(f(x + i * widen * ulp * direction)) for i in range(9)])
        if len(set(values)) > 4:
            break
    scale = factorial(4) ** 2 / factorial(
        8
    )  # variance of independent noise in a fourth difference is 1/scale times its own
    measured = np.sqrt(scale * np.mean(np.diff(values, 4) ** 2))
    return float(max(measured, np.finfo(x.dtype).eps * abs(value) / 2))


def _moved(x: Floats, index: tuple[int, ...], step: float) -> Floats:
    moved = x.copy()
    moved[index] += step
    return moved


def _entry_by_entry(x: Floats, slope: Callable[[tuple[int, ...]], float]) -> Floats:
    return np.array([slope(index) for index in np.ndindex(x.shape)], float).reshape(x.shape)
