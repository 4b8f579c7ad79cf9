"""3.3 The loss at which SGD with a constant learning rate stops, predicted from the data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, features, size, share = ((60, 2, 4, 0.03), (100, 3, 8, 0.05), (80, 4, 16, 0.04))[variant]
    X = draw.normal(size=(rows, features)) * draw.uniform(0.5, 3, features)
    y = X @ draw.normal(size=features) * 5 + draw.normal(0, 2, rows)
    lr = share / float(np.linalg.eigvalsh(2 / rows * X.T @ X)[-1])
    expected = _exact(X, y, lr, size)
    got = yours.noise_floor(X, y, lr, size)
    yield expect_close(f"the excess loss on {rows} hidden rows, batches of {size}", got, expected, rel=0.12)
    twice = yours.noise_floor(X, y, 2 * lr, 2 * size)
    yield expect_close("the same with rate and batch doubled", twice, expected, rel=0.15)
    clean = yours.noise_floor(X, X @ np.ones(features), lr, size)
    yield expect_close("the excess loss where a linear model fits every row", clean, 0.0, absolute=1e-12)
    shifted = yours.noise_floor(X, y + X @ np.ones(features), lr, size)
    yield expect_close("the excess loss after the minimum was moved elsewhere", shifted, got, rel=1e-6)


def _exact(X: np.ndarray, y: np.ndarray, lr: float, size: int) -> float:
    """The stationary excess of SGD with replacement: the fixed point of its second moments, batch Hessians included."""
    rows, k = X.shape
    left = X @ np.linalg.lstsq(X, y, rcond=None)[0] - y
    H, eye = 2 / rows * X.T @ X, np.eye(k)
    noise = 4 * (X * left[:, None] ** 2).T @ X / rows
    outer = np.einsum("ni,nj->nij", X, X).reshape(rows, -1)
    keep = np.eye(k * k) - lr * (np.kron(H, eye) + np.kron(eye, H))
    keep = keep + lr**2 * ((1 - 1 / size) * np.kron(H, H) + 4 / (size * rows) * outer.T @ outer)
    spread = np.linalg.solve(np.eye(k * k) - keep, (lr**2 / size * noise).ravel())
    return 0.5 * float(spread @ H.ravel())


noise_floor = Exercise(
    number="3.3",
    title="Predict the noise floor",
    anchor="the-noise-floor",
    minutes=20,
    task="""
A linear model is trained by SGD on the mean squared error mean((X w - y)^2), with a small constant learning rate lr and
batches of `size` rows drawn with replacement. After long training the loss over all rows wanders about a level above
its minimum.

Write noise_floor(X, y, lr, size), which returns the expected distance of that level from the minimum (the excess loss)
without training: X is (rows, features), y is (rows,). 12 % are allowed, and lr is at most a tenth of 1 / lambda_max.
""",
    starter='''
import numpy as np


def noise_floor(X, y, lr, size):
    """The expected excess loss of SGD with replacement, after long training."""
    raise NotImplementedError
''',
    hints=(
        "What kicks the weights at the minimum? Find the minimum first (np.linalg.lstsq), then the gradients there.",
        "Kick and pull balance: along a direction of curvature l, C = (1 - lr l)^2 C + lr^2 s^2 / B. Solve for C, and "
        "turn it into a loss.",
        "For a small rate each direction contributes lr s^2 / (4 B), with s^2 the variance of the single rows' "
        "gradients at the minimum in that direction. A sum over directions is a trace. Mind the 2 in a row's gradient.",
    ),
    explanation="""
Near the minimum the slope pulls the weights back with strength lr lambda, and the noise of the batch kicks them with
variance lr^2 s^2 / B. The distance at which both balance goes with 1 / lambda, the loss per distance with lambda, and
the curvature cancels: the floor is lr tr(Sigma) / (4 B). Twice the rate with twice the batch gives the same floor:
the linear scaling rule. Where every row is fitted, all gradients vanish at the minimum and there is no floor. With
shuffled epochs instead of independent draws the floor is far lower and goes with the cube of the rate.
""",
    check=check,
)
