"""Sweep: many recipes, trained as many at once as there can be, each recorded as the Run that `fit` would make."""

from __future__ import annotations

import json
import math
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np

from descend.catalog import Value
from descend.errors import DescendError, RunError
from descend.files import many_open_files, write_atomically
from descend.recipe import PARTS, Recipe
from descend.run import PLAN, Floats, Run, new_folder, run_folder
from descend.sweeping._cohort import Cohort
from descend.sweeping._pool import Tick, Trained, train_all
from descend.sweeping._record import FILES, Record
from descend.train.fit import fit

MEASURES: Final = ("loss/validation", "loss/train", "accuracy/validation", "r2/validation")
"""What a table says of every run, as far as it was measured; the first that was is what runs are ranked by."""

SPARE: Final = 128  # files that the rest of the process may have open while runs are recorded

DONE: Final = ("finished", "non-finite", "early stopped", "target reached")
"""How runs end that need not be trained again."""


@dataclass(frozen=True)
class Standing:
    """A configuration over its seeds: the last evaluation of each run, by measure; infinite (of r2 and accuracy: NaN)
    where it died."""

    recipe: Recipe
    runs: tuple[Run, ...]
    values: Mapping[str, Floats]  # [seeds]

    @classmethod
    def of(cls, recipe: Recipe, runs: Sequence[Run], measures: Sequence[str]) -> Standing:
        values: dict[str, list[float]] = {name: [] for name in measures}
        for run in runs:
            died, series = run.status == "non-finite", run.all_series()
            for name, numbers in values.items():
                lost = math.inf if name.startswith("loss") else math.nan
                numbers.append(lost if died or name not in series else float(series[name]().y[-1]))
        return cls(recipe, tuple(runs), {name: np.array(numbers) for name, numbers in values.items()})

    @property
    def rank(self) -> float:
        """The median over seeds of the first measure, which is a loss: the lower the better."""
        return float(np.median(next(iter(self.values.values()))))

    @property
    def died(self) -> int:
        """How many of the runs came to a number that is not finite."""
        return sum(run.status == "non-finite" for run in self.runs)


@dataclass(frozen=True, repr=False)
class Sweep:
    """The runs of a sweep, in the order of its recipes; those that were not reached before a Ctrl-C are left out."""

    folder: Path
    recipes: tuple[Recipe, ...]
    names: tuple[str, ...]
    trained: Trained

    @cached_property
    def runs(self) -> list[Run]:
        """The runs that have ended."""
        found = (self.folder / name for name in self.names)
        runs = [Run(folder) for folder in found if (folder / "recipe.toml").is_file()]
        return [run for run in runs if run.status in DONE]

    @property
    def interrupted(self) -> bool:
        """Whether somebody stopped it before all runs had ended."""
        return self.trained.interrupted

    @cached_property
    def standings(self) -> list[Standing]:
        """The configurations (recipes but for the seed) of which a run has ended, best first."""
        groups: dict[Recipe, list[Run]] = {}
        for run in self.runs:
            groups.setdefault(run.recipe.but(seed=0), []).append(run)
        measures = [name for name in MEASURES if any(name in run.names() for run in self.runs)]
        standings = [Standing.of(recipe, group, measures) for recipe, group in groups.items()]
        return sorted(standings, key=lambda standing: standing.rank)

    def __len__(self) -> int:
        return len(self.recipes)

    def __repr__(self) -> str:
        return f"Sweep({len(self.runs):,} of {len(self):,} runs, in {self.folder})"


def sweep(
    recipes: Sequence[Recipe],
    *,
    runs: str | Path = "runs",
    name: str | None = None,
    on: Literal["here", "ray"] = "here",
    progress: bool = False,
    workers: int | None = None,
) -> Sweep:
    """Train every recipe and record each as a run, in a folder of its own in `runs`.

    Recipes that share data, model and batches are trained at once; those that cannot be, one by one with `fit`. Either
    way a run is what `fit` would have made of its recipe. `workers` are threads here, one for each core where not
    given; `on="ray"` sends the chunks to a Ray cluster.

    Under the `name` of a sweep of the same recipes it goes on: runs that have ended stay as they are, all others are
    trained from their beginning. Ctrl-C keeps what is done, and returns it.

    Raises RunError where the folder holds something else, RecipeError or DataError where parts do not fit each other.
    """
    if isinstance(recipes, Recipe) or not recipes:
        raise RunError("A sweep takes a list of recipes, and at least one: grid(recipe, lr=[...]) makes some.")
    folder = run_folder(runs, name) if name else new_folder(runs, "sweep")
    names = _names(recipes)
    _plan(folder, dict(zip(names, recipes, strict=True)))
    wanted = [place for place, run in enumerate(names) if not _done(folder / run)]
    for place in wanted:
        shutil.rmtree(folder / names[place], ignore_errors=True)
    folders = [folder / names[place] for place in wanted]
    some = [recipes[place] for place in wanted]
    try:
        if on == "ray" and some:
            from descend.sweeping._ray import train_on_ray

            trained = train_on_ray(some, folders, progress=progress, workers=workers)
        else:
            trained = train_here(some, folders, progress=progress, workers=workers)
    except DescendError:
        if not any((folder / run).exists() for run in names):  # refused before a run began: the name is free again
            shutil.rmtree(folder)
        raise
    return Sweep(folder, tuple(recipes), tuple(names), trained)


def train_here(
    recipes: Sequence[Recipe], folders: Sequence[Path], *, progress: bool = False, workers: int | None = None
) -> Trained:
    """Train recipes on this machine, each recorded in the folder of its own."""

    def witness(chunk: Cohort, tick: Tick) -> Record:
        return Record(chunk, [folders[place] for place in chunk.places], tick)

    def alone(cohort: Cohort, asked: threading.Event) -> None:
        for recipe, place in zip(cohort.recipes, cohort.places, strict=True):
            folder = folders[place]
            if fit(recipe, runs=folder.parent, name=folder.name).status == "interrupted":
                asked.set()
                return

    with many_open_files() as files:
        at_once = (files - SPARE) // FILES
        return train_all(recipes, witness, alone, progress=progress, workers=workers, at_once=at_once)


def _done(folder: Path) -> bool:
    return (folder / "recipe.toml").is_file() and Run(folder).status in DONE


def _plan(folder: Path, recipes: Mapping[str, Recipe]) -> None:
    """Write down what a sweep is about to train, names and recipes, or see that it is what is written there."""
    plan = {name: recipe.fields() for name, recipe in recipes.items()}
    file = folder / PLAN
    if file.is_file():
        if json.loads(file.read_text(encoding="utf-8")) != plan:
            raise RunError(f"{folder} holds a sweep of other recipes. Choose another name, or give the same flags.")
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise RunError(f"{folder} exists already and is no sweep. Choose another name.")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(plan).encode())


def _names(recipes: Sequence[Recipe]) -> list[str]:
    """A name for each run: its number, and the fields that tell it from the others as far as they fit."""
    digits = len(str(len(recipes)))
    varied = differing(recipes)
    return [f"{number:0{digits}d}{_words(recipe, varied)}" for number, recipe in enumerate(recipes, start=1)]


def _words(recipe: Recipe, varied: Sequence[str]) -> str:
    fields = recipe.fields()
    words = [
        str(fields[name]) if name in PARTS else f"{name}={_short(fields[name])}" for name in varied if name in fields
    ]
    text = "".join(f"-{word}" for word in words)
    return "".join(letter if letter.isalnum() or letter in "._+=-" else "_" for letter in text)[:100]


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def differing(recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """The fields that set recipes apart, in the order of a recipe's fields: parts, and what differs among recipes of
    the same parts. A default that comes with a part is no difference of its own."""
    found: dict[str, None] = {part: None for part in PARTS if len({recipe[part] for recipe in recipes}) > 1}
    alike: dict[tuple[Value, ...], list[dict[str, Value]]] = {}
    for recipe in recipes:
        alike.setdefault(tuple(recipe[part] for part in PARTS), []).append(recipe.fields())
    for group in alike.values():
        names = dict.fromkeys(name for fields in group for name in fields)
        found |= dict.fromkeys(name for name in names if len({fields.get(name) for fields in group}) > 1)
    order = list(dict.fromkeys(name for recipe in recipes for name in recipe.fields()))
    return tuple(sorted(found, key=order.index))
