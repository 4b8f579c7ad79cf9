"""What a case of the corpus is: a function that trains a network, with a bug in it or without.

A faulty case is written once, as an ordinary PyTorch loop with one boolean: `bug=True` is the faulty run, `bug=False`
its healthy twin, and the difference between the two is exactly the bug. It is called after its root cause and its part
("missing_zero_grad_a"). Thresholds of checks are tuned on parts a and b; parts c and d are only counted.

Every case returns a score, accuracy or R2 on validation data unless it says otherwise, and higher is better. A healthy
run must reach `good`, or it is not healthy; a bug whose only sign is a worse model must cost at least `harm`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch

import descend

Part = Literal["a", "b", "c", "d"]
PARTS: Final[tuple[Part, ...]] = ("a", "b", "c", "d")

CASES: Final[dict[str, Case]] = {}
"""Every case by name: importing the files that hold them fills it."""


@dataclass(frozen=True)
class Desk:
    """Where a case trains: its run is recorded in `runs/name`."""

    runs: Path
    name: str

    def watch(self, model: Any, optimizer: Any, **information: Any) -> Any:
        """`descend.watch`, told where to record."""
        return descend.watch(model, optimizer, runs=self.runs, name=self.name, **information)

    def fit(self, **fields: Any) -> descend.Run:
        """`descend.fit`, told where to record."""
        return descend.fit(descend.Recipe(**fields), runs=self.runs, name=self.name)


@dataclass(frozen=True)
class Case:
    """One entry: `cause` is the check that should name it, None where nothing is wrong.

    `also` are names that are as right as `cause`: two checks describe the same bug, and were allowed before any was
    measured.
    """

    name: str
    cause: str | None
    also: tuple[str, ...]
    part: Part
    good: float
    harm: float
    train: Callable[[Desk, bool], float]

    @property
    def right(self) -> tuple[str, ...]:
        """Every name that counts as naming the cause."""
        return (self.cause, *self.also) if self.cause else ()

    @property
    def runs(self) -> Iterator[tuple[str, bool]]:
        """Name of the run, and whether the bug is in: the faulty run and its twin, or the one healthy run."""
        return iter([(f"{self.name}.bug", True), (f"{self.name}.twin", False)] if self.cause else [(self.name, False)])

    def score(self, runs: Path, bug: bool) -> float:
        """Train it, from the same seed with and without the bug."""
        torch.manual_seed(sum(map(ord, self.name)))
        name = next(name for name, faulty in self.runs if faulty == bug)
        return float(self.train(Desk(runs, name), bug))


def faulty(
    *, good: float, harm: float = 0.0, also: tuple[str, ...] = ()
) -> Callable[[Callable[[Desk, bool], float]], Callable[[Desk, bool], float]]:
    """Enter a function `CAUSE_PART(desk, bug)`; a digit may follow, where a part has several: dead_relus_a2."""

    def enter(train: Callable[[Desk, bool], float]) -> Callable[[Desk, bool], float]:
        cause, _, part = train.__name__.rstrip("0123456789").rpartition("_")
        add(Case(train.__name__, cause, also, _part(part), good, harm, train))
        return train

    return enter


def healthy(part: Part, *, good: float) -> Callable[[Callable[[Desk], float]], Callable[[Desk], float]]:
    """Enter a function `WHAT_IS_ODD(desk)` that trains well."""

    def enter(train: Callable[[Desk], float]) -> Callable[[Desk], float]:
        add(Case(train.__name__, None, (), part, good, 0.0, lambda desk, bug: train(desk)))
        return train

    return enter


def add(case: Case) -> None:
    if case.name in CASES:
        raise ValueError(f"Two cases are called {case.name}.")
    CASES[case.name] = case


def _part(text: str) -> Part:
    if text not in PARTS:
        raise ValueError(f"A case ends in its part, {' or '.join(PARTS)}, not in _{text}.")
    return next(part for part in PARTS if part == text)
