"""Exercise: what one is asked to write, and how it is checked. Chapter: where in the book it belongs.

Exercises are read from their source, as catalogs are, so that the list of all of them needs neither NumPy nor torch.
Only a check imports the file.
"""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from descend.catalog import Catalog
from descend.errors import DescendError, nearest
from descend.learn._expect import Observation

if TYPE_CHECKING:
    import numpy.random

    import descend.learn._judge

EXERCISES: Final = Catalog("descend.learn.exercises", "exercise")
FOLDER: Final = Path(__file__).parent / "exercises"

Check = Callable[["descend.learn._judge.Answer", "numpy.random.Generator", int], Iterator[Observation]]
"""From the reader's module, a seeded source of hidden data and the variant (0, 1, 2): what is observed, one by one."""


@dataclass(frozen=True)
class Chapter:
    """One of the five steps. `minutes` is for reading it, without its exercises."""

    number: int
    title: str
    file: str
    minutes: int


CHAPTERS: Final = (
    Chapter(1, "Backpropagation", "docs/01-Backpropagation.md", 110),
    Chapter(2, "Gradient descent", "docs/02-Gradient-Descent.md", 120),
    Chapter(3, "Batch, mini-batch, stochastic", "docs/03-GD-Variants.md", 100),
    Chapter(4, "Optimizers", "docs/04-Optimizers.md", 120),
    Chapter(5, "Monitoring training", "docs/05-Monitoring-Training.md", 120),
)


@dataclass(frozen=True)
class Exercise:
    """A task, a file to complete and its check. All but `check` are literals, since they are read from the source.

    `number` is chapter.place. `anchor` is that of a heading in the chapter's file. `task`, `hints` and `explanation`
    are plain text: paragraphs divided by an empty line; lines that begin with spaces stay as they are.
    `untouched` is the property that an untouched file fails; empty where its function raises NotImplementedError.
    `seconds` is the time limit of the reader's code in a whole check.
    """

    number: str
    title: str
    anchor: str
    minutes: int
    task: str
    starter: str
    hints: tuple[str, ...]
    explanation: str
    check: Check
    untouched: str = ""
    seconds: float = 10.0

    @property
    def chapter(self) -> Chapter:
        return CHAPTERS[self.order[0] - 1]

    @property
    def order(self) -> tuple[int, int]:
        chapter, _, place = self.number.partition(".")
        return int(chapter), int(place)

    @property
    def place(self) -> str:
        """Where in the book it belongs."""
        return f"{self.chapter.file}#{self.anchor}"

    @property
    def file(self) -> str:
        """What the reader's file holds at first."""
        head = (f"{self.number} {self.title}", f"In the book: {self.place}")
        lines = (*head, "", *_lines(self.task, 98), "", f"Check it: descend learn check {self.number}")
        comment = "\n".join(f"# {line}".rstrip() for line in lines)
        return f"{comment}\n\n{textwrap.dedent(self.starter).strip()}\n"


def page(name: str) -> Exercise:
    """The exercise called `name`, read from its source; its check imports the file when it is called."""
    EXERCISES.require(name)

    def check(yours: Any, draw: Any, variant: int) -> Iterator[Observation]:
        exercise: Exercise = getattr(importlib.import_module(f"descend.learn.exercises.{name}"), name)
        return exercise.check(yours, draw, variant)

    return Exercise(**_literals(FOLDER / f"{name}.py", name), check=check)


def path() -> dict[str, Exercise]:
    """All exercises by name, in the order of the course."""
    pages = {name: page(name) for name in EXERCISES}
    return dict(sorted(pages.items(), key=lambda entry: entry[1].order))


def find(word: str) -> str:
    """The name of the exercise with this number, name or file. Raises DescendError, with the nearest one."""
    exercises = path()
    for name, exercise in exercises.items():
        if Path(word).name.removesuffix(".py") in (exercise.number, name, f"{exercise.number}-{name}"):
            return name
    numbers = {exercise.number: name for name, exercise in exercises.items()}
    near = _nearest_number(word, list(numbers)) or nearest(word, [*numbers, *exercises])
    hint = f" Did you mean {near}?" if near else ""
    raise DescendError(f"There is no exercise {word}.{hint} `descend learn` lists them.")


def paragraphs(text: str, width: int) -> str:
    """Text in lines of that width; what is indented stays as it is."""
    return "\n".join(_lines(text, width))


def _lines(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for block in re.split(r"\n\s*\n", textwrap.dedent(text).strip("\n")):
        kept: list[str] = []
        for line in block.splitlines():
            if line.startswith((" ", "- ")) or not kept or kept[-1].startswith(" "):
                kept.append(line)
            else:
                kept[-1] += f" {line}"
        for line in kept:
            wrapped = textwrap.wrap(
                line,
                width,
                break_on_hyphens=False,
                break_long_words=False,
                subsequent_indent="  " if line.startswith("- ") else "",
            )
            lines += [line] if line.startswith(" ") else wrapped
        lines.append("")
    return lines[:-1]


def _nearest_number(word: str, numbers: list[str]) -> str | None:
    """For 2.9 the last of chapter 2, for 9.9 the last of all: the nearest chapter, and in it the nearest place."""
    if not (match := re.fullmatch(r"(\d{1,9})\.?(\d{0,9})", word)):
        return None
    chapter, place = int(match[1]), int(match[2] or 1)

    def distance(number: str) -> tuple[int, int]:
        at, _, k = number.partition(".")
        return abs(int(at) - chapter), abs(int(k) - place)

    return min(numbers, key=distance, default=None)


@cache
def _literals(file: Path, name: str) -> dict[str, Any]:
    """The arguments of `name = Exercise(...)` that are literals: all but the check."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        ):
            keywords = [keyword for keyword in node.value.keywords if keyword.arg != "check"]
            return {str(keyword.arg): _literal(keyword, file) for keyword in keywords}
    raise AssertionError(f"{file} has no line `{name} = Exercise(...)`")


def _literal(keyword: ast.keyword, file: Path) -> Any:
    try:
        return ast.literal_eval(keyword.value)
    except ValueError:
        raise AssertionError(f"{file.name}: {keyword.arg} must be a literal: it is read from the source") from None
