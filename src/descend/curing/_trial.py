"""Trial: the remedies of one finding, trained side by side, and the rival that asks whether the diagnosis is right."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from descend.curing._arm import WORDS, Arm, changes, in_words, judged
from descend.curing._bench import Bench
from descend.doctor._check import Finding, Remedy
from descend.doctor._judge import Diagnosis
from descend.errors import DescendError
from descend.plots._runs import number
from descend.recipe import Recipe
from descend.report import Table

ALIKE: Final = 1.05  # within 5 % of the best loss is as good, and the remedy named first, as the safest, is kept

MOST: Final = 4  # remedies of a finding that are trained, of each safety

COSTLY: Final = ("width", "depth", "epochs", "steps")
"""Fields that a rival leaves alone: a network 8 times as wide took 12 times as long, only to ask a question."""

CLIP, LOWER = 1.0, 0.1
"""Remedies of many things, for rivals: gradients clipped to this norm, and this share of the learning rate."""


@dataclass(frozen=True)
class Trial:
    """What was tried against one finding. `kept` is one of `arms`, or None where none of them did.

    `rival` treats something else; `refused` are remedies that this recipe cannot take, with the reason.
    """

    finding: Finding
    untreated: Arm
    arms: tuple[Arm, ...] = ()
    kept: Arm | None = None
    rival: Arm | None = None
    refused: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """What was found, what was kept and why, and whether that proves the diagnosis."""
        return [f"{self.finding.check}: {self.finding.sentence}", *self.refused, self._outcome(), *self._proof()]

    def _outcome(self) -> str:
        arm = self.kept
        if not any(self.untreated.fires):
            return "The problem does not show when the recipe is trained anew, so there is nothing to cure."
        if arm is None:
            tried = "; ".join(f"{each.what} ({each.effect}, the problem is {each.seen})" for each in self.arms)
            return f"Nothing helped. Tried: {tried}." if tried else "No remedy can be applied to the recipe by itself."
        if arm.ratio is None:
            return f"Kept: {arm.what}. The problem is gone; the validation rows are others, so no losses are compared."
        what, before, after = WORDS[arm.measure or ""], self._untreated(arm), number(arm.loss)
        goes = f"The {what} goes from {number(before)} to {after}, {arm.effect}"
        change = goes if math.isfinite(before) else f"The {what} was not finite and comes to {after}"
        if not arm.helps:
            return f"Kept: {arm.what}. The problem is gone, but that the loss changes ({arm.effect}) may be chance."
        gone = "The problem is gone" if arm.gone else f"But the check still finds the problem {arm.seen}"
        return f"Kept: {arm.what}. {change}, over {len(arm.runs)} paired seeds. {gone}."

    def _untreated(self, arm: Arm) -> float:
        """What the untreated arm comes to by another arm's measure."""
        if arm.measure == self.untreated.measure:
            return self.untreated.loss
        by = arm.measure or ""
        return replace(self.untreated, losses=tuple(judged(run, by) for run in self.untreated.runs)).loss

    def _proof(self) -> Iterator[str]:
        """What the rival says of the diagnosis."""
        kept, rival = self.kept, self.rival
        if kept is None or rival is None or rival.ratio is None or kept.ratio is None:
            return
        named = f"The rival remedy ({rival.what})"
        if rival is kept:
            yield f"That is a rival remedy: it does better than those of {self.finding.check}, which is then in doubt."
            return
        if rival.cures and rival.ratio.mean <= ALIKE * kept.ratio.mean:
            yield f"{named} does as well, so the better loss does not prove this diagnosis."
        elif rival.helps:
            rest = "by less" if rival.gone else f"the check still finds the problem {rival.seen}"
            yield f"{named} helps too, {rival.effect}, but {rest}."
        else:
            yield f"{named} does not help: {rival.effect}."

    @property
    def table(self) -> Table:
        """Every arm: its loss, how that compares, and whether the problem is there."""
        words = WORDS[self.untreated.measure or "loss/train"]
        arms = [self.untreated, *self.arms, *([self.rival] if self.rival else [])]
        return Table(
            f"Against {self.finding.check}: {words}, median over seeds",
            ("arm", words, "against untreated", "the problem", "seeds", "seconds"),
            [
                (
                    ("rival: " if arm is self.rival else "") + arm.what + (" (kept)" if arm is self.kept else ""),
                    number(arm.loss) if arm.measure == self.untreated.measure else WORDS.get(arm.measure or "", "-"),
                    arm.effect,
                    arm.seen,
                    len(arm.runs),
                    number(sum(run.seconds for run in arm.runs)),
                )
                for arm in arms
            ],
        )

    def fields(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "finding": self.finding.fields(),
            "untreated": self.untreated.fields(),
            "arms": [arm.fields() for arm in self.arms],
            "kept": self.kept and self.kept.what,
            "rival": self.rival and self.rival.fields(),
            "refused": list(self.refused),
            "sentences": self.sentences,
        }


def attempt(bench: Bench, recipe: Recipe, finding: Finding, found: Diagnosis) -> Trial | None:
    """Train the remedies of a finding, the safest first; None where it has none that a recipe can take by itself.

    Those that help at the same safety compete. Ctrl-C ends the trial with the arms that are done, and sets
    `bench.interrupted`; before the untreated arm is done it raises.
    """
    candidates = list(_candidates(bench, recipe, finding))
    if not candidates:
        return None
    trial = Trial(finding, bench.untreated(recipe, finding.check))
    if not any(trial.untreated.fires):
        return trial
    least = len(bench.seeds)
    try:
        for safety in ("safe", "changes the result"):
            for arm in [arm for arm in candidates if arm.safety == safety][:MOST]:
                trial = _with(bench, trial, arm)
            for arm in _tuned(bench, trial, [arm for arm in trial.arms if arm.safety == safety]):
                trial = _with(bench, trial, arm)
            if any(arm.close for arm in trial.arms) and not any(arm.cures for arm in trial.arms) and not bench.doubled:
                trial = _with_more_seeds(bench, trial)
            if any(arm.cures for arm in trial.arms):
                break
        trial = replace(trial, kept=best(trial.arms, least))
        if trial.kept:
            trial = replace(trial, rival=_rival(bench, trial, trial.kept, found))
    except KeyboardInterrupt:
        bench.interrupted = True
        return replace(trial, kept=best(trial.arms, least))
    kept, rival = trial.kept, trial.rival
    if kept and rival and rival.cures and rival.safety != "advice only" and ALIKE * _mean(rival) < _mean(kept):
        return replace(trial, kept=rival)
    return trial


def _tuned(bench: Bench, trial: Trial, arms: Sequence[Arm]) -> Iterator[Arm]:
    """More of what helps: another learning rate, and the change of the best arm made again."""
    recipe = trial.untreated.recipe
    rates = [arm for arm in arms if changes(recipe, arm.recipe).keys() == {"lr"}]
    if rates:
        found = recipe.but(lr=bench.search(recipe, float(rates[0].recipe["lr"] or 0.0)))
        yield Arm(in_words(changes(recipe, found)), found, "Search the learning rate.", rates[0].safety)
    good = [arm for arm in arms if arm.promising and arm not in rates]
    if good:
        most = min(good, key=_mean)
        found = bench.again(recipe, most.recipe)
        yield replace(most, what=in_words(changes(recipe, found)), recipe=found)


def _with_more_seeds(bench: Bench, trial: Trial) -> Trial:
    """The trial with twice the seeds for the arms that chance alone keeps from being cures, once."""
    first, count = bench.seeds[0], len(bench.seeds)
    bench.seeds, bench.doubled = range(first, first + 2 * count), True
    untreated = bench.untreated(trial.untreated.recipe, trial.finding.check)
    arms = [bench.treat(arm, untreated, trial.finding.check) if arm.close else arm for arm in trial.arms]
    return replace(trial, untreated=untreated, arms=tuple(arms))


def best(arms: tuple[Arm, ...], seeds: int) -> Arm | None:
    """The arm to keep: of those that cure the first that is as good as the best; else one that takes a bug out, or that
    helps at least. Arms that were stopped before so many seeds do not count."""
    whole = [arm for arm in arms if len(arm.fires) >= seeds]
    for good in (
        [arm for arm in whole if arm.cures],
        [arm for arm in whole if arm.repairs],
        [arm for arm in whole if arm.helps],
    ):
        least = min((_mean(arm) for arm in good), default=0.0)
        for arm in good:
            if _mean(arm) <= ALIKE * least:
                return arm
    return None


def _mean(arm: Arm) -> float:
    return arm.ratio.mean if arm.ratio else 1.0


def _with(bench: Bench, trial: Trial, arm: Arm) -> Trial:
    """The trial with one more arm trained, unless the recipe cannot take it, or had it."""
    if any(bench.cut(arm.recipe) == bench.cut(other.recipe) for other in (trial.untreated, *trial.arms)):
        return trial
    try:
        return replace(trial, arms=(*trial.arms, bench.treat(arm, trial.untreated, trial.finding.check)))
    except DescendError as error:
        return replace(trial, refused=(*trial.refused, f"{arm.what} cannot be trained: {error}"))


def _candidates(bench: Bench, recipe: Recipe, finding: Finding) -> Iterator[Arm]:
    """The finding's remedies that change the recipe to one that was not trained yet."""
    for remedy in finding.remedies:
        arm = _arm(recipe, remedy)
        if arm and not bench.has(arm.recipe):
            yield arm


def _arm(recipe: Recipe, remedy: Remedy) -> Arm | None:
    """The arm of a remedy; None where it changes no recipe, or not this one."""
    if remedy.change is None:
        return None
    treated = remedy.change(recipe)
    what = in_words(changes(recipe, treated))
    return Arm(what, treated, remedy.advice, remedy.safety) if what else None


def _rival(bench: Bench, trial: Trial, kept: Arm, found: Diagnosis) -> Arm | None:
    """The remedy of something else that does best with one seed, trained with all.

    It comes from what helps many things, another finding or a symptom, changes other fields than what is kept, and
    costs no more than the recipe.
    """
    recipe = trial.untreated.recipe
    others = [other for other in found.findings if other.check != trial.finding.check]
    remedies = [*_general(recipe), *(each for other in (*others, *trial.finding.symptoms) for each in other.remedies)]
    taken = {*changes(recipe, kept.recipe), *COSTLY}
    arms = [arm for arm in (_arm(recipe, remedy) for remedy in remedies) if arm and not bench.has(arm.recipe)]
    tried: list[Arm] = []
    for arm in [arm for arm in arms if not changes(recipe, arm.recipe).keys() & taken][:MOST]:
        with contextlib.suppress(DescendError):  # this recipe cannot take it
            tried.append(bench.treat(arm, trial.untreated, trial.finding.check, most=1))
    if not tried:
        return None
    return bench.treat(min(tried, key=_mean), trial.untreated, trial.finding.check)


def _general(recipe: Recipe) -> Iterator[Remedy]:
    """Remedies of many things. Those that only hide what is wrong, as clipping does, are asked and never kept."""
    if recipe.schedule != "constant":
        yield Remedy("Keep the learning rate.", lambda recipe: recipe.but(schedule="constant"), "changes the result")
    yield Remedy("Clip the gradients.", lambda recipe: recipe.but(clip_norm=CLIP))
    yield Remedy("Lower the learning rate.", lambda recipe: recipe.but(lr=float(recipe["lr"] or 0.0) * LOWER))
