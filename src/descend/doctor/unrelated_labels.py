"""The labels do not belong to their inputs: what is learned of the training rows is learned by heart.

Inputs and targets that were shuffled, sorted or filtered apart from each other look healthy one by one. A large enough
network learns them all the same, one row at a time (Zhang et al. 2017), and answers new rows no better than chance.
Two things give it away: near rows have targets as different as rows at random, and nothing that is learned carries
over to the validation rows.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._data import CLEAR, apart, error_of, score, split

UNRELATED: Final = 2.5  # standard errors below permuted labels that still count as none; true labels have 60 (digits)
FEWEST: Final = 100  # rows
LEARNED: Final = 0.05  # of accuracy or R2, by which the training rows must be ahead of chance


def look(chart: Chart) -> Finding | Unknown | None:
    train, validation = split(chart, "train"), split(chart, "validation")
    sequence = len(train.get("input_shape") or ()) == 2  # whose neighbours say little: what counts may be anywhere
    if train.get("tokens") or sequence or (train and train.get("task") not in ("classification", "regression")):
        return None
    here, there = train.get("neighbours"), validation.get("neighbours")
    if not here or not there or here["rows"] < FEWEST:
        return Unknown(f"{FEWEST} training rows of numbers with their targets, and validation rows")
    if not _unrelated(here):
        return None
    witness = _related(there) or _by_heart(chart, train)
    if witness is None:
        return None
    unit = "of the labels wrong" if train["task"] == "classification" else "of the targets' variance unexplained"
    return Finding(
        "The training targets do not belong to their inputs: their five nearest rows leave "
        f"{here['disagree']:.2g} {unit}, and rows at random {here['expected']:.2g}. {witness.says}",
        (
            Evidence(
                "facts/data/train/neighbours",
                here["disagree"],
                here["expected"],
                f"Neighbours leave {here['disagree']:.2g} {unit}, rows at random {here['expected']:.2g}.",
            ),
            witness,
        ),
        sure=0.9,
        where="training targets",
        remedies=(
            Remedy(
                "Print some inputs beside their targets. Apply every shuffle, sort and filter to both at once.",
                diff={
                    "random.shuffle(x); random.shuffle(y)": "order = torch.randperm(len(x)); x, y = x[order], y[order]"
                },
            ),
        ),
    )


def _unrelated(neighbours: dict[str, Any]) -> bool:
    """Whether neighbours are as different as rows at random."""
    error = error_of(min(neighbours["expected"], 0.5), neighbours["rows"])  # of an unexplained variance it is more
    return bool(neighbours["disagree"] > neighbours["expected"] - UNRELATED * error)


def _related(there: dict[str, Any]) -> Evidence | None:
    """Whether the validation rows' own neighbours are alike: then it is the training targets that are wrong."""
    if apart(min(there["expected"], 1.0), there["rows"], min(there["disagree"], 1.0), there["rows"]) < CLEAR:
        return None
    says = f"Among the validation rows it is {there['disagree']:.2g} and {there['expected']:.2g}."
    return Evidence("facts/data/validation/neighbours", there["disagree"], there["expected"], says)


def _by_heart(chart: Chart, train: dict[str, Any]) -> Evidence | None:
    """Whether the training rows are learned, and nothing of it holds for the validation rows."""
    ours, theirs = score(chart, "train").y, score(chart, "validation").y
    if not len(ours) or not len(theirs):
        return None
    counts = train.get("classes")
    chance = max(counts.values()) / sum(counts.values()) if isinstance(counts, dict) and counts else 0.0
    rows = chart.fact("evaluation", "rows_validation") or 100
    best = float(np.max(theirs))
    carried_over = best > chance + LEARNED and apart(min(best, 1.0), rows, chance, rows) > CLEAR / 2
    learned = ours[-1] > chance + LEARNED and apart(min(float(ours[-1]), 1.0), rows, chance, rows) > CLEAR / 2
    if carried_over or not learned:
        return None
    says = (
        f"The training rows are being learned by heart: the score is {ours[-1]:.2g} on them, {theirs[-1]:.2g} on the "
        f"validation rows, and {chance:.2g} for one answer to everything."
    )
    return Evidence("accuracy/validation" if counts else "r2/validation", float(theirs[-1]), chance, says)


unrelated_labels = Check(
    look,
    symptom="The training loss falls slowly, row by row, and the validation loss rises from the beginning.",
    sick=Example(fault="unrelated_labels", data="digits", model="mlp", width=64, optimizer="adam", lr=3e-3, epochs=12),
    near_miss=Example(
        fault="none", data="moons", noise=1.2, model="mlp", width=64, optimizer="adam", lr=0.01, epochs=15
    ),
    look_alike="Classes that overlap widely, sequences whose nearest rows say little, an overfitted network.",
    source="Zhang et al. 2017, Understanding deep learning requires rethinking generalization",
    explains=frozenset(
        {"overfitting", "mislabelled", "underfitting", "plateau", "chance_level", "noisy_batches", "lr_too_low"}
    ),
)
