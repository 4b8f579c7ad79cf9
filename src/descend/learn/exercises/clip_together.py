"""4.7 All gradients clipped together by one norm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from descend.learn import Answer, Exercise, Observation, expect_close, expect_equal


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    shapes = (((3, 4), (3,)), ((5, 2), (5,), (1, 5), (1,)), ((2, 3, 3), (2,), (7,)))[variant]
    gradients = [draw.normal(size=shape) * draw.uniform(0.2, 5) for shape in shapes]
    norm = float(np.sqrt(sum((one**2).sum() for one in gradients)))
    for limit, which in ((0.4 * norm, "a norm 2.5 times the limit"), (3 * norm, "a norm below the limit")):
        answer = yours.clip([one.copy() for one in gradients], limit)
        clipped, before = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
        twins = [torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in shapes]
        for twin, gradient in zip(twins, gradients, strict=True):
            twin.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_(twins, limit)
        count = len(clipped) if isinstance(clipped, tuple | list) else None
        yield expect_equal("how many gradients come back", count, len(shapes))
        for place, twin in enumerate(twins):
            yield expect_close(f"gradient {place} after clipping, with {which}", clipped[place], twin.grad)
        yield expect_close(f"the norm before clipping, with {which}", before, norm)
    norms = draw.uniform(0, 2, size=200)
    limit = float(draw.uniform(0.3, 0.8))
    yield expect_close(
        "the clip fraction of 200 steps",
        yours.clip_fraction(norms.tolist(), limit),
        (norms > limit).mean(),
        absolute=1e-9,
    )


clip_together = Exercise(
    number="4.7",
    title="Clip all gradients together",
    anchor="clipping",
    minutes=10,
    task="""
Write clipping by global norm, without torch: clip(gradients, limit) takes a list of arrays of any shapes, the
gradients of one model. Return two things: the list of clipped gradients, which together have a norm of at most
limit, and the norm of all of them before. The direction of the whole gradient must stay as it was.

Then write clip_fraction(norms, limit): from a list of norms before clipping, the share of steps that were clipped,
from 0 to 1.
""",
    starter='''
import numpy as np


def clip(gradients, limit):
    """The clipped gradients, and the norm before."""
    raise NotImplementedError


def clip_fraction(norms, limit):
    """The share of steps that were clipped."""
    raise NotImplementedError
''',
    hints=(
        "Think of all gradients as laid end to end in one long vector. It has one norm.",
        "The square of the whole norm is the sum of the squares of all numbers in all arrays.",
        "One factor for all: the limit over the norm, but never more than one.",
    ),
    explanation="""
One factor for all gradients keeps the direction of the step, so clipping by global norm is a learning rate that
shrinks while the gradient is large. Clipping each tensor or each number turns the step. A factor that may exceed
one would lengthen small gradients, and then the step never shrinks towards a minimum. If most steps are clipped,
the limit has become the learning rate.
""",
    check=check,
)
