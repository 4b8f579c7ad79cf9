"""The loss is summed over the rows of a batch, so that the learning rate is as many times too high.

With `reduction="sum"` the gradient of a batch of 32 is 32 times that of its mean, and plain gradient descent steps 32
times as far: a learning rate that suits the mean diverges, and every change of the batch size is a change of the rate.
Adam and its relatives divide the scale out again, and a rate chosen for the sum (that of the mean divided by the batch
size) does the same as the mean does: then a sum is a matter of taste.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, STEPS_TOO_LONG, facts

SCALED: Final = ("SGD", "Momentum", "Nesterov", "ASGD")
"""Optimizers whose step grows with the gradient."""

LARGE: Final = 0.1
"""Largest update of all weights, as a share of them. With a sum and the mean's rate 0.15 to 1.1 in seven of nine runs;
with a rate to match at most 0.04 (but for linear models that begin near zero, which learn all the same)."""
KEPT: Final = 0.25  # of the first loss; linear models with large first updates kept 0.001


def look(chart: Chart) -> Finding | Unknown | None:
    seen = facts(chart, "graph")
    if not isinstance(seen, dict):
        return seen
    kind = str(chart.fact("optimizer", "kind"))
    if (seen.get("given") or {}).get("reduction") != "sum" or not any(name in SCALED for name in kind.split(", ")):
        return None
    updates, losses = chart.series("update_ratio/all").y, chart.series("loss/batch").y
    if not len(losses) or not (len(updates) or chart.notes):
        return Unknown("the first losses and updates")
    broken = not np.isfinite([*losses, *updates]).all()
    largest = float(np.max(updates, initial=0.0))
    tail = max(1, len(losses) // 10)
    kept = float(np.median(losses[-tail:]) / losses[0]) if losses[0] else 0.0
    if not broken and (largest < LARGE or kept < KEPT):
        return None
    rows = chart.fact("data", "train", "batch_size") or ((seen["given"].get("output_shape") or [None])[0])
    many = f"{rows} rows" if rows else "a batch"
    harm = (
        "the loss is no longer a finite number"
        if broken
        else f"an update changed the weights by {largest:.2g} of their size and {kept:.0%} of the first loss is left"
    ).replace("%", " %")
    return Finding(
        f"The loss is the sum over the {many} of a batch, not their mean, so that the steps of {kind} are "
        f"{rows or 'that many'} times as long as its learning rate says: {harm}.",
        (
            Evidence("facts/graph/given", float(rows or 2), 1.0, f"The loss adds up {many}."),
            Evidence("update_ratio/all", largest, LARGE, f"{harm[:1].upper()}{harm[1:]}."),
        ),
        sure=0.9,
        remedies=(
            Remedy(
                'Take the mean (reduction="mean", the default), or divide the learning rate by the batch size.',
                diff={'nn.CrossEntropyLoss(reduction="sum")': "nn.CrossEntropyLoss()"},
            ),
        ),
    )


summed_loss = Check(
    look,
    symptom="The loss is a hundred times what others report, and jumps or diverges at a usual learning rate.",
    sick=Example(fault="summed_loss", data="digits", model="mlp", width=32, lr=0.3, epochs=4),
    near_miss=Example(fault="summed_loss_with_its_rate", data="digits", model="mlp", width=32, lr=0.3, epochs=4),
    look_alike="A sum with a learning rate to match, or with Adam, which divides the scale out.",
    source="Goyal et al. 2017, section 2.1: the gradient of the mean, and what the batch size does to it",
    explains=LEARNS_NOTHING | STEPS_TOO_LONG | {"first_loss", "last_batch", "noisy_batches"},
)
