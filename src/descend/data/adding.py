"""The adding problem: remember two numbers in a long sequence and add them up.

Each position holds a number drawn from [0, 1] and a mark. Two positions are marked with 1, one in the first half and
one in the second; the target is the sum of the numbers there. Always answering 1 has a mean squared error of
1/6 = 0.167, so a network that does not remember stays there. After Hochreiter & Schmidhuber 1997, experiment 4, in
the form of Le, Jaitly & Hinton 2015 (no end marks, sequences of one length, an unscaled sum).
"""

from __future__ import annotations

import numpy as np

from descend.catalog import Count, Fraction, Whole
from descend.data._build import build
from descend.data._dataset import Dataset
from descend.errors import DataError


def adding(
    *,
    rows: Count = 2000,
    length: Count = 50,
    data_seed: Whole = 0,
    validation: Fraction = 0.2,
    test: Fraction = 0.0,
) -> Dataset:
    """Inputs are [rows, length, 2] (number, mark), targets [rows, 1]. The first mark is length/2 back on average."""
    if length < 2:
        raise DataError(f"length is {length}, but a sequence with two marks has at least 2 positions.")
    draw = np.random.default_rng(data_seed)
    numbers = draw.uniform(0, 1, (rows, length))
    marks = np.zeros((rows, length))
    for first, beyond in ((0, length // 2), (length // 2, length)):
        marks[np.arange(rows), draw.integers(first, beyond, rows)] = 1
    return build(
        "adding",
        np.stack([numbers, marks], axis=2),
        (numbers * marks).sum(axis=1, keepdims=True),
        validation=validation,
        test=test,
        data_seed=data_seed,
        targets=("sum",),
        bayes_error=0.0,
    )
