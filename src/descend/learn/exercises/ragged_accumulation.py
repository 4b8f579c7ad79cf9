"""3.1 Gradient accumulation that equals the larger batch, also where parts are of unequal length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    group, lengths = ((2, (6, 6, 6, 3)), (3, (5, 1, 7, 4, 2)), (4, (8, 8, 8, 8, 8, 8, 3)))[variant]
    parts = [(draw.normal(size=(rows, 3)), 5 * draw.normal(size=rows)) for rows in lengths]
    w = draw.normal(size=3)
    expected = w.copy()
    for start in range(0, len(parts), group):
        X = np.concatenate([x for x, _ in parts[start : start + group]])
        y = np.concatenate([y for _, y in parts[start : start + group]])
        expected = expected - 0.1 * 2 / len(X) * X.T @ (X @ expected - y)
    words = ", ".join(map(str, lengths))
    got = yours.train(parts, w.copy(), 0.1, group)
    yield expect_close(f"the weights after parts of {words} rows, {group} to an update", got, expected, rel=1e-8)
    one = yours.train(parts, w.copy(), 0.1, len(parts))
    X, y = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    step = w - 0.1 * 2 / len(X) * X.T @ (X @ w - y)
    yield expect_close("the weights after one update from all parts", one, step, rel=1e-8)


ragged_accumulation = Exercise(
    number="3.1",
    title="Accumulate gradients over ragged parts",
    anchor="gradient-accumulation",
    minutes=15,
    task="""
A linear model with weights w and the mean squared error

    L(w) = mean((X w - y)^2)

is trained on parts that fit into memory: a list of pairs (X, y) of unequal lengths. Every `group` parts make one
update, with the gradient of the mean over all rows of the group. The last group may have fewer parts; it makes an
update too.

Write train(parts, w, lr, group), which goes once through the parts, one at a time, never joins them, and returns the
weights after the last update. The gradient of a whole group is taken at the weights before its update.
""",
    starter='''
import numpy as np


def train(parts, w, lr, group):
    """The weights after one pass over the parts, `group` of them to an update."""
    raise NotImplementedError
''',
    hints=(
        "Means of unequal parts cannot be averaged. What can be added up over parts, and what by its side?",
        "Keep two running values: the sum of the rows' gradients, and the number of rows. When is it time to divide?",
        "A row's gradient is 2 x (x w - y); a part's sum is 2 X' (X w - y). Update when `group` parts are in, and once "
        "more at the end if anything is left over. Set both running values to zero after each update.",
    ),
    explanation="""
Gradients add, means do not: a mean of means gives the rows of a short part more weight than others. With sums and a
count the result equals the pass over the joined rows to rounding, whatever the lengths, so a batch need not fit into
memory. Two slips are common. The group that is left over at the end is never stepped, and its gradient leaks into the
next epoch; and every part is divided by the same number although the last group has fewer. In language models the parts
nearly always differ, since sequences do: there one counts tokens.
""",
    check=check,
)
