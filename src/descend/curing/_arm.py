"""Arm: one way to train, with several seeds, and how good it is on rows it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from descend.catalog import DATA, Value
from descend.comparison import CONFIDENCE, Ratio, paired_ratio
from descend.doctor._check import Safety
from descend.plots._runs import last, number
from descend.recipe import Recipe, as_text
from descend.run import Run

BETTER: Final = 0.98  # a larger share of the untreated loss than this is not worth a change

HARMLESS: Final = 1.02  # a bug is also taken out where that changes the loss by no more than this

MOST: Final = 1e3  # a loss a thousand times less counts as this, and so does one that was not finite and now is

SAME_ROWS: Final = frozenset({"scale", "drop", "categorical", "numeric", "scale_target", "class_weights"})
"""Options of data sets that leave the validation rows what they are."""

SAME_LOSS: Final = frozenset({"scale_target", "class_weights", "loss", "label_smoothing", "delta"})
"""What changes the meaning of a loss: then errors are compared."""

WORDS: Final[Mapping[str, str]] = {
    "loss/validation": "validation loss",
    "loss/train": "training loss",
    "accuracy/validation": "share of validation rows that are wrong",
    "recall/validation": "share of validation rows that are wrong, each class counting alike",
    "r2/validation": "share of the variance of the validation targets that is not explained",
}


@dataclass(frozen=True)
class Arm:
    """One way to train, with every seed. `fires` says of each run whether the check still finds its problem.

    `ratio` is that of the losses to the untreated arm's, seed by seed; None for the untreated arm itself, and where
    the validation rows are others, so that losses cannot be compared.
    """

    what: str
    recipe: Recipe
    advice: str = ""
    safety: Safety = "safe"
    runs: tuple[Run, ...] = ()
    fires: tuple[bool, ...] = ()
    measure: str | None = None
    losses: tuple[float, ...] = ()
    ratio: Ratio | None = None

    @property
    def gone(self) -> bool:
        """Whether the check no longer finds its problem, with any seed."""
        return not any(self.fires)

    @property
    def helps(self) -> bool:
        """Whether the loss is lower, and by more than chance."""
        return self.ratio is not None and self.ratio.mean < BETTER and self.ratio.high < 1

    @property
    def cures(self) -> bool:
        """Whether it helps, and what was found is gone."""
        return self.helps and self.gone

    @property
    def close(self) -> bool:
        """Whether chance alone keeps it from being a cure, which more seeds may settle."""
        return self.gone and not self.helps and self.ratio is not None and self.ratio.mean < BETTER

    @property
    def repairs(self) -> bool:
        """Whether a bug is out at no cost: for remedies that change nothing that was meant."""
        return self.safety == "safe" and self.gone and (self.ratio is None or self.ratio.mean < HARMLESS)

    @property
    def promising(self) -> bool:
        """Whether more seeds may show that it helps; where one is no better, no three make an interval below 1."""
        return self.repairs or (self.ratio is not None and self.ratio.mean < 1)

    @property
    def loss(self) -> float:
        """The median over seeds."""
        return float(np.median(self.losses)) if self.losses else math.nan

    @property
    def effect(self) -> str:
        """The ratio in words: "0.29 times as much (95 % interval 0.16 to 0.52)"."""
        if self.ratio is None:
            return "-"
        mean, low, high = (number(value, 2) for value in (self.ratio.mean, self.ratio.low, self.ratio.high))
        interval = f"{CONFIDENCE:.0%} interval {low} to {high}".replace("%", " %") if self.ratio.low > 0 else "one seed"
        return f"{'' if mean == '1' else f'{mean} times '}as much ({interval})"

    @property
    def seen(self) -> str:
        """In how many runs the check finds its problem."""
        return f"in {sum(self.fires)} of {len(self.fires)} runs" if any(self.fires) else "gone"

    def fields(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "what": self.what,
            "advice": self.advice,
            "safety": self.safety,
            "recipe": self.recipe.fields(),
            "runs": [str(run.folder) for run in self.runs],
            "measure": self.measure,
            "losses": list(self.losses),
            "ratio": self.ratio and vars(self.ratio),
            "fires": list(self.fires),
        }


def changes(before: Recipe, after: Recipe) -> dict[str, tuple[Value, Value]]:
    """The fields in which two recipes differ, but for options of a new part that stand at their defaults."""
    old, new = before.fields(), after.fields()
    told = {*before.chosen(), *after.chosen()}
    return {
        name: (old.get(name), new.get(name))
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name) and (name in told or (name in old and name in new))
    }


def in_words(changed: Mapping[str, tuple[Value, Value]]) -> str:
    """ "lr: 10 -> 1, clip_norm: none -> 1"."""
    return ", ".join(f"{name}: {_value(old)} -> {_value(new)}" for name, (old, new) in changed.items())


def _value(value: Value) -> str:
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else as_text(value)


def measure(before: Recipe, after: Recipe, run: Run) -> str | None:
    """The series that two recipes are judged by: the validation loss, unless that means something else in one of them.

    None where the validation rows themselves are others. Data without validation rows is judged by its training loss.
    """
    changed = {*changes(before, after)}
    if changed & {"data", *DATA.options(before.data)} - SAME_ROWS:
        return None
    known = run.names()
    if "loss/validation" not in known:
        return "loss/train"
    if "class_weights" in changed:
        return "recall/validation"
    if changed & SAME_LOSS:
        return "accuracy/validation" if "accuracy/validation" in known else "r2/validation"
    return "loss/validation"


def judged(run: Run, by: str) -> float:
    """What a run came to, the less the better: its loss, or what its accuracy, recall or R2 lacks to 1."""
    if run.status == "non-finite":
        return math.inf
    if by.startswith("loss/"):
        return last(run, by)
    return 1 - (_recall(run) if by == "recall/validation" else last(run, by))


def ratio(treated: Sequence[float], untreated: Sequence[float]) -> Ratio:
    """The paired ratio of losses, each between a thousandth and a thousandfold; one that is not finite is the worst."""
    pairs = zip(treated, untreated, strict=True)
    return paired_ratio(np.array([_bounded(one, other) for one, other in pairs]), np.ones(len(treated)), comparisons=1)


def _bounded(treated: float, untreated: float) -> float:
    if not (math.isfinite(treated) and math.isfinite(untreated)):
        return (
            1.0
            if math.isfinite(treated) == math.isfinite(untreated)
            else MOST
            if math.isfinite(untreated)
            else 1 / MOST
        )
    least = np.finfo(np.float64).tiny
    return min(max(max(treated, least) / max(untreated, least), 1 / MOST), MOST)


def _recall(run: Run) -> float:
    """The share of the validation rows that the model gets right, as the mean over their classes."""
    import torch

    from descend.train.fit import load

    parts = load(run)
    split = parts.dataset.validation
    assert split is not None, "judged by validation rows only where there are some"
    with torch.no_grad():
        outputs = parts.model.eval()(split.inputs)
    chosen = outputs.argmax(-1) if outputs.shape[-1] > 1 else (outputs.squeeze(-1) > 0).long()
    right = (chosen == split.targets).double()
    return float(torch.stack([right[split.targets == label].mean() for label in split.targets.unique()]).mean())
