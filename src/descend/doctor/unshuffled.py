"""The rows come sorted by their target, so that the network learns one kind after the other and forgets the one before.

A step follows the gradient of its batch, which stands for all rows only if it is drawn from all rows. In rows sorted by
class, a batch holds one class: the quickest way to a small loss on it is to answer that class to everything, and the
next class finds a network that has unlearned its own. The losses of the batches look good, since each batch is like
the one before it, while the loss over all rows does not fall. Sorted files come from folders of one class each, and
from tables ordered by what is predicted.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, STEPS_TOO_LONG
from descend.doctor._data import CLEAR, DATA, error_of, split

SORTED: Final = (
    0.5  # of the changes of label that mixed rows have; sorted ones have 0.01 (digits), mixed ones 1 +- 0.02
)
ORDERED: Final = 0.9  # correlation of neighbouring targets; sorted ones have 0.99, mixed ones 0 +- 0.05


def look(chart: Chart) -> Finding | Unknown | None:
    facts = split(chart)
    if not facts or facts.get("shuffled") is None:
        return Unknown("the loader of the training rows: it says whether they are shuffled")
    whole = facts.get("batch_size") and facts["batch_size"] >= facts["rows"]
    if facts["shuffled"] or whole:
        return None  # the order within a full batch changes nothing
    if facts.get("task") == "classification":
        return _classes(facts)
    if facts.get("task") == "regression":
        return _numbers(chart, facts)
    return None if facts.get("task") else DATA


def _classes(facts: dict[str, Any]) -> Finding | None:
    changes, mixed = facts.get("label_changes"), facts.get("label_changes_expected")
    if changes is None or not mixed:
        return None
    if changes > SORTED * mixed or mixed - changes < CLEAR * error_of(mixed, facts["sampled"]):
        return None
    return _finding(
        f"neighbouring rows have different labels in {changes:.2g} of the cases, where mixed rows would in {mixed:.2g}",
        Evidence(
            "facts/data/train/label_changes",
            changes,
            SORTED * mixed,
            f"The label changes from row to row in a share of {changes:.2g}; in random order it would in {mixed:.2g}.",
        ),
        sure=0.97,
    )


def _numbers(chart: Chart, facts: dict[str, Any]) -> Finding | None:
    """A series in time is ordered too: what tells is that what was learned is unlearned again.

    The last batches fit far better than all the rows do, or the loss over all rows has risen far above its lowest.
    """
    order = facts.get("target_order")
    losses, evaluated = chart.series("loss/batch").y, chart.series("loss/train").y
    epoch = math.ceil(facts["rows"] / (facts.get("batch_size") or 1))
    if order is None or order < ORDERED or len(losses) < epoch or not len(evaluated):
        return None
    forgotten = evaluated[-1] / max(float(losses[-epoch:].mean()), 1e-300)
    level = float(np.median(evaluated[-max(1, len(evaluated) // 4) :]))
    unlearned = level / max(float(evaluated.min()), 1e-300)
    if forgotten > FORGOTTEN:
        how = f"over all rows the loss is {forgotten:.2g} times what it was on the batches of the last epoch"
        harm = Evidence(
            "loss/train", forgotten, FORGOTTEN, f"All rows: {forgotten:.2g} times the last epoch's batches."
        )
    elif unlearned > UNLEARNED and len(evaluated) >= EVALUATIONS and level > KEPT * evaluated[0]:
        how = f"the loss over all rows has risen to {unlearned:.2g} times its lowest value"
        harm = Evidence("loss/train", unlearned, UNLEARNED, f"{how}.".capitalize())
    else:
        return None
    return _finding(
        f"neighbouring targets have a correlation of {order:.2g}, and {how}",
        Evidence(
            "facts/data/train/target_order",
            order,
            ORDERED,
            f"The correlation of a target with the next row's is {order:.2g}; of rows in random order it is 0.",
        ),
        harm,
        sure=0.85,
    )


FORGOTTEN: Final = 1.5  # the loss over all rows, in units of the last epoch's batches; shuffled runs have 0.7 to 1.05
EVALUATIONS: Final = 5
UNLEARNED: Final = 3.0  # the loss over all rows, in units of its lowest; sorted tables 8 and 14
KEPT: Final = 0.4  # of the first loss: rises below it do less harm


def _finding(what: str, *evidence: Evidence, sure: float) -> Finding:
    return Finding(
        f"The training rows are not shuffled, and they are sorted: {what}. Each batch shows one kind of row, and "
        "the next unlearns it.",
        evidence,
        sure=sure,
        remedies=(
            Remedy(
                "Shuffle the training rows anew in every epoch.",
                change=lambda recipe: recipe.but(order="reshuffled"),
                safety="safe",
                diff={"DataLoader(train, batch_size=32)": "DataLoader(train, batch_size=32, shuffle=True)"},
            ),
        ),
    )


unshuffled = Check(
    look,
    symptom="The batches' losses are small with a jump now and then, and the loss over all rows does not fall.",
    sick=Example(fault="unshuffled", data="blobs", model="mlp", width=16, lr=0.1, epochs=8),
    near_miss=Example(fault="none", data="blobs", model="mlp", width=16, lr=0.1, epochs=8, order="fixed"),
    look_alike="Rows that were mixed once and come in the same order every epoch; sorted rows that are shuffled.",
    source="Bengio 2012, Practical recommendations for gradient-based training of deep architectures, section 3.1.1",
    explains=LEARNS_NOTHING
    | STEPS_TOO_LONG
    | {"first_loss", "loss_spikes", "noisy_batches", "overfitting", "lr_too_high", "minority_never_predicted"},
)
