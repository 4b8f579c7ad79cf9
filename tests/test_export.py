"""What other tools read from an exported run is what the run recorded, to the last bit their format holds."""

from __future__ import annotations

import importlib
import math
import os
import struct
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboardX.proto import event_pb2

from descend.errors import MissingExtraError, RunError
from descend.recipe import Recipe
from descend.run import Recorder, Run

RECIPE = Recipe(data="moons")
ODD = [0.1, math.nan, math.inf, -math.inf, -0.0, 1e-310, 1 / 3, 2.0**53 + 2]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Eight steps of a loss with odd values, a validation every third, both at other clocks; step 5 was made twice."""
    with Recorder(tmp_path / "runs" / "moons-001", RECIPE) as recorder:
        for step in (1, 2, 3, 4, 5):
            recorder.log(step, 10 * step, step / 3, {"loss/batch": 1000.0 + step, "lr, base": 0.1})
        recorder.restart(after=0)
        for step, value in enumerate(ODD, start=1):
            recorder.log(step, 32 * step, step / 3, {"loss/batch": value, "lr, base": 0.1})
            if step % 3 == 0:
                recorder.log(step, 32 * step, step / 3 + 0.1, {"loss/validation": -value})
    return Run(tmp_path / "runs" / "moons-001")


EXPORTS: list[Callable[[Run, Path, bool], None]] = [
    lambda run, place, overwrite: run.to_csv(place / "run.csv", overwrite),
    lambda run, place, overwrite: run.to_parquet(place / "run.parquet", overwrite),
    lambda run, place, overwrite: run.to_tensorboard(place, overwrite),
]


def bits(values: Any) -> list[bytes]:
    return [struct.pack("<d", value) for value in values]


def test_a_frame_has_a_row_a_step_and_tells_not_measured_from_nan(run: Run) -> None:
    frame = run.frame()
    assert frame.index.name == "step"
    assert frame.index.tolist() == list(range(1, 9))
    assert frame.columns.tolist() == ["examples", "seconds", "loss/batch", "lr, base", "loss/validation"]
    assert frame["examples"].tolist() == [32 * step for step in range(1, 9)]
    assert frame["seconds"].tolist() == [step / 3 + (0.1 if step % 3 == 0 else 0) for step in range(1, 9)]
    assert bits(frame["loss/batch"].to_numpy(float)) == bits(ODD)
    assert not frame["loss/batch"].isna()[1], "NaN was measured"
    assert frame["loss/validation"].isna().tolist() == [step % 3 != 0 for step in range(1, 9)]
    assert frame["loss/validation"].dropna().tolist() == [-ODD[2], -ODD[5]]


def test_a_csv_is_read_back_to_the_last_bit(run: Run, tmp_path: Path) -> None:
    run.to_csv(tmp_path / "run.csv")
    lines = (tmp_path / "run.csv").read_text().splitlines()
    assert lines[0] == 'step,examples,seconds,loss/batch,"lr, base",loss/validation'
    assert lines[1] == f"1,32,{1 / 3!r},0.1,0.1,"
    assert lines[3] == f"3,96,{1.1},inf,0.1,-inf"
    table = pd.read_csv(tmp_path / "run.csv", dtype=str, keep_default_na=False, na_values=[""])
    assert bits(map(float, table["loss/batch"])) == bits(ODD)
    assert table["loss/validation"].isna().tolist() == [step % 3 != 0 for step in range(1, 9)]


def test_a_parquet_file_is_read_back_to_the_last_bit_with_the_recipe(run: Run, tmp_path: Path) -> None:
    run.to_parquet(tmp_path / "run.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "run.parquet")
    assert table.column_names == ["step", "examples", "seconds", "loss/batch", "lr, base", "loss/validation"]
    assert table["step"].to_pylist() == list(range(1, 9))
    assert bits(table["loss/batch"].to_pylist()) == bits(ODD)
    assert table["loss/batch"].null_count == 0
    assert [value is None for value in table["loss/validation"].to_pylist()] == [step % 3 != 0 for step in range(1, 9)]
    assert Recipe.from_toml(table.schema.metadata[b"recipe"].decode()) == RECIPE


def test_a_watched_run_is_exported_like_any_with_what_is_known_of_it(tmp_path: Path) -> None:
    settings = {"model": "Net", "lr": 0.1}
    with Recorder(tmp_path / "watched", settings) as recorder:
        recorder.log(1, 32, 0.5, {"loss/batch": 0.25})
    for export in EXPORTS:
        export(Run(tmp_path / "watched"), tmp_path / "out", False)
    assert (tmp_path / "out" / "run.csv").read_text().splitlines()[1] == "1,32,0.5,0.25"
    metadata = pyarrow.parquet.read_table(tmp_path / "out" / "run.parquet").schema.metadata
    assert tomllib.loads(metadata[b"watched"].decode()) == settings
    assert len(list((tmp_path / "out").glob("events.*.watched"))) == 1


def test_tensorboard_reads_the_same_numbers_as_float32(run: Run, tmp_path: Path) -> None:
    run.to_tensorboard(tmp_path / "board")
    (file,) = (tmp_path / "board").iterdir()
    assert "tfevents" in file.name
    first, *events = records(file)
    assert first.file_version == "brain.Event:2"
    start = os.stat(run.folder / "recipe.toml").st_mtime
    read: dict[str, list[tuple[int, float, float]]] = {}
    for event in events:
        for value in event.summary.value:
            read.setdefault(value.tag, []).append((event.step, event.wall_time - start, value.simple_value))
    assert set(read) == set(run.names())
    assert [step for step, _, _ in read["loss/batch"]] == list(range(1, 9))
    assert bits(value for _, _, value in read["loss/batch"]) == bits(np.array(ODD, dtype=np.float32))
    assert [step for step, _, _ in read["loss/validation"]] == [3, 6]
    # an event's wall time is a float64 of seconds since 1970, which resolves 2.4e-7 s
    assert [since for _, since, _ in read["lr, base"]] == pytest.approx(run.frame()["seconds"].tolist(), abs=5e-7)


def records(file: Path) -> list[event_pb2.Event]:
    """The events of a TFRecord file: length, its checksum, that many bytes, their checksum."""
    data, events = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        events.append(event_pb2.Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return events


rows = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([("a",), ("b", "c"), ("c", "a")]), st.floats()), max_size=30
)


@given(rows=rows)
@settings(max_examples=25, deadline=None)
def test_every_form_holds_what_series_says(
    rows: list[tuple[int, tuple[str, ...], float]], tmp_path_factory: Any
) -> None:
    place = tmp_path_factory.mktemp("run")
    step = 0
    with Recorder(place / "run", RECIPE) as recorder:
        for ahead, names, value in rows:
            step += ahead
            recorder.log(step, step, float(step), dict.fromkeys(names, value))
    run = Run(place / "run")
    frame = run.frame()
    run.to_parquet(place / "run.parquet")
    table = pyarrow.parquet.read_table(place / "run.parquet")
    for name in run.names():
        series = run.series(name)
        measured = ~frame[name].isna()
        assert frame.index[measured].tolist() == series.x.tolist()
        np.testing.assert_array_equal(frame[name][measured].to_numpy(float), series.y)
        written = table.select(["step", name]).filter(table[name].is_valid())
        assert written["step"].to_pylist() == series.x.tolist()
        np.testing.assert_array_equal(written[name].to_numpy(), series.y)


@pytest.mark.parametrize("export", EXPORTS)
def test_a_run_without_rows_is_exported_as_an_empty_table(tmp_path: Path, export: Callable[..., None]) -> None:
    with Recorder(tmp_path / "empty", RECIPE):
        export(Run(tmp_path / "empty"), tmp_path, False)
    assert len(Run(tmp_path / "empty").frame()) == 0


@pytest.mark.parametrize("export", EXPORTS)
def test_nothing_is_overwritten_unless_asked(run: Run, tmp_path: Path, export: Callable[..., None]) -> None:
    place = tmp_path / "out" / "deep"
    export(run, place, False)
    (file,) = place.iterdir()
    content = file.read_bytes()
    file.write_bytes(b"mine")
    with pytest.raises(RunError, match=f"{file} is there already"):
        export(run, place, False)
    assert file.read_bytes() == b"mine"
    export(run, place, True)
    assert file.read_bytes() == content


@pytest.mark.parametrize("export", EXPORTS)
def test_an_export_that_fails_leaves_nothing_behind(
    run: Run, tmp_path: Path, export: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        export(run, tmp_path / "out", False)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("package", "extra", "export"),
    [
        ("pandas", "data", lambda run, place: run.frame()),
        ("pyarrow", "data", lambda run, place: run.to_parquet(place / "x")),
        ("tensorboardX", "tensorboard", lambda run, place: run.to_tensorboard(place)),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str, export: Callable[..., None]
) -> None:
    def without(name: str) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(name, name=package)
        return importlib.__import__(name)

    monkeypatch.setattr("descend.errors.importlib.import_module", without)
    with pytest.raises(MissingExtraError, match=rf"{package}.*pip install 'descend\[{extra}\]'"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
