"""Run: the append-only record of one training run, which any process can follow while it grows.

A run is a folder:

    recipe.toml          what was trained (the Recipe)
    rows-000-00.f64      recorded steps: attempt 0, first set of series that were measured together
    notes.jsonl          what happened: limits, resumed, rewound, ended
    lock, writer.json    held by the one process that writes, and who that is
    checkpoints/         to go on from (descend.train.checkpoint)

A rows file is one line of JSON ({"series": ["step", "examples", "seconds", "loss/batch", ...], "after": 0}, padded
with blanks to a multiple of 8 bytes) and then little-endian float64 numbers, one row after the other. Each row goes
to the operating system in one write before the next step begins, so a process that is killed loses at most the row
it was writing, and readers map the file into memory and see only whole rows. A number that is NaN or infinite
stands in the file as such; "not measured at this step" is the absence of a row, never a number.

Nothing is ever rewritten. A run that is resumed, or that goes back some steps, begins a new attempt: new rows files
whose head says after which step they continue. Rows of earlier attempts beyond that step are history, and
`Run.series` passes over them.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from descend.errors import RunBusyError, RunError, did_you_mean
from descend.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

CLOCKS: Final = ("step", "examples", "seconds")
"""The three x-axes, first columns of every row: updates made, examples seen, seconds of training."""

Floats = NDArray[np.float64]


class Series(NamedTuple):
    """One measurement over time: `y` at `x`, both float64 of the same length."""

    x: Floats
    y: Floats

    def downsample(self, points: int) -> Series:
        """At most `points` points that look the same in a plot: the least and greatest value of every stretch.

        Non-finite values count as extremes, so that a NaN or a spike is never smoothed away.
        """
        if len(self.x) <= points:
            return self
        stretches = max(points // 2, 1)
        starts = np.arange(stretches) * len(self.x) // stretches
        # -inf and +inf stand in for NaN, so that argmin and argmax pick it
        rank = np.where(np.isnan(self.y), np.inf, self.y)
        ends = np.append(starts[1:], len(self.x))
        picks = [
            start + pick
            for start, end in zip(starts, ends, strict=True)
            for pick in sorted((int(rank[start:end].argmin()), int(rank[start:end].argmax())))
        ]
        index = np.unique(picks)
        return Series(self.x[index], self.y[index])


class Note(NamedTuple):
    """Something that happened: `kind` ("stopped", "diverged", ...) at `step`, with details."""

    kind: str
    step: int
    details: dict[str, Any]


class Run:
    """One training run, read from its folder. Reading never waits for the writer, and sees what it has flushed.

    run = Run("runs/moons-mlp-adam-001")
    run.series("loss/train", x="seconds").downsample(2000)
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "recipe.toml").is_file():
            siblings = [path.parent.name for path in self.folder.parent.glob("*/recipe.toml")]
            hint = f" {did_you_mean(self.folder.name, siblings)}" if siblings else ""
            raise RunError(f"{self.folder} is not a run: it has no recipe.toml.{hint}")

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def recipe(self) -> Recipe:
        return Recipe.load(self.folder / "recipe.toml")

    def names(self) -> tuple[str, ...]:
        """The series that have been recorded so far, in the order in which they first appeared."""
        return tuple(dict.fromkeys(name for table in self._tables() for name in table.series[len(CLOCKS) :]))

    def series(self, name: str, x: str = "step") -> Series:
        """The values of one series and when they were measured. `x` is one of CLOCKS.

        Steps repeated after a resume or a rewind stand once: the last attempt counts.
        """
        if x not in CLOCKS:
            raise RunError(f"'{x}' is not a clock. {did_you_mean(x, CLOCKS)}")
        every = self._tables()
        tables = [table for table in every if name in table.series]
        if not tables:
            raise RunError(f"Run {self.name} has no series '{name}'. {did_you_mean(name, self.names())}")
        columns = [
            np.stack([rows[:, table.series.index(column)] for column in ("step", x, name)])
            for table in tables
            for rows in [_standing(table, every)]
        ]
        step, clock, value = np.concatenate(columns, axis=1)
        if len(tables) > 1:
            order = np.argsort(step, kind="stable")
            clock, value = clock[order], value[order]
        return Series(clock, value)

    def last(self, name: str) -> float:
        """The newest value of a series; NaN where it has no rows yet."""
        values = self.series(name).y
        return float(values[-1]) if len(values) else math.nan

    def notes(self, kind: str | None = None) -> list[Note]:
        """What happened, in order; only of one kind if asked."""
        try:
            lines = (self.folder / "notes.jsonl").read_bytes().split(b"\n")[:-1]  # a torn last line is not a note
        except FileNotFoundError:
            return []
        notes = [_note(line) for line in lines]
        return [note for note in notes if kind in (None, note.kind)]

    @property
    def steps(self) -> int:
        """The number of updates recorded."""
        return max((int(rows[-1, 0]) for table in self._tables() if len(rows := table.rows())), default=0)

    @property
    def status(self) -> str:
        """ "running", "finished", "diverged", "interrupted" ... : how it ended, or "killed" if nobody wrote that."""
        turns = [note for note in self.notes() if note.kind in ("resumed", "ended")]
        if turns and turns[-1].kind == "ended":
            return str(turns[-1].details["why"])
        return "running" if writer_of(self.folder) else "killed"

    def follow(self, poll: float = 0.1) -> Iterator[dict[str, float]]:
        """Every row as a mapping, old ones first, then new ones as they are written; ends when the run has ended.

        Rows of one poll come in the order of their steps; after a rewind the steps go back.
        """
        seen: dict[Path, int] = {}
        while True:
            ended = self.status != "running"  # asked before reading, so that no last row is missed
            fresh: list[dict[str, float]] = []
            for table in self._tables():
                rows = table.rows()
                new = rows[seen.get(table.file, 0) :]
                seen[table.file] = len(rows)
                fresh.extend(dict(zip(table.series, row, strict=True)) for row in new.tolist())
            yield from sorted(fresh, key=lambda row: row["step"])
            if ended:
                return
            time.sleep(poll)

    def frame(self) -> pd.DataFrame:
        """All series as a DataFrame, indexed by step; a cell is empty where a series was not measured."""
        from descend._export import frame

        return frame(self)

    def _tables(self) -> list[_Table]:
        return [_Table.open(file) for file in sorted(self.folder.glob("rows-*.f64"))]


class Recorder:
    """The one writer of a run. Refuses a folder that another process is writing.

    `log` appends a row, `note` says what happened. Use it as a context manager: leaving it closes the files.
    """

    def __init__(self, folder: str | Path, recipe: Recipe) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = claim(self.folder)
        head = self.folder / "recipe.toml"
        if not head.exists():
            replace(head, recipe.to_toml().encode())
        self._tables: dict[tuple[str, ...], int] = {}
        self._notes = _append_to(self.folder / "notes.jsonl")
        self._attempt, self._after = 0, 0
        tables = Run(self.folder)._tables()
        if tables:
            self.restart(after=int(max(table.after for table in tables)))

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def log(self, step: int, examples: int, seconds: float, values: Mapping[str, float]) -> None:
        """Append one row: what was measured at this step. One write to the operating system, at once."""
        names = tuple(values)
        descriptor = self._tables.get((*CLOCKS, *names))
        if descriptor is None:
            descriptor = self._new_table((*CLOCKS, *names))
        _write(descriptor, np.array([step, examples, seconds, *values.values()], dtype="<f8").tobytes())

    def restart(self, after: int) -> None:
        """Begin a new attempt that goes on after step `after`; rows beyond it become history."""
        for descriptor in self._tables.values():
            os.close(descriptor)
        self._tables.clear()
        earlier = (int(file.name.split("-")[1]) for file in self.folder.glob("rows-*.f64"))
        self._attempt, self._after = max(earlier, default=-1) + 1, after

    def note(self, kind: str, step: int, **details: Any) -> None:
        """Append what happened; kept through a power cut."""
        line = json.dumps({"kind": kind, "step": step} | details, default=_plain)
        _write(self._notes, f"{line}\n".encode())
        os.fsync(self._notes)

    def close(self) -> None:
        """Give the run back, so that another process may go on with it."""
        for descriptor in (*self._tables.values(), self._notes):
            os.close(descriptor)
        self._tables.clear()
        (self.folder / WRITER).unlink(missing_ok=True)
        self._lock.release()

    def _new_table(self, series: tuple[str, ...]) -> int:
        file = self.folder / f"rows-{self._attempt:03d}-{len(self._tables):02d}.f64"
        head = json.dumps({"series": series, "after": self._after}).encode()
        replace(file, head + b" " * (-(len(head) + 1) % 8) + b"\n")
        self._tables[series] = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return self._tables[series]


@dataclass(frozen=True)
class _Table:
    """A rows file: fixed columns, one row after the other."""

    file: Path
    start: int  # of the first row, in bytes
    series: tuple[str, ...]
    after: int  # the attempt goes on after this step

    @classmethod
    def open(cls, file: Path) -> _Table:
        with file.open("rb") as handle:
            line = handle.readline()
        try:
            head = json.loads(line)
            return cls(file, len(line), tuple(head["series"]), int(head["after"]))
        except (ValueError, KeyError, TypeError):
            raise RunError(f"{file} is damaged: its first line does not name its series.") from None

    @property
    def attempt(self) -> int:
        return int(self.file.name.split("-")[1])

    def rows(self) -> Floats:
        """The whole rows, mapped into memory, not read: [rows, columns]."""
        count = (self.file.stat().st_size - self.start) // (8 * len(self.series))
        if count == 0:
            return np.empty((0, len(self.series)))
        return np.memmap(self.file, dtype="<f8", mode="r", offset=self.start, shape=(count, len(self.series)))


def _standing(table: _Table, every: Sequence[_Table]) -> Floats:
    """The rows of a table that no later attempt has gone over again."""
    rows = table.rows()
    limit = min((later.after for later in every if later.attempt > table.attempt), default=math.inf)
    return rows if limit == math.inf else rows[: int(np.searchsorted(rows[:, 0], limit, side="right"))]


# --- names, locks and durable files -------------------------------------------------------------------

WRITER: Final = "writer.json"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,119}")


def run_folder(runs: str | Path, name: str) -> Path:
    """The folder of a run called `name`, always a direct child of `runs`. Raises RunError for any other name."""
    folder = Path(runs) / name
    if not _NAME.fullmatch(name) or folder.is_symlink():
        raise RunError(
            f"{name!r} cannot name a run: use letters, digits and . _ + = - (at most 120, a letter or digit first)."
        )
    return folder


def new_folder(runs: str | Path, stem: str) -> Path:
    """Create and return the first free folder stem-001, stem-002, ... in `runs`."""
    number = 1
    while True:
        folder = run_folder(runs, f"{stem}-{number:03d}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
        number += 1


def list_runs(runs: str | Path) -> list[Run]:
    """All runs in a folder, oldest first."""
    heads = Path(runs).glob("*/recipe.toml")
    return [Run(head.parent) for head in sorted(heads, key=lambda head: (head.stat().st_mtime, head))]


def claim(folder: Path) -> FileLock:
    """Become the one writer of a run folder. Raises RunBusyError naming the process that is."""
    lock = FileLock(folder / "lock", thread_local=False)
    try:
        lock.acquire(timeout=0.5, poll_interval=0.02)  # a reader that asks `writer_of` holds it for a moment
    except Timeout:
        writer = writer_of(folder) or {}
        who = f"process {writer['pid']} on {writer['host']} since {writer['since']}" if writer else "another process"
        raise RunBusyError(f"Run {folder} is being written by {who}. Wait until it ends, or stop it.") from None
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    replace(folder / WRITER, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode())
    return lock


def writer_of(folder: Path) -> dict[str, Any] | None:
    """Who is writing a run now: {"pid", "host", "since"}, or None."""
    if not (folder / "lock").exists():
        return None
    probe = FileLock(folder / "lock", timeout=0, thread_local=False)
    try:
        probe.acquire()
    except Timeout:
        with contextlib.suppress(OSError, ValueError):
            writer: dict[str, Any] = json.loads((folder / WRITER).read_bytes())
            return writer
        return {"pid": "?", "host": "?", "since": "?"}
    probe.release()
    return None


def replace(file: Path, content: bytes) -> None:
    """Write a file atomically and durably: readers see the old content or the new, also after a power cut."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make names created, replaced or removed in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    while data:  # a nearly full disk may take part of it
        data = data[os.write(descriptor, data) :]


def _append_to(file: Path) -> int:
    """A descriptor to append lines with; a line torn by a kill is cut off."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    os.ftruncate(descriptor, file.read_bytes().rfind(b"\n") + 1)
    return descriptor


def _note(line: bytes) -> Note:
    fields = json.loads(line)
    return Note(fields.pop("kind"), fields.pop("step"), fields)


def _plain(value: object) -> object:
    raise TypeError(f"a note holds plain values, not {type(value).__name__}")
