"""One class has few rows, and the network has learned to do without it.

The loss is a mean over rows, so a class with 3 % of the rows has 3 % of the say: to answer the common class to
everything is already 97 % right. Where the inputs tell the rare class apart, that is not the best that can be done, and
it is rarely what is wanted. Weights for the classes (rows / (classes x rows of the class)) or drawing rare rows more
often make up for it; afterwards probabilities are no longer those of the data, and accuracy is the wrong measure.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._data import DATA, before_training, error_of, split
from descend.recipe import Recipe

RATIO: Final = 10.0  # rows of the most frequent class for each of the rare one
BEFORE: Final = 20.0  # the same before training, when nothing is known of what it does
MISSED: Final = 0.5  # of the rare rows, one standard error included: with weights 0.67 were found, without 0.27
TOLD_APART: Final = 3.0  # times more neighbours of its own class than rows at random would have
FEWEST: Final = 6  # rows of the class among those judged: were half of them found, none would be once in 64
EARLY: Final = 6  # evaluations, before which a run that goes on may still come to the rare rows


class Rare(NamedTuple):
    """A class that has few rows: how many the others have, and what the network does with its rows."""

    label: str
    ratio: float  # rows of the most frequent class for each of its own, in training
    told_apart: float  # how many times more of its rows' neighbours are of the class than of rows at random
    rows: int  # of the class, among those judged
    found: float  # share of them that was answered right
    answered: int  # times that the class was answered
    rest: float  # share of the other rows that was answered right


def look(chart: Chart) -> Finding | Unknown | None:
    if before_training(chart):
        return _before(chart)
    classes = rare(chart)
    if isinstance(classes, Unknown):
        return classes
    missed = [each for each in classes if each.ratio >= RATIO and _missed(each)]
    if not missed:
        return None
    worst = max(missed, key=lambda each: each.ratio)
    return Finding(
        f"There are few rows of class {worst.label}: the most frequent class has {worst.ratio:.2g} training rows for "
        f"each of its own. Of its {worst.rows:,} judged rows {worst.found:.2g} are recognised, of the others "
        f"{worst.rest:.2g}, although its neighbours are {worst.told_apart:.2g} times more often of its own class than "
        "by chance.",
        (
            Evidence(
                "facts/data/train/classes",
                worst.ratio,
                RATIO,
                f"{worst.ratio:.2g} rows for each of class {worst.label}.",
            ),
            Evidence(
                "facts/predictions", worst.found, MISSED, f"A share of {worst.found:.2g} of its rows is recognised."
            ),
        ),
        sure=0.85,
        where=f"class {worst.label}",
        remedies=(remedy(chart),),
    )


def rare(chart: Chart) -> list[Rare] | Unknown:
    """Every class with less than half of its equal share of the training rows (or none) that is judged often enough."""
    train, predictions = split(chart), chart.fact("predictions") or {}
    counts, true = train.get("classes"), predictions.get("true")
    if train and train.get("task") != "classification":
        return []
    if not counts or not true:
        return DATA if not counts else Unknown("an evaluation: give `descend.watch` the loss")
    if not chart.ended and len(chart.series("loss/validation").y) < EARLY:
        return Unknown(f"the end of training, or {EARLY} evaluations")
    most, rows = max(counts.values()), sum(true.values())
    right, answered = predictions["right"], predictions["predicted"]
    common = [label for label in true if counts.get(label, 0) >= 0.5 * sum(counts.values()) / len(counts)]
    rest_rows, rest_right = (sum(table.get(label, 0) for label in common) for table in (true, right))
    if rows < 2 * FEWEST or not rest_rows:
        return []
    return [
        Rare(
            label,
            most / max(counts.get(label, 0), 1),
            _told_apart(chart, label),
            true[label],
            right.get(label, 0) / true[label],
            answered.get(label, 0),
            rest_right / rest_rows,
        )
        for label in true
        if label not in common and true[label] >= FEWEST
    ]


def _told_apart(chart: Chart, label: str) -> float:
    """Of both splits, since a class may have too few rows in one to have neighbours of its own there."""
    lifts = [0.0]
    for name in ("train", "validation"):
        facts: dict[str, Any] = split(chart, name)
        own = ((facts.get("neighbours") or {}).get("own") or {}).get(label)
        counts = facts.get("classes") or {}
        if own is not None and counts.get(label):
            lifts.append(own * sum(counts.values()) / counts[label])
    return max(lifts)


def _missed(each: Rare) -> bool:
    """Whether its rows are not found, although they could be, and the others are."""
    return (
        each.found + error_of(each.found, each.rows) < MISSED
        and each.told_apart >= TOLD_APART
        and each.rest > 0.5 + each.found / 2
    )


def _before(chart: Chart) -> Finding | Unknown | None:
    counts = split(chart).get("classes")
    if not counts or split(chart).get("task") != "classification":
        return None if split(chart) else DATA
    label, fewest = min(counts.items(), key=lambda pair: pair[1])
    ratio = max(counts.values()) / fewest
    if ratio < BEFORE or len(counts) < 2:
        return None
    share = 1 - fewest / sum(counts.values())
    return Finding(
        f"There are few rows of class {label}: the most frequent class has {ratio:.2g} for each of them, so a network "
        f"that never answers it is right in {share:.2g} of all rows.",
        (Evidence("facts/data/train/classes", float(ratio), BEFORE, f"{fewest:,} rows of class {label}."),),
        sure=0.6,
        where=f"class {label}",
        remedies=(remedy(chart),),
    )


def remedy(chart: Chart) -> Remedy:
    """Weights for the classes."""
    weighted = chart.recipe is not None and "class_weights" in chart.recipe.options
    return Remedy(
        "Weigh the classes by rows / (classes x rows of the class), or draw rare rows more often; judge by the recall "
        "of each class, not by accuracy.",
        change=_balanced if weighted else None,
        safety="changes the result" if weighted else "advice only",
        diff={"nn.CrossEntropyLoss()": "nn.CrossEntropyLoss(weight=len(y) / (classes * torch.bincount(y)))"},
    )


def _balanced(recipe: Recipe) -> Recipe:
    return recipe.but(class_weights="balanced")


class_imbalance = Check(
    look,
    symptom="The accuracy is high from the start, and hardly above the share of the most frequent class.",
    sick=Example(fault="class_imbalance", data="blobs", rows=3000, noise=1.0, model="mlp", width=8, lr=0.02, epochs=8),
    near_miss=Example(
        fault="class_imbalance", data="blobs", rows=3000, noise=0.4, model="mlp", width=32, optimizer="adam", lr=0.01
    ),
    look_alike="Classes of very different size that are all recognised; a rare class that nothing tells apart.",
    source="King & Zeng 2001, Logistic regression in rare events data; He & Garcia 2009, Learning from imbalanced data",
    explains=frozenset({"minority_never_predicted", "chance_level", "plateau", "underfitting"}),
)
