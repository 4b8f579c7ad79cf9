"""Spiral arms that wind around each other: the more turns, the more bends a boundary needs.

Arm k of K is the curve of radius r in (0.1, 1) at the angle 2 pi (k / K + turns r).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from descend.catalog import Count, Fraction, NonNegative, Positive, Whole
from descend.data._build import build
from descend.data._dataset import Dataset
from descend.errors import DataError


def spirals(
    *,
    rows: Count = 600,
    noise: NonNegative = 0.02,
    classes: Count = 2,
    turns: Positive = 1.5,
    data_seed: Whole = 0,
    validation: Fraction = 0.2,
    test: Fraction = 0.0,
    scale: Literal["none", "standard"] = "none",
) -> Dataset:
    """`noise` is the standard deviation of Gaussian noise on both coordinates; `classes` is the number of arms."""
    if classes < 2:
        raise DataError(f"classes is {classes}, but there must be at least 2 to tell apart.")
    draw = np.random.default_rng(data_seed)
    labels = np.arange(rows) % classes
    radius = draw.uniform(0.1, 1, rows)
    angle = 2 * np.pi * (labels / classes + turns * radius)
    inputs = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return build(
        "spirals",
        inputs + draw.normal(0, noise, inputs.shape),
        labels,
        validation=validation,
        test=test,
        data_seed=data_seed,
        scale=scale,
        features=("x1", "x2"),
        targets=("arm",),
        classes=tuple(f"arm {number}" for number in range(1, classes + 1)),
    )
