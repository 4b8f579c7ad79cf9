"""3.4 A batch iterator in which every row counts the same, the leftovers of an epoch included."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_between, expect_close, expect_equal, expect_true


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, size = ((10, 4), (33, 8), (24, 6))[variant]
    epochs = [list(yours.batches(rows, size, draw)) for _ in range(3)]
    pairs = all(isinstance(pair, tuple) and len(pair) == 2 and np.ndim(pair[0]) == 1 for one in epochs for pair in one)
    yield expect_true(
        "an epoch is pairs (index, weight)",
        pairs,
        observed="something else, or an index that is not a row of numbers",
        expected="pairs, each of an array of row numbers and a weight",
    )
    if not pairs:
        return
    told = [[([int(row) for row in index], float(weight)) for index, weight in epoch] for epoch in epochs]
    first = told[0]
    yield expect_equal(f"the batches of an epoch of {rows} rows, {size} each", len(first), math.ceil(rows / size))
    seen = [row for index, _ in first for row in index]
    yield expect_equal("the rows of an epoch", len(seen), rows)
    yield expect_equal("the different rows among them", len(set(seen) & set(range(rows))), rows)
    lengths = [len(index) for index, _ in first]
    yield expect_equal("the largest batch", max(lengths), size)
    yield expect_equal("the lengths of all but the last batch", set(lengths[:-1]), {size})
    gradients = draw.normal(size=(rows, 3))
    update = sum(weight * gradients[index].mean(axis=0) for index, weight in first)
    expected = gradients.sum(axis=0) / size
    yield expect_close("the sum of an epoch's weighted batch gradients", update, expected, rel=1e-8)
    yield expect_close("the weight of a whole batch", first[0][1], 1.0, rel=1e-9)
    orders = [[row for index, _ in epoch for row in index] for epoch in told]
    yield expect_true(
        "the order of rows is new in every epoch",
        orders[0] != orders[1] != orders[2] and orders[0] != list(range(rows)),
        observed="the same order twice, or the rows as they stand",
        expected="three different orders",
    )
    again = [
        [int(row) for index, _ in yours.batches(rows, size, np.random.default_rng(7)) for row in index]
        for _ in range(2)
    ]
    yield expect_true(
        "generators with the same seed draw the same order",
        again[0] == again[1],
        observed="two orders",
        expected="one order, drawn from draw alone",
    )
    together = 0
    for _ in range(300):
        index = next(iter(yours.batches(rows, size, draw)))[0]
        together += {0, 1} <= set(np.asarray(index).tolist())
    chance = size * (size - 1) / (rows * (rows - 1))
    give = 4.5 * math.sqrt(chance * (1 - chance) / 300)
    yield expect_between(
        "how often the first two rows are in the first batch together",
        together / 300,
        low=max(0.0, chance - give),
        high=chance + give,
    )


fair_batches = Exercise(
    number="3.4",
    title="Batches in which every row counts the same",
    anchor="the-incomplete-last-batch",
    minutes=15,
    task="""
Write batches(rows, size, draw), a generator of one epoch: it yields pairs (index, weight).

    index   the rows of a batch, an array of whole numbers
    weight  what the mean gradient of this batch must be multiplied by, 1 for a whole batch

Each of the `rows` rows is in exactly one batch, in a new random order in every epoch (draw is a numpy Generator). All
batches have `size` rows, but for the last one, which has what is left. The weights make every row count the same over
the epoch.
""",
    starter='''
import numpy as np


def batches(rows, size, draw):
    """The (index, weight) pairs of one epoch."""
    raise NotImplementedError
''',
    hints=(
        "Shuffle first, cut afterwards. draw.permutation(rows) is a random order of all rows.",
        "A row in a batch of b rows enters the mean with 1 / b. What must the weight be, so that it enters with "
        "1 / size?",
        "range(0, rows, size) gives the places at which a batch begins; a slice past the end is shorter by itself.",
    ),
    explanation="""
The mean over a short last batch gives its rows a larger share: with 33 of 100 rows to a batch, the last row counts 33
times. Multiplied by its length over the full size, every row counts alike, and the errors of an epoch's batches cancel
exactly at fixed weights. That cancellation is what makes shuffled training quiet; a lone unweighted row at the end
costs a factor of several hundred in the floor of the bonus data. Dropping the last batch avoids the worst, but rows
that are missing do not cancel either.
""",
    check=check,
)
