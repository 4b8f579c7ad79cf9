"""The labels are not the numbers that the loss takes: beyond the outputs, below zero, or not between 0 and 1.

Cross-entropy takes the class numbers 0 to K - 1 of K outputs (and -100, which it ignores). The binary cross-entropy
takes 0, 1 and what lies between: with labels -1 and 1, or masks of 0 and 255, it has no minimum, goes on falling below
zero, and the outputs grow without end. Nothing raises an error there.
"""

from __future__ import annotations

from typing import Any, Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, STEPS_TOO_LONG
from descend.doctor._data import split

IGNORED: Final = -100  # what torch's cross-entropy leaves out unless told otherwise
BINARY: Final = ("bce", "bce_with_logits")
CLASSES: Final = ("cross_entropy", "nll")


def look(chart: Chart) -> Finding | Unknown | None:
    if chart.recipe is not None:
        return None  # a recipe's data set knows its classes
    loss, given = chart.fact("graph", "loss"), chart.fact("graph", "given") or {}
    low, high = _range(chart, given)
    if low is None or high is None:
        return Unknown("the labels: the rows of the data, or a loss that `descend.watch` knows")
    if loss in BINARY:
        return _finding(loss, low, high, 0, 1) if low < 0 or high > 1 else None
    return _of_classes(chart, loss, given, low, high)


def _range(chart: Chart, given: dict[str, Any]) -> tuple[float | None, float | None]:
    """The least and the largest label, of the data set or else of the batches that were looked at."""
    facts = split(chart)
    low = facts.get("target_min", given.get("target_min"))
    return low, facts.get("target_max", given.get("target_max"))


def _of_classes(chart: Chart, loss: str | None, given: dict[str, Any], low: float, high: float) -> Finding | None:
    """Class numbers, of which there may be as many as outputs. An index out of range raises, so no loss is seen."""
    facts = split(chart)
    whole = "int" in str(facts.get("target_dtype") or given.get("target_dtype") or "")
    shape = given.get("output_shape") or [None, *(chart.fact("network", "output_shape") or [])]
    if not whole or len(shape) < 2 or (loss is not None and loss not in CLASSES):
        return None
    outputs = shape[1] if given.get("output_shape") else shape[-1]
    one_each = facts.get("task") in ("classification", "sequence") or loss in CLASSES
    if not one_each or outputs < 2 or (high < outputs and (low >= 0 or low == IGNORED or _goes_on(chart))):
        return None
    return _finding(loss or "cross_entropy", low, high, 0, outputs - 1)


def _goes_on(chart: Chart) -> bool:
    """Whether the loss has taken such labels: then it was told to ignore them (`ignore_index`)."""
    return chart.fact("start", "loss") is not None and chart.status != "failed"


def _finding(loss: str, low: float, high: float, least: int, most: int) -> Finding:
    shifted = most and low == 1 and high == most + 1
    if loss in BINARY:
        do, diff = "Turn the labels into 0 and 1.", {"y": "(y == y.max()).float()"}
    elif shifted:
        do, diff = "Count the classes from 0.", {"criterion(model(x), y)": "criterion(model(x), y - 1)"}
    else:
        do = f"Give the model {high + 1:.0f} outputs, or number the classes from 0 without gaps."
        diff = {"y": "torch.unique(y, return_inverse=True)[1]"}
    consequence = "so it falls below zero without end" if loss in BINARY else "which stops training with an error"
    return Finding(
        f"The labels go from {low:.5g} to {high:.5g}, but {loss} takes {least} to {most} here, {consequence}.",
        (
            Evidence(
                "facts/data/train/target_max" if high > most else "facts/data/train/target_min",
                float(high if high > most else low),
                float(most if high > most else least),
                f"Labels from {low:.5g} to {high:.5g}; {least} to {most} are taken.",
            ),
        ),
        sure=0.98,
        where="labels",
        remedies=(Remedy(do, diff=diff),),
    )


label_range = Check(
    look,
    symptom="The loss falls below zero and goes on falling, or training stops with an index out of bounds.",
    sick=Example(fault="label_range", data="moons", model="mlp", width=16, loss="bce_with_logits", lr=0.1, epochs=4),
    near_miss=Example(fault="none", data="moons", model="mlp", width=16, loss="bce_with_logits", lr=0.1, epochs=4),
    look_alike="Labels of -1 and 1 for a hinge loss, class numbers of -100 for positions that do not count.",
    source="PyTorch, documentation of nn.CrossEntropyLoss and nn.BCEWithLogitsLoss",
    explains=LEARNS_NOTHING | STEPS_TOO_LONG | {"first_loss", "unscaled_targets", "loss_mismatch"},
)
