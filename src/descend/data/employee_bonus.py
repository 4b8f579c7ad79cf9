"""Yearly bonus of employees: linear in three features, two of them nearly collinear.

bonus = 12 performance + 6 years_of_experience + 2 projects_completed + 20, where performance and years_of_experience
are whole numbers 1..10 and projects_completed is years_of_experience + 1..3. With the defaults these are the 100 rows
that `numpy.random.seed(42)` gives; the Hessian (2/n) X'X of the mean squared error then has the eigenvalues
0.1134, 1.038, 24.37 and 254.36, so gradient descent on the raw features needs lr < 2 / 254.36 = 0.00786.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from descend.catalog import Count, Fraction, NonNegative, Whole
from descend.data._build import build
from descend.data._dataset import Dataset
from descend.errors import DataError

_WEIGHTS: Final = {"performance": 12.0, "years_of_experience": 6.0, "projects_completed": 2.0}
_BIAS: Final = 20.0
_LARGEST_SEED: Final = 2**32 - 1  # of numpy's legacy generator


def employee_bonus(
    *,
    rows: Count = 100,
    noise: NonNegative = 0.0,
    data_seed: Whole = 42,
    validation: Fraction = 0.0,
    test: Fraction = 0.0,
    scale: Literal["none", "standard"] = "none",
) -> Dataset:
    """`noise` is the standard deviation of what is added to the bonus; it leaves the features as they are."""
    if data_seed > _LARGEST_SEED:
        raise DataError(f"data_seed is {data_seed}, but employee_bonus takes at most {_LARGEST_SEED}.")
    draw = np.random.RandomState(data_seed)  # the legacy stream, which numpy keeps as it is for good
    performance = draw.randint(1, 11, rows)
    years = draw.randint(1, 11, rows)
    projects = years + draw.randint(1, 4, rows)
    inputs = np.column_stack([performance, years, projects]).astype(np.float64)
    bonus = inputs @ np.array(list(_WEIGHTS.values())) + _BIAS + draw.normal(0, noise, rows)
    return build(
        "employee_bonus",
        inputs,
        bonus[:, None],
        validation=validation,
        test=test,
        data_seed=data_seed,
        scale=scale,
        ids=[f"EMP_{number:03d}" for number in range(1, rows + 1)],
        features=tuple(_WEIGHTS),
        targets=("bonus",),
        truth=_WEIGHTS | {"bias": _BIAS},
        bayes_error=noise**2,
    )
