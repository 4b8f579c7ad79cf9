"""From what was found in each run to rates: which causes were named, and where somebody was alarmed for nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import descend
from benchmarks.doctor.corpus import Case
from benchmarks.doctor.yardstick import rules

FIRST: Final = 3  # findings that are shown first


@dataclass(frozen=True)
class Verdict:
    """What was said of one run; `sentences` stand beside `names`."""

    names: tuple[str, ...]
    sentences: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()  # checks that raised


def doctor(run: descend.Run) -> Verdict:
    diagnosis = descend.diagnose(run)
    findings = diagnosis.findings
    failed = tuple(f"{name}: {error}" for name, error in diagnosis.failed.items())
    return Verdict(tuple(each.check for each in findings), tuple(each.sentence for each in findings), failed)


def yardstick(run: descend.Run) -> Verdict:
    return Verdict(tuple(rules(run)))


@dataclass(frozen=True)
class Judged:
    """A case with the verdict on its faulty run, where it has one, and on its healthy run."""

    case: Case
    sick: Verdict | None
    well: Verdict

    @property
    def named(self) -> bool:
        """Whether the first finding is the root cause."""
        return self.sick is not None and bool(self.sick.names) and self.sick.names[0] in self.case.right

    @property
    def among_first(self) -> bool:
        return self.sick is not None and any(name in self.case.right for name in self.sick.names[:FIRST])

    @property
    def alarm(self) -> bool:
        """Whether anything at all was found in the healthy run."""
        return bool(self.well.names)

    @property
    def told_apart(self) -> bool:
        return self.named and not self.alarm


def judge(cases: Iterable[Case], runs: Path, look: Callable[[descend.Run], Verdict]) -> list[Judged]:
    """The verdicts on all recorded runs of the cases; a case that lacks a record is left out."""
    judged = []
    for case in cases:
        folders = {bug: runs / name for name, bug in case.runs}
        if all(folder.is_dir() for folder in folders.values()):
            sick = look(descend.Run(folders[True])) if True in folders else None
            judged.append(Judged(case, sick, look(descend.Run(folders[False]))))
    return judged


# --- rates ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rate:
    """`hits` of `of`, with Wilson's 95 % interval (1927), which holds for small numbers and rates near 0 or 1."""

    hits: int
    of: int

    def __str__(self) -> str:
        if not self.of:
            return "-"
        low, high = self.interval
        return f"{100 * self.hits / self.of:.0f} % ({self.hits} of {self.of}; {100 * low:.0f} to {100 * high:.0f} %)"

    @property
    def interval(self) -> tuple[float, float]:
        z, n, p = 1.959964, self.of, self.hits / self.of
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(middle - half, 0.0), min(middle + half, 1.0)


def rates(judged: Sequence[Judged]) -> dict[str, Rate]:
    pairs = [each for each in judged if each.case.cause]
    odd = [each for each in judged if not each.case.cause]
    return {
        "root cause named first": Rate(sum(each.named for each in pairs), len(pairs)),
        "root cause among the first three": Rate(sum(each.among_first for each in pairs), len(pairs)),
        "**pairs told apart**": Rate(sum(each.told_apart for each in pairs), len(pairs)),
        "false alarms on healthy twins": Rate(sum(each.alarm for each in pairs), len(pairs)),
        "false alarms on odd-but-healthy runs": Rate(sum(each.alarm for each in odd), len(odd)),
    }


def summary(columns: dict[str, Sequence[Judged]]) -> str:
    """A Markdown table: a rate a row, a set of verdicts a column."""
    measured = {title: rates(judged) for title, judged in columns.items()}
    rows = next(iter(measured.values()))
    lines = [f"| | {' | '.join(measured)} |", f"| --- |{' --- |' * len(measured)}"]
    lines += [f"| {row} | {' | '.join(str(each[row]) for each in measured.values())} |" for row in rows]
    return "\n".join(lines)


def by_cause(judged: Sequence[Judged]) -> str:
    """A Markdown table: a root cause a row."""
    causes: dict[str, list[Judged]] = {}
    for each in judged:
        if each.case.cause:
            causes.setdefault(each.case.cause, []).append(each)
    lines = ["| root cause | runs | named first | among three | twins silent | told apart |", "| --- |" + " ---: |" * 5]
    for cause, pairs in sorted(causes.items()):
        counts = [
            len(pairs),
            sum(each.named for each in pairs),
            sum(each.among_first for each in pairs),
            sum(not each.alarm for each in pairs),
            sum(each.told_apart for each in pairs),
        ]
        lines.append(f"| {cause} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def details(judged: Sequence[Judged]) -> str:
    """Every miss and every alarm, with what was said, and how often each check was wrong."""
    misses, alarms, wrong = [], [], Counter[str]()
    for each in judged:
        if each.sick is not None and not each.named:
            told = _told(each.sick) or ["    (nothing was found)"]
            misses += [f"  {each.case.name}: {' or '.join(each.case.right)} expected", *told]
            wrong.update(f"{name} (first, in place of the cause)" for name in each.sick.names[:1])
        if each.alarm:
            alarms += [f"  {_well(each.case)}", *_told(each.well)]
            wrong.update(f"{name} (false alarm)" for name in each.well.names)
    verdicts = [verdict for each in judged for verdict in (each.sick, each.well) if verdict]
    failed = sorted({text for verdict in verdicts for text in verdict.failed})
    return "\n".join(
        [
            f"Misses: {sum(line.endswith('expected') for line in misses)}",
            *misses,
            "",
            f"False alarms: {sum(each.alarm for each in judged)}",
            *alarms,
            "",
            "Checks that were wrong:",
            *(f"  {count:3} {name}" for name, count in wrong.most_common()),
            *(["", "Checks that raised:", *(f"  {text}" for text in failed)] if failed else []),
        ]
    )


def _told(verdict: Verdict) -> list[str]:
    sentences = verdict.sentences or ("",) * len(verdict.names)
    return [f"    {name}: {sentence}" for name, sentence in zip(verdict.names, sentences, strict=True)]


def _well(case: Case) -> str:
    return next(name for name, bug in case.runs if not bug)


def as_json(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    return [
        {
            "case": each.case.name,
            "cause": each.case.cause,
            "part": each.case.part,
            "sick": None if each.sick is None else each.sick.names,
            "well": each.well.names,
            "named": each.named,
            "among_first": each.among_first,
            "told_apart": each.told_apart,
        }
        for each in judged
    ]
