"""Two circles around the origin, radius 1/2 and 1: only the distance from the centre tells the classes apart.

The distance of a noisy point from the centre has a Rice distribution, so the least error rate of any classifier
is known: half the area that the two densities share. It is 0.006 at noise 0.1 and 0.11 at noise 0.2.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from descend.catalog import Count, Fraction, NonNegative, Whole
from descend.data._build import build
from descend.data._dataset import Dataset

_RADII: Final = (0.5, 1.0)


def circles(
    *,
    rows: Count = 500,
    noise: NonNegative = 0.1,
    data_seed: Whole = 0,
    validation: Fraction = 0.2,
    test: Fraction = 0.0,
    scale: Literal["none", "standard"] = "none",
) -> Dataset:
    """`noise` is the standard deviation of Gaussian noise on both coordinates."""
    draw = np.random.default_rng(data_seed)
    labels = np.arange(rows) % 2
    angle = draw.uniform(0, 2 * np.pi, rows)
    inputs = np.array(_RADII)[labels, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return build(
        "circles",
        inputs + draw.normal(0, noise, inputs.shape),
        labels,
        validation=validation,
        test=test,
        data_seed=data_seed,
        scale=scale,
        features=("x1", "x2"),
        targets=("circle",),
        classes=("inner", "outer"),
        bayes_error=_bayes_error(noise),
    )


def _bayes_error(noise: float) -> float:
    """Half the integral of the lower of the two Rice densities, by the trapezoidal rule to 1e-6."""
    if noise == 0:
        return 0.0
    from scipy.special import i0e

    distance = np.linspace(0, max(_RADII) + 10 * noise, 20_001)
    inner, outer = (
        distance / noise**2 * np.exp(-((distance - radius) ** 2) / (2 * noise**2)) * i0e(distance * radius / noise**2)
        for radius in _RADII
    )
    return float(np.trapezoid(np.minimum(inner, outer), distance) / 2)
