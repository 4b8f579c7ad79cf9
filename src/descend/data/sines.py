"""A wave on the line to fit: y = sum of sin(2 pi k x) / k for k = 1..waves, x in [-1, 1].

These are the first terms of a sawtooth's Fourier series. Networks learn the slow waves long before the fast ones
(Rahaman et al. 2019, "On the spectral bias of neural networks"); more waves show it better.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from descend.catalog import Count, Fraction, NonNegative, Whole
from descend.data._build import build
from descend.data._dataset import Dataset


def sines(
    *,
    rows: Count = 400,
    noise: NonNegative = 0.1,
    waves: Count = 2,
    data_seed: Whole = 0,
    validation: Fraction = 0.2,
    test: Fraction = 0.0,
    scale: Literal["none", "standard"] = "none",
) -> Dataset:
    """`noise` is the standard deviation of what is added to y."""
    draw = np.random.default_rng(data_seed)
    x = draw.uniform(-1, 1, rows)
    k = np.arange(1, waves + 1)
    y = (np.sin(2 * np.pi * np.outer(x, k)) / k).sum(axis=1) + draw.normal(0, noise, rows)
    return build(
        "sines",
        x[:, None],
        y[:, None],
        validation=validation,
        test=test,
        data_seed=data_seed,
        scale=scale,
        features=("x",),
        targets=("y",),
        bayes_error=noise**2,
    )
