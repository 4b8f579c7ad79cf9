"""A run in the formats of others: pandas, CSV, Parquet, TensorBoard. Each file is there whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from descend.errors import RunError, optional
from descend.run import CLOCKS

if TYPE_CHECKING:
    import pandas as pd

    from descend.run import Run

BLOCK: Final = 10_000  # rows that are Python objects at a time


@dataclass(frozen=True)
class _Column:
    """A series on the steps of the whole run; `missing` where it was not measured, which NaN is not."""

    values: Float[np.ndarray, " rows"]
    missing: Bool[np.ndarray, " rows"]


@dataclass(frozen=True)
class _Sheet:
    """A run as one table, a row a step. Where a step has several rows, its clocks are those of the last."""

    step: Int[np.ndarray, " rows"]
    examples: Int[np.ndarray, " rows"]
    seconds: Float[np.ndarray, " rows"]
    series: dict[str, _Column]


def frame(run: Run) -> pd.DataFrame:
    """All series, indexed by step; Float64 columns, which tell <NA> (not measured) from NaN (measured so)."""
    pandas = optional("pandas", "data", "A DataFrame")
    sheet = _sheet(run)
    masked = pandas.arrays.FloatingArray
    columns = {name: masked(column.values, column.missing) for name, column in sheet.series.items()}
    clocks = {"examples": sheet.examples, "seconds": sheet.seconds}
    table: pd.DataFrame = pandas.DataFrame(clocks | columns, index=pandas.Index(sheet.step, name="step"))
    return table


def to_csv(run: Run, path: str | Path, overwrite: bool = False) -> None:
    """A line a step, numbers so that reading gives the same float64; an empty cell where a series was not measured."""
    sheet = _sheet(run)
    with _new_file(Path(path), overwrite) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "examples", "seconds", *sheet.series])
        for start in range(0, len(sheet.step), BLOCK):
            part = slice(start, start + BLOCK)
            clocks = [clock[part].tolist() for clock in (sheet.step, sheet.examples, sheet.seconds)]
            series = [_cells(column.values[part], column.missing[part]) for column in sheet.series.values()]
            writer.writerows(zip(*clocks, *series, strict=True))


def to_parquet(run: Run, path: str | Path, overwrite: bool = False) -> None:
    """A row a step, null where a series was not measured; the metadata hold the run's head as TOML."""
    arrow = optional("pyarrow", "data", "Parquet")
    parquet = optional("pyarrow.parquet", "data", "Parquet")
    sheet = _sheet(run)
    columns = {"step": sheet.step, "examples": sheet.examples, "seconds": sheet.seconds}
    columns |= {name: arrow.array(column.values, mask=column.missing) for name, column in sheet.series.items()}
    table = arrow.table(columns, metadata={run.head.stem: run.head.read_text(encoding="utf-8")})
    with _new_file(Path(path), overwrite) as temporary:
        parquet.write_table(table, temporary)


def to_tensorboard(run: Run, folder: str | Path, overwrite: bool = False) -> None:
    """One event file in `folder`, called like the run, with one event a step; wall times count from the run's start."""
    records = optional("tensorboardX.record_writer", "tensorboard", "Export to TensorBoard")
    event = optional("tensorboardX.proto.event_pb2", "tensorboard", "Export to TensorBoard").Event
    sheet = _sheet(run)
    start = run.head.stat().st_mtime
    file = Path(folder) / f"events.out.tfevents.{start:.0f}.{run.name}"
    with _new_file(file, overwrite) as temporary, contextlib.closing(records.RecordWriter(str(temporary))) as writer:
        writer.write(event(wall_time=start, file_version="brain.Event:2").SerializeToString())
        for row, (step, seconds) in enumerate(zip(sheet.step.tolist(), sheet.seconds.tolist(), strict=True)):
            values = [
                {"tag": name, "simple_value": float(column.values[row])}
                for name, column in sheet.series.items()
                if not column.missing[row]
            ]
            writer.write(event(wall_time=start + seconds, step=step, summary={"value": values}).SerializeToString())


def _cells(values: Float[np.ndarray, " rows"], missing: Bool[np.ndarray, " rows"]) -> list[float | None]:
    cells = values.astype(object)
    cells[missing] = None
    listed: list[float | None] = cells.tolist()
    return listed


def _sheet(run: Run) -> _Sheet:
    standing = run._standing()
    steps = np.unique(np.concatenate([np.empty(0), *(rows[:, 0] for _, rows in standing)]))
    clocks = np.zeros((2, len(steps)))
    series = {
        name: _Column(np.full(len(steps), np.nan), np.full(len(steps), True))
        for table, _ in standing
        for name in table.series[len(CLOCKS) :]
    }
    for table, rows in standing:
        at = np.searchsorted(steps, rows[:, 0])
        clocks[:, at] = np.maximum(clocks[:, at], rows[:, 1:3].T)
        for column, name in enumerate(table.series[len(CLOCKS) :], start=len(CLOCKS)):
            series[name].values[at] = rows[:, column]
            series[name].missing[at] = False
    return _Sheet(steps.astype(np.int64), clocks[0].astype(np.int64), clocks[1], series)


@contextlib.contextmanager
def _new_file(file: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary file to write into, which becomes `file` when all is written, and vanishes otherwise."""
    if file.exists() and not overwrite:
        raise RunError(f"{file} is there already. Choose another name, or overwrite it with --force (overwrite=True).")
    temporary = file.with_name(f".{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, file)
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
