"""Which optimizer: every one with the same budget of configurations and seeds, and what chance would explain.

Tuning is part of what is compared. In each repeat an optimizer draws learning rates of its own, trains each once, keeps
the one with the lowest loss, and trains that again with fresh seeds. Only the fresh runs count: the best of many runs
is partly luck, which does not come again (the winner's curse). A repeat is one observation, so that an interval holds
the luck of the draw, of the tuning and of the seeds, and an optimizer beside itself comes out as no different.

The seeds of a repeat are the same for all, so that repeats are compared in pairs. A run is judged by its lowest loss on
validation rows over the evaluations, which is what early stopping would keep; one that diverges keeps what it had.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float64

from descend.catalog import OPTIMIZERS
from descend.comparison import CONFIDENCE, LEARNS, Ratio, Standing, as_html, paired_ratio, require_comparable
from descend.errors import RecipeError
from descend.plots._runs import number
from descend.recipe import Recipe
from descend.report import Table
from descend.run import Floats
from descend.sweeping._outcomes import Outcomes, outcomes
from descend.train.fit import fit

if TYPE_CHECKING:
    from descend.plots._style import Figure

LR_RANGE: Final = (1e-5, 10.0)
"""Where learning rates are drawn: wide enough for Lion (1e-4) and for SGD on standardised data (1) alike."""

TOLERANCE: Final = 0.25
"""A learning rate is good where its loss is at most this share above the best one's."""

EVALUATIONS: Final = 20  # of a fresh run: a target's updates are counted to a 20th of the run

TIMED_SECONDS: Final = 0.05  # of training in a run that takes the time

CLOSE: Final = 0.05  # more loss than the least, which a wider window makes up for; no difference alone may be ignorance

GRID: Final = 40  # points of a curve in a decade of learning rates: the window's ends lie between them

BOOTSTRAPS: Final = 1000

AXES: Final[Mapping[str, str]] = {"loss": "loss", "updates": "updates", "seconds": "seconds"}
"""What contestants are compared by: the loss of the fresh runs, and their costs of reaching the target."""


def recommend(
    recipes: Recipe | Mapping[str, Recipe],
    *,
    configurations: int = 16,
    repeats: int = 10,
    fresh: int = 3,
    lr_range: tuple[float, float] = LR_RANGE,
    tolerance: float = TOLERANCE,
    timed: bool = True,
    progress: bool = False,
) -> Recommendation:
    """Tune every contestant with the same budget and say which is ahead, and of which that is no more than chance.

        recommend(Recipe(data="digits", model="mlp"))

    One recipe stands for itself with every optimizer of the catalog; a mapping gives contestants by name. Each trains
    repeats * (configurations + fresh) runs: in every repeat `configurations` learning rates, log-uniform in `lr_range`
    (one in each of as many equal parts), and the best of them `fresh` times again. All else is as the recipe says. The
    recipe's `target_loss` is the loss whose cost is compared; without one it is the highest of the contestants' medians
    among those that learn. `timed` measures what an update costs in runs of their own, which take turns.

    Raises RecipeError for a budget of nothing, or recipes that cannot be compared.
    """
    contestants = entered(recipes) if isinstance(recipes, Recipe) else dict(recipes)
    _require_fair(contestants, configurations, repeats, fresh, lr_range, tolerance)
    bare = {label: recipe.but(target_loss=None, monitors="none") for label, recipe in contestants.items()}
    shape = len(bare), repeats, configurations

    lrs = np.array([_drawn(recipe, place, *shape[1:], lr_range) for place, recipe in enumerate(bare.values())])
    tuning = outcomes(
        [
            recipe.but(lr=float(lr), seed=recipe.seed + repeat)
            for recipe, drawn in zip(bare.values(), lrs, strict=True)
            for repeat, row in enumerate(drawn)
            for lr in row
        ],
        progress=progress,
    )
    measure = "loss/validation" if "loss/validation" in tuning.names() else "loss/train"
    tuned = tuning.lowest(measure).reshape(shape)
    chosen = np.take_along_axis(lrs, tuned.argmin(2)[..., None], 2)[..., 0]

    steps = int(tuning.steps.max())
    again = outcomes(
        [
            recipe.but(
                lr=float(lr),
                seed=recipe.seed + repeats + repeat * fresh + number,
                evaluate_every=recipe.evaluate_every or max(1, steps // EVALUATIONS),
            )
            for recipe, row in zip(bare.values(), chosen, strict=True)
            for repeat, lr in enumerate(row)
            for number in range(fresh)
        ],
        progress=progress,
    )
    shape = len(bare), repeats, fresh
    losses = again.lowest(measure).reshape(shape)
    start = float(np.median([again.curve(run, measure).y[0] for run in range(len(again.recipes))]))
    target = _target(contestants, losses, start)
    score, scores = _scores(again, measure)
    updates, scores = again.cost(measure, target).reshape(shape), scores.reshape(shape)
    died = (again.died > 0).reshape(shape)
    paces = _paces(list(bare.values()), repeats, lr_range[0]) if timed else np.full((len(bare), repeats), np.nan)
    return Recommendation(
        {
            label: Contestant(
                recipe, lrs[k], tuned[k], chosen[k], losses[k], updates[k], scores[k], paces[k], int(died[k].sum())
            )
            for k, (label, recipe) in enumerate(contestants.items())
        },
        measure,
        score,
        target,
        steps,
        lr_range,
        tolerance,
    )


def entered(recipe: Recipe, optimizers: Sequence[str] | None = None) -> dict[str, Recipe]:
    """The recipe with each of these optimizers of the catalog, or with all of them, by name."""
    return {name: recipe.but(optimizer=name) for name in optimizers or OPTIMIZERS}


def _require_fair(
    contestants: Mapping[str, Recipe],
    configurations: int,
    repeats: int,
    fresh: int,
    lr_range: tuple[float, float],
    tolerance: float,
) -> None:
    require_comparable(contestants)
    counts = {"configurations": configurations, "repeats": repeats, "fresh": fresh}
    for name, value in counts.items():
        if value < 1:
            raise RecipeError(f"{name} is {value}, but must be at least 1.")
    low, high = lr_range
    if not 0 < low < high < math.inf:
        raise RecipeError(
            f"Learning rates go from {low:g} to {high:g}, but must go from above 0 to something greater: 1e-5 to 10."
        )
    if not 0 < tolerance < math.inf:
        raise RecipeError(f"tolerance is {tolerance:g}, but must be a number above 0: 0.25 allows losses 25 % higher.")
    for label, recipe in contestants.items():
        if recipe.patience is not None:
            raise RecipeError(
                f"patience is {recipe.patience} for {label}, but everyone here makes the same number of updates and is "
                "judged by the lowest loss on the way, as early stopping would. Leave it out."
            )
    lengths = {(recipe.epochs, recipe.steps, recipe.batch_size) for recipe in contestants.values()}
    if len(lengths) > 1:
        raise RecipeError(
            "The same budget means the same epochs or steps and the same batch_size, but these recipes differ in them."
        )


def _drawn(
    recipe: Recipe, place: int, repeats: int, configurations: int, lr_range: tuple[float, float]
) -> Float64[np.ndarray, "repeats configurations"]:
    """Learning rates of every repeat: the range, on a log scale, in equal parts, and a point of each part.

    One random number shifts all points of a repeat, so that they are as far apart as they can be. Every contestant has
    its own, by its place.
    """
    low, high = lr_range
    shifts = np.random.default_rng([recipe.seed, place]).random((repeats, 1))
    return low * (high / low) ** ((np.arange(configurations) + shifts) / configurations)


def _target(
    contestants: Mapping[str, Recipe], losses: Float64[np.ndarray, "contestants repeats fresh"], start: float
) -> float:
    """The recipes' own target if they share one, else the highest of the medians of those that learn."""
    asked = {recipe.target_loss for recipe in contestants.values()}
    if len(asked) == 1 and (only := asked.pop()) is not None:
        return only
    medians = np.median(losses, axis=(1, 2))
    return float(max((loss for loss in medians if loss < LEARNS * start), default=-math.inf))


def _scores(again: Outcomes, measure: str) -> tuple[str, Floats]:
    """The name of the score beside the loss, and its value in every run at the evaluation with the lowest loss."""
    split = measure.partition("/")[2]
    name = next((f"{kind}/{split}" for kind in ("accuracy", "r2") if f"{kind}/{split}" in again.names()), measure)

    def kept(run: int) -> float:
        losses = again.curve(run, measure).y
        return float(again.curve(run, name).y[np.argmin(np.where(np.isfinite(losses), losses, np.inf))])

    return name, np.array([kept(run) for run in range(len(again.recipes))])


def _paces(recipes: Sequence[Recipe], repeats: int, lr: float) -> Float64[np.ndarray, "contestants repeats"]:
    """Seconds that an update takes, in short runs alone: one of each recipe in turn, and the round `repeats` times.

    The first round, which warms up, only says how many updates the others time. The learning rate, which costs no time,
    is small enough to diverge nowhere.
    """
    names = count()
    with tempfile.TemporaryDirectory() as folder:

        def pace(recipe: Recipe, steps: int) -> float:
            short = recipe.but(lr=lr, steps=steps, evaluate_every=steps)
            run = fit(short, runs=folder, name=str(next(names)))
            return run.seconds / run.steps

        slowest = max(pace(recipe, 20) for recipe in recipes)
        steps = max(5, int(TIMED_SECONDS / slowest))
        return np.array([[pace(recipe, steps) for recipe in recipes] for _ in range(repeats)]).T


@dataclass(frozen=True)
class Contestant:
    """What one way to train came to, repeat by repeat. Losses are the lowest that a run has evaluated."""

    recipe: Recipe
    lrs: Float64[np.ndarray, "repeats configurations"]
    tuned: Float64[np.ndarray, "repeats configurations"]  # the loss with each of these learning rates
    chosen: Float64[np.ndarray, " repeats"]  # the learning rate with the lowest of them
    losses: Float64[np.ndarray, "repeats fresh"]  # of the chosen one with other seeds
    updates: Float64[np.ndarray, "repeats fresh"]  # until the target; infinite where it was not reached
    scores: Float64[np.ndarray, "repeats fresh"]  # accuracy or R2 where the loss was lowest
    paces: Float64[np.ndarray, " repeats"]  # seconds of an update in a run alone; NaN where not timed
    died: int  # fresh runs that diverged

    @property
    def lr(self) -> float:
        """The learning rate to take: the median of those that were chosen."""
        return float(np.median(self.chosen))

    @property
    def cost(self) -> Float64[np.ndarray, " repeats"]:
        """Updates until the target: the median over the fresh runs of each repeat."""
        # a median that is one of the values: between two of them, infinity would make NaN
        median: Floats = np.quantile(self.updates, 0.5, axis=1, method="inverted_cdf")
        return median

    @property
    def loss(self) -> Float64[np.ndarray, " repeats"]:
        """The loss of each repeat: the geometric mean of its fresh runs."""
        mean: Floats = np.exp(_logs(self.losses).mean(1))
        return mean


@dataclass(frozen=True)
class Window:
    """Around the best learning rate, those whose loss is at most `limit`; at `edges` of the range it may go on.

    Of the median over repeats, on log axes between the learning rates that were drawn. The interval of the factor from
    `low` to `high` is the bootstrap's, over repeats.
    """

    low: float
    high: float
    limit: float
    interval: tuple[float, float]
    edges: bool

    @property
    def factor(self) -> float:
        """How many times the lowest good learning rate the highest one is."""
        return self.high / self.low


def _logs(losses: Floats) -> Floats:
    """Logarithms that are finite: a loss of nothing counts as the least there can be, an infinite one as the most."""
    limits = np.finfo(np.float64)
    logs: Floats = np.log(np.clip(losses, limits.tiny, limits.max))
    return logs


def window_of(
    lrs: Float64[np.ndarray, "repeats configurations"],
    losses: Float64[np.ndarray, "repeats configurations"],
    lr_range: tuple[float, float],
    tolerance: float,
) -> Window:
    """The window of good learning rates of one contestant."""
    grid, curves = _curves(lrs, losses, lr_range)
    low, high, limit = _span(grid, np.median(curves, axis=0), tolerance)
    draw = np.random.default_rng(0)
    again = curves[draw.integers(0, len(curves), (BOOTSTRAPS, len(curves)))]
    spans = (_span(grid, curve, tolerance) for curve in np.median(again, axis=1))
    widths = [end - begin for begin, end, _ in spans]
    tail = (1 - CONFIDENCE) / 2
    least, most = np.exp(np.quantile(widths, (tail, 1 - tail)))
    edges = bool(low == grid[0] or high == grid[-1])
    return Window(math.exp(low), math.exp(high), math.exp(limit), (float(least), float(most)), edges)


def _curves(
    lrs: Float64[np.ndarray, "repeats configurations"],
    losses: Float64[np.ndarray, "repeats configurations"],
    lr_range: tuple[float, float],
) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, "repeats points"]]:
    """The log loss of every repeat over one grid of log learning rates, straight between those that were drawn."""
    low, high = np.log(lr_range)
    grid = np.linspace(low, high, 1 + math.ceil(GRID * (high - low) / math.log(10)))
    drawn = zip(np.log(lrs), _logs(losses), strict=True)
    return grid, np.array([np.interp(grid, *curve) for curve in drawn])


def _span(grid: Floats, curve: Floats, tolerance: float) -> tuple[float, float, float]:
    """Where a curve first rises above its lowest value by log(1 + tolerance), on either side, and that limit."""
    best = int(curve.argmin())
    limit = float(curve[best]) + math.log1p(tolerance)
    above = np.flatnonzero(curve > limit)
    left, right = above[above < best], above[above > best]
    low = _crossing(grid, curve, int(left[-1]), 1, limit) if len(left) else float(grid[0])
    high = _crossing(grid, curve, int(right[0]), -1, limit) if len(right) else float(grid[-1])
    return low, high, limit


def _crossing(grid: Floats, curve: Floats, outside: int, towards: int, limit: float) -> float:
    """Where the curve has the limit, between the first point above it and its neighbour."""
    inside = outside + towards
    share = (limit - curve[inside]) / (curve[outside] - curve[inside])
    return float(grid[inside] + share * (grid[outside] - grid[inside]))


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
        """The good learning rates of every contestant."""
        return {
            label: window_of(one.lrs, one.tuned, self.lr_range, self.tolerance)
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
        leader = min(ranked, key=lambda label: float(_logs(ranked[label]).mean()))
        comparisons = math.comb(len(self.contestants), 2) * len(self.axes)
        ratios = {
            label: paired_ratio(costs, ranked[leader], comparisons)
            for label, costs in ranked.items()
            if label != leader
        }
        return Standing(axis, values, leader, ratios)

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
        """Which to take: the widest window among those with hardly more loss than the least, and no different."""
        standing = self.standings[0]
        close = [label for label in standing.tied if standing.ratios[label].mean <= 1 + CLOSE]
        return max([str(standing.leader), *close], key=lambda label: self.windows[label].factor)

    # --- in words -----------------------------------------------------------------------------------------------------

    @property
    def sentences(self) -> list[str]:
        """The verdict: what each had to spend, who is ahead on each axis, what to take, and what to beware of."""
        return [self._budget(), *map(self._verdict, self.standings), self._advice(), *self._warnings()]

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
        what = f"{AXES[standing.axis]} to a {self._kind} loss of {number(self.target)}"
        what = f"{self._kind} loss" if standing.axis == "loss" else what
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

    def _advice(self) -> str:
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

    def _warnings(self) -> list[str]:
        low, high = self.lr_range
        edge = [label for label, window in self.windows.items() if window.edges]
        died = {label: one.died for label, one in self.contestants.items() if one.died}
        runs = next(iter(self.contestants.values())).losses.size
        return [
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
    def _kind(self) -> str:
        return "validation" if self.measure == "loss/validation" else "training"

    @property
    def tables(self) -> list[Table]:
        """What the verdict rests on: results, and learning rates and costs, the lowest loss first."""
        order = sorted(self.contestants, key=lambda label: float(_logs(self.contestants[label].loss).mean()))
        standing = self.standings[0]
        results = Table(
            f"{CONFIDENCE:.0%} intervals over {_counted(len(standing.costs[order[0]]), 'repeat')} of tuning",
            ("", f"{self._kind} loss", *self._score_column(), "times the least", ""),
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
            f"Learning rates whose loss is within {self.tolerance:.0%} of the best, and the cost of reaching a "
            f"{self._kind} loss of {number(self.target)}",
            ("", "learning rate", "good from", "to", "factor", *(AXES[axis.axis] for axis in self.standings[1:])),
            [
                (
                    label,
                    number(self.contestants[label].lr),
                    number(self.windows[label].low),
                    number(self.windows[label].high),
                    _width(self.windows[label]),
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
        from descend.plots import _style as style

        @style.styled
        def drawn() -> Figure:
            columns = min(3, len(self.contestants))
            rows = -(-len(self.contestants) // columns)
            figure, panels = style.canvas(rows, columns, width=2.6 * columns, height=1.8)
            low, high = _limits(np.concatenate([one.tuned.ravel() for one in self.contestants.values()]))
            for place, (label, one) in enumerate(self.contestants.items()):
                panel = panels[place]
                self._panel(panel, label, one, style.colour(0))
                panel.set(xscale="log", yscale="log", xlim=self.lr_range, ylim=(low, high))
                for axis, told in ((panel.xaxis, place + columns >= len(self.contestants)), (panel.yaxis, True)):
                    axis.set_major_locator(style.LogLocator(numticks=5))
                    axis.set_minor_locator(style.NullLocator())
                    axis.set_major_formatter(
                        style.FuncFormatter(lambda value, _, on=told: style.tick(value) if on else "")
                    )
            for panel in panels[len(self.contestants) :]:
                panel.set_axis_off()
            figure.supxlabel("learning rate", fontsize=9)
            figure.supylabel(f"lowest {self._kind} loss", fontsize=9)
            figure.caption = self._advice()
            return figure

        return drawn()

    def _panel(self, panel: Any, label: str, one: Contestant, colour: str) -> None:
        window = self.windows[label]
        grid, curves = _curves(one.lrs, one.tuned, self.lr_range)
        panel.axvspan(window.low, window.high, color=colour, alpha=0.15, linewidth=0)
        panel.plot(one.lrs.ravel(), one.tuned.ravel(), ".", color=colour, alpha=0.3, markersize=2)
        panel.plot(np.exp(grid), np.exp(np.median(curves, axis=0)), color=colour)
        panel.set_title(f"{label}: a factor of {number(window.factor, 2)}")

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
    return f"{number(window.factor, 2)}{' or more' if window.edges else ''} ({number(least, 2)} to {number(most, 2)})"


def _counted(number_of: int, what: str) -> str:
    return f"{number_of:,} {what}{'' if number_of == 1 else 's'}"


def _limits(losses: Floats) -> tuple[float, float]:
    """From below the lowest loss to above where nearly all of them are: those that explode would hide the rest."""
    low, high = np.exp(np.quantile(_logs(losses), (0, 0.95)))
    return float(low / 1.2), float(high * 1.2)
