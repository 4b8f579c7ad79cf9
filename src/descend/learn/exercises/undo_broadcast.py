"""1.4 Broadcasting runs backwards as a sum."""

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close

SHAPES = (
    (((4, 3), (3,)), ((4, 3), (4, 1)), ((2, 3), ())),
    (((5, 4, 2), (4, 2)), ((5, 4, 2), (4, 1)), ((3, 4), (1, 1))),
    (((2, 3), (2, 3)), ((6, 2, 3), (1, 2, 3)), ((3, 2, 4), (3, 1, 4))),
)


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    for made, shape in SHAPES[variant]:
        g = draw.normal(size=made) + 1
        received = np.zeros(shape)
        # each entry of g goes to the number that was copied to its place
        places = np.broadcast_to(np.arange(received.size).reshape(shape), made)
        np.add.at(received.reshape(-1), places.ravel(), g.ravel())
        what = f"what an input of shape {shape} gets from a gradient of shape {made}"
        yield expect_close(what, yours.unbroadcast(g.copy(), shape), received)


undo_broadcast = Exercise(
    number="1.4",
    title="Undo a broadcast",
    anchor="broadcasting-runs-backwards-as-a-sum",
    minutes=15,
    task="""
NumPy and PyTorch copy an array of shape (3,) to shape (4, 3) when it meets one of that shape, and an array of shape
(4, 1) too. Write unbroadcast(g, shape): g is the gradient with respect to the copied array, shape is that of the array
before it was copied, and what is returned is the gradient with respect to that, an array of shape `shape`.

Broadcasting aligns shapes at their right end: it may add axes on the left, and it may stretch axes of size 1. Both can
happen at once, or neither. NumPy only, without descend.backprop.
""",
    starter='''
import numpy as np


def unbroadcast(g, shape):
    """g brought back to `shape`: the gradient of what was broadcast to the shape of g."""
    raise NotImplementedError
''',
    hints=(
        "A number that was copied to many places is used in many places. What is its gradient?",
        "First deal with the axes on the left that shape does not have, then with those where it has size 1.",
        "An axis that was stretched must stay, with size 1: look at the keepdims argument.",
    ),
    explanation="""
Copying is a fan-out, and gradients that come back from several uses are added up: so the backward pass of broadcasting
is a sum over the axes that it made or stretched. That is why the gradient of a bias is a sum over the rows of the
batch. An engine that does this in one place can ignore broadcasting in all its operations.
""",
    check=check,
)
