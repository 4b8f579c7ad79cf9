"""5.3 Where the first number was made that is not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_equal

Layer = Callable[[Any], Any]


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, width = ((4, 3), (7, 5), (1, 6))[variant]
    x = draw.normal(size=(rows, width))
    weights = [draw.normal(size=(width, width)) for _ in range(3)]
    row, column = int(draw.integers(rows)), int(draw.integers(width))

    def dense(matrix: Any) -> Layer:
        return lambda z: np.tanh(z @ matrix)

    def spoilt(by: float) -> Layer:
        """One number of the output is not finite; what follows may hide it."""

        def layer(z: Any) -> Any:
            out = z.copy()
            out[row, column] = by
            return out

        return layer

    def both(z: Any) -> Any:
        out = z.copy()
        out[row, column], out[row, (column + 1) % width] = np.inf, -np.inf
        return out

    def named(*layers: Layer) -> list[tuple[str, Layer]]:
        return [(f"layer {number}", layer) for number, layer in enumerate(layers, start=1)]

    def huge(z: Any) -> Any:
        return np.full_like(z, 1e308)  # finite, though their sum is not

    a, b, c = (dense(matrix) for matrix in weights)
    bad = x.copy()
    bad[row, column] = np.nan
    clean = lambda z: np.nan_to_num(z, posinf=1.0, neginf=-1.0)  # noqa: E731 - a layer like any other
    cases = (
        ("in a healthy network", named(a, b, c), x, None),
        ("where numbers are huge, and finite", named(a, huge), x, None),
        ("where one number becomes NaN", named(a, b, spoilt(np.nan), c), x, "layer 3"),
        ("where one number becomes infinite", named(a, spoilt(np.inf), b), x, "layer 2"),
        (
            "where a number is minus infinite, and NaN later",
            named(spoilt(-np.inf), a, spoilt(np.nan)),
            x,
            "layer 1",
        ),
        ("where two infinities have opposite signs", named(a, both, b), x, "layer 2"),
        ("where a later layer hides it", named(a, spoilt(np.inf), clean, b), x, "layer 2"),
        ("where the inputs have an empty cell", named(a, b), bad, "input"),
    )
    with np.errstate(all="ignore"):
        for what, layers, inputs, expected in cases:
            answer = yours.first_non_finite(layers, inputs.copy())
            yield expect_equal(f"the culprit {what}", answer if answer is not None else "nobody", expected or "nobody")


first_non_finite = Exercise(
    number="5.3",
    title="Where the first NaN was made",
    anchor="nan-is-not-exploding",
    minutes=10,
    task="""
A loss is NaN. Find the layer that is at fault: the first one that put out a number that is not finite.

Write first_non_finite(layers, x). `layers` is a list of pairs (name, function); each function takes a NumPy array and
returns one, and the network applies them in turn to the array x. Return the name of the first layer whose output holds
NaN or an infinity, "input" if x itself does, and None if all numbers are finite.
""",
    starter='''
import numpy as np


def first_non_finite(layers, x):
    """A name, "input" or None."""
    raise NotImplementedError
''',
    hints=(
        "Look at every number after every layer. Which function of NumPy is true for ordinary numbers only?",
        "Do not judge by a sum or a maximum: infinities cancel, and a maximum of NaN and numbers depends on the order.",
        "Go forward through the layers, and stop at the first that has anything other than finite numbers in it.",
    ),
    explanation="""
A NaN spreads: one bad number makes every later one bad, so the end of the network tells you nothing. The first
non-finite number names its cause (a log, a division, an exponential, an empty cell). Infinity counts as well, since it
becomes NaN only a few operations later, where inf - inf or 0 * inf meet, and a clamp may hide it in the forward pass
while its gradient is still wrong. descend does the same for every operation, in the backward pass too.
""",
    check=check,
)
