"""A column of the inputs holds the same value in every row, or repeats another column.

Such a column tells the network nothing. It seldom hurts by itself: the weights of a constant column are biases, and
two equal columns share one weight. But it was meant to hold something else, which the network now lacks: a name was
misspelled, a join found nothing, a cell was copied. Constant pixels at the edge of pictures are no such case, nor is
the column of a rare word that happens to be 0 in all rows.
"""

from __future__ import annotations

from typing import Any, Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._data import DATA, columns, split

WIDE: Final = 50  # columns: from there on tables are pictures or words; flat 8 x 8 digits have 64, 3 of them constant
FEWEST: Final = 20  # rows: fewer are often equal by chance


def look(chart: Chart) -> Finding | Unknown | None:
    facts = split(chart)
    if facts.get("tokens"):
        return None
    if "constant_columns" not in facts or "columns" not in facts:
        return DATA
    if len(facts["input_shape"]) != 1 or facts["input_shape"][0] > WIDE or facts["sampled"] < FEWEST:
        return None
    constant = _constant(facts)
    pairs = [pair for pair in facts.get("duplicate_columns") or [] if not _of_zeros_and_ones(facts, pair[1])]
    if not constant and not pairs:
        return None
    says = []
    if constant:
        value = facts["columns"]["mean"][constant[0]]
        verb = "holds" if len(constant) == 1 else "hold"
        each = f"{value:.2g} in every row" if len(constant) == 1 else "one value each in every row"
        says.append(f"{columns(chart, constant)} {verb} {each}")
    if pairs:
        copies = [copy for _, copy in pairs]
        verb = "repeats" if len(copies) == 1 else "repeat"
        says.append(f"{columns(chart, copies)} {verb} {columns(chart, sorted({first for first, _ in pairs}))}")
    number = len(constant) + len(pairs)
    sentence = " and ".join(says)
    return Finding(
        f"Of {facts['input_shape'][0]} input columns {number} {'says' if number == 1 else 'say'} nothing: {sentence}.",
        (Evidence("facts/data/train/columns", float(number), 0.0, f"{sentence[0].upper()}{sentence[1:]}."),),
        sure=0.95,
        where=columns(chart, [*constant, *(copy for _, copy in pairs)]),
        remedies=(
            Remedy(
                "Look where the column comes from: it was meant to hold something else. If not, drop it.",
                diff={'x = table[["age", "rooms", "age"]]': 'x = table[["age", "rooms", "price"]]'},
            ),
        ),
    )


def _constant(facts: dict[str, Any]) -> list[int]:
    """Constant columns, without those that are 0 in a table with columns of zeros and ones: rare words."""
    words = any(_of_zeros_and_ones(facts, number) for number in range(facts["input_shape"][0]))
    return [n for n in facts["constant_columns"] if not (words and facts["columns"]["mean"][n] == 0)]


def _of_zeros_and_ones(facts: dict[str, Any], number: int) -> bool:
    """Whether a column that varies can be one of zeros and ones: its deviation is then that of a share."""
    described = facts["columns"]
    low, high, mean, std = (described[name][number] for name in ("min", "max", "mean", "std"))
    return bool(low == 0 and high == 1 and abs(std**2 - mean * (1 - mean)) < 1e-6)


useless_columns = Check(
    look,
    symptom="The fit is worse than it should be, since a column that matters is missing.",
    sick=Example(fault="useless_columns", data="employee_bonus", scale="standard", model="linear", lr=0.05, epochs=5),
    near_miss=Example(fault="none", data="employee_bonus", scale="standard", model="linear", lr=0.05, epochs=5),
    look_alike="Pixels at the edge of pictures; columns of zeros and ones for words that are rare.",
    source="Guyon & Elisseeff 2003, An introduction to variable and feature selection, section 3",
)
