"""The reader's folder: files to complete, and how far they have come. Nothing of the reader's is ever overwritten."""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from descend.errors import DescendError
from descend.files import write_atomically
from descend.learn._exercise import Exercise, path

PROGRESS: Final = "progress.json"

State = Literal["untouched", "opened", "passed"]


class Mark(msgspec.Struct):
    """How far one exercise has come: when it was opened and first passed, how often checked, how many hints seen."""

    file: str = ""
    opened: str = ""
    passed: str = ""
    checks: int = 0
    hints: int = 0


class Progress(msgspec.Struct, forbid_unknown_fields=True):  # the progress.json of another program is not ours
    """What `progress.json` holds. Exercises go by name, since their numbers may change."""

    last: str = ""
    exercises: dict[str, Mark] = {}


@dataclass(frozen=True)
class Opened:
    """A file to complete. `new`: it was made now; `kept`: where the file before it lies."""

    file: Path
    new: bool
    kept: Path | None = None


class LearnFolder:
    """A folder of exercises.

    `damaged` says, in a sentence, where an unreadable progress file went; `unsaved` that progress cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged = self.unsaved = ""
        self._progress = self._read()

    @classmethod
    def here(cls) -> LearnFolder:
        """`learn` in the current folder, unless that itself is one: it holds our progress and an exercise."""
        ours = Path(PROGRESS).is_file() and any(Path().glob("[1-5].*-*.py"))
        return cls(Path(".") if ours and not Path("learn").exists() else Path("learn"))

    @property
    def last(self) -> str:
        """The name of the exercise opened last, or nothing."""
        return self._progress.last if self._progress.last in path() else ""

    def mark(self, name: str) -> Mark:
        return self._progress.exercises.get(name) or Mark()

    def state(self, name: str) -> State:
        if self.mark(name).passed:
            return "passed"
        return "opened" if self._existing(name) else "untouched"

    def open(self, name: str, *, again: bool = False) -> Opened:
        """The reader's file of an exercise, made if it is not there; `again` puts the one that is there aside."""
        exercise = path()[name]
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._existing(name)
        kept = _put_aside(file) if file and again else None
        new = file is None or kept is not None
        if file is None or kept is not None:
            file = self.folder / _called(name, exercise)
            write_atomically(file, exercise.file.encode())
        mark = self._change(name)
        mark.file, mark.opened = file.name, mark.opened or _now()
        self._progress.last = name
        self._write()
        return Opened(file, new, kept)

    def file(self, name: str) -> Path:
        """The reader's file. Raises DescendError where it was never opened, or is gone."""
        if file := self._existing(name):
            return file
        number = path()[name].number
        if self.mark(name).file:
            raise DescendError(
                f"{self.folder / self.mark(name).file} is gone. Open it: descend learn {number}{self.flag()}"
            )
        raise DescendError(
            f"{number} is not open in {self.folder.absolute()}. Open it: descend learn {number}{self.flag()}. "
            "Or go to where your files are, or name their folder with --into."
        )

    def flag(self) -> str:
        """What a command needs to find this folder again."""
        return "" if self.folder in (Path("learn"), Path(".")) else f" --into {shlex.quote(str(self.folder))}"

    def checked(self, name: str, *, passed: bool) -> None:
        """Note a check; what was passed once stays passed."""
        mark = self._change(name)
        mark.checks += 1
        if passed:
            mark.passed = mark.passed or _now()
        self._progress.last = name
        self._try_to_write()

    def next_hint(self, name: str) -> tuple[int, bool]:
        """The rung of the next hint, from 1, and whether it is new: after the last one it stays there."""
        mark, count = self._change(name), len(path()[name].hints)
        new = mark.hints < count
        mark.hints = min(mark.hints + 1, count)
        self._try_to_write()
        return mark.hints, new

    def next(self) -> str:
        """The exercise to go on with: the one opened last until it is passed, then the first after it that is not."""
        names = list(path())
        at = names.index(self.last) if self.last else 0
        open_ones = [name for name in [*names[at:], *names[:at]] if self.state(name) != "passed"]
        return open_ones[0] if open_ones else ""

    def _existing(self, name: str) -> Path | None:
        noted = self.mark(name).file
        if noted and Path(noted).name == noted and (self.folder / noted).is_file():
            return self.folder / noted
        found = sorted(self.folder.glob(f"[1-5].*-{name}.py"))  # the progress file was lost
        return found[0] if found else None

    def _change(self, name: str) -> Mark:
        return self._progress.exercises.setdefault(name, Mark())

    def _read(self) -> Progress:
        file = self.folder / PROGRESS
        try:
            return msgspec.json.decode(file.read_bytes(), type=Progress)
        except FileNotFoundError:
            return Progress()
        except (msgspec.DecodeError, UnicodeDecodeError):
            kept = _put_aside(file)
            self.damaged = f"{file} is damaged. It is kept as {kept.name}, and progress is counted anew."
            return Progress()

    def _try_to_write(self) -> None:
        """What is to be said is worth more than its being counted."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write()
        except OSError as error:
            self.unsaved = f"{self.folder / PROGRESS} cannot be written ({error.strerror}), so this is not counted."

    def _write(self) -> None:
        content = msgspec.json.format(msgspec.json.encode(self._progress), indent=2)
        write_atomically(self.folder / PROGRESS, content + b"\n")


def _called(name: str, exercise: Exercise) -> str:
    return f"{exercise.number}-{name}.py"


def _put_aside(file: Path) -> Path:
    """Give a file the first free name beside it: 2.1-stable_lr.old-1.py."""
    number = 1
    while (aside := file.with_name(f"{file.stem}.old-{number}{file.suffix}")).exists():
        number += 1
    os.rename(file, aside)
    return aside


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
