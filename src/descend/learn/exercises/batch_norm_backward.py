"""1.6 The backward pass of batch normalisation."""

from collections.abc import Iterator

import numpy as np

from descend.backprop import Array, batch_norm_composed
from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, features, eps = ((8, 3, 1e-5), (5, 4, 0.1), (12, 2, 1e-3))[variant]
    X, g = draw.normal(draw.normal(size=features), 2, size=(rows, features)), draw.normal(size=(rows, features))
    gain = draw.uniform(0.5, 2, features)

    def gradient(X: np.ndarray) -> np.ndarray:
        """By the engine, of small operations."""
        x = Array(X)
        batch_norm_composed(x, gain, np.zeros(features), eps=eps).backward(g)
        assert x.grad is not None
        return x.grad

    dX = yours.batch_norm_backward(g.copy(), X.copy(), gain.copy(), eps)
    yield expect_close(f"dX for {rows} rows of {features} features", dX, gradient(X), rel=1e-6)
    moved = 0.1 * X + 5
    dX = yours.batch_norm_backward(g.copy(), moved, gain.copy(), eps)
    yield expect_close("dX for the same rows, times a tenth and shifted by 5", dX, gradient(moved), rel=1e-6)


batch_norm_backward = Exercise(
    number="1.6",
    title="The backward pass of batch normalisation",
    anchor="batch-normalisation",
    minutes=25,
    task="""
Batch normalisation computes for every column of X, an array (rows, features),

    x_hat = (x - mean) / sqrt(var + eps)        y = gain * x_hat + shift

with the mean and the variance (the mean of the squared distances) of that column over the rows. Write
batch_norm_backward(g, X, gain, eps), the gradient with respect to X. g is the gradient with respect to y, an array
like X, and gain is an array (features,). Each row acts on the others too, through the mean and the variance.

NumPy only, without autograd and without descend.backprop.
""",
    starter='''
import numpy as np


def batch_norm_backward(g, X, gain, eps):
    """The gradient with respect to X, an array (rows, features)."""
    raise NotImplementedError
''',
    hints=(
        "If mean and variance were constants, the answer would be gain * g / sd. What is missing goes through them.",
        "Differentiate: the change of the mean is mean(dx), the change of the standard deviation is mean(x_hat dx).",
        "The result is gain / sd times (g - its mean - something along x_hat). Shifting a column has no effect on y, "
        "so every column of the result sums to zero: that checks the second term. Nor has stretching: the third.",
    ),
    explanation="""
The gradient is gain / sd * (g - mean(g) - x_hat mean(g x_hat)). The second term takes out what a shift of the column
could do, the third what stretching it could do, because neither changes x_hat. Without them the gradient still points
roughly downhill, so a network trains with the mistake, only worse. It is also why a bias before batch normalisation
gets a gradient of zero.
""",
    check=check,
)
