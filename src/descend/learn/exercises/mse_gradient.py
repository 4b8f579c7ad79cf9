"""2.2 A gradient that is wrong by a factor: found by finite differences, mended by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close, expect_true


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, features = ((30, 3), (7, 5), (64, 2))[variant]
    X, y = draw.normal(size=(rows, features)), draw.normal(size=rows)
    w, b = draw.normal(size=features), float(draw.normal())
    result = yours.gradient(X.copy(), y.copy(), w.copy(), b)
    pair = isinstance(result, tuple | list) and len(result) == 2
    yield expect_true(
        "what gradient returns", pair, observed=type(result).__name__, expected="a pair: for the weights, for the bias"
    )
    off = X @ w + b - y
    weights = "the gradient with respect to the weights on hidden data"
    yield expect_close(weights, result[0], 2 / rows * X.T @ off, rel=1e-9)
    yield expect_close("the gradient with respect to the bias", result[1], 2 * off.mean(), rel=1e-9)


mse_gradient = Exercise(
    number="2.2",
    title="A gradient wrong by a factor",
    anchor="the-data-and-its-loss",
    minutes=10,
    task="""
The function gradient(X, y, w, b) is meant to return the gradient of

    L(w, b) = mean((X w + b - y)^2)

as a pair: an array (features,) for the weights, a number for the bias. X is an array (rows, features), y an array
(rows,), w an array (features,) and b a number. Finite differences disagree with it: on 30 rows the measured slope is
2.000 times what it says for every weight, and 0.067 times what it says for the bias. Mend it.
""",
    starter='''
def gradient(X, y, w, b):
    """The gradient of mean((X w + b - y)^2): for the weights, for the bias."""
    off = X @ w + b - y
    return X.T @ off / len(X), off.sum()
''',
    hints=(
        "Write the loss as a sum over rows and differentiate one term of it.",
        "A ratio of 2 and a ratio of 2/30 have different causes: one factor is missing in both places, another in one.",
        "The square brings a 2 down and the mean brings 1/n. Both belong in front of both sums.",
    ),
    explanation="""
The derivative of (z - y)^2 is 2 (z - y), and the mean divides by the number of rows, for the bias as much as for the
weights. A gradient that is wrong by a constant still points downhill, so the loss falls and nobody notices; but a
learning rate or a stability limit computed from it is wrong by that factor. For the bias alone the error grows with the
size of the data, which bends the direction too. The ratio of measured slope to formula shows such errors at once.
""",
    untouched="the gradient with respect to the weights on hidden data",
    check=check,
)
