"""1.5 A gradient check that can be trusted."""

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_between, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    shape = ((6,), (2, 3), (4, 2))[variant]
    x = draw.normal(size=shape)

    def f(at: np.ndarray) -> float:
        return float((np.sin(at) + 2 * at).sum())

    right = np.cos(x) + 2  # between 1 and 3: no entry is small
    given = x.copy()
    what = "the error that is reported for a right gradient"
    yield expect_between(what, yours.gradient_error(f, given, right.copy()), 0, 1e-8)
    yield expect_close("x after the check", given, x, rel=1e-15)
    one_wrong = right.copy()
    one_wrong.flat[int(draw.integers(x.size))] *= 0.9
    error = yours.gradient_error(f, x.copy(), one_wrong)
    yield expect_close("the error for one entry that is 10 % too small", error, 0.1, rel=1e-3)
    error = yours.gradient_error(lambda at: 1e-6 * f(at), x.copy(), 1e-6 * one_wrong)
    yield expect_close("the same for a function that is a million times smaller", error, 0.1, rel=1e-3)
    yield expect_close(
        "the error if a factor 2 is missing", yours.gradient_error(f, x.copy(), right / 2), 0.5, rel=1e-3
    )

    def of_first(at: np.ndarray) -> float:
        return float(np.sin(at.flat[0]) + 2 * at.flat[0])

    only = np.where(np.arange(x.size).reshape(shape) == 0, right, 0)
    what = "the error where most entries do not matter and their gradient is 0"
    yield expect_between(what, yours.gradient_error(of_first, x.copy(), only), 0, 1e-8)


gradient_check = Exercise(
    number="1.5",
    title="A gradient check that can be trusted",
    anchor="is-the-gradient-right",
    minutes=20,
    task="""
Write gradient_error(f, x, grad), which says how wrong a gradient is. f takes a float64 array and returns a number, x is
such an array of any shape, and grad is what somebody says the gradient of f at x is, an array of the same shape.

Compare every entry a of grad with the number n that differences of f give, and return the largest relative error

    |a - n| / max(|a|, |n|)

where an entry with a = n = 0 counts as 0. For a right gradient of a smooth function the result must be below 1e-8.
Leave x as it was. NumPy only, without descend.backprop.
""",
    starter='''
import numpy as np


def gradient_error(f, x, grad):
    """The largest relative error of grad, by differences of f around x."""
    raise NotImplementedError
''',
    hints=(
        "A difference to one side has an error of the order of h. Which difference has one of the order h squared?",
        "A smaller step is not always better: f is known to 16 digits only, and dividing by h enlarges what is lost.",
        "The two errors balance near the cube root of the machine epsilon, which is 6e-6 in float64. "
        "np.ndindex(x.shape) walks over all entries; change one of a copy at a time.",
    ),
    explanation="""
The central difference errs by h^2 f'''/6 from truncation and by about 1e-16 f/h from rounding, which is least near
h = 6e-6. A forward difference cannot get below 1e-8, and at h = 1e-12 rounding has eaten all but four digits. The error
must be relative, since a gradient has the unit of the loss over that of the weight: an absolute one finds every
gradient of a small loss to be right. And it must be the largest entry, since one wrong entry hides in a mean.
""",
    check=check,
)
