"""2.5 Weights of standardised data, mapped back to the raw columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close, expect_true


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, features = ((50, 3), (20, 1), (80, 6))[variant]
    X = draw.normal(size=(rows, features)) * draw.uniform(2, 9, features) + draw.uniform(3, 40, features)
    y = X @ draw.uniform(1, 5, features) + 20 + draw.normal(size=rows)
    mean, std, y_mean, y_std = X.mean(0), X.std(0), float(y.mean()), float(y.std())
    Z = np.column_stack([(X - mean) / std, np.ones(rows)])
    fit = np.linalg.lstsq(Z, (y - y_mean) / y_std, rcond=None)[0]
    fit[-1] += 0.25  # a training that has not ended leaves a bias that is not zero
    result = yours.raw_weights(fit[:-1].copy(), float(fit[-1]), mean.copy(), std.copy(), y_mean, y_std)
    pair = isinstance(result, tuple | list) and len(result) == 2
    yield expect_true(
        "what raw_weights returns", pair, observed=type(result).__name__, expected="a pair: weights, bias"
    )
    yield expect_close("the weights of the raw columns", result[0], fit[:-1] * y_std / std, rel=1e-9)
    bias = y_mean + y_std * (fit[-1] - (fit[:-1] * mean / std).sum())
    yield expect_close("the bias in raw units", result[1], bias, rel=1e-9)


unscaled_weights = Exercise(
    number="2.5",
    title="Weights back in raw units",
    anchor="other-coordinates",
    minutes=15,
    task="""
A linear model was trained on standardised columns and a standardised target:

    (y - y_mean) / y_std  is about  w . (x - mean) / std + b

Write raw_weights(w, b, mean, std, y_mean, y_std), which returns the weights and the bias (a pair: an array (features,)
and a number) of the model that makes the very same predictions from raw x, in raw units of y. w, mean and std are
arrays (features,); the others are numbers.
""",
    starter='''
import numpy as np


def raw_weights(w, b, mean, std, y_mean, y_std):
    """Weights and bias for raw inputs and raw targets."""
    raise NotImplementedError
''',
    hints=(
        "Solve the line above for y and multiply it out.",
        "Everything that stands before an x is a weight; everything else is the bias.",
        "The means of the columns went into the bias while training, so they have to come out of it: each with its "
        "weight, and all of that in units of y.",
    ),
    explanation="""
Standardising is a change of coordinates: it makes the bowl rounder and leaves the set of possible fits as it is. So
every answer found there has one that is equal to it in raw units, and only that one can be read: a bonus of 12 for
each point of performance. Forgetting the means leaves the weights right and every prediction off by the same amount,
which is easy to miss where only the weights are printed.
""",
    check=check,
)
