"""Bench: trains arms with the same seeds, judges them, and stops what does not help."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeGuard

from descend.catalog import Value
from descend.curing._arm import BETTER, Arm, changes, judged, measure, ratio
from descend.doctor._judge import diagnose
from descend.errors import DescendError
from descend.recipe import Recipe
from descend.run import Run, new_folder

APART: Final = 1000  # between the first seed and the one that choices are made with
HALF_DECADES: Final = 6  # that a search of the learning rate goes to either side: a factor of 1000
UNTREATED: Final = "untreated"


@dataclass
class Bench:
    """Where arms train: the runs go to a folder of their own, and none is trained twice.

    `steps` cuts every arm, the untreated one too, to that many updates.
    """

    runs: Path
    seeds: Sequence[int]
    steps: int | None
    progress: bool
    done: dict[Recipe, Run] = field(default_factory=dict)
    folder: Path | None = None
    doubled: bool = False  # the seeds, to settle what chance alone left open
    interrupted: bool = False

    def has(self, recipe: Recipe) -> bool:
        """Whether a recipe has been trained, with the first seed at least."""
        return self.cut(recipe).but(seed=self.seeds[0]) in self.done

    def cut(self, recipe: Recipe) -> Recipe:
        """The recipe as it is trained here."""
        return recipe if self.steps is None else recipe.but(steps=self.steps)

    def train(self, recipe: Recipe, what: str, seed: int) -> Run:
        """The run of a recipe with a seed. Raises KeyboardInterrupt if it was interrupted."""
        from descend.train.fit import fit

        wanted = self.cut(recipe).but(seed=seed)
        if wanted not in self.done:
            self.folder = self.folder or new_folder(self.runs, "cure")
            stem = re.sub("[^A-Za-z0-9.]+", "-", what).strip("-.")[:80]
            name = f"{len(self.done) + 1:02d}-{stem}-seed{seed}"
            run = fit(wanted, runs=self.folder, name=name, label=what, progress=self.progress)
            if run.status == "interrupted":
                raise KeyboardInterrupt  # meant for the cure, not for one of its runs alone
            self.done[wanted] = run
        return self.done[wanted]

    def untreated(self, recipe: Recipe, check: str) -> Arm:
        """Train a recipe as it stands, with every seed."""
        runs = tuple(self.train(recipe, UNTREATED, seed) for seed in self.seeds)
        return _arm(Arm(UNTREATED, recipe), runs, check, measure(recipe, recipe, runs[0]))

    def treat(self, treated: Arm, untreated: Arm, check: str, most: int | None = None) -> Arm:
        """Train a remedy with every seed, or the first `most`; it stops where they show that it does not help."""
        by = measure(untreated.recipe, treated.recipe, untreated.runs[0])
        baseline = tuple(judged(run, by) for run in untreated.runs) if by else ()
        runs: tuple[Run, ...] = ()
        for number, seed in enumerate(self.seeds[:most], start=1):
            runs = (*runs, self.train(treated.recipe, treated.what, seed))
            treated = _arm(treated, runs, check, by)
            if by:
                treated = replace(treated, ratio=ratio(treated.losses, baseline[:number]))
            if not treated.promising:
                break
        return treated

    def search(self, recipe: Recipe, start: float) -> float:
        """The learning rate with the lowest validation loss, by steps of half a decade from `start`."""
        losses: dict[int, float] = {}

        def loss(step: int) -> float:
            if step not in losses:
                losses[step] = self._loss(recipe.but(lr=_rate(start, step)))
            return losses[step]

        best = 0
        for side in (1, -1) if start > float(recipe["lr"] or 0) else (-1, 1):
            while abs(best) < HALF_DECADES and loss(best + side) < loss(best):
                best += side
            if best:
                break
        return _rate(start, best)

    def again(self, before: Recipe, after: Recipe) -> Recipe:
        """The recipe with its change made once more, if that lowers the validation loss: width 2 to 16 becomes 128.

        Not twice more: a network 512 times as wide took minutes where all else took seconds.
        """
        try:
            further = _further(before, after)
            better = self.cut(further) != self.cut(after) and self._loss(further) < BETTER * self._loss(after)
        except DescendError:  # further than this the recipe cannot go
            return after
        return further if better else after

    def _loss(self, recipe: Recipe) -> float:
        """The loss with a seed that no arm is judged by, so that a choice does not flatter itself."""
        run = self.train(recipe, "search", self.seeds[0] + APART)
        return judged(run, measure(recipe, recipe, run) or "loss/train")


def _arm(arm: Arm, runs: tuple[Run, ...], check: str, by: str | None) -> Arm:
    """An arm with the runs that it has come to."""
    fires = tuple(not diagnose(run, checks=[check]).healthy for run in runs)
    return replace(arm, runs=runs, fires=fires, measure=by, losses=tuple(judged(run, by) for run in runs) if by else ())


def _further(before: Recipe, after: Recipe) -> Recipe:
    """The recipe with the same factor once more on every number that was changed; but training gets no longer."""
    numbers: dict[str, float] = {}
    for name, (old, new) in changes(before, after).items():
        if name not in ("epochs", "steps") and _is_positive(old) and _is_positive(new):
            again = float(new) ** 2 / float(old)
            numbers[name] = round(again) if isinstance(new, int) else float(f"{again:.2g}")
    return after.but(**numbers)


def _is_positive(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _rate(start: float, step: int) -> float:
    """Half a decade a step, in two digits."""
    return float(f"{start * 10 ** (step / 2):.2g}") if step else start
