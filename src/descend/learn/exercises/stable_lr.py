"""2.1 The largest learning rate that converges, from the data alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, features = ((40, 3), (100, 4), (12, 6))[variant]
    X = draw.normal(size=(rows, features)) * draw.uniform(0.5, 5, features)
    y = draw.normal(size=rows)
    limit = 2 / np.linalg.eigvalsh(2 / rows * X.T @ X)[-1]
    where = f"the largest stable learning rate on {rows} hidden rows of {features} features"
    yield expect_close(where, yours.max_stable_lr(X, y), limit, rel=0.01)
    # the Hessian does not depend on the targets, and goes with the square of the features
    yield expect_close(
        "the largest stable learning rate with 7 times the targets", yours.max_stable_lr(X, 7 * y), limit, rel=0.01
    )
    yield expect_close(
        "the largest stable learning rate with 10 times the features",
        yours.max_stable_lr(10 * X, y),
        limit / 100,
        rel=0.01,
    )


stable_lr = Exercise(
    number="2.1",
    title="The largest stable learning rate",
    anchor="the-largest-stable-learning-rate",
    minutes=10,
    task="""
Gradient descent on a linear model with the mean squared error

    L(w) = mean((X w - y)^2)

converges for every learning rate below a limit and diverges above it. Write max_stable_lr(X, y), which computes that
limit from the data alone, without taking a step. X is an array (rows, features), y an array (rows,).
""",
    starter='''
import numpy as np


def max_stable_lr(X, y):
    """The learning rate at which gradient descent on mean((X w - y)^2) stops converging."""
    raise NotImplementedError
''',
    hints=(
        "One step multiplies the error by (I - lr H). In which direction does that stop shrinking first?",
        "It stops where |1 - lr lambda| = 1 for the largest eigenvalue lambda of the Hessian H.",
        "Differentiate the mean of squares twice: mind the 2 of the square and the 1/n of the mean. "
        "np.linalg.eigvalsh gives the eigenvalues of a symmetric matrix.",
    ),
    explanation="""
The error after a step is (I - lr H) times the error before it, so along an eigenvector of H it is multiplied by
1 - lr lambda. It shrinks as long as that lies between -1 and 1, which is lr < 2 / lambda. The steepest direction
decides for all. The targets do not matter: they move the minimum and leave the curvature as it is. On the
employee-bonus data the limit is 0.00786, and a learning rate of 0.01 diverges from the first step on.
""",
    check=check,
)
