"""Training and validation inputs were not prepared alike, so that the network is judged on inputs it has never met.

Whatever is done to the training inputs (subtracting a mean, dividing by 255, the order of colour channels, the words of
a vocabulary) must be done to all others, with the numbers of the training rows. Otherwise the columns of the two
splits have other means and deviations than two random parts of the same data would have, and the network answers
validation rows as it would answer rows from elsewhere. Data that were collected later may differ too; then it is some
columns that move, by less than their deviation.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._data import CLEAR, DATA, apart, before_training, columns, score, split
from descend.run import Floats

MOVED: Final = 1.0  # deviations by which half of the columns must have moved; random halves of real tables have 0.05
STRETCHED: Final = 1.5  # factor between the deviations of half of the columns; random halves have 1.05
FAR: Final = 3.0  # deviations, or a factor: no drift does that to half of the columns


def look(chart: Chart) -> Finding | Unknown | None:
    train, validation = split(chart, "train"), split(chart, "validation")
    if not train.get("columns") or not validation.get("columns"):
        return None if train.get("tokens") else DATA
    pair = [_Columns(facts) for facts in (train, validation)]
    if len(pair[0].mean) != len(pair[1].mean):
        return None
    return _look(chart, pair[0], pair[1])


class _Columns:
    def __init__(self, facts: dict[str, Any]) -> None:
        described = facts["columns"]
        self.mean, self.std = (np.array(described[name], dtype=float) for name in ("mean", "std"))
        self.median, self.spread = (
            np.array(described.get(name, described[plain]), dtype=float)
            for name, plain in (("median", "mean"), ("spread", "std"))
        )
        self.rows = int(facts["sampled"])
        self.index = facts["columns"].get("index")


def _look(chart: Chart, train: _Columns, validation: _Columns) -> Finding | None:
    alive = (train.std > 0) & (validation.std > 0) & np.isfinite(train.mean + validation.mean)
    if not alive.any() or min(train.rows, validation.rows) < 10:
        return None
    moved, stretched = _difference(train.mean, train.std, validation.mean, validation.std, alive)
    middle = alive & (train.spread > 0) & (validation.spread > 0)  # of columns that half of the rows do not share
    if middle.any():  # a few wild rows move mean and deviation, and not the quartiles
        robust = _difference(train.median, train.spread, validation.median, validation.spread, middle)
        moved[middle], stretched[middle] = (
            np.minimum(plain[middle], steady[middle]) for plain, steady in zip((moved, stretched), robust, strict=True)
        )
    error = np.sqrt(1 / train.rows + 1 / validation.rows)  # of a mean in deviations; of a log-deviation it is less
    certain = alive & ((moved > CLEAR * error) | (np.log(stretched) > CLEAR * error))
    half_moved, half_stretched = float(np.median(moved[alive])), float(np.median(stretched[alive]))
    swapped = _reversed(train, validation, error)
    if not swapped and (certain[alive].mean() < 0.5 or (half_moved < MOVED and half_stretched < STRETCHED)):
        return None
    far = half_moved >= FAR or half_stretched >= FAR or swapped
    judged = _judged(chart)
    if not far and not judged:
        return None
    worst = int(np.argmax(np.where(certain, moved + np.log(stretched), -1))) if not swapped else 0
    named = columns(chart, [int(train.index[worst]) if train.index else worst])
    ours, theirs = (
        f"mean {0.0 if abs(each.mean[worst]) < 1e-3 * each.std[worst] else each.mean[worst]:.2g} and deviation "
        f"{each.std[worst]:.2g}"
        for each in (train, validation)
    )
    says = f"{named} has {ours} in the training rows, but {theirs} in the validation rows"
    if swapped:
        says += ": the columns come in the reverse order"
    return Finding(
        f"Training and validation inputs were not prepared alike: {says}.",
        (
            Evidence(
                "facts/data/validation/columns",
                max(half_moved, half_stretched),
                MOVED if half_moved >= half_stretched else STRETCHED,
                f"Half of the columns moved by {half_moved:.2g} deviations or more, and their deviations differ by a "
                f"factor of {half_stretched:.2g} or more.",
            ),
            *judged,
        ),
        sure=0.97 if far and (judged or before_training(chart)) else 0.85,
        where="validation",
        remedies=(
            Remedy(
                "Prepare both splits with one function, with the mean and deviation of the training rows.",
                diff={
                    "train_x = (train_x - mean) / std": "train_x = (train_x - mean) / std\n"
                    "validation_x = (validation_x - mean) / std"
                },
            ),
        ),
    )


def _difference(
    mean: Floats, std: Floats, other_mean: Floats, other_std: Floats, where: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """By how many deviations columns moved, and by what factor they were stretched or shrunk."""
    moved, stretched = np.zeros_like(mean), np.ones_like(mean)
    wide = np.maximum(std, other_std)
    moved[where] = np.abs(other_mean - mean)[where] / wide[where]
    stretched[where] = np.exp(np.abs(np.log(other_std[where] / std[where])))
    return moved, stretched


def _reversed(train: _Columns, validation: _Columns, error: float) -> bool:
    """Whether the means fit in reverse order and do not as they stand, as of pictures in RGB and BGR."""
    if len(train.mean) < 2:
        return False

    def worst(mean: Floats) -> float:
        spread = np.maximum(train.std, 1e-12)
        return float((np.abs(mean - train.mean) / spread).max() / error)

    return worst(validation.mean) > CLEAR and worst(validation.mean[::-1]) < CLEAR / 2


def _judged(chart: Chart) -> tuple[Evidence, ...]:
    """What the validation rows' answers, or their neighbours, say: worse than the training rows' by far."""
    found = []
    ours, theirs = score(chart, "train").y, score(chart, "validation").y
    rows = chart.fact("evaluation", "rows_validation") or 100
    if len(ours) and len(theirs) and apart(float(ours[-1]), rows, float(np.clip(theirs[-1], 0, 1)), rows) > CLEAR:
        says = f"The score is {ours[-1]:.2g} on the training rows and {theirs[-1]:.2g} on the validation rows."
        found.append(Evidence("accuracy/validation", float(theirs[-1]), float(ours[-1]), says))
    within, across = split(chart, "train").get("neighbours"), split(chart, "validation").get("train_neighbours")
    if within and across:
        wrong, at_home = across["disagree"], within["disagree"]
        if apart(min(wrong, 1.0), across["rows"], min(at_home, 1.0), within["rows"]) > CLEAR:
            says = (
                f"The five nearest training rows predict {wrong:.2g} of the validation rows wrong, and {at_home:.2g} "
                "of the training rows."
            )
            found.append(Evidence("facts/data/validation/train_neighbours", wrong, at_home, says))
    return tuple(found)


preprocessing_mismatch = Check(
    look,
    symptom="The validation loss is bad from the first epoch on, while the training loss falls as it should.",
    sick=Example(fault="preprocessing_mismatch", data="digits", model="mlp", width=32, optimizer="adam", epochs=4),
    near_miss=Example(fault="none", data="digits", model="mlp", width=32, optimizer="adam", epochs=4),
    look_alike="Validation rows of a later time, some of whose columns have drifted; noise added to training inputs.",
    source="Breck et al. 2019, Data validation for machine learning (training-serving skew)",
    explains=frozenset({"overfitting", "minority_never_predicted"}),
)
