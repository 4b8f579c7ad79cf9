"""Check: what looks for one training problem. Finding: that it is there, with the evidence and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from descend.catalog import Value
from descend.doctor._chart import Chart
from descend.recipe import Recipe

Safety = Literal["safe", "changes the result", "advice only"]

CERTAIN: Final = 0.95
"""How sure a fact makes: nothing else could have produced it."""

LIKELY: Final = 0.7
"""How sure two independent witnesses make: a look-alike is possible and was looked for."""

PAGES: Final = "docs/problems.md"
"""The reference of all checks, a heading each."""


@dataclass(frozen=True)
class Evidence:
    """One measured number that speaks for a finding: `value` of `series` lies beyond `threshold`.

    `series` is the series or the fact it was read from ("grad_norm/hidden.0.weight", "facts/graph/given"), so that
    a figure can show it; `says` is the sentence, with the number and its unit.
    """

    series: str
    value: float
    threshold: float
    says: str


@dataclass(frozen=True)
class Remedy:
    """What to do. `change` makes the recipe with the remedy in it; None where only the user can act.

    `safe` changes nothing that was meant (a bug taken out, a learning rate within its limits); `changes the result`
    trades something (another activation, more regularisation); `advice only` is for people.
    """

    advice: str
    change: Callable[[Recipe], Recipe] | None = None
    safety: Safety = "advice only"
    diff: Mapping[str, str] = field(default_factory=dict)
    """For a loop of the user's own: lines of code to take out, and what to write instead."""


@dataclass(frozen=True)
class Finding:
    """A problem that was found. `sentence` names the place and a number; `sure` is between 0 and 1."""

    sentence: str
    evidence: tuple[Evidence, ...]
    sure: float
    where: str | None = None  # a layer, a parameter, a column
    since: int | None = None  # a step
    remedies: tuple[Remedy, ...] = ()
    check: str = ""  # its name: filled in by the judge
    symptoms: tuple[Finding, ...] = ()  # what it explains: filled in by the judge

    @property
    def certainty(self) -> str:
        return "certain" if self.sure >= CERTAIN else "likely" if self.sure >= LIKELY else "possible"

    @property
    def page(self) -> str:
        """Where the problem is explained."""
        return f"{PAGES}#{self.check}"

    def fields(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "check": self.check,
            "sentence": self.sentence,
            "certainty": self.certainty,
            "sure": self.sure,
            "where": self.where,
            "since": self.since,
            "evidence": [vars(piece) for piece in self.evidence],
            "remedies": [
                {
                    "advice": each.advice,
                    "automatic": each.change is not None,
                    "safety": each.safety,
                    "diff": dict(each.diff),
                }
                for each in self.remedies
            ],
            "symptoms": [each.fields() for each in self.symptoms],
            "page": self.page,
        }


@dataclass(frozen=True)
class Unknown:
    """A check cannot tell; `needs` completes the sentence "Not enough evidence: it needs ..."."""

    needs: str


class Example:
    """A run that shows a problem, or one that only looks like it: a recipe, and the bug in the loop if there is one.

    Without a `fault`, `descend.fit` trains the recipe; with one (a name in `descend.faults`), an ordinary PyTorch loop
    with that bug in it does, watched. `fault="none"` is that loop without a bug.
    """

    def __init__(self, *, fault: str | None = None, **fields: Value) -> None:
        self.fault = fault
        self._fields = fields

    @cached_property
    def recipe(self) -> Recipe:
        return Recipe(**self._fields)


@dataclass(frozen=True)
class Check:
    """Looks for one training problem in a Chart: reads numbers only, knows no model, costs milliseconds.

    `look` answers with a Finding, None (looked, and it is not there), or Unknown (cannot tell).
    `sick` must make it fire, `near_miss` looks like it and is healthy. A finding of this check explains findings of
    the checks in `explains`, which are then told as its symptoms.
    """

    look: Callable[[Chart], Finding | Unknown | None]
    symptom: str  # what a person sees, in plain words
    sick: Example
    near_miss: Example
    look_alike: str  # what is healthy and looks the same, in plain words
    source: str
    explains: frozenset[str] = frozenset()
