"""Recommendation: who is ahead beyond chance, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from descend.comparison import CONFIDENCE, Ratio, Standing, as_html, paired_ratio
from descend.plots._runs import number
from descend.recommending._contestant import Contestant, logs
from descend.recommending._window import Window, window_of
from descend.report import Table
from descend.run import Floats

if TYPE_CHECKING:
    from descend.plots._style import Figure

CLOSE: Final = 0.05  # more loss than the least, which a wider window makes up for; no difference alone may be ignorance

BLIND: Final = 3.0  # standard deviations: 10 repeats of nine optimizers show 1.7, 5 show 4.7, 3 show 27

WIDER: Final = 1.5  # times the leader's window: what counts as wider

AXES: Final = ("loss", "updates", "seconds")
"""What contestants are compared by: the loss of the fresh runs, and their costs of reaching the target."""


@dataclass(frozen=True)
class Recommendation:
    """What `recommend` found: the contestants' results, who is ahead beyond chance, and which one to take."""

    contestants: Mapping[str, Contestant]
    measure: str  # the series of the losses: loss/validation, or loss/train where no rows are held out
    score: str  # the series of the scores; that of the losses where there is none
    target: float
    steps: int
    lr_range: tuple[float, float]
    tolerance: float

    @cached_property
    def windows(self) -> dict[str, Window]:
        """The good learning rates of every contestant: not far from the best that it can do itself."""
        return {
            label: window_of(one.lrs, one.tuned, self.lr_range, self.tolerance)
            for label, one in self.contestants.items()
        }

    @cached_property
    def reaching(self) -> dict[str, Window]:
        """The learning rates of every contestant that come to the target, which is the same for all."""
        return {
            label: window_of(one.lrs, one.tuned, self.lr_range, limit=self.target)
            for label, one in self.contestants.items()
        }

    def standing(self, axis: str) -> Standing:
        """Who is ahead by "loss", "updates" or "seconds", and how many times as much the others have.

        The interval is Student's, of the logarithms in pairs, repeat by repeat. Who leads is known only afterwards, so
        the confidence is shared out over all pairs that might have been compared, on every axis (Bonferroni): where
        contestants are alike, 95 % of reports tell none apart.
        """
        values = {
            "loss": {label: one.loss for label, one in self.contestants.items()},
            "updates": {label: one.cost for label, one in self.contestants.items()},
            "seconds": {label: one.cost * one.paces for label, one in self.contestants.items()},
        }[axis]
        ranked = {label: costs for label, costs in values.items() if np.isfinite(costs).all()}
        if not ranked:
            return Standing(axis, values, None, {})
        leader = min(ranked, key=lambda label: float(logs(ranked[label]).mean()))
        ratios = {
            label: paired_ratio(costs, ranked[leader], self.comparisons)
            for label, costs in ranked.items()
            if label != leader
        }
        return Standing(axis, values, leader, ratios)

    @property
    def comparisons(self) -> int:
        """Of two contestants on one axis, all that there could be."""
        return math.comb(len(self.contestants), 2) * len(self.axes)

    @property
    def axes(self) -> list[str]:
        """Those of AXES that were measured."""
        timed = all(np.isfinite(one.paces).all() for one in self.contestants.values())
        return [axis for axis in AXES if timed or axis != "seconds"]

    @cached_property
    def standings(self) -> list[Standing]:
        """Who is ahead on each axis."""
        return [self.standing(axis) for axis in self.axes]

    @property
    def different(self) -> bool:
        """Whether anybody is told from a leader, on any axis."""
        return any(ratio.different for standing in self.standings for ratio in standing.ratios.values())

    @property
    def best(self) -> str:
        """Which to take: the least loss, or hardly more and no different if the window is clearly wider."""
        standing = self.standings[0]
        leader = str(standing.leader)
        close = [label for label in standing.tied if standing.ratios[label].mean <= 1 + CLOSE]
        widest = max([leader, *close], key=lambda label: self.windows[label].factor)
        return widest if self.windows[widest].factor > WIDER * self.windows[leader].factor else leader

    # --- in words -----------------------------------------------------------------------------------------------------

    @property
    def sentences(self) -> list[str]:
        """The verdict: what each had to spend, who is ahead on each axis, what to take, and what to beware of."""
        return [self._budget(), *map(self._verdict, self.standings), self.advice, *self._warnings()]

    def _budget(self) -> str:
        one = next(iter(self.contestants.values()))
        repeats, configurations = one.lrs.shape
        runs = len(self.contestants) * (one.lrs.size + one.losses.size)
        low, high = self.lr_range
        return (
            f"{_counted(repeats, 'repeat')} for each of {len(self.contestants)}: {configurations} learning rates from "
            f"{low:g} to {high:g}, and the best one again with {_counted(one.losses.shape[1], 'fresh seed')}. "
            f"{runs:,} runs of {_counted(self.steps, 'update')}."
        )

    def _verdict(self, standing: Standing) -> str:
        what = f"{standing.axis} to a {self.kind} loss of {number(self.target)}"
        what = f"{self.kind} loss" if standing.axis == "loss" else what
        leader = standing.leader
        if leader is None:
            return f"By {what} nothing can be said: nobody reached it in every repeat; set target_loss."
        least = _interval(_mean(standing.costs[leader]))
        if len(standing.costs[leader]) < 2:
            return f"By {what}, {leader} has the least ({least}), but one repeat cannot tell that from chance."
        order = sorted(standing.ratios.items(), key=lambda item: item[1].mean)
        behind = [f"{label} {_interval(ratio)} times as much" for label, ratio in order if ratio.different]
        tied = [f"{label} ({number(ratio.mean)} times)" for label, ratio in order if not ratio.different]
        parts = [
            f"By {what}, {leader} has the least: {least}.",
            f"Behind it beyond chance: {'; '.join(behind)}." if behind else "",
            f"No difference that chance would not explain: {', '.join(tied)}." if tied else "",
            self._missing(standing),
        ]
        return " ".join(part for part in parts if part)

    def _missing(self, standing: Standing) -> str:
        short = {label: np.isfinite(costs) for label, costs in standing.costs.items() if not np.isfinite(costs).all()}
        listed = ", ".join(f"{label} ({reached.sum()} of {len(reached)} repeats)" for label, reached in short.items())
        return f"Not reached by {listed}." if listed else ""

    @property
    def advice(self) -> str:
        """Which to take, with what learning rate, and how far that may be off."""
        best = self.best
        window, chosen = self.windows[best], self.contestants[best].lr
        why = "its loss is the lowest"
        if best != self.standings[0].leader:
            why = f"its loss is within {CLOSE:.0%} of the least and no different, and its window is wider"
        return (
            f"Take {best} with a learning rate of {number(chosen)}: {why}. From {number(window.low)} to "
            f"{number(window.high)}, a factor of {_width(window)}, its loss stays within {self.tolerance:.0%} of "
            "its best."
        )

    def _blind(self) -> list[str]:
        """Where the repeats are too few for all but the greatest differences."""
        from scipy.stats import t as student

        repeats = len(self.standings[0].costs[str(self.standings[0].leader)])
        if repeats < 2:
            return []
        quantile = student.ppf(1 - (1 - CONFIDENCE) / 2 / self.comparisons, repeats - 1)
        if (shows := quantile / math.sqrt(repeats)) <= BLIND:
            return []
        return [
            f"With {repeats} repeats and {self.comparisons} comparisons only differences of {shows:.0f} standard "
            "deviations show: more repeats, or fewer optimizers, tell more."
        ]

    def _warnings(self) -> list[str]:
        low, high = self.lr_range
        edge = [label for label, window in self.windows.items() if window.edges]
        died = {label: one.died for label, one in self.contestants.items() if one.died}
        runs = next(iter(self.contestants.values())).losses.size
        return [
            *self._blind(),
            *(
                [f"The window reaches the end of the range {low:g} to {high:g} for {', '.join(edge)}: widen it."]
                if edge
                else []
            ),
            *(
                [
                    f"Of {runs} fresh runs with the chosen learning rate diverged: "
                    f"{', '.join(f'{label} {dead}' for label, dead in died.items())}."
                ]
                if died
                else []
            ),
            *([] if self.measure == "loss/validation" else ["No rows are held out, so this is the training loss."]),
        ]

    @property
    def kind(self) -> str:
        """Which rows the loss is of: "validation", or "training" where none are held out."""
        return "validation" if self.measure == "loss/validation" else "training"

    @property
    def tables(self) -> list[Table]:
        """What the verdict rests on: results, and learning rates and costs, the lowest loss first."""
        order = sorted(self.contestants, key=lambda label: float(logs(self.contestants[label].loss).mean()))
        standing = self.standings[0]
        results = Table(
            f"{CONFIDENCE:.0%} intervals over {_counted(len(standing.costs[order[0]]), 'repeat')} of tuning",
            ("", f"{self.kind} loss", *self._score_column(), "times the least", ""),
            [
                (
                    label,
                    _interval(_mean(self.contestants[label].loss)),
                    *self._score(label),
                    *_judged(label, standing),
                )
                for label in order
            ],
        )
        costs = Table(
            f"Learning rates with a loss within {self.tolerance:.0%} of the best one's, the factor of those that come "
            f"to the target, a {self.kind} loss of {number(self.target)}, and the cost of that",
            (
                "",
                "learning rate",
                "good from",
                "to",
                "factor",
                "to the target",
                *(standing.axis for standing in self.standings[1:]),
            ),
            [
                (
                    label,
                    number(self.contestants[label].lr),
                    number(self.windows[label].low),
                    number(self.windows[label].high),
                    _width(self.windows[label]),
                    _width(self.reaching[label]),
                    *(_reached(axis.costs[label]) for axis in self.standings[1:]),
                )
                for label in order
            ],
        )
        return [results, costs]

    def _score_column(self) -> list[str]:
        return [] if self.score == self.measure else [self.score.partition("/")[0].replace("r2", "R²")]

    def _score(self, label: str) -> list[str]:
        from scipy.stats import t as student

        if self.score == self.measure:
            return []
        values = self.contestants[label].scores.mean(1)
        if len(values) < 2:
            return [f"{values[0]:.4f}"]
        half = student.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
        return [f"{values.mean():.4f} ± {half:.4f}"]

    @property
    def facts(self) -> dict[str, Any]:
        """All that was found, in plain values, for JSON."""
        of = {standing.axis: standing for standing in self.standings}
        return {
            "measure": self.measure,
            "target": self.target,
            "steps": self.steps,
            "lr_range": list(self.lr_range),
            "tolerance": self.tolerance,
            "best": self.best,
            "sentences": self.sentences,
            "leaders": {axis: standing.leader for axis, standing in of.items()},
            "contestants": {
                label: {
                    "recipe": one.recipe.fields(),
                    "lr": one.lr,
                    "chosen": one.chosen.tolist(),
                    "loss": _plain(_mean(one.loss)),
                    "losses": one.losses.tolist(),
                    self.score: one.scores.tolist(),
                    "window": {
                        "low": self.windows[label].low,
                        "high": self.windows[label].high,
                        "factor": self.windows[label].factor,
                        "interval": list(self.windows[label].interval),
                        "reaches_the_end": self.windows[label].edges,
                    },
                    "reaching": {
                        "low": self.reaching[label].low,
                        "high": self.reaching[label].high,
                        "factor": self.reaching[label].factor,
                        "interval": list(self.reaching[label].interval),
                    },
                    "updates": one.updates.tolist(),
                    "seconds_per_update": one.paces.tolist(),
                    "against_the_least": {
                        axis: _plain(standing.ratios[label])
                        for axis, standing in of.items()
                        if label in standing.ratios
                    },
                    "diverged": one.died,
                    "tuning": {"lr": one.lrs.tolist(), "loss": one.tuned.tolist()},
                }
                for label, one in self.contestants.items()
            },
        }

    def figure(self) -> Figure:
        """The loss over the learning rate, a panel for each contestant: every run, the median, and the good window.

        Raises MissingExtraError without matplotlib (pip install 'descend[report]').
        """
        from descend.recommending._picture import picture

        return picture(self)

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        """For notebooks: the verdict, and the tables it rests on."""
        return "".join([*(f"<p>{escape(sentence)}</p>" for sentence in self.sentences), *map(as_html, self.tables)])


def _mean(values: Floats) -> Ratio:
    """The geometric mean over repeats, and its interval."""
    return paired_ratio(values, np.ones_like(values), comparisons=1)


def _plain(ratio: Ratio) -> dict[str, float]:
    return {"mean": ratio.mean, "low": ratio.low, "high": ratio.high}


def _interval(ratio: Ratio) -> str:
    if not math.isfinite(ratio.high):
        return number(ratio.mean)
    return f"{number(ratio.mean)} ({number(ratio.low)} to {number(ratio.high)})"


def _judged(label: str, standing: Standing) -> tuple[str, str]:
    """How many times the leader's loss a contestant has, and what that means."""
    if label == standing.leader:
        return "1", "the least"
    ratio = standing.ratios[label]
    return _interval(ratio), "more" if ratio.different else "no difference"


def _reached(costs: Floats) -> str:
    finite = np.isfinite(costs)
    return _interval(_mean(costs)) if finite.all() else f"{finite.sum()} of {len(costs)} repeats"


def _width(window: Window) -> str:
    least, most = window.interval
    if window.low == window.high:
        return "none"
    return f"{factor(window.factor)}{' or more' if window.edges else ''} ({factor(least)} to {factor(most)})"


def factor(value: float) -> str:
    return number(value, 2 if value < 100 else 3)


def _counted(number_of: int, what: str) -> str:
    return f"{number_of:,} {what}{'' if number_of == 1 else 's'}"
