"""Run: the append-only record of one training run, which any process can follow while it grows.

A run is a folder:

    recipe.toml          what was trained (the Recipe); watched.toml where the training loop was somebody else's
    rows-000-00.f64      recorded steps: attempt 0, first set of series that were measured together
    notes.jsonl          what happened: started, resumed, rewound, ended, ...
    lock                 held by the one process that writes, and says who that is
    checkpoints/         to go on from (descend.train.checkpoint)

A rows file is one line of JSON ({"series": ["step", "examples", "seconds", "loss/batch", ...], "after": -1}, padded
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
import heapq
import html
import itertools
import json
import math
import os
import re
import struct
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, SupportsFloat

import numpy as np
import tomli_w
from numpy.typing import NDArray

from descend.catalog import Value
from descend.errors import RunError, did_you_mean
from descend.files import append, claim, naming, open_to_append, unwritten, write_atomically, writer_of
from descend.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

CLOCKS: Final = ("step", "examples", "seconds")
"""The three x-axes, first columns of every row: updates made, examples seen, seconds of training."""

RECIPE: Final = "recipe.toml"
WATCHED: Final = "watched.toml"
HEADS: Final = (RECIPE, WATCHED)
"""The file that makes a folder a run: what was trained, or what is known of a loop that was only watched."""

PLAN: Final = "sweep.json"  # of the folder of a sweep, beside its runs

NOTES: Final = "notes.jsonl"
TOLD: Final = 20  # series in a notebook's table
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,119}")

FEWEST: Final = 7  # points a curve can be thinned to: its ends, least, greatest, a NaN and both infinities

Floats = NDArray[np.float64]


class Series(NamedTuple):
    """One measurement over time: `y` at `x`, both float64 of the same length."""

    x: Floats
    y: Floats

    def between(self, low: float, high: float) -> Series:
        """The points with low <= x <= high."""
        part = slice(np.searchsorted(self.x, low, "left"), np.searchsorted(self.x, high, "right"))
        return Series(self.x[part], self.y[part])

    def downsample(self, points: int) -> Series:
        """At most `points` of the points, which look the same in a plot.

        The first and the last stay. Of every stretch between them stay the least and the greatest finite value,
        and the first NaN, +inf and -inf, so that neither a spike nor a failure is ever smoothed away.
        Raises RunError for fewer than 7 points.
        """
        if points < FEWEST:
            raise RunError(f"A curve cannot be thinned to {points} points, only to {FEWEST} or more.")
        if len(self.x) <= points:
            return self
        inner = self.y[1:-1]
        finite = np.isfinite(inner)
        strange = [kind for kind in (np.isnan(inner), inner == np.inf, inner == -np.inf) if kind.any()]
        ranks = [np.where(finite, inner, np.inf), np.where(finite, -inner, np.inf), *(~kind * 1.0 for kind in strange)]
        stretches = (points - 2) // len(ranks)
        picks = [1 + _least(rank, stretches) for rank in ranks]
        index = np.unique(np.concatenate([[0], *picks, [len(self.x) - 1]]))
        return Series(self.x[index], self.y[index])


def _least(values: Floats, stretches: int) -> NDArray[np.intp]:
    """Where the least value of each of at most `stretches` equal stretches stands (the first, of equal ones)."""
    width = -(-len(values) // stretches)
    rows = -(-len(values) // width)
    padded = np.full(rows * width, np.inf)
    padded[: len(values)] = values
    within: NDArray[np.intp] = padded.reshape(rows, width).argmin(axis=1)
    return within + np.arange(rows) * width


class Note(NamedTuple):
    """Something that happened: `kind` ("resumed", "non_finite", "ended", ...) at `step`, with details."""

    kind: str
    step: int
    details: dict[str, Any]


class Run:
    """One training run, read from its folder. Reading never waits for the writer, and sees what it has flushed.

        run = Run("runs/moons-mlp-adam-001")
        run.series("loss/train", x="seconds").downsample(2000)

    Raises RunError for a folder that is not a run, and names the file where one is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not any((self.folder / head).is_file() for head in HEADS):
            raise RunError(f"{self.folder} is not a run: it has no {RECIPE}. {self._nearby()}".rstrip())

    def __repr__(self) -> str:
        return f"<Run {self.folder}: {self.status}, {self.steps} steps>"

    def _repr_html_(self) -> str:
        """A table for notebooks: how it stands, and the newest value of its first series."""
        names = self.names()
        last = {name: f"{self.last(name):.6g}" for name in names[:TOLD]}
        more = {"": f"and {len(names) - TOLD} more series"} if len(names) > TOLD else {}
        facts = {"run": self.name, "status": self.status, "steps": str(self.steps)} | last | more
        rows = (f"<tr><th>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>" for key, value in facts.items())
        return f"<table>{''.join(rows)}</table>"

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def head(self) -> Path:
        """The TOML file that says what was trained, or what is known of a loop that was only watched."""
        return self.folder / (WATCHED if self.watched else RECIPE)

    @property
    def watched(self) -> bool:
        """Whether the training loop was the user's own, and `descend.watch` recorded it: such a run has no recipe."""
        return not (self.folder / RECIPE).is_file()

    @property
    def recipe(self) -> Recipe:
        """What was trained. Raises RunError for a watched run, of which only `settings` are known."""
        if self.watched:
            raise RunError(f"{self.folder} was recorded from a training loop of its own, so it has no recipe.")
        return Recipe.load(self.folder / RECIPE)

    @property
    def settings(self) -> dict[str, Value]:
        """What tells this run from others: the chosen fields of its recipe, or what is known of a watched loop."""
        if not self.watched:
            return self.recipe.chosen()
        try:
            return tomllib.loads(self.head.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{self.head} is damaged: {error}.") from None

    def names(self) -> tuple[str, ...]:
        """The series that have been recorded so far, in the order in which they first appeared."""
        return tuple(dict.fromkeys(name for table in self._tables() for name in table.series[len(CLOCKS) :]))

    def series(self, name: str, x: str = "step") -> Series:
        """The values of one series and when they were measured. `x` is one of CLOCKS.

        Steps repeated after a resume or a rewind stand once: the last attempt counts.
        """
        if x not in CLOCKS:
            raise RunError(f"'{x}' is not a clock. {did_you_mean(x, CLOCKS)}")
        return _joined(self._standing_with(name), name, x)

    def all_series(self) -> dict[str, Callable[[], Series]]:
        """All series by step, as they are now, each read when it is called for: the files are looked at once."""
        standing = self._standing()
        names = dict.fromkeys(name for table, _ in standing for name in table.series[len(CLOCKS) :])
        return {name: partial(_joined, _with(name, standing), name, "step") for name in names}

    def last(self, name: str) -> float:
        """The newest value of a series; NaN where it has no rows yet."""
        ends = [
            (rows[-1, 0], table.attempt, table.number, rows[-1, table.series.index(name)])
            for table, rows in self._standing_with(name)
            if len(rows)
        ]
        return float(max(ends)[-1]) if ends else math.nan

    def notes(self, kind: str | None = None) -> list[Note]:
        """What happened, in order; only of one kind if asked."""
        file = self.folder / NOTES
        try:
            lines = file.read_bytes().split(b"\n")[:-1]  # a torn last line is not a note
        except FileNotFoundError:
            return []
        notes = [_note(file, number, line) for number, line in enumerate(lines, start=1)]
        return [note for note in notes if kind in (None, note.kind)]

    @property
    def steps(self) -> int:
        """The number of updates recorded, not counting those that were undone."""
        return max((int(rows[-1, 0]) for _, rows in self._standing() if len(rows)), default=0)

    @property
    def seconds(self) -> float:
        """Seconds of training up to the last recorded step; evaluations and checkpoints do not count."""
        return max((float(rows[-1, 2]) for _, rows in self._standing() if len(rows)), default=0.0)

    @property
    def status(self) -> str:
        """How it ended ("finished", "early stopped", "non-finite", ...); else "running", or "killed" if nobody does."""
        writer = writer_of(self.folder)  # before the notes: what it wrote until it let go is then among them
        turns = [note for note in self.notes() if note.kind in ("resumed", "ended")]
        if turns and turns[-1].kind == "ended":
            return str(turns[-1].details.get("why", "ended"))
        return "killed" if writer is None else "running"

    def follow(self, poll: float = 0.1) -> Iterator[dict[str, float]]:
        """Every row as a mapping, old ones first, then new ones as they are written; ends when the run has ended.

        Looks every `poll` seconds. The rows found by one look come in the order of attempts and of their steps;
        after a rewind the steps go back.
        """
        seen: dict[Path, int] = {}
        while True:
            ended = self.status != "running"  # asked before reading, so that no last row is missed
            for _, attempt in itertools.groupby(self._tables(), key=lambda table: table.attempt):
                yield from heapq.merge(*(_unseen(table, seen) for table in attempt), key=itemgetter("step"))
            if ended:
                return
            time.sleep(poll)

    def frame(self) -> pd.DataFrame:
        """All series as a DataFrame, a row a step; a cell is <NA> where a series was not measured."""
        from descend._export import frame

        return frame(self)

    def to_csv(self, path: str | Path, overwrite: bool = False) -> None:
        """One line a step; a cell is empty where a series was not measured, `nan` where NaN was."""
        from descend._export import to_csv

        to_csv(self, path, overwrite)

    def to_parquet(self, path: str | Path, overwrite: bool = False) -> None:
        """One row a step; a cell is null where a series was not measured. The recipe is in the metadata."""
        from descend._export import to_parquet

        to_parquet(self, path, overwrite)

    def to_tensorboard(self, folder: str | Path, overwrite: bool = False) -> None:
        """One event file, for `tensorboard --logdir`: float32 scalars by step, as that format has it."""
        from descend._export import to_tensorboard

        to_tensorboard(self, folder, overwrite)

    def _tables(self) -> list[_Table]:
        tables = (_Table.open(file) for file in self.folder.glob("rows-*.f64"))
        return sorted(tables, key=lambda table: (table.attempt, table.number))

    def _standing(self) -> list[tuple[_Table, Floats]]:
        """Every table with those of its rows that no later attempt has gone over again."""
        tables = self._tables()
        begun = [(table.attempt, float(table.after)) for table in tables if table.count]
        limits = (min((after for later, after in begun if later > table.attempt), default=math.inf) for table in tables)
        return [(table, _up_to(limit, table.rows())) for table, limit in zip(tables, limits, strict=True)]

    def _standing_with(self, name: str) -> list[tuple[_Table, Floats]]:
        """The tables that hold a series. Raises RunError where there is none."""
        found = _with(name, self._standing())
        if not found:
            raise RunError(f"Run {self.name} has no series '{name}'. {did_you_mean(name, self.names())}")
        return found

    def _nearby(self) -> str:
        """What the user may have meant: a run inside this folder, or one beside it."""
        inside, beside = ([run.name for run in list_runs(place)] for place in (self.folder, self.folder.parent))
        if inside:
            return f"It holds runs; name one of them: {', '.join(inside[:10])}."
        return did_you_mean(self.folder.name, beside) if beside else ""


class Recorder:
    """The one writer of a run. Refuses a folder that another process is writing.

    `log` appends a row, `note` says what happened. Use it as a context manager: leaving it closes the files.
    In a folder that holds rows it goes on after the last step, unless `restart` says otherwise.

    Raises RunBusyError where somebody else writes, and RunError where the folder holds the run of another recipe or
    cannot be written. A row or a note that does not fit on the disk is taken back whole: what was recorded before
    stays readable, and `log` may be called again.
    """

    def __init__(self, folder: str | Path, about: Recipe | Mapping[str, Value], durable: bool = True) -> None:
        """`about` is the recipe, or the settings of a loop that is watched.

        One of many recorders that is not `durable` leaves it to its owner to bring all files to the disk (os.sync).
        """
        self.folder = Path(folder)
        self._durable = durable
        self._writers: dict[tuple[str, ...], _Writer] = {}
        self._attempt, self._after = 0, -1
        with naming(self.folder), contextlib.ExitStack() as undo:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = claim(self.folder)
            undo.callback(os.close, self._lock)
            for stale in self.folder.glob(".*.tmp"):
                stale.unlink()
            self._keep(about)
            if any(self.folder.glob("rows-*.f64")):
                self.restart(after=Run(self.folder).steps)
            self._notes = open_to_append(self.folder / NOTES)
            undo.pop_all()
        self._open = True

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def log(self, step: int, examples: int, seconds: SupportsFloat, values: Mapping[str, SupportsFloat]) -> None:
        """Append one row: what was measured at this step. One write to the operating system, at once.

        Within an attempt, rows with the same names come in the order of their steps, each step once.
        """
        names = tuple(values)
        writer = self._writers.get(names) or self._new_writer(names)
        if step <= writer.last:
            raise RunError(f"Step {step} comes after step {writer.last} in {writer.file}: use `restart` to go back.")
        try:
            append(writer.descriptor, writer.pack(step, examples, seconds, *values.values()))
        except OSError as error:
            raise unwritten(writer.file, error) from error
        except struct.error:
            wrong = ", ".join(f"{name} = {value!r}" for name, value in values.items() if not _fits(value))
            raise RunError(f"A row holds numbers, but the one of step {step} was given {wrong}.") from None
        writer.last = step

    def log_many(self, steps: Floats, examples: Floats, seconds: Floats, values: Mapping[str, Floats]) -> None:
        """Append many rows that measured the same, in one write: every argument has one number a row."""
        if not len(steps):
            return
        names = tuple(values)
        writer = self._writers.get(names) or self._new_writer(names)
        if steps[0] <= writer.last:
            raise RunError(f"Step {steps[0]:.0f} comes after step {writer.last} in {writer.file}.")
        rows = np.column_stack([steps, examples, seconds, *values.values()]).astype("<f8")
        try:
            append(writer.descriptor, rows.tobytes())
        except OSError as error:
            raise unwritten(writer.file, error) from error
        writer.last = int(steps[-1])

    def restart(self, after: int) -> None:
        """Begin a new attempt that goes on after step `after`; rows beyond it become history with its first row."""
        for writer in self._writers.values():
            os.close(writer.descriptor)
        self._writers.clear()
        earlier = [table.attempt for table in Run(self.folder)._tables()]
        self._attempt, self._after = max(earlier, default=-1) + 1, after

    def note(self, kind: str, step: int, **details: Any) -> None:
        """Append what happened. The last note of a run is "ended", with `why`.

        It is kept through a power cut; of facts, which come often, that is so from the next note of another kind on.
        """
        self._require_open()
        line = json.dumps({"kind": kind, "step": step} | details, default=_plain)
        with naming(self.folder / NOTES):
            append(self._notes, f"{line}\n".encode())
            if kind != "facts" and self._durable:
                os.fsync(self._notes)  # 5 ms

    def close(self) -> None:
        """Bring the rows to the disk and give the run back, so that another process may go on with it."""
        if not self._open:
            return
        self._open = False
        descriptors = [*(writer.descriptor for writer in self._writers.values()), self._notes]
        self._writers.clear()
        with naming(self.folder), contextlib.ExitStack() as closing:
            for descriptor in (self._lock, *descriptors):
                closing.callback(os.close, descriptor)  # the lock last
            for descriptor in descriptors if self._durable else ():
                os.fsync(descriptor)

    @property
    def is_open(self) -> bool:
        """Whether it can still be written to."""
        return self._open

    def _keep(self, about: Recipe | Mapping[str, Value]) -> None:
        head = self.folder / (RECIPE if isinstance(about, Recipe) else WATCHED)
        if not any((self.folder / known).exists() for known in HEADS):
            text = about.to_toml() if isinstance(about, Recipe) else tomli_w.dumps(about)
            write_atomically(head, text.encode(), self._durable)
        run = Run(self.folder)
        if (run.settings if run.watched else run.recipe) != about:
            raise RunError(f"{self.folder} holds the run of another recipe ({head}). Choose another folder.")

    def _new_writer(self, names: tuple[str, ...]) -> _Writer:
        self._require_open()
        if taken := set(CLOCKS) & set(names):
            raise RunError(
                f"A series cannot be called {' or '.join(sorted(taken))}: every row has that column already."
            )
        series = (*CLOCKS, *names)
        file = self.folder / f"rows-{self._attempt:03d}-{len(self._writers):02d}.f64"
        head = json.dumps({"series": series, "after": self._after}).encode()
        with naming(file):
            write_atomically(file, head + b" " * (-(len(head) + 1) % 8) + b"\n", self._durable)
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._writers[names] = _Writer(file, descriptor, struct.Struct(f"<{len(series)}d").pack)
        return self._writers[names]

    def _require_open(self) -> None:
        if not self._open:
            raise RunError(f"The record of {self.folder} has been closed.")


@dataclass
class _Writer:
    """An open rows file of this attempt."""

    file: Path
    descriptor: int
    pack: Callable[..., bytes]
    last: int = -1  # the step of its last row


@dataclass(frozen=True)
class _Table:
    """A rows file: fixed columns, one row after the other."""

    file: Path
    attempt: int
    number: int
    start: int  # of the first row, in bytes
    series: tuple[str, ...]
    after: int  # the attempt goes on after this step

    @classmethod
    def open(cls, file: Path) -> _Table:
        with file.open("rb") as handle:
            line = handle.readline()
        try:
            _, attempt, number = file.stem.split("-")
            head = json.loads(line)
            table = cls(file, int(attempt), int(number), len(line), tuple(head["series"]), int(head["after"]))
        except (ValueError, KeyError, TypeError):
            raise _damaged(file) from None
        if table.series[: len(CLOCKS)] != CLOCKS or not line.endswith(b"\n"):
            raise _damaged(file)
        return table

    @property
    def count(self) -> int:
        """The number of whole rows now."""
        return (self.file.stat().st_size - self.start) // (8 * len(self.series))

    def rows(self) -> Floats:
        """The whole rows, mapped into memory, not read: [rows, columns]."""
        shape = (self.count, len(self.series))
        if shape[0] == 0:
            return np.empty(shape)
        return np.asarray(np.memmap(self.file, dtype="<f8", mode="r", offset=self.start, shape=shape))


def _with(name: str, standing: list[tuple[_Table, Floats]]) -> list[tuple[_Table, Floats]]:
    return [(table, rows) for table, rows in standing if name in table.series]


def _joined(standing: list[tuple[_Table, Floats]], name: str, x: str) -> Series:
    """One series out of the tables that hold it; of a step that stands in several, the last attempt counts."""
    columns = [rows[:, [0, CLOCKS.index(x), table.series.index(name)]] for table, rows in standing]
    found = np.concatenate(columns)
    if len(columns) > 1:
        found = found[_last_of_each(found[:, 0])]
    return Series(found[:, 1].copy(), found[:, 2].copy())


def _damaged(file: Path) -> RunError:
    return RunError(
        f"{file} is damaged: its first line does not name its series. Without that file the rest is readable."
    )


def _up_to(limit: float, rows: Floats) -> Floats:
    return rows[: int(np.searchsorted(rows[:, 0], limit, side="right"))]


def _last_of_each(steps: Floats) -> NDArray[np.intp]:
    """Where each step stands, in order; of rows with the same step, the last one."""
    order: NDArray[np.intp] = np.argsort(steps, kind="stable")
    last: NDArray[np.intp] = order[np.diff(steps[order], append=np.inf) > 0]
    return last


def _unseen(table: _Table, seen: dict[Path, int]) -> Iterator[dict[str, float]]:
    """The rows beyond those seen, which are then seen; a thousand at a time become Python's numbers."""
    rows = table.rows()[seen.get(table.file, 0) :]
    seen[table.file] = seen.get(table.file, 0) + len(rows)
    for start in range(0, len(rows), 1000):
        for row in rows[start : start + 1000].tolist():
            yield dict(zip(table.series, row, strict=True))


def run_folder(runs: str | Path, name: str) -> Path:
    """The folder of a run called `name`, always a direct child of `runs`. Raises RunError for any other name."""
    if not _NAME.fullmatch(name):
        raise RunError(
            f"{name!r} cannot name a run: use letters, digits and . _ + = - (at most 120, a letter or digit first)."
        )
    folder = Path(runs) / name
    if folder.is_symlink():
        raise RunError(f"{folder} is a link, and a run is a folder of its own. Choose another name.")
    return folder


def new_folder(runs: str | Path, stem: str) -> Path:
    """Create and return the first free folder stem-001, stem-002, ... in `runs`."""
    number = 1
    while True:
        folder = run_folder(runs, f"{stem}-{number:03d}")
        with naming(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
        number += 1


def list_runs(runs: str | Path) -> list[Run]:
    """All runs in a folder, oldest first; those of a sweep by their numbers."""
    heads = [head for name in HEADS for head in Path(runs).glob(f"*/{name}")]
    swept = (Path(runs) / PLAN).is_file()
    return [Run(head.parent) for head in sorted(heads, key=lambda head: (0 if swept else head.stat().st_mtime, head))]


def _fits(value: object) -> bool:
    """Whether a value can stand in a row."""
    try:
        struct.pack("<d", value)
    except struct.error:
        return False
    return True


def _note(file: Path, number: int, line: bytes) -> Note:
    try:
        fields = json.loads(line)
        return Note(fields.pop("kind"), fields.pop("step"), fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{file} is damaged: line {number} is not a note. Remove that line to read the rest.") from None


def _plain(value: Any) -> object:
    """The number inside a scalar of NumPy or torch; json refuses everything else."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a note holds plain values, not {type(value).__name__}")
