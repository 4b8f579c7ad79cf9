"""Many training labels contradict their neighbours, while the validation labels do not: they are wrong.

A network learns what most labels say long before it learns the exceptions by heart. So with wrong labels the accuracy
on the training rows stands for a while at the share of right ones, below the accuracy on clean validation rows, and
from there on it learns the errors. The five nearest training rows say the same without any training: they agree with
validation labels and contradict training labels. Where both splits are contradicted alike, the classes overlap, or
labels are wrong in both; the numbers cannot tell these two apart.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._data import CLEAR, apart, split

MORE: Final = 0.05  # of the rows: what training labels are contradicted in more than validation labels
TIMES: Final = 2.0  # and how many times more; with 30 % of wrong digits 0.38 and 0.11, without 0.03 and 0.04
RELATED: Final = 0.85  # of what permuted labels have: above it they are not some wrong ones, they belong nowhere


def look(chart: Chart) -> Finding | Unknown | None:
    train, validation = split(chart, "train"), split(chart, "validation")
    within, across = train.get("neighbours"), validation.get("train_neighbours")
    if train.get("task") not in (None, "classification") or train.get("tokens"):
        return None
    if not within or not across or len(within.get("own", ())) < 2:
        return Unknown("training and validation rows of numbers, 20 or more, with their classes")
    wrong, right = within["disagree"], across["disagree"]
    if wrong - right < MORE or wrong < TIMES * right or wrong > RELATED * within["expected"]:
        return None
    if apart(wrong, within["rows"], right, across["rows"]) < CLEAR:
        return None
    evidence = [
        Evidence(
            "facts/data/train/neighbours",
            wrong,
            max(right + MORE, TIMES * right),
            f"The five nearest training rows contradict {wrong:.2g} of the training labels and {right:.2g} of the "
            "validation labels.",
        )
    ]
    ahead, share = _ahead(chart), _share(wrong, right, len(within["own"]))
    says = f" {ahead.says}" if ahead else ""
    return Finding(
        f"About {100 * share:.0f} % of the training labels look wrong: the five nearest training rows "
        f"contradict {wrong:.2g} of them, but only {right:.2g} of the validation labels.{says}",
        (*evidence, *([ahead] if ahead else [])),
        sure=0.92 if ahead else 0.75,
        where="training labels",
        remedies=(
            Remedy(
                "Look at the training rows whose neighbours all have another label, and correct or drop them; until "
                "then stop early, before they are learned by heart, and soften the labels (label_smoothing).",
                diff={"nn.CrossEntropyLoss()": "nn.CrossEntropyLoss(label_smoothing=0.1)"},
            ),
        ),
    )


def _share(wrong: float, right: float, classes: int) -> float:
    """The share p of wrong labels, from wrong = p (1 - right / (classes - 1)) + (1 - p) right.

    The neighbours' vote is wrong itself in a share `right` of the cases; it then agrees with one wrong label of
    classes - 1.
    """
    return (wrong - right) / max(1 - right * classes / (classes - 1), 0.1)


def _ahead(chart: Chart) -> Evidence | None:
    """The evaluation at which the validation rows were most ahead of the training rows, if by far."""
    ours, theirs = chart.series("accuracy/train"), chart.series("accuracy/validation")
    steps, first, second = np.intersect1d(ours.x, theirs.x, return_indices=True)
    if not len(steps):
        return None
    lead = theirs.y[second] - ours.y[first]
    best = int(np.nanargmax(lead)) if np.isfinite(lead).any() else 0
    rows = [chart.fact("evaluation", f"rows_{name}") or 100 for name in ("validation", "train")]
    if not apart(theirs.y[second][best], rows[0], ours.y[first][best], rows[1]) > CLEAR:
        return None
    says = (
        f"At step {steps[best]:,.0f} a share of {theirs.y[second][best]:.2g} of the validation rows was right, but "
        f"only {ours.y[first][best]:.2g} of the training rows."
    )
    return Evidence("accuracy/train", float(ours.y[first][best]), float(theirs.y[second][best]), says)


mislabelled = Check(
    look,
    symptom="The validation accuracy is above the training accuracy, until the training rows are learned by heart.",
    sick=Example(fault="mislabelled", data="blobs", rows=600, noise=0.5, model="mlp", width=32, lr=0.1, epochs=8),
    near_miss=Example(fault="none", data="blobs", rows=600, noise=1.4, model="mlp", width=32, lr=0.1, epochs=8),
    look_alike="Classes that overlap: the labels of both splits are contradicted alike.",
    source="Zhang et al. 2017, Understanding deep learning requires rethinking generalization; Northcutt et al. 2021",
    explains=frozenset({"loss_spikes", "lr_too_low", "noisy_batches", "overfitting", "plateau", "underfitting"}),
)
