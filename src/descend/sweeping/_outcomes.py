"""Outcomes: how each of many runs went, in memory, for maps and comparisons that need thousands and no record."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from descend.errors import RunError, did_you_mean
from descend.recipe import Recipe
from descend.run import Floats, Series
from descend.sweeping._cohort import Cohort, Lane
from descend.sweeping._drive import Endings, Numbers, Weights, Witness
from descend.sweeping._measure import Judge
from descend.sweeping._pool import Tick, train_all
from descend.train.fit import fit


@dataclass(frozen=True, repr=False)
class Outcomes:
    """How each of many runs went. Every array has one number a run, in the order of `recipes`.

    Evaluations are those that `fit` makes: before the first step, every `evaluate_every` steps, and at the end.
    """

    recipes: tuple[Recipe, ...]
    died: NDArray[np.int64]  # the step that a run could not take, as something was not finite; 0 where it ended well
    steps: NDArray[np.int64]  # updates made
    seconds: float  # of all runs together, on the clock on the wall
    lanes: tuple[tuple[Lane, str, int], ...]  # how runs were trained, why not faster, and how many of them
    tables: tuple[Table, ...]
    places: tuple[tuple[int, int], ...]  # of each run: which table, which row

    def __repr__(self) -> str:
        died = int(np.count_nonzero(self.died))
        return f"Outcomes({len(self.recipes):,} runs, of which {died:,} died: {', '.join(self.names())})"

    def names(self) -> tuple[str, ...]:
        """The series there are."""
        return tuple(dict.fromkeys(name for table in self.tables for name in table.values))

    def curve(self, run: int, name: str) -> Series:
        """One series of one run: its value at each evaluation, by updates."""
        self._require(name)
        table, row = self.places[run]
        values = self.tables[table].values.get(name)
        if values is None:
            return Series(np.empty(0), np.empty(0))
        made = self.tables[table].evaluated[row]
        return Series(self.tables[table].at[made], values[row, made])

    def final(self, name: str) -> Floats:
        """The last evaluation of every run; infinite where the run died."""
        return np.where(self.died > 0, np.inf, self._each(name, lambda at, values, seen: _last(values, seen)))

    def lowest(self, name: str) -> Floats:
        """The lowest evaluation of every run; infinite where none is finite."""
        return self._each(name, lambda at, values, seen: _only(seen & np.isfinite(values), values).min(1))

    def highest(self, name: str) -> Floats:
        """The highest evaluation of every run; minus infinite where none is finite."""
        return self._each(name, lambda at, values, seen: -_only(seen & np.isfinite(values), -values).min(1))

    def cost(self, name: str, target: float) -> Floats:
        """Updates of every run at its first evaluation with at most `target`; infinite where there is none."""
        return self._each(name, lambda at, values, seen: _only(seen & (values <= target), at).min(1))

    def _each(self, name: str, of: Callable[[Floats, Floats, NDArray[np.bool_]], Floats]) -> Floats:
        self._require(name)
        missing = (np.full(len(table.evaluated), np.nan) for table in self.tables)
        found = [
            of(table.at, table.values[name], table.evaluated) if name in table.values else nothing
            for table, nothing in zip(self.tables, missing, strict=True)
        ]
        return np.array([found[table][row] for table, row in self.places])

    def _require(self, name: str) -> None:
        if name not in self.names():
            raise RunError(f"These runs have no series '{name}'. {did_you_mean(name, self.names())}")


@dataclass(frozen=True)
class Table:
    """The evaluations of runs that were evaluated at the same steps: values are [runs, evaluations]."""

    at: Floats  # the steps
    values: Mapping[str, Floats]
    evaluated: NDArray[np.bool_]  # [runs, evaluations]; a run that ended early has no later ones


def _only(where: NDArray[np.bool_], values: Floats) -> Floats:
    """The values where something holds, infinite elsewhere."""
    return np.where(where, values, np.inf)


def _last(values: Floats, seen: NDArray[np.bool_]) -> Floats:
    """The last value of each row that was seen; the first always is."""
    index = seen.shape[1] - 1 - seen[:, ::-1].argmax(1)
    last: Floats = np.take_along_axis(values, index[:, None], axis=1)[:, 0]
    return last


def outcomes(recipes: Sequence[Recipe], *, progress: bool = False, workers: int | None = None) -> Outcomes:
    """Train every recipe, as many at once as there can be, and keep only how good each was at its evaluations.

    `workers` are threads, one for each core where not given. Ctrl-C raises KeyboardInterrupt.
    Raises RecipeError or DataError where a recipe's parts do not fit each other.
    """
    tallies: list[_Tally] = []

    def alone(cohort: Cohort, asked: threading.Event) -> None:
        for run in range(len(cohort)):
            tally = _Tally.of_fit(cohort.pick([run]))
            if tally is None:
                asked.set()
                return
            tallies.append(tally)

    def witness(chunk: Cohort, tick: Tick) -> _Tally:
        tallies.append(_Tally(chunk, tick))
        return tallies[-1]

    trained = train_all(recipes, witness, alone, progress=progress, workers=workers)
    if trained.interrupted:
        raise KeyboardInterrupt
    places: list[tuple[int, int]] = [(0, 0)] * len(recipes)
    died, steps = np.zeros(len(recipes), dtype=np.int64), np.zeros(len(recipes), dtype=np.int64)
    for number, tally in enumerate(tallies):
        for row, place in enumerate(tally.chunk.places):
            places[place] = number, row
        where = list(tally.chunk.places)
        died[where], steps[where] = tally.dead, tally.steps
    tables = tuple(tally.table() for tally in tallies)
    return Outcomes(tuple(recipes), died, steps, trained.seconds, trained.lanes, tables, tuple(places))


class _Tally(Witness):
    """The witness that keeps evaluations and deaths, and nothing else."""

    def __init__(self, chunk: Cohort, tick: Tick) -> None:
        self.chunk = chunk
        self._tick = tick
        self.dead, self.steps = np.zeros(len(chunk), dtype=np.int64), np.zeros(len(chunk), dtype=np.int64)
        self._rows: list[tuple[int, Numbers, Mapping[str, Floats]]] = []

    @classmethod
    def of_fit(cls, one: Cohort) -> _Tally | None:
        """The evaluations of a run that is trained alone; None where it was interrupted."""
        tally = cls(one, lambda steps: None)
        with tempfile.TemporaryDirectory() as folder:
            run = fit(one.recipes[0], runs=folder)
            if run.status == "interrupted":
                return None
            everyone = np.array([0])
            series = {name: run.series(name) for name in run.names() if name.endswith(("/train", "/validation"))}
            for number, step in enumerate(series["loss/train"].x):
                values = {name: values.y[number : number + 1] for name, values in series.items()}
                tally._rows.append((int(step), everyone, values))
            tally.steps[0] = run.steps
            if run.status == "non-finite":
                tally.dead[0] = run.notes("ended")[-1].step
        return tally

    def begin(self, weights: Weights, values: Mapping[str, Floats], judge: Judge) -> None:
        self._rows.append((0, np.arange(len(self.chunk)), values))

    def evaluated(
        self, runs: Numbers, step: int, examples: int, seconds: Floats, values: Mapping[str, Floats], weights: Weights
    ) -> None:
        self._rows.append((step, runs.copy(), values))

    def died(self, runs: Numbers, steps: Numbers, seconds: Floats, losses: Floats, weights: Weights) -> None:
        self.dead[runs] = steps

    def advanced(self, run_steps: int, /) -> object:
        return self._tick(run_steps)

    def ended(self, runs: Numbers, endings: Endings, weights: Weights, tested: Mapping[str, Floats]) -> None:
        self.steps[runs] = endings.steps
        broken = np.array([why == "non-finite" for why in endings.why])
        self.dead[runs] = np.where(broken & (self.dead[runs] == 0), endings.steps, self.dead[runs])

    def table(self) -> Table:
        shape = len(self.chunk), len(self._rows)
        names = self._rows[0][2] if self._rows else ()
        values = {name: np.full(shape, np.nan) for name in names}
        evaluated = np.zeros(shape, dtype=bool)
        for number, (_, runs, row) in enumerate(self._rows):
            evaluated[runs, number] = True
            for name, numbers in row.items():
                values[name][runs, number] = numbers
        return Table(np.array([step for step, _, _ in self._rows], dtype=np.float64), values, evaluated)
