"""1,797 handwritten digits, 8 x 8 pixels of grey between 0 and 1.

The set that scikit-learn ships: the test part of "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998,
UCI), where each pixel counts the dark points of a 4 x 4 square (0..16, here divided by 16).
"""

from __future__ import annotations

import numpy as np

from descend.catalog import Fraction, Whole
from descend.data._build import build
from descend.data._dataset import Dataset
from descend.errors import optional


def digits(*, data_seed: Whole = 0, validation: Fraction = 0.2, test: Fraction = 0.0) -> Dataset:
    """Inputs are [rows, 1, 8, 8]: one channel. `data_seed` draws the split. Needs scikit-learn."""
    bunch = optional("sklearn.datasets", "data", "The data set 'digits'").load_digits()
    return build(
        "digits",
        bunch.images[:, None] / 16,
        bunch.target.astype(np.int64),
        validation=validation,
        test=test,
        data_seed=data_seed,
        features=tuple(bunch.feature_names),
        targets=("digit",),
        classes=tuple(str(name) for name in bunch.target_names),
    )
