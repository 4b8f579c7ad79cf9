"""3.2 How far a batch's gradient scatters, with and without replacement."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, size = ((12, 3), (40, 10), (7, 5))[variant]
    gradients = 3 + draw.normal(size=(rows, 4)) @ draw.normal(size=(4, 4))
    trace = float(((gradients - gradients.mean(axis=0)) ** 2).sum()) / rows
    where = f"of batches of {size} of {rows} rows"
    yield expect_close(
        f"the variance {where}, with replacement", yours.batch_variance(gradients, size, True), trace / size, rel=1e-6
    )
    yield expect_close(
        f"the variance {where}, without",
        yours.batch_variance(gradients, size, False),
        trace / size * (rows - size) / (rows - 1),
        rel=1e-6,
    )
    yield expect_close(
        f"the variance of the batch of all {rows} rows, without replacement",
        yours.batch_variance(gradients, rows, False),
        0.0,
        absolute=1e-9 * trace,
    )


batch_variance = Exercise(
    number="3.2",
    title="The variance of a batch's gradient",
    anchor="the-gradient-of-a-batch-is-an-estimate",
    minutes=10,
    task="""
gradients is an array (rows, parameters): the gradient of every row of a data set. A batch's gradient is the mean over
`size` rows drawn at random, either with replacement (independently) or without (all different).

Write batch_variance(gradients, size, replacement), which returns the expected squared distance between the batch's
gradient and that of all rows: the trace of its covariance. Compute it, do not simulate it.
""",
    starter='''
import numpy as np


def batch_variance(gradients, size, replacement):
    """The trace of the covariance of the mean gradient of `size` random rows."""
    raise NotImplementedError
''',
    hints=(
        "Begin with batches of one row: how far are the rows' gradients from their mean, squared, on average?",
        "Independent draws: the variance of a mean of `size` of them is one `size`-th. The data set is all there is, "
        "so nothing has to be estimated from a sample.",
        "Without replacement the batch of all rows has no variance at all. Two different rows have the covariance of "
        "minus one (rows - 1)-th of the variance; the factor that follows is 1 for one row and 0 for all.",
    ),
    explanation="""
The rows are the whole population, so the variance divides by the number of rows and not by one less. Draws without
replacement repel each other: once a row above the mean is used, the rest is below it. That is the finite population
factor (n - B) / (n - 1). For small batches of large data it is 1 and does not matter to a single step. Over an epoch it
is everything: the errors of its batches cancel, which is why shuffled training ends on a much lower floor.
""",
    check=check,
)
