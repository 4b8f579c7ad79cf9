"""Problems shown: a sick run of each, the same training with the bug taken out, and what that is worth."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from descend.catalog import CHECKS
from descend.doctor._check import Check, Example
from descend.doctor._judge import diagnose
from descend.faults._loop import HEALTHY, run
from descend.run import Run, run_folder
from descend.train.fit import fit

JUDGED: Final = ("accuracy/validation", "r2/validation", "loss/validation", "accuracy/train", "r2/train", "loss/train")
"""What tells how good a run is, the best witness first."""


@dataclass(frozen=True)
class Shown:
    """A problem, the run that has it, and the one without; None where no remedy can be applied without a person."""

    problem: str
    sick: Run
    fixed: Run | None = None

    @property
    def series(self) -> str:
        """What the runs are compared by."""
        known = [set(each.names()) for each in (self.sick, self.fixed) if each]
        return next(name for name in JUDGED if all(name in names for names in known))

    @property
    def before(self) -> float:
        return self.sick.last(self.series)

    @property
    def after(self) -> float | None:
        return self.fixed.last(self.series) if self.fixed else None


def show(problem: str, *, fixed: bool = False, runs: str | Path = "runs", name: str | None = None) -> Shown:
    """Train the sick run of a problem and, if asked, the same with the bug taken out. Each costs about a second.

    A bug in the loop is taken out of it; a recipe that is at fault gets the first automatic remedy of the doctor.
    Raises RecipeError for a name that is not in `descend.CHECKS`.
    """
    check: Check = CHECKS[problem]
    name = name or _free(runs, f"broken-{problem}")
    sick = train_example(check.sick, runs=runs, name=name)
    return Shown(problem, sick, _fixed(problem, check.sick, sick, runs, f"{name}-fixed") if fixed else None)


def train_example(example: Example, *, runs: str | Path = "runs", name: str | None = None) -> Run:
    """Train what a check gives as an example: its recipe, or an ordinary loop with its fault."""
    if example.fault is None:
        return fit(example.recipe, runs=runs, name=name)
    return run(example.recipe, example.fault, runs=runs, name=name)


def _fixed(problem: str, example: Example, sick: Run, runs: str | Path, name: str) -> Run | None:
    if example.fault not in (None, HEALTHY):
        return run(example.recipe, HEALTHY, runs=runs, name=name)
    found = diagnose(sick, checks=[problem]).findings
    changes = [remedy.change for finding in found for remedy in finding.remedies if remedy.change]
    if not changes:
        return None
    cured = changes[0](example.recipe)
    return run(cured, runs=runs, name=name) if example.fault else fit(cured, runs=runs, name=name)


def _free(runs: str | Path, stem: str) -> str:
    """The first of stem-001, stem-002, ... that is not taken."""
    names = (f"{stem}-{number:03d}" for number in itertools.count(1))
    return next(name for name in names if not run_folder(runs, name).exists())
