"""Two interleaved half circles in the plane: the smallest problem that no straight line solves.

The upper half circle has its centre at (0, 0), the lower one at (1, 0.5), both radius 1; the classes alternate.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from descend.catalog import Count, Fraction, NonNegative, Whole
from descend.data._build import build
from descend.data._dataset import Dataset


def moons(
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
    angle = draw.uniform(0, np.pi, rows)
    upper = np.column_stack([np.cos(angle), np.sin(angle)])
    inputs = np.where(labels[:, None] == 0, upper, [1, 0.5] - upper)
    return build(
        "moons",
        inputs + draw.normal(0, noise, inputs.shape),
        labels,
        validation=validation,
        test=test,
        data_seed=data_seed,
        scale=scale,
        features=("x1", "x2"),
        targets=("moon",),
        classes=("upper", "lower"),
    )
