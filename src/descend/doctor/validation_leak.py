"""Validation rows are training rows too, so that the validation loss says how well they were learned by heart.

Rows that were seen in training say nothing about new ones. They get there when rows are repeated (to have more of
a rare class, or by a join) before the split, when pictures of one object are spread over both splits, or when the
validation rows are a part of what is trained on. The more a network overfits, the better its validation looks.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._data import CLEAR, apart

FEW: Final = 0.01  # of the validation rows; CIFAR-10's test set, which is in use, has 3 % (Barz & Denzler 2020)


def look(chart: Chart) -> Finding | Unknown | None:
    shared, expected = chart.fact("data", "shared_rows"), chart.fact("data", "shared_rows_expected")
    if not shared or expected is None:
        return Unknown("training and validation rows to compare")
    count, rows, share = shared["count"], shared["of"], shared["share"]
    if count < 2 or share <= FEW:
        return None
    if expected and (share < 2 * expected or apart(share, rows, expected, rows) < CLEAR):
        return None  # as many as there would be without a leak
    chance = f"; chance makes {expected:.2g} of the rows equal to another one" if expected else ""
    looked = "" if shared["searched"] >= 1 else f" ({100 * shared['searched']:.0f} % of which were searched)"
    return Finding(
        f"{count:,} of {rows:,} validation rows ({100 * share:.0f} %) are training rows too{looked}, equal in "
        f"every input{chance}: the validation loss is partly a training loss.",
        (
            Evidence(
                "facts/data/shared_rows",
                share,
                max(FEW, 2 * expected),
                f"A share of {share:.2g} of the validation rows are training rows too.",
            ),
        ),
        sure=0.98 if not expected else 0.8,
        where="validation",
        remedies=(
            Remedy(
                "Remove equal rows before the split, and keep what belongs together (one person, one object, one "
                "day) in one part. Repeat or augment rows after the split, and only the training rows.",
                diff={
                    "x = repeat(x); train, validation = split(x)": "train, validation = split(x); train = repeat(train)"
                },
            ),
        ),
    )


validation_leak = Check(
    look,
    symptom="The validation loss is as good as the training loss, however much the network overfits.",
    sick=Example(fault="validation_leak", data="moons", model="mlp", width=16, lr=0.1, epochs=5),
    near_miss=Example(
        fault="none", data="employee_bonus", rows=300, validation=0.2, scale="standard", lr=0.1, epochs=20
    ),
    look_alike="Rows of few whole numbers, which are equal by chance, within training as often as across the splits.",
    source="Kapoor & Narayanan 2023, Leakage and the reproducibility crisis in machine-learning-based science",
)
