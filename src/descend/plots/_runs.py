"""What figures and reports ask of several runs: which belong together, what to call them, their numbers in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from descend.catalog import Value
from descend.recipe import CORE, PARTS, Recipe
from descend.run import Run, Series

CLOCK: Final[Mapping[str, str]] = {"step": "updates", "examples": "examples seen", "seconds": "seconds of training"}
DIVERGED: Final = "non-finite"  # the status of a run that did
EMPTY: Final = Series(np.empty(0), np.empty(0))


def series(run: Run, name: str, x: str = "step") -> Series:
    """A series of a run; empty where it was not recorded."""
    return run.series(name, x) if name in run.names() else EMPTY


def places(runs: Iterable[Run], measure: str) -> list[str]:
    """Where a measure was taken, in the order of recording: ["0.weight", "0.bias"] for "grad_norm"."""
    names = dict.fromkeys(name for run in runs for name in run.names())
    return [name.partition("/")[2] for name in names if name.startswith(f"{measure}/")]


def truth(runs: Iterable[Run]) -> dict[str, float]:
    """The true parameters by feature, where the data set knows them."""
    notes = [note for run in runs for note in run.notes("truth")]
    return {feature: value for note in notes for feature, value in note.details["values"].items()}


def fields(run: Run) -> dict[str, Value]:
    """Every setting of a run: the fields of its recipe, or what is known of a loop that was watched."""
    return run.settings if run.watched else run.recipe.fields()


def differing(every: Sequence[Mapping[str, Value]]) -> list[str]:
    """The settings in which runs differ, but for the seed; an option counts among the runs that have it.

    A recipe has every core field, set or not; of a watched run, which does not name all parts, the rest is unknown.
    """
    names = dict.fromkeys(name for each in every for name in each if name != "seed")
    return [name for name in names if len({each.get(name) for each in every if name in each or _unset(name, each)}) > 1]


def _unset(name: str, each: Mapping[str, Value]) -> bool:
    return name in CORE and each.keys() >= PARTS.keys()


def variants(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs whose recipes differ in the seed alone, by the label they were given or what sets them apart: "lr=0.01".

    A watched run has no recipe: it is a variant of its own, called by its name.
    """
    alike: dict[Recipe | Path, list[Run]] = {}
    for run in runs:
        alike.setdefault(run.folder if run.watched else run.recipe.but(seed=0), []).append(run)
    given = {str(note.details["text"]): members for members in alike.values() for note in members[0].notes("label")[:1]}
    if len(given) == len(alike):
        return given
    if len(runs) == 1:
        return {runs[0].name: list(runs)}
    names = differing([recipe.fields() for recipe in alike if isinstance(recipe, Recipe)])
    shared = len({folder.name for folder in alike if isinstance(folder, Path)}) < sum(run.watched for run in runs)
    labels = [
        _label(kind, names) if isinstance(kind, Recipe) else str(kind) if shared else members[0].name
        for kind, members in alike.items()
    ]
    return dict(zip(labels, alike.values(), strict=True))


def _label(recipe: Recipe, names: Sequence[str]) -> str:
    """A variant by the fields that set recipes apart."""
    if not names:
        return f"{recipe.model}, {recipe.optimizer}"
    values = recipe.fields()
    given = [str(values[name]) if name in PARTS else f"{name}={values[name]}" for name in names if name in values]
    return ", ".join(given) or f"without {' and '.join(names)}"


def number(value: float, digits: int = 3) -> str:
    """A number for people: 18,509 or 0.0521 or 3.1e-07."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    if value == 0 or 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    if 1e-3 <= abs(value) < 1000:
        return f"{value:.{digits}g}"
    return f"{value:.1e}"


def first_non_finite(values: Series) -> tuple[float, str] | None:
    """Where a series stops being a finite number, and what it is there: (187.0, "infinite")."""
    bad = np.flatnonzero(~np.isfinite(values.y))
    return (float(values.x[bad[0]]), number(float(values.y[bad[0]]))) if len(bad) else None


def course(what: str, values: Series) -> str:
    """From where to where a series goes over the updates, as a sentence."""
    if not len(values.y):
        return f"{what} was not recorded."
    finite = values.y[np.isfinite(values.y)]
    if not len(finite):
        return f"{what} is {number(float(values.y[0]))} from the start."
    first, last = float(finite[0]), float(finite[-1])
    if len(finite) == 1:
        sentence = f"{what} is {number(first)} after {_updates(values.x[-1])}"
    else:
        turn = "stays at" if number(first) == number(last) else "falls from" if last < first else "rises from"
        numbers = number(first) if turn == "stays at" else f"{number(first)} to {number(last)}"
        sentence = f"{what} {turn} {numbers} over {_updates(values.x[np.isfinite(values.y)][-1])}"
    lost = first_non_finite(values)
    return f"{sentence}; it is {lost[1]} at update {lost[0]:,.0f}." if lost else f"{sentence}."


def ends(what: str, runs: Sequence[Run], name_of: Callable[[Run], str]) -> str:
    """What each variant came to, the median over its runs, as a sentence; `name_of` a run is the series to look at."""
    groups = variants(runs)
    lasts = {label: [last(run, name_of(run)) for run in members] for label, members in groups.items()}
    parts = [f"{number(median(values))} ({label})".replace("infinite", "diverged") for label, values in lasts.items()]
    seeds = max(map(len, lasts.values()))
    return f"{what} at the end{', median over the seeds' if seeds > 1 else ''}: {'; '.join(parts)}."


def last(run: Run, name: str) -> float:
    """The last value of a series; infinite where the run diverged, NaN where nothing was recorded.

    Early stopping goes back to the best weights: then it is the value at their step.
    """
    if run.status == DIVERGED:
        return math.inf
    values = series(run, name)
    if fields(run).get("patience") is not None and run.status != "interrupted" and (ended := run.notes("ended")):
        kept = values.x <= ended[-1].details.get("best_step", math.inf)
        values = Series(values.x[kept], values.y[kept])
    return float(values.y[-1]) if len(values.y) else math.nan


def median(values: Sequence[int | float]) -> float:
    """The median of the values that are known (not NaN)."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def _updates(count: float) -> str:
    return f"{count:,.0f} update{'' if count == 1 else 's'}"
