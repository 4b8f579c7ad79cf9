"""The judge: every check looks, causes take their symptoms, and what is surest is told first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from descend.catalog import CHECKS
from descend.doctor import _report
from descend.doctor._chart import Chart
from descend.doctor._check import Check, Finding, Unknown
from descend.run import Run

FIRST: Final = 3
"""Findings that are shown first: who reads more than three acts on none."""


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor says of a run: `findings` (root causes, the surest first), and what was looked for.

    `unknown` says of each check that could not tell what it would need; `failed` are checks that raised.
    """

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    unknown: Mapping[str, str]
    failed: Mapping[str, str]

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        things = f"{len(self.checked)} thing{'' if len(self.checked) == 1 else 's'} checked"
        if self.findings:
            problems = f"{len(self.findings)} problem{'' if len(self.findings) == 1 else 's'}"
            return f"{problems} found, {things}."
        if not self.checked:
            return "Not enough evidence."
        lacking = f", {len(self.unknown)} lacked evidence" if self.unknown else ""
        verdict = "Healthy" if len(self.unknown) < len(self.checked) else "Nothing found"
        return f"{verdict}: {things}{lacking}."

    @property
    def first(self) -> tuple[Finding, ...]:
        """The findings to show first."""
        return self.findings[:FIRST]

    def __repr__(self) -> str:
        return f"<Diagnosis: {self.sentence}>"

    def __str__(self) -> str:
        return _report.in_terminal(self, width=100)

    def _repr_html_(self) -> str:
        return _report.as_html(self)

    def _repr_markdown_(self) -> str:
        return _report.as_markdown(self, everything=True)

    def fields(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "healthy": self.healthy,
            "sentence": self.sentence,
            "findings": [finding.fields() for finding in self.findings],
            "checked": list(self.checked),
            "unknown": dict(self.unknown),
            "failed": dict(self.failed),
        }


def diagnose(run: Run, *, checks: Iterable[str] | None = None) -> Diagnosis:
    """What is wrong with a run, as far as its record tells. Reads numbers only, and imports no torch.

    `checks` names some of `descend.CHECKS`; all where it is not given. Raises RecipeError for an unknown name.
    """
    return judge(Chart(run), checks)


def judge(chart: Chart, names: Iterable[str] | None = None) -> Diagnosis:
    """Let checks look at a chart. Raises RunError, once and not by each check, where the run cannot be read."""
    _ = chart.names, chart.notes, chart.settings
    wanted = tuple(CHECKS if names is None else names)
    for name in wanted:
        CHECKS.require(name)
    answers: dict[str, Finding | Unknown | None] = {}
    failed: dict[str, str] = {}
    chosen: dict[str, Check] = {}
    for name in wanted:
        try:
            chosen[name] = CHECKS[name]
            with np.errstate(all="ignore"):  # a record may hold NaN and infinity: that is what many checks look for
                answers[name] = chosen[name].look(chart)
        except Exception as error:  # one broken check must not hide what the others found; it is reported
            failed[name] = f"{type(error).__name__}: {error}"
    found = [dataclasses.replace(answer, check=name) for name, answer in answers.items() if isinstance(answer, Finding)]
    unknown = {name: answer.needs for name, answer in answers.items() if isinstance(answer, Unknown)}
    checked = tuple(name for name in answers if name not in unknown)
    return Diagnosis(_causes(found, chosen), checked, unknown, failed)


def _causes(found: list[Finding], checks: Mapping[str, Check]) -> tuple[Finding, ...]:
    """The findings that no other one explains, the surest first, each with the symptoms that it explains."""
    by_name = {finding.check: finding for finding in found}
    explained_by = {symptom: cause for cause in by_name for symptom in checks[cause].explains if symptom in by_name}
    causes = sorted((each for each in found if each.check not in explained_by), key=lambda each: -each.sure)
    return tuple(
        dataclasses.replace(cause, symptoms=tuple(by_name[name] for name in _below(cause.check, by_name, checks)))
        for cause in causes
    )


def _below(cause: str, found: Mapping[str, Finding], checks: Mapping[str, Check]) -> list[str]:
    """What a cause explains, directly or by way of its symptoms."""
    reached: list[str] = []
    waiting = [cause]
    while waiting:
        for name in sorted(checks[waiting.pop()].explains & found.keys()):
            if name not in reached:
                reached.append(name)
                waiting.append(name)
    return reached
