"""2.3 The number of steps that a training will take, before it is run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, features, part, share = ((60, 3, 0.9, 1e-6), (100, 4, 0.3, 1e-3), (40, 3, 1e-5, 1e-4))[variant]
    X = draw.normal(size=(rows, features)) * np.geomspace(1, 6, features)
    w = draw.normal(size=features) + 2 * np.sign(draw.normal(size=features))
    y = X @ w + draw.normal(size=rows)
    top = float(np.linalg.eigvalsh(2 / rows * X.T @ X)[-1])
    for name, scale, targets in (("hidden data", 1.0, y), ("the same data with inputs ten times as large", 10.0, y)):
        lr = part * 2 / (top * scale**2)
        expected = _steps(scale * X, targets, lr, share)
        observed = yours.predict_steps(scale * X, targets.copy(), lr, share)
        yield expect_close(f"the predicted number of steps on {name}", observed, expected, rel=0.05, absolute=1)


def _steps(X: np.ndarray[tuple[int, int], np.dtype[np.float64]], y: object, lr: float, share: float) -> int:
    """The least k with |e_k| <= share |e_0|; every mode shrinks, so bisection finds it."""
    values, vectors = np.linalg.eigh(2 / len(X) * X.T @ X)
    modes = vectors.T @ np.linalg.lstsq(X, np.asarray(y), rcond=None)[0]
    low, high = 0, 10**9
    while high - low > 1:
        middle = (low + high) // 2
        left = np.linalg.norm((1 - lr * values) ** middle * modes)
        low, high = (low, middle) if left <= share * np.linalg.norm(modes) else (middle, high)
    return high


predict_steps = Exercise(
    number="2.3",
    title="How many steps it will take",
    anchor="the-condition-number",
    minutes=20,
    task="""
Gradient descent on mean((X w - y)^2) starts at w = 0 with a learning rate lr below the limit. Write

    predict_steps(X, y, lr, share)

which returns after how many steps the distance to the best weights is share times what it was at the start. X is an
array (rows, features) of full rank, y an array (rows,). 5 % off is good enough. Do not train: some of the hidden cases
would take a hundred thousand steps and more.
""",
    starter='''
import numpy as np


def predict_steps(X, y, lr, share):
    """The number of steps until |w_k - w_best| is share times |w_best|."""
    raise NotImplementedError
''',
    hints=(
        "Write the error at the start in the eigenvectors of the Hessian. What does a step do to each coordinate?",
        "After k steps coordinate i is (1 - lr lambda_i)^k times what it was, so the distance has a formula in k.",
        "Near the end the coordinate with the largest |1 - lr lambda| is all that is left. Take logarithms of its "
        "size; mind that it held only a part of the distance at the start. Or search for k by bisection.",
    ),
    explanation="""
In the eigenvectors of the Hessian every coordinate of the error is multiplied by its own factor at each step. The one
whose factor is nearest to one in size outlives the others, and a logarithm tells when it is small enough. The rule of
thumb (kappa / 2) ln(1 / share) follows if that coordinate holds all of the error at the start and the rate is the
best one; here it is not, which is why rate and start have to enter. On the raw employee-bonus data the prediction and
the measured number, 15,438, agree.
""",
    check=check,
)
