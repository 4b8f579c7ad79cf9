"""A value of the data is NaN or infinite, and one such row is enough to spoil every weight.

NaN spreads: a row with one NaN has a NaN in its loss, so the batch has a NaN in its mean loss, so every gradient is
NaN, and after one update every weight. From then on all answers are NaN, whatever the data. Missing cells of a table
are read as NaN, and a logarithm of zero or a division by a standard deviation of zero makes infinities.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, STEPS_TOO_LONG
from descend.doctor._data import DATA, column, split


def look(chart: Chart) -> Finding | Unknown | None:
    splits = {name: split(chart, name) for name in ("train", "validation")}
    if not any(splits.values()):
        return DATA
    for name, facts in splits.items():
        bad = facts.get("non_finite")
        if bad and not _left_out(chart, name, facts):
            return _finding(chart, name, bad)
    return None


def _left_out(chart: Chart, name: str, facts: dict[str, Any]) -> bool:
    """Whether the loop has been over the rows and kept a finite loss: it masks such values, or fills them in."""
    series = "loss/batch" if name == "train" else "loss/validation"
    epoch = math.ceil(facts["rows"] / (facts.get("batch_size") or 1)) if name == "train" else 1
    losses = chart.series(series).y
    return len(losses) >= epoch and bool(np.isfinite(losses).all())


def _finding(chart: Chart, name: str, bad: dict[str, Any]) -> Finding:
    count, place = bad["count"], bad["column"]
    where = f"row {bad['row']}" + (f", {column(chart, place)}" if isinstance(place, int) else "")
    where += f", position {tuple(place)}" if isinstance(place, list) else ""
    many = "the only such value" if count == 1 else f"one of {count:,} such values"
    return Finding(
        f"The {name} {bad['part']} hold {bad['value']} at {where} ({many}; rows count from 0): the loss of that row is "
        "not a number, and one update with it makes every weight NaN.",
        (
            Evidence(
                f"facts/data/{name}/non_finite", float(count), 0.0, f"{count:,} values of the {name} {bad['part']}."
            ),
        ),
        sure=0.98,
        where=where,
        remedies=(
            Remedy(
                "Drop such rows, or fill their cells in (the column's median, and a column that says where it was), "
                "before the data are split into batches.",
                diff={"table = pd.read_csv(file)": "table = pd.read_csv(file).dropna()"},
            ),
        ),
    )


non_finite_data = Check(
    look,
    symptom="The loss becomes NaN within the first epoch, at a step that depends on the order of the rows.",
    sick=Example(fault="non_finite_data", data="moons", model="mlp", width=16, lr=0.1, epochs=3),
    near_miss=Example(fault="none", data="moons", model="mlp", width=16, lr=0.1, epochs=3),
    look_alike="NaN that stands for a missing value and that the loop masks: its losses stay finite.",
    source="IEEE 754-2019, section 6.2: operations on a NaN give a NaN",
    explains=LEARNS_NOTHING | STEPS_TOO_LONG | {"first_loss", "deaf_network", "unscaled_inputs"},
)
