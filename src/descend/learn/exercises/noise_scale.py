"""3.5 The gradient noise scale, estimated from the gradients of a batch's chunks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_between, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, features, chunks, size, wanted = ((200, 6, 4, 4, 40), (300, 10, 3, 8, 60), (150, 8, 5, 2, 25))[variant]
    X = draw.normal(size=(rows, features))
    y = X @ draw.normal(size=features) + draw.normal(0, 3, rows)
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    towards = draw.normal(size=features)
    w = best + towards * _distance(X, y, best, towards, wanted)
    gradients = 2 * X * (X @ w - y)[:, None]
    scale, trace, signal = _truth(gradients)
    picked = draw.integers(0, rows, (4000, chunks, size))
    means = gradients[picked].mean(axis=2)
    where = f"from 4,000 batches of {chunks} chunks of {size} rows"
    got = yours.estimates(means.copy(), size)
    yield expect_close(f"tr(Sigma) and |G|^2 {where}", got, [trace, signal], rel=0.1)
    yield expect_close(f"|G|^2 {where}", got[1], signal, rel=0.2)
    yield expect_close(f"the noise scale {where}", yours.noise_scale(means.copy(), size), scale, rel=0.2)
    exact = np.repeat(means[:1, :1], chunks, axis=1)
    none = yours.noise_scale(exact, size)
    yield expect_between("the noise scale where all chunks have the same gradient", none, low=-1e-9, high=1e-9)


def _truth(gradients: np.ndarray) -> tuple[float, float, float]:
    trace, signal = float(gradients.var(axis=0).sum()), float((gradients.mean(axis=0) ** 2).sum())
    return trace / signal, trace, signal


def _distance(X: np.ndarray, y: np.ndarray, best: np.ndarray, towards: np.ndarray, wanted: float) -> float:
    """How far from the minimum the noise scale is what is wanted: it falls with the distance."""
    low, high = 1e-3, 10.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        scale, _, _ = _truth(2 * X * (X @ (best + middle * towards) - y)[:, None])
        low, high = (middle, high) if scale > wanted else (low, middle)
    return low


noise_scale = Exercise(
    number="3.5",
    title="Measure the gradient noise scale",
    anchor="how-large-a-batch-pays",
    minutes=20,
    task="""
B_simple = tr(Sigma) / |G|^2, with G the true gradient and Sigma the covariance of the gradients of single rows. Nobody
knows either; what one has are the mean gradients of parts of batches.

means is an array (batches, chunks, parameters): each batch was cut into chunks of `size` independent rows, and this is
each chunk's mean gradient. The weights are the same throughout. Write

    estimates(means, size)     unbiased estimates of tr(Sigma) and of |G|^2, a pair
    noise_scale(means, size)   the estimate of B_simple

The noise scale may be off by 20 %.
""",
    starter='''
import numpy as np


def estimates(means, size):
    """Unbiased estimates of tr(Sigma) and |G|^2."""
    raise NotImplementedError


def noise_scale(means, size):
    """The estimate of tr(Sigma) / |G|^2."""
    raise NotImplementedError
''',
    hints=(
        "A chunk's mean has the covariance Sigma / size. The chunks of one batch scatter about the batch's mean.",
        "The squared length of a noisy mean is too large, by the variance of that mean. How large is it for a batch?",
        "With few chunks the variance needs ddof=1. The batch's mean has 1 / chunks of a chunk's variance; take that "
        "off its squared length. Average over batches before you divide: a mean of ratios is not the ratio of means.",
    ),
    explanation="""
The variance among chunks, times their rows, estimates tr(Sigma) without bias. The squared length of the batch's mean
counts noise as signal, most of it when the batch is smaller than the noise scale, which is just when one wants to know.
Subtracting the known part mends that. The estimate of one batch may even be negative, so average both numbers over
steps and divide at the end. descend's monitor gradient_noise does this with up to 8 chunks.
""",
    check=check,
)
