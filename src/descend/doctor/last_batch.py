"""The incomplete last batch of an epoch is so small, and counts so much, that it throws training back each time.

With 100 rows and batches of 33, the fourth batch of each epoch is one row. Its mean loss is that row's loss, its
gradient that row's gradient, and the update is as long as that of a whole batch: the row counts 33 times as much as any
other, and its noise is nearly six times that of a batch. PyTorch's DataLoader does so unless it is told
`drop_last=True`.

The setting is a fact; it is called a problem only where the harm is seen: the loss is higher just after the last batch
than in the rest of the epoch, epoch after epoch, by more than at any other place in the epoch.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Unknown
from descend.doctor._signals import percent, remedy, two_digits
from descend.doctor._statistics import spread
from descend.doctor._training import batch_size, course, rows_of
from descend.run import Floats

EPOCHS: Final = 20
BATCHES: Final = 4  # of an epoch, the last one included

SMALL: Final = 0.25  # rows of the last batch, of a whole one: a row of it counts at least four times

HIGHER: Final = 0.1
"""Logarithm of the loss just after the last batch over that in the rest of the epoch: harmed runs 0.13 to 0.36."""

ERRORS: Final = 3.5
"""Its standard errors over the epochs: harmed runs 3.8 to 9. Of the healthy runs with a small last batch 1.2 at most;
4.5 once, where it was not the highest place of the epoch."""

FLOOR: Final = 1e-4  # of the first loss


class Jump(NamedTuple):
    """How much higher the loss is just after the last batch: a logarithm, its standard errors, and the null."""

    height: float
    errors: float
    elsewhere: float  # the highest mean at any other place in the epoch
    scatter: float


def look(chart: Chart) -> Finding | Unknown | None:
    size, rows, seen = batch_size(chart), rows_of(chart), course(chart)
    if size is None or rows is None:
        return Unknown("the number of rows of a batch and of the training set")
    left = _counted_in_full(chart, rows, size)
    if not left or left > SMALL * size:
        return None
    per_epoch = -(-rows // size)
    losses = chart.series("loss/batch").y
    if per_epoch < BATCHES:
        return None
    if seen is None or len(losses) < EPOCHS * per_epoch:
        return Unknown(f"{EPOCHS} epochs")
    jump = _jump(losses / seen.start, per_epoch) if seen.start > 0 else None
    if jump is None or jump.errors < ERRORS or jump.height < HIGHER:
        return None
    if jump.height < jump.elsewhere + 3 * jump.scatter:
        return None
    weight = size / left
    fact = Evidence(
        "facts/data/train/last_batch",
        left,
        SMALL * size,
        f"The last batch of an epoch has {left} row{'s' if left > 1 else ''} of {size}, so each of them counts "
        f"{two_digits(weight)} times as much as other rows.",
    )
    harm = Evidence(
        "loss/batch",
        jump.height,
        HIGHER,
        f"Just after it the loss is {percent(np.expm1(jump.height))} higher than in the rest of the epoch "
        f"({jump.errors:.1f} standard errors).",
    )
    return Finding(
        f"The incomplete last batch throws training back. {fact.says} {harm.says}",
        (fact, harm),
        0.85,
        remedies=(
            remedy(chart, "Weight each batch by its rows.", "safe", last_batch="weighted"),
            remedy(
                chart,
                "Leave the last batch out; the rows in it change from epoch to epoch.",
                "safe",
                {"DataLoader(data, batch_size)": "DataLoader(data, batch_size, drop_last=True)"},
                last_batch="dropped",
            ),
        ),
    )


def _counted_in_full(chart: Chart, rows: int, size: int) -> int:
    """Rows of the last batch, where its mean loss counts as much as a whole batch's; 0 where not, or not known."""
    if chart.recipe is not None:
        return rows % size if chart.recipe.last_batch == "unweighted" else 0
    return int(chart.fact("data", "train", "last_batch") or 0)


def _jump(losses: Floats, per_epoch: int) -> Jump | None:
    """The loss of the first batch of an epoch against the other whole ones, over all epochs but the first quarter."""
    epochs = len(losses) // per_epoch
    logs = np.log(np.maximum(losses[: epochs * per_epoch], 0) + FLOOR).reshape(epochs, per_epoch)
    whole = logs[epochs // 4 :, :-1]
    if not np.isfinite(whole).all():
        return None
    heights = np.stack(
        [whole[:, place] - np.median(np.delete(whole, place, axis=1), axis=1) for place in range(whole.shape[1])]
    )
    first, others = heights[0], heights[1:].mean(axis=1)
    error = first.std(ddof=1) / np.sqrt(len(first))
    if error <= 0:
        return None
    return Jump(float(first.mean()), float(first.mean() / error), float(others.max()), spread(others))


last_batch = Check(
    look,
    symptom="The loss jumps up at the end of every epoch.",
    sick=Example(
        data="employee_bonus",
        rows=207,
        noise=5.0,
        validation=0.3,
        scale="standard",
        model="linear",
        lr=0.2,
        batch_size=48,
        last_batch="unweighted",
        epochs=100,
    ),
    near_miss=Example(
        data="employee_bonus",
        rows=207,
        noise=5.0,
        validation=0.3,
        scale="standard",
        model="linear",
        lr=0.2,
        batch_size=48,
        last_batch="weighted",
        epochs=100,
    ),
    look_alike="A last batch that is nearly whole, weighted by its rows, or left out.",
    source="PyTorch, documentation of DataLoader (drop_last) and of the losses (reduction: the mean of a batch)",
    explains=frozenset({"loss_spikes", "lr_too_high", "noisy_batches", "plateau", "underfitting", "update_ratio"}),
)
