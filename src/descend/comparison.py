"""Compare: which of several ways to train is ahead, on which axis, and whether the difference is more than chance."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Final

import numpy as np

from descend.errors import RunError
from descend.plots._runs import number, series, variants
from descend.recipe import Recipe
from descend.report import Table, learned, write
from descend.run import Floats, Run, Series, new_folder, run_folder

AXES: Final[Mapping[str, str]] = {"step": "updates", "examples": "examples", "seconds": "seconds"}
"""The three x-axes, by their clock, as people call them."""

CONFIDENCE: Final = 0.95

LEARNS: Final = 0.9  # of its first loss: a variant that stays above it sets no target worth reaching

FLAT: Final = 1e-9  # share of lambda_max: one-hot columns beside a bias have lambda_min = 0, and 1e-17 when computed

BATCH_SIZES: Final[Mapping[str, Recipe]] = {
    # Each learning rate is close to the fastest that its variant takes. The target proves the weights: none is
    # further off than sqrt(2 loss / lambda_min) = sqrt(2 * 5e-8 / 0.1134) = 0.00094.
    label: Recipe(batch_size=size, lr=lr, epochs=epochs, evaluate_every=every, target_loss=5e-8, monitor_every=100)
    for label, size, lr, epochs, every in (
        ("batch GD", "all", 0.0078, 40_000, 100),
        ("mini-batch GD", 16, 0.0075, 4_000, 98),
        ("SGD", 1, 0.006, 400, 100),
    )
}
"""The three ways to descend of every textbook, on the employee-bonus data: what `descend compare` trains."""


def compare(
    recipes: Mapping[str, Recipe] = BATCH_SIZES,
    *,
    seeds: int = 5,
    runs: str | Path = "runs",
    name: str | None = None,
    progress: bool = False,
) -> Comparison:
    """Train every recipe with seeds 0, 1, ... and compare them; the runs go to a folder of their own in `runs`.

    Variants take turns within each seed, so that a machine that slows down slows all of them alike. Ctrl-C ends the run
    under way, with everything saved, and then the comparison. Raises RunError if a folder called `name` exists, or
    there are not two variants of the same data and loss.
    """
    from descend.train.fit import fit

    require_comparable(recipes)
    if seeds < 1:
        raise RunError(f"seeds is {seeds}, but a comparison needs at least one.")
    folder = run_folder(runs, name) if name else new_folder(runs, "compare")
    if name and folder.exists():
        raise RunError(f"{folder} exists already. Choose another name.")
    stems = _stems(recipes)
    trained: dict[str, list[Run]] = {label: [] for label in recipes}
    for seed, (label, recipe) in itertools.product(range(seeds), recipes.items()):
        title = f"{stems[label]}-seed{seed}"
        run = fit(recipe.but(seed=seed), runs=folder, name=title, label=label, progress=progress)
        if run.status == "interrupted":
            raise KeyboardInterrupt  # meant for the comparison, not for one of its runs alone
        trained[label].append(run)
    return Comparison({label: tuple(group) for label, group in trained.items()})


def require_comparable(recipes: Mapping[str, Recipe]) -> None:
    """Raise RunError unless there are two variants at least, whose losses mean the same."""
    if len(recipes) < 2:
        raise RunError(f"A comparison needs at least two variants, but {len(recipes)} was given.")
    for field in ("data", "file", "target", "loss"):
        found = dict.fromkeys(str(recipe.fields().get(field)) for recipe in recipes.values())
        if len(found) > 1:
            raise RunError(
                f"Variants are compared by their loss, which means something else where {field} is another "
                f"({', '.join(found)}). Give all the same {field}; `descend report` shows any runs side by side."
            )


def _stems(labels: Iterable[str]) -> dict[str, str]:
    """What the folders of each variant are called: its label as far as a folder's name may hold it, else its number."""
    stems = {label: re.sub("[^A-Za-z0-9.]+", "-", label).strip("-.")[:80] for label in labels}
    taken = Counter(stems.values())
    return {
        label: stem if stem and taken[stem] == 1 else f"{stem}-{number}".strip("-")
        for number, (label, stem) in enumerate(stems.items(), start=1)
    }


@dataclass(frozen=True)
class Ratio:
    """How many times as much as the leader a variant needs: the geometric mean over seeds, and its interval.

    The interval is Student's, of the logarithms of the ratios seed by seed (a paired test), at a confidence shared
    out over the comparisons of an axis (Bonferroni). One seed has no interval.
    """

    mean: float
    low: float
    high: float

    @property
    def different(self) -> bool:
        return self.low > 1 or self.high < 1


@dataclass(frozen=True)
class Standing:
    """Who is ahead on one axis: `costs` to the target by variant and seed (infinite where it was not reached)."""

    axis: str
    costs: Mapping[str, Floats]
    leader: str | None
    ratios: Mapping[str, Ratio]  # of the variants that reached the target with every seed, against the leader

    @property
    def tied(self) -> list[str]:
        """The variants that cannot be told from the leader."""
        return [label for label, ratio in self.ratios.items() if not ratio.different]


@dataclass(frozen=True)
class Comparison:
    """Runs of several variants, by label, with the same seeds. Reads the runs and nothing else."""

    variants: Mapping[str, Sequence[Run]]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Comparison:
        """Compare existing runs: those whose recipes differ in the seed alone are one variant.

        Runs are paired by seed, so those of a seed that not every variant has are left out. Raises RunError where no
        seed is left, or there are not two variants of the same data and loss.
        """
        if watched := [run.name for run in runs if run.watched]:
            raise RunError(
                f"Runs are compared by their recipes, seed by seed, but {', '.join(watched)} watched a loop of its own "
                "and has none. `descend report` shows any runs side by side."
            )
        groups = {label: {run.recipe.seed: run for run in group} for label, group in variants(runs).items()}
        require_comparable({label: next(iter(group.values())).recipe for label, group in groups.items()})
        shared = sorted(set.intersection(*(set(group) for group in groups.values())))
        if not shared:
            seeds = "; ".join(f"{label} has {', '.join(map(str, group))}" for label, group in groups.items())
            raise RunError(f"Runs are paired by seed, but no seed was trained with every variant: {seeds}.")
        return cls({label: tuple(group[seed] for seed in shared) for label, group in groups.items()})

    @property
    def runs(self) -> list[Run]:
        """All runs, variant by variant."""
        return [run for group in self.variants.values() for run in group]

    @cached_property
    def measure(self) -> str:
        """The loss that is compared: validation where every run has it, else training, always over the whole split."""
        return "loss/validation" if all("loss/validation" in run.names() for run in self.runs) else "loss/train"

    @cached_property
    def lowest(self) -> dict[str, Floats]:
        """The lowest loss of every run, by variant."""
        return {
            label: np.array([_lowest(series(run, self.measure)) for run in group])
            for label, group in self.variants.items()
        }

    @cached_property
    def target(self) -> float:
        """The loss whose cost is compared: the recipes' own target if they share one, else the lowest that every run
        reaches of those variants that learn, which is to say come below LEARNS of where they started."""
        asked = {run.recipe.target_loss for run in self.runs}
        if len(asked) == 1 and (only := asked.pop()) is not None:
            return only
        start = np.median(
            [series(run, self.measure).y[0] for run in self.runs if len(series(run, self.measure).y)] or [0]
        )
        reached = [float(losses.max()) for losses in self.lowest.values()]
        return max((loss for loss in reached if loss < LEARNS * start), default=-math.inf)

    @property
    def _goal(self) -> str:
        return f"a loss of {number(self.target)}" if math.isfinite(self.target) else "a finite loss"

    def standing(self, axis: str) -> Standing:
        """Who is ahead on an axis: "step", "examples" or "seconds"."""
        costs = {
            label: np.array([_cost(series(run, self.measure, axis), self.target) for run in group])
            for label, group in self.variants.items()
        }
        reached = {label: values for label, values in costs.items() if np.isfinite(values).all()}
        if not reached:
            return Standing(axis, costs, None, {})
        leader = min(reached, key=lambda label: float(np.median(reached[label])))
        others = [label for label in reached if label != leader]
        return Standing(
            axis,
            costs,
            leader,
            {label: paired_ratio(reached[label], reached[leader], comparisons=len(others)) for label in others},
        )

    @cached_property
    def standings(self) -> list[Standing]:
        return [self.standing(axis) for axis in AXES]

    # --- in words -----------------------------------------------------------------------------------------------------

    @property
    def sentences(self) -> list[str]:
        """The verdict: who is ahead on each axis and why, and what theory says of the learning rates."""
        shared = any(run.recipe.target_loss is None for run in self.runs)
        return [
            *(self._verdict(standing) for standing in self.standings),
            *([self._ends()] if shared else []),
            *self._limits(),
        ]

    def _verdict(self, standing: Standing) -> str:
        axis, leader = AXES[standing.axis], standing.leader
        if leader is None:
            return f"By {axis} nothing can be said: no variant reached {self._goal} with every seed; set target_loss."
        least = f"{leader} needs {number(float(np.median(standing.costs[leader])))} to a loss of {number(self.target)}"
        if len(self.variants[leader]) < 2:
            return f"By {axis}, {least}, the fewest, but one seed cannot tell that from chance."
        others = "; ".join([least, *(f"{label} {_times(ratio)}" for label, ratio in standing.ratios.items())])
        sentences = [f"By {axis}, {self._order(standing)}: {others}.", self._missing(standing), self._why(standing)]
        return " ".join(sentence for sentence in sentences if sentence)

    def _missing(self, standing: Standing) -> str:
        """Who is not ranked, since not every seed reached the target."""
        short = [
            f"{label} ({np.isfinite(costs).sum()} of {len(costs)} seeds)"
            for label, costs in standing.costs.items()
            if not np.isfinite(costs).all()
        ]
        return f"Not reached by {', '.join(short)}." if short else ""

    def _ends(self) -> str:
        """Who comes to the lowest loss."""
        lowest = {label: float(np.median(losses)) for label, losses in self.lowest.items()}
        order = {label: lowest[label] for label in sorted(lowest, key=lambda label: lowest[label])}
        return f"Lowest {self.measure.partition('/')[2]} loss, median over seeds: {_listed(order)}."

    def _order(self, standing: Standing) -> str:
        """Whom the leader is ahead of, beyond chance."""
        if not standing.tied:
            return f"{standing.leader} is ahead"
        if len(standing.tied) == len(standing.ratios):
            return "there is no difference that chance would not explain"
        behind = " and ".join(label for label in standing.ratios if label not in standing.tied)
        return f"{standing.leader} is ahead of {behind}, but not beyond chance of {' and '.join(standing.tied)}"

    def _why(self, standing: Standing) -> str:
        """What the costs are made of: updates times rows an update, or times seconds an update."""
        reached = [label for label in (standing.leader, *standing.ratios) if label]
        if standing.axis == "step":
            return self._rates(reached)
        if standing.axis == "examples":
            rows = {label: self._typical(_rows, label) for label in reached}
            return f"Why: rows seen by an update: {_listed(rows)}." if len(set(rows.values())) > 1 else ""
        pace = {label: self._typical(_microseconds, label) for label in reached}
        return f"Why: microseconds taken by an update: {_listed(pace)}."

    def _rates(self, reached: Sequence[str]) -> str:
        """For plain gradient descent on a quadratic: updates go with 1 / lr, whatever the batch."""
        limits = {label: self.variants[label][0].notes("limit") for label in reached}
        optimizers = {self.variants[label][0].recipe.optimizer for label in reached}
        if optimizers != {"sgd"} or not all(limits.values()):
            return ""
        rates = {label: notes[0].details["lr"] for label, notes in limits.items()}
        lowest, highest = (float(limits[reached[0]][0].details[name]) for name in ("lambda_min", "lambda_max"))
        if lowest < FLAT * highest or max(rates.values()) * (lowest + highest) >= 2:
            return ""  # a direction in which the loss is flat, or the steepest direction is the slowest one
        tenths = {label: math.log(10) / -math.log1p(-lr * lowest) for label, lr in rates.items()}
        return (
            f"Why: on average an update takes away the share lr * lambda_min of the error in the slowest direction "
            f"(lambda_min = {number(lowest)}), whatever the batch. "
            f"Updates until a tenth of it is left: {_listed(tenths)}."
        )

    def _limits(self) -> list[str]:
        """Up to which learning rate full-batch training converges, and which variants are beyond that."""
        groups: dict[tuple[float, str, float], dict[bool, list[str]]] = {}
        for label, group in self.variants.items():
            for note in group[0].notes("limit"):
                key = (note.details["limit"], note.details["formula"], note.details["lambda_max"])
                sides = groups.setdefault(key, {True: [], False: []})
                sides[note.details["beyond"]].append(f"{label} ({note.details['lr']:g})")
        return [
            f"Full-batch training on this data converges up to the learning rate {limit:.4g} ({formula}, lambda_max = "
            f"{top:.4g}). "
            + " ".join(
                f"{'Beyond' if beyond else 'Below'} it: {', '.join(labels)}."
                for beyond, labels in sides.items()
                if labels
            )
            for (limit, formula, top), sides in groups.items()
        ]

    def _typical(self, measure: Callable[[Run], float], label: str) -> float:
        return float(np.median([measure(run) for run in self.variants[label]]))

    @property
    def tables(self) -> list[Table]:
        """What the verdict rests on: costs and results by variant, and learned weights beside the true ones."""
        every = {standing.axis: standing.costs for standing in self.standings}
        costs = Table(
            f"Cost of reaching {self._goal}: median over seeds (least to greatest)",
            ("variant", *AXES.values(), "lowest loss", "reached", "ended"),
            [
                (
                    label,
                    *(_spread(every[axis][label]) for axis in AXES),
                    number(float(np.median(self.lowest[label]))),
                    f"{int(np.isfinite(every['step'][label]).sum())} of {len(group)}",
                    ", ".join(dict.fromkeys(run.status for run in group)),
                )
                for label, group in self.variants.items()
            ],
        )
        return [costs, *learned(self.variants)]

    def report(self, file: str | Path) -> Path:
        """Write the comparison as one self-contained HTML file."""
        return write(
            self.runs, file, title=" or ".join(self.variants) + "?", verdict=self.sentences, tables=self.tables
        )

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        """For notebooks: the verdict, and the tables it rests on."""
        return "".join([*(f"<p>{escape(sentence)}</p>" for sentence in self.sentences), *map(as_html, self.tables)])


def as_html(table: Table) -> str:
    """A table for notebooks."""
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in table.rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><caption>{escape(table.title)}</caption><tr>{head}</tr>{body}</table>"


def _lowest(losses: Series) -> float:
    finite = losses.y[np.isfinite(losses.y)]
    return float(finite.min()) if len(finite) else math.inf


def _cost(losses: Series, target: float) -> float:
    """The clock at the first evaluation whose loss is at most the target; infinite if there is none."""
    reached = np.flatnonzero(losses.y <= target)
    return float(losses.x[reached[0]]) if len(reached) else math.inf


def paired_ratio(costs: Floats, leader: Floats, comparisons: int) -> Ratio:
    """The paired ratio of two variants' costs, seed by seed. A cost of nothing counts as the least there can be."""
    from scipy.stats import t as student

    tiny = np.finfo(np.float64).tiny
    logs = np.log(np.maximum(costs, tiny)) - np.log(np.maximum(leader, tiny))
    mean, count = logs.mean(), len(logs)
    if count < 2:
        half = math.inf
    else:
        tail = (1 - CONFIDENCE) / 2 / comparisons
        half = student.ppf(1 - tail, count - 1) * logs.std(ddof=1) / math.sqrt(count)
    with np.errstate(over="ignore"):  # beside a cost of nothing every other is infinitely many times as much
        return Ratio(*(float(np.exp(log)) for log in (mean, mean - half, mean + half)))


def _times(ratio: Ratio) -> str:
    interval = f"{CONFIDENCE:.0%} interval {number(ratio.low)} to {number(ratio.high)}"
    return f"{number(ratio.mean)} times as many ({interval})"


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{number(value)} ({label})" for label, value in values.items())


def _spread(values: Floats) -> str:
    if not np.isfinite(values).any():
        return "not reached"
    if values.min() == values.max():
        return number(float(values[0]))
    return f"{number(float(np.median(values)))} ({number(float(values.min()))} to {number(float(values.max()))})"


def _rows(run: Run) -> float:
    """Rows an update sees, on average."""
    examples = run.series("loss/batch", "examples").x
    return float(examples[-1] / len(examples))


def _microseconds(run: Run) -> float:
    """Microseconds of training for an update, on average."""
    seconds = run.series("loss/batch", "seconds").x
    return float(seconds[-1] / len(seconds) * 1e6)
