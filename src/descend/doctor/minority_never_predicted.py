"""A class occurs among the rows that are judged, and the network never answers it.

Accuracy hides this: with ten classes, one that is never answered costs at most a tenth, and a rare one next to
nothing. It comes from too few training rows of the class (or none: a mapping of names to numbers that differs between
the splits), from a loss that ignores it, or from training that stopped before the rare rows had their turn.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Unknown
from descend.doctor._data import before_training
from descend.doctor.class_imbalance import rare, remedy

LEARNED: Final = 0.5  # of the rows of frequent classes must be answered right: else nothing has been learned yet
TOLD_APART: Final = 2.0  # times more neighbours of its own class than by chance; 8 at 3 % of two overlapping classes


def look(chart: Chart) -> Finding | Unknown | None:
    if before_training(chart):
        return None
    classes = rare(chart)
    if isinstance(classes, Unknown):
        return classes
    never = [each for each in classes if not each.answered and each.rest > LEARNED and each.told_apart >= TOLD_APART]
    if not never:
        return None
    worst = max(never, key=lambda each: each.rows)
    others = f" (and {len(never) - 1} other classes)" if len(never) > 1 else ""
    return Finding(
        f"The model never answers class {worst.label}{others}: {worst.rows:,} of the judged rows are of it, none "
        "of them was recognised and no other was mistaken for it, while of the frequent classes' rows "
        f"{worst.rest:.2g} are right.",
        (
            Evidence("facts/predictions", 0.0, float(worst.rows), f"Class {worst.label} was answered 0 times."),
            Evidence(
                "facts/data/train/classes",
                worst.ratio,
                2.0,
                f"In training the most frequent class has {worst.ratio:.2g} rows for each of its own.",
            ),
        ),
        sure=0.9,
        where=f"class {worst.label}",
        remedies=(remedy(chart),),
    )


minority_never_predicted = Check(
    look,
    symptom="The accuracy looks good, and one class has a recall of zero.",
    sick=Example(
        fault="minority_never_predicted", data="blobs", rows=2000, noise=1.0, model="mlp", width=16, lr=0.01, epochs=5
    ),
    near_miss=Example(
        fault="minority_never_predicted", data="blobs", rows=1200, noise=0.4, model="mlp", width=32, lr=0.1, epochs=20
    ),
    look_alike="A network that has learned nothing yet and answers one class to everything.",
    source="He & Garcia 2009, Learning from imbalanced data, section 4",
)
