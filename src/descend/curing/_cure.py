"""Cure: apply the remedies of what was found, train each beside an untreated arm, keep what helps, say what changed.

Every arm trains with the same seeds: the same initial weights, batch order and data split. A remedy is kept where the
loss on validation rows is lower beyond chance in a paired comparison, and the check that found the problem no longer
does. A better loss alone proves no diagnosis (clipping helps a loop that forgot `zero_grad`), so beside what is kept
a rival trains: the remedy of something else. Test rows are never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from descend.comparison import as_html
from descend.curing._arm import changes, in_words
from descend.curing._bench import UNTREATED, Bench
from descend.curing._trial import Trial, attempt
from descend.doctor._check import Finding
from descend.doctor._judge import Diagnosis, diagnose
from descend.errors import RunError
from descend.recipe import Recipe
from descend.report import Table
from descend.run import Run

ROUNDS: Final = 3  # remedies that are put one upon the other; what is left then is told

ENDED: Final = ("finished", "early stopped", "target reached", "non-finite")
"""How a run has ended that can stand for the untreated one of its seed."""


@dataclass(frozen=True)
class Cure:
    """What was wrong, what was tried, and what is left: `recipe` has in it whatever helped.

    Of a watched run there is no recipe: its `advice` is the change to make in the code.
    """

    before: Diagnosis
    after: Diagnosis
    given: Recipe | None
    recipe: Recipe | None
    trials: tuple[Trial, ...] = ()
    interrupted: bool = False

    @property
    def helped(self) -> bool:
        """Whether anything was kept."""
        return any(trial.kept for trial in self.trials)

    @property
    def cured(self) -> bool:
        """Whether something helped, and nothing that was found at first is found in the end."""
        left = {each.check for finding in self.after.findings for each in (finding, *finding.symptoms)}
        return self.helped and not left & {finding.check for finding in self.before.findings}

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """The fields of the recipe that were changed: {"lr": (10.0, 1.0)}."""
        return changes(self.given, self.recipe) if self.given and self.recipe else {}

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run of every arm."""
        arms = [arm for trial in self.trials for arm in (trial.untreated, *trial.arms, trial.rival) if arm]
        return tuple({run.folder: run for arm in arms for run in arm.runs}.values())

    @property
    def advice(self) -> str:
        """What is left to do by hand: findings with their remedies, and the lines of code to change."""
        return str(self.after)

    @property
    def sentences(self) -> list[str]:
        """What happened, finding by finding, and the verdict."""
        return [*(sentence for trial in self.trials for sentence in trial.sentences), self.verdict]

    @property
    def verdict(self) -> str:
        """How it stands in the end, in one line."""
        cut = "Interrupted; the arms that are done are kept. " if self.interrupted else ""
        if self.before.healthy:
            return f"{cut}Nothing to cure. {self.before.sentence}"
        if self.given is None:
            return "The loop is your own, so the change is yours to make:"
        if not self.trials:
            return f"{cut}No remedy is a change of the recipe alone, so it is yours to make:"
        if not self.helped:
            return f"{cut}Nothing helped."
        rest = "" if self.after.healthy else f" Left: {', '.join(each.check for each in self.after.findings)}."
        return f"{cut}{'Cured' if self.cured else 'Better, but not cured'}: {in_words(self.changes)}.{rest}"

    @property
    def tables(self) -> list[Table]:
        """The arms of every trial."""
        return [trial.table for trial in self.trials]

    def fields(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "cured": self.cured,
            "helped": self.helped,
            "healthy": self.before.healthy,
            "interrupted": self.interrupted,
            "changes": {name: list(pair) for name, pair in self.changes.items()},
            "recipe": self.recipe and self.recipe.fields(),
            "sentences": self.sentences,
            "trials": [trial.fields() for trial in self.trials],
            "before": self.before.fields(),
            "after": self.after.fields(),
        }

    def __str__(self) -> str:
        return "\n".join(self.sentences + ([] if self.cured or self.before.healthy else ["", self.advice]))

    def _repr_html_(self) -> str:
        """For notebooks: what happened, the arms, and what is left to do."""
        told = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)
        return "".join([told, *map(as_html, self.tables), "" if self.cured else self.after._repr_html_()])


def cure(
    recipe_or_run: Recipe | Run,
    *,
    seeds: int = 3,
    steps: int | None = None,
    runs: str | Path = "runs/cures",
    progress: bool = False,
) -> Cure:
    """Find what is wrong with a recipe or a run, train the remedies, and keep what helps on validation rows.

    Remedies come in order of safety, and those that help at the same safety compete. Every arm trains with `seeds`
    seeds, from the recipe's on; `steps` cuts every arm of a long recipe to that many updates. The runs go to a folder
    of their own in `runs`. Ctrl-C ends it with what is done. The code of a watched run is not touched: its cure is the
    change to make.

    Raises RunError for fewer than two seeds, since one cannot tell an effect from chance.
    """
    if seeds < 2:
        raise RunError(f"seeds is {seeds}, but a cure needs at least two: one cannot tell an effect from chance.")
    if isinstance(recipe_or_run, Recipe):
        run, recipe = None, recipe_or_run
    elif recipe_or_run.watched:
        found = diagnose(recipe_or_run)
        return Cure(found, found, None, None)
    else:
        run, recipe = recipe_or_run, recipe_or_run.recipe
    bench = Bench(Path(runs), range(recipe.seed, recipe.seed + seeds), steps, progress)
    if run is None:
        run = bench.train(recipe, UNTREATED, recipe.seed)
    elif run.status in ENDED:
        bench.done[recipe] = run
    before = after = diagnose(run)
    trials: list[Trial] = []
    here = recipe
    for _ in range(ROUNDS):
        kept = None
        for finding in _in_turn(after):
            if kept is None and not bench.interrupted and (trial := attempt(bench, here, finding, after)):
                trials.append(trial)
                kept = trial.kept
        if kept is None:
            break
        here, after = kept.recipe, diagnose(kept.runs[0])
    return Cure(before, after, recipe, here, tuple(trials), bench.interrupted)


def _in_turn(found: Diagnosis) -> Iterator[Finding]:
    """The findings to treat in turn: where a cause's remedies do not help, what it was thought to explain."""
    for finding in found.first:
        yield from (finding, *finding.symptoms)
