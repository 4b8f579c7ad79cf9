"""Round clouds of points, their centres evenly spaced on a circle of radius 2.

The best classifier picks the nearest centre. Its error rate, the least there can be, is the share of a cloud that
lies outside its own wedge of the plane; for two classes that is Phi(-2 / noise), Phi being the normal distribution.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from descend.catalog import Count, Fraction, NonNegative, Whole
from descend.data._build import build
from descend.data._dataset import Dataset
from descend.errors import DataError

_RADIUS: Final = 2.0


def blobs(
    *,
    rows: Count = 500,
    noise: NonNegative = 0.7,
    classes: Count = 3,
    data_seed: Whole = 0,
    validation: Fraction = 0.2,
    test: Fraction = 0.0,
    scale: Literal["none", "standard"] = "none",
) -> Dataset:
    """`noise` is the standard deviation of a cloud in each coordinate."""
    if classes < 2:
        raise DataError(f"classes is {classes}, but there must be at least 2 to tell apart.")
    draw = np.random.default_rng(data_seed)
    labels = np.arange(rows) % classes
    angle = 2 * np.pi * labels / classes
    inputs = _RADIUS * np.column_stack([np.cos(angle), np.sin(angle)])
    return build(
        "blobs",
        inputs + draw.normal(0, noise, inputs.shape),
        labels,
        validation=validation,
        test=test,
        data_seed=data_seed,
        scale=scale,
        features=("x1", "x2"),
        targets=("blob",),
        classes=tuple(f"blob {number}" for number in range(1, classes + 1)),
        bayes_error=_bayes_error(noise, classes),
    )


def _bayes_error(noise: float, classes: int) -> float:
    """One minus the integral, over a wedge of angles, of the density of the direction of a noisy point.

    A point N((r, 0), I) has the direction a with density exp(-r^2/2) / 2pi + u phi(r sin a) Phi(u), u = r cos a.
    """
    if noise == 0:
        return 0.0
    from scipy.special import ndtr

    ratio = _RADIUS / noise
    angle = np.linspace(-np.pi / classes, np.pi / classes, 20_001)
    along, across = ratio * np.cos(angle), ratio * np.sin(angle)
    peaked = along * np.exp(-(across**2) / 2) / np.sqrt(2 * np.pi) * ndtr(along)
    return float(1 - np.trapezoid(np.exp(-(ratio**2) / 2) / (2 * np.pi) + peaked, angle))
