"""A Run is readable while it grows, after a kill, on a full disk and across attempts, and has one writer."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from descend.errors import RunBusyError, RunError
from descend.files import LOCK, claim, write_atomically, writer_of
from descend.recipe import Recipe
from descend.run import (
    CLOCKS,
    FEWEST,
    NOTES,
    RECIPE,
    Recorder,
    Run,
    Series,
    list_runs,
    new_folder,
    run_folder,
)

RECIPE_OF_ALL = Recipe(data="moons")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "moons-001"


@pytest.fixture
def recorder(folder: Path) -> Iterator[Recorder]:
    with Recorder(folder, RECIPE_OF_ALL) as recorder:
        yield recorder


def script(source: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that runs `source` with the recorder's names imported."""
    head = (
        "import sys, os, time\nfrom pathlib import Path\nfrom descend.run import *\nfrom descend.recipe import Recipe\n"
    )
    command = [sys.executable, "-c", head + textwrap.dedent(source), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


# --- rows, series and notes ---------------------------------------------------------------------------


def test_what_is_logged_is_read_back_to_the_last_bit(recorder: Recorder, folder: Path) -> None:
    losses = [0.1, 1e-320, -0.0, 1.7e308, math.nan, math.inf, -math.inf, 1 / 3]
    for step, loss in enumerate(losses, start=1):
        recorder.log(step, 32 * step, 0.5 * step, {"loss/batch": loss})
    series = Run(folder).series("loss/batch")
    assert series.y.tobytes() == np.array(losses).tobytes()
    assert series.x.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert Run(folder).series("loss/batch", x="examples").x.tolist() == [32.0 * step for step in range(1, 9)]
    assert Run(folder).series("loss/batch", x="seconds").x.tolist() == [0.5 * step for step in range(1, 9)]
    assert Run(folder).last("loss/batch") == 1 / 3
    assert Run(folder).steps == 8


def test_a_row_is_seen_as_soon_as_it_is_logged(recorder: Recorder, folder: Path) -> None:
    run = Run(folder)
    for step in range(5):
        recorder.log(step, 0, 0.0, {"a": step})
        assert run.last("a") == run.steps == step


def test_all_series_are_those_of_the_moment_at_which_they_were_asked_for(recorder: Recorder, folder: Path) -> None:
    for step in range(4):
        recorder.log(step, 0, 0.0, {"a": step} | ({"b": -step} if step % 2 else {}))
    then = Run(folder).all_series()
    recorder.restart(after=1)
    recorder.log(2, 0, 0.0, {"a": 20.0, "c": 1.0})
    assert list(then) == ["a", "b"]
    assert then["a"]().y.tolist() == [0, 1, 2, 3]
    now = Run(folder).all_series()
    assert {name: read().y.tolist() for name, read in now.items()} == {"a": [0, 1, 20], "b": [-1], "c": [1]}
    for name, read in now.items():
        np.testing.assert_array_equal(read(), Run(folder).series(name))


def test_series_that_are_measured_at_different_steps_have_no_missing_cells(recorder: Recorder, folder: Path) -> None:
    for step in range(1, 7):
        recorder.log(step, step, step, {"loss/batch": step} | ({"norm": -step} if step % 3 == 0 else {}))
        if step % 2 == 0:
            recorder.log(step, step, step, {"loss/validation": 10 * step})
    run = Run(folder)
    assert run.names() == ("loss/batch", "loss/validation", "norm")
    assert run.series("loss/batch").y.tolist() == [1, 2, 3, 4, 5, 6]
    assert run.series("norm").x.tolist() == [3, 6]
    assert run.series("loss/validation").y.tolist() == [20, 40, 60]
    assert run.last("norm") == -6


def test_numbers_of_numpy_and_torch_are_numbers(recorder: Recorder, folder: Path) -> None:
    import torch

    recorder.log(1, 3, np.float32(0.5), {"a": np.float32(0.25), "b": torch.tensor(2.0), "c": True})
    assert [Run(folder).last(name) for name in "abc"] == [0.25, 2.0, 1.0]


def test_a_run_without_rows_has_no_steps_and_no_series(recorder: Recorder, folder: Path) -> None:
    run = Run(folder)
    assert (run.steps, run.seconds, run.names(), run.notes(), run.recipe) == (0, 0, (), [], RECIPE_OF_ALL)
    with pytest.raises(RunError, match=r"^Run moons-001 has no series 'loss'. Known: none.$"):
        run.series("loss")


def test_the_last_value_of_a_series_without_rows_is_nan(recorder: Recorder, folder: Path) -> None:
    recorder.log(1, 1, 1, {"a": 1.0})
    file = next(folder.glob("rows-*"))
    os.truncate(file, file.stat().st_size - 32)
    assert math.isnan(Run(folder).last("a"))
    assert len(Run(folder).series("a").x) == 0


def test_an_unknown_series_or_clock_is_refused_with_the_nearest_name(recorder: Recorder, folder: Path) -> None:
    recorder.log(1, 1, 1, {"loss/train": 1.0})
    with pytest.raises(RunError, match=r"has no series 'los/train'\. Did you mean 'loss/train'\?"):
        Run(folder).series("los/train")
    with pytest.raises(RunError, match=r"'second' is not a clock\. Did you mean 'seconds'\?"):
        Run(folder).series("loss/train", x="second")


def test_notes_tell_what_happened_in_order(recorder: Recorder, folder: Path) -> None:
    recorder.note("limit", 0, value=np.float64(0.00786), beyond=np.bool_(True), text="2/λ\n", nothing=math.nan)
    recorder.note("resumed", 12)
    run = Run(folder)
    assert [(note.kind, note.step) for note in run.notes()] == [("limit", 0), ("resumed", 12)]
    details = run.notes("limit")[0].details
    assert math.isnan(details.pop("nothing"))
    assert details == {"value": 0.00786, "beyond": True, "text": "2/λ\n"}
    assert run.notes("diverged") == []
    with pytest.raises(TypeError, match="a note holds plain values, not object"):
        recorder.note("odd", 1, what=object())


def test_a_recorder_refuses_what_would_damage_the_record(recorder: Recorder, folder: Path) -> None:
    recorder.log(3, 3, 3, {"a": 1.0})
    for step in (3, 2):
        with pytest.raises(RunError, match=f"Step {step} comes after step 3 in .*use `restart` to go back"):
            recorder.log(step, 3, 3, {"a": 1.0})
    with pytest.raises(RunError, match=r"A row holds numbers, but the one of step 4 was given b = array\(\[1, 2\]\)\."):
        recorder.log(4, 4, 4, {"a": 1.0, "b": np.array([1, 2])})
    with pytest.raises(RunError, match="A series cannot be called seconds or step"):
        recorder.log(4, 4, 4, {"step": 1.0, "seconds": 1.0})
    recorder.log(4, 4, 4, {"a": 2.0})
    assert Run(folder).series("a").y.tolist() == [1, 2]


def test_a_closed_recorder_writes_nothing(folder: Path) -> None:
    recorder = Recorder(folder, RECIPE_OF_ALL)
    recorder.log(1, 1, 1, {"a": 1.0})
    recorder.close()
    recorder.close()
    with pytest.raises(RunError, match="has been closed"):
        recorder.log(2, 2, 2, {"a": 1.0})
    with pytest.raises(RunError, match="has been closed"):
        recorder.note("late", 2)
    assert Run(folder).steps == 1


# --- attempts -----------------------------------------------------------------------------------------

SETS = [("a",), ("b",), ("c", "d"), ("d", "c", "e")]
events = st.lists(
    st.one_of(
        st.tuples(st.just("log"), st.sampled_from(SETS), st.integers(1, 3)),
        st.tuples(st.just("restart"), st.integers(-1, 40), st.booleans()),
    ),
    max_size=40,
)


class Replay:
    """What series must be, in plain Python: a first row of a new attempt undoes all that lies beyond its start."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[int, tuple[float, float, float]]] = {}
        self.undo: int | None = None

    def log(self, step: int, examples: int, seconds: float, values: dict[str, float]) -> None:
        if self.undo is not None:
            for rows in self.rows.values():
                for later in [earlier for earlier in rows if earlier > self.undo]:
                    del rows[later]
            self.undo = None
        for name, value in values.items():
            self.rows.setdefault(name, {})[step] = (examples, seconds, value)


@given(events=events)
@settings(max_examples=40, deadline=None)
def test_each_step_stands_once_and_the_last_attempt_counts(events: list[tuple[Any, Any, Any]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, replay, step = Path(place) / "run", Replay(), 0
        recorder = Recorder(folder, RECIPE_OF_ALL)
        for number, (what, first, second) in enumerate(events):
            if what == "log":
                step += second
                row = (step, 32 * number, float(number), dict.fromkeys(first, number + 0.5))
                recorder.log(*row)
                replay.log(*row)
            else:
                if second:  # the process was killed and another goes on
                    recorder.close()
                    recorder = Recorder(folder, RECIPE_OF_ALL)
                step = replay.undo = min(first, step)
                recorder.restart(after=step)
        recorder.close()
        run = Run(folder)
        assert set(run.names()) == set(replay.rows)
        for name, rows in replay.rows.items():
            expected = [[step, *rows[step]] for step in sorted(rows)]
            clocks = [run.series(name, x=clock) for clock in CLOCKS]
            assert np.column_stack([*(one.x for one in clocks), clocks[0].y]).tolist() == expected
            last = expected[-1][-1] if expected else math.nan
            np.testing.assert_equal(run.last(name), last)
        assert run.steps == max((step for rows in replay.rows.values() for step in rows), default=0)


def test_an_attempt_undoes_nothing_before_its_first_row_is_whole(folder: Path) -> None:
    with Recorder(folder, RECIPE_OF_ALL) as recorder:
        for step in (1, 2, 3):
            recorder.log(step, step, step, {"a": step})
        recorder.restart(after=1)
        assert Run(folder).steps == 3
        recorder.log(2, 2, 2.5, {"a": 20})
    assert Run(folder).series("a").y.tolist() == [1, 20]
    assert (Run(folder).steps, Run(folder).seconds) == (2, 2.5)
    file = folder / "rows-001-00.f64"
    os.truncate(file, file.stat().st_size - 1)
    assert Run(folder).series("a").y.tolist() == [1, 2, 3]


def test_attempts_stay_in_order_beyond_the_digits_of_their_names(recorder: Recorder, folder: Path) -> None:
    recorder._attempt = 999
    recorder.log(1, 1, 1, {"a": 999.0})
    recorder.restart(after=0)
    recorder.log(1, 1, 1, {"a": 1000.0})
    assert {file.name[:9] for file in folder.glob("rows-*")} == {"rows-999-", "rows-1000"}
    assert Run(folder).series("a").y.tolist() == [1000]


def test_a_reopened_run_goes_on_after_its_last_step(folder: Path) -> None:
    for start in (1, 4, 7):
        with Recorder(folder, RECIPE_OF_ALL) as recorder:
            for step in range(start, start + 3):
                recorder.log(step, step, step, {"a": step})
    assert Run(folder).series("a").x.tolist() == list(range(1, 10))


def test_a_watched_run_has_settings_in_place_of_a_recipe(folder: Path) -> None:
    settings = {"model": "MLP", "lr": 0.1}
    Recorder(folder, settings).close()
    run = Run(folder)
    assert run.watched
    assert run.settings == settings
    assert run.head == folder / "watched.toml"
    with pytest.raises(RunError, match="it has no recipe"):
        _ = run.recipe
    with pytest.raises(RunError, match="another recipe"):
        Recorder(folder, settings | {"lr": 0.2})
    run.head.write_bytes(b"lr = ")
    with pytest.raises(RunError, match=r"watched\.toml is damaged"):
        _ = run.settings


def test_a_folder_keeps_the_recipe_of_its_run(folder: Path) -> None:
    with Recorder(folder, RECIPE_OF_ALL):
        pass
    with pytest.raises(RunError, match="holds the run of another recipe"):
        Recorder(folder, RECIPE_OF_ALL.but(lr=0.5))
    assert Run(folder).recipe == RECIPE_OF_ALL
    assert writer_of(folder) is None, "a recorder that was refused lets go"


# --- kills, torn ends and full disks ------------------------------------------------------------------

KILLED = """
    import mmap, random, signal, struct
    folder, said = Path(sys.argv[1]), mmap.mmap(-1, 8)
    Recorder(folder, Recipe(data="moons")).close()
    for kill in range(int(sys.argv[2])):
        if not (child := os.fork()):
            with Recorder(folder, Recipe(data="moons")) as recorder:
                step = Run(folder).steps
                while True:
                    step += 1
                    values = {f"s{i}": float(step) for i in range(50)}
                    recorder.log(step, step, step, values)
                    if step % 7 == 0:
                        recorder.log(step, step, step, {"validation": float(step)})
                        recorder.note("seen", step)
                    said[:] = struct.pack("q", step)
        time.sleep(random.uniform(0.005, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        run = Run(folder)
        print(run.status, struct.unpack("q", said[:])[0], run.steps, flush=True)
"""


def test_after_a_kill_at_most_the_step_under_way_is_lost(folder: Path) -> None:
    kills = 40
    output, _ = script(KILLED, folder, kills).communicate(timeout=60)
    lines = [line.split() for line in output.splitlines()]
    assert len(lines) == kills
    for status, said, steps in lines:
        assert status == "killed"
        assert int(said) <= int(steps) <= int(said) + 1
    run = Run(folder)
    assert run.steps > kills
    for name in ("s0", "s49"):
        series = run.series(name)
        assert series.x.tolist() == list(range(1, run.steps + 1))
        assert np.array_equal(series.x, series.y)
    assert [note.step for note in run.notes("seen")] == sorted(note.step for note in run.notes("seen"))


def test_a_torn_row_is_no_row_wherever_it_is_torn(folder: Path) -> None:
    with Recorder(folder, RECIPE_OF_ALL) as recorder:
        for step in (1, 2, 3):
            recorder.log(step, step, step, {"a": step, "b": -step})
    file = next(folder.glob("rows-*"))
    for _ in range(5 * 8):
        os.truncate(file, file.stat().st_size - 1)
        assert Run(folder).series("b").y.tolist() == [-1, -2]
    os.truncate(file, file.stat().st_size - 1)
    assert Run(folder).series("b").y.tolist() == [-1]
    with Recorder(folder, RECIPE_OF_ALL) as recorder:
        recorder.log(2, 2, 2, {"a": 20, "b": -20})
    assert Run(folder).series("b").y.tolist() == [-1, -20]


def test_a_torn_note_is_no_note_and_is_cut_off_before_the_next(folder: Path) -> None:
    with Recorder(folder, RECIPE_OF_ALL) as recorder:
        recorder.note("whole", 1)
        recorder.note("torn", 2)
    os.truncate(folder / NOTES, (folder / NOTES).stat().st_size - 1)
    assert [note.kind for note in Run(folder).notes()] == ["whole"]
    with Recorder(folder, RECIPE_OF_ALL) as recorder:
        recorder.note("next", 3)
    assert [note.kind for note in Run(folder).notes()] == ["whole", "next"]


FULL = """
    import resource
    folder = Path(sys.argv[1])
    recorder = Recorder(folder, Recipe(data="moons"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
    def fill(write):
        for number in range(1, 10_000):
            try:
                write(number)
            except RunError as error:
                return number, error
    step, error = fill(lambda step: recorder.log(step, step, step, {"a": step, "b": -step}))
    print(step); print(error)
    note, error = fill(lambda step: recorder.note("filler", step, text="x" * 600))
    print(note); print(error)
    try:
        recorder.log(1, 1, 1, {f"s{number}": 0.0 for number in range(1000)})  # whose very head does not fit
    except RunError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    recorder.log(step, step, step, {"a": step, "b": -step})
    recorder.note("ended", step, why="finished")
    recorder.close()
"""


def test_on_a_full_disk_the_record_stays_readable_and_can_be_gone_on_with(folder: Path) -> None:
    output, _ = script("from descend.errors import RunError\n" + textwrap.dedent(FULL), folder).communicate(timeout=60)
    step, row_error, note, note_error, head_error = output.splitlines()
    assert row_error == (
        f"{folder}/rows-000-00.f64 cannot be written: File too large. What was recorded before stays readable."
    )
    assert note_error.startswith(f"{folder}/notes.jsonl cannot be written: File too large.")
    assert head_error.startswith(f"{folder}/rows-000-01.f64 cannot be written: File too large.")
    run = Run(folder)
    assert run.series("b").y.tolist() == [-float(number) for number in range(1, int(step) + 1)]
    assert [entry.kind for entry in run.notes()] == ["filler"] * (int(note) - 1) + ["ended"]
    assert run.status == "finished"
    assert not list(folder.glob(".*.tmp"))


def test_what_a_killed_writer_left_half_written_is_removed_by_the_next(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / ".rows-000-00.f64.123.tmp").write_bytes(b"{")
    with Recorder(folder, RECIPE_OF_ALL):
        assert not list(folder.glob(".*.tmp"))


@given(content=st.binary(max_size=200))
@example(b"")
@example(b"{}\n")
@example(b'{"series": ["a"], "after": 0}\n')
@example(b'{"series": ["step", "examples", "seconds"], "after": 0}')
@example(b"[" * 100 + b"\n")
def test_a_damaged_rows_file_is_named(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_atomically(folder / RECIPE, RECIPE_OF_ALL.to_toml().encode())
        (folder / "rows-000-00.f64").write_bytes(content)
        for read in (Run(folder).names, lambda: Run(folder).steps, lambda: Run(folder).series("a")):
            with pytest.raises(RunError, match=r"rows-000-00\.f64 is damaged: its first line does not name its series"):
                read()
        with pytest.raises(RunError, match="is damaged"):
            Recorder(folder, RECIPE_OF_ALL)
        assert writer_of(folder) is None


@pytest.mark.parametrize("line", [b"{", b"[]", b"1", b"null", b'{"kind": "a"}', b"\xff", b""])
def test_a_damaged_note_is_named_with_its_line(folder: Path, line: bytes) -> None:
    with Recorder(folder, RECIPE_OF_ALL) as recorder:
        recorder.note("whole", 1)
    with (folder / NOTES).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(RunError, match=r"notes\.jsonl is damaged: line 2 is not a note"):
        Run(folder).notes()


# --- how a run stands ---------------------------------------------------------------------------------


def test_a_run_is_running_then_ended_and_killed_if_nobody_said_so(folder: Path) -> None:
    with Recorder(folder, RECIPE_OF_ALL) as recorder:
        assert Run(folder).status == "running"
    assert Run(folder).status == "killed"
    for why in ("interrupted", "finished"):
        with Recorder(folder, RECIPE_OF_ALL) as recorder:
            recorder.note("resumed", 3)
            assert Run(folder).status == "running"
            recorder.note("ended", 5, why=why)
            assert Run(folder).status == why
        assert Run(folder).status == why
    with Recorder(folder, RECIPE_OF_ALL) as recorder:
        recorder.note("resumed", 5)
    assert Run(folder).status == "killed"


def test_a_folder_that_is_not_a_run_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"^{tmp_path}/nothing is not a run: it has no recipe.toml.$"):
        Run(tmp_path / "nothing")
    for name in ("moons-001", "moons-002"):
        write_atomically(new_folder(tmp_path, "moons") / RECIPE, RECIPE_OF_ALL.to_toml().encode())
        assert (tmp_path / name).is_dir()
    with pytest.raises(RunError, match=r"Did you mean 'moons-001'\? Known: moons-001, moons-002\."):
        Run(tmp_path / "mons-001")
    with pytest.raises(RunError, match=r"It holds runs; name one of them: moons-001, moons-002\."):
        Run(tmp_path)
    with pytest.raises(RunError, match="is not a run"):
        Run(tmp_path / "moons-001" / RECIPE)


def test_a_run_shows_itself(recorder: Recorder, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder.log(1, 1, 1, {f"loss/{number}": math.nan for number in range(25)} | {"<b>": 0.123456789})
    recorder.note("ended", 1, why="<script>")
    run = Run(folder)
    assert repr(run) == f"<Run {folder}: <script>, 1 steps>"
    shown = run._repr_html_()
    assert "<th>run</th><td>moons-001</td>" in shown
    assert "<td>&lt;script&gt;</td>" in shown
    assert "<th>loss/0</th><td>nan</td>" in shown
    assert "and 6 more series" in shown
    assert "<script>" not in shown
    monkeypatch.chdir(folder)
    assert Run(".").name == "moons-001"


# --- following ----------------------------------------------------------------------------------------

GROWING = """
    with Recorder(Path(sys.argv[1]), Recipe(data="moons")) as recorder:
        print("begun", flush=True)
        for step in range(1, 401):
            recorder.log(step, step, step, {"a": step})
            if step % 5 == 0:
                recorder.log(step, step, step, {"b": -step})
            time.sleep(0.001)
        recorder.note("ended", step, why="finished")
"""


def test_another_process_sees_every_row_while_the_run_grows(folder: Path) -> None:
    with script(GROWING, folder) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        rows, growing = [], 0
        for row in Run(folder).follow(poll=0.01):
            rows.append(row)
            growing += writer.poll() is None
    assert growing > 100
    assert [row["a"] for row in rows if "a" in row] == list(range(1, 401))
    assert [row["b"] for row in rows if "b" in row] == list(range(-5, -401, -5))
    assert all(row["step"] == row["examples"] == row["seconds"] for row in rows)


def test_followed_rows_come_attempt_by_attempt_in_the_order_of_steps(folder: Path) -> None:
    with Recorder(folder, RECIPE_OF_ALL) as recorder:
        for step in range(1, 5):
            recorder.log(step, step, step, {"a": step})
            recorder.log(step, step, step, {"b": step})
        recorder.restart(after=2)
        recorder.log(3, 3, 3, {"a": 30})
    rows = list(Run(folder).follow())
    assert [row["step"] for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4, 3]
    assert rows[-1] == {"step": 3, "examples": 3, "seconds": 3, "a": 30}


# --- one writer ---------------------------------------------------------------------------------------

HOLDING = """
    with Recorder(Path(sys.argv[1]), Recipe(data="moons")) as recorder:
        print(os.getpid(), flush=True)
        sys.stdin.read()
"""


def test_a_second_writer_is_refused_within_a_second_naming_the_first(folder: Path) -> None:
    with script(HOLDING, folder) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        pid = int(first.stdout.readline())
        start = time.monotonic()
        with pytest.raises(RunBusyError) as refusal:
            Recorder(folder, RECIPE_OF_ALL)
        assert time.monotonic() - start < 1
        host = os.uname().nodename
        assert f"{folder} is being written by process {pid} on {host} since 20" in str(refusal.value)
        assert writer_of(folder) is not None
        assert Run(folder).status == "running"
        first.kill()
        first.wait()
        assert writer_of(folder) is None
        with Recorder(folder, RECIPE_OF_ALL) as recorder:
            recorder.note("resumed", 0)


def test_a_second_writer_in_the_same_process_is_refused_too(recorder: Recorder, folder: Path) -> None:
    with pytest.raises(RunBusyError, match=f"process {os.getpid()} "):
        Recorder(folder, RECIPE_OF_ALL)
    recorder.log(1, 1, 1, {"a": 1.0})
    assert Run(folder).status == "running"


def test_a_writer_that_has_not_signed_yet_is_somebody(folder: Path) -> None:
    folder.mkdir(parents=True)
    descriptor = claim(folder)
    os.truncate(folder / LOCK, 0)
    assert writer_of(folder) == {"pid": "unknown", "host": "this or another host", "since": "just now"}
    with pytest.raises(RunBusyError, match="process unknown on this or another host"):
        claim(folder)
    os.close(descriptor)


def test_readers_that_ask_who_writes_never_keep_a_writer_out(folder: Path) -> None:
    folder.mkdir(parents=True)
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            writer_of(folder)

    readers = [threading.Thread(target=ask) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(50):
            os.close(claim(folder))
    finally:
        done.set()
        for reader in readers:
            reader.join()


def test_a_folder_that_cannot_be_written_is_named_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (lambda place: Recorder(place / "run", RECIPE_OF_ALL), lambda place: new_folder(place, "run")):
        with pytest.raises(RunError, match=r"file/run.* cannot be written: (Not a directory|File exists)"):
            write(tmp_path / "file")


def test_a_failed_replacement_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"old")
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "a", "text")  # type: ignore[arg-type]  # fails after the temporary file was opened
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a", b"old")]


# --- names --------------------------------------------------------------------------------------------

nasty = st.one_of(
    st.text(max_size=20),
    st.text("./\\-a0\0 ~$%:*?\n‮é", max_size=12),
    st.sampled_from(
        ["..", ".", "", "/", "/etc", "../x", "a/../../x", "a/b", "CON", "-rf", "~", "a\0", "a\n", "a" * 121]
    ),
)


@given(names=st.lists(nasty, min_size=25, max_size=25))
@settings(max_examples=200, deadline=None)
def test_the_name_of_a_run_never_leads_out_of_the_runs_folder(names: list[str]) -> None:
    runs = Path("/somewhere/runs")
    for name in names:
        try:
            folder = run_folder(runs, name)
        except RunError:
            continue
        assert folder.parent == Path(os.path.normpath(folder)).parent == runs
        assert name.isascii()
        assert name[0].isalnum()


@given(stem=nasty)
@settings(deadline=None)
def test_a_new_folder_is_a_child_of_the_runs_folder_or_nothing_is_made(stem: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        runs = Path(place) / "a" / "runs"
        try:
            made = {new_folder(runs, stem), new_folder(runs, stem)}
        except RunError:
            made = set()
        assert {path for path in Path(place).rglob("*") if path not in (runs, runs.parent)} == made


@given(name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._+=-]{0,119}\Z"))
def test_ordinary_names_are_allowed(name: str) -> None:
    assert run_folder("runs", name) == Path("runs") / name


def test_a_link_is_not_a_run_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link-001").symlink_to(tmp_path / "elsewhere")
    for ask in (lambda: run_folder(tmp_path / "runs", "link-001"), lambda: new_folder(tmp_path / "runs", "link")):
        with pytest.raises(RunError, match="link-001 is a link, and a run is a folder of its own"):
            ask()


def test_runs_are_listed_oldest_first(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "none") == []
    for age, name in enumerate(["c", "a", "b"]):
        (tmp_path / name).mkdir()
        write_atomically(tmp_path / name / RECIPE, RECIPE_OF_ALL.to_toml().encode())
        os.utime(tmp_path / name / RECIPE, (age, age))
    (tmp_path / "not a run").mkdir()
    assert [run.name for run in list_runs(tmp_path)] == ["c", "a", "b"]


# --- a million rows -----------------------------------------------------------------------------------


def test_a_million_steps_of_fifty_series_are_sliced_and_thinned_without_becoming_python_objects(folder: Path) -> None:
    steps, block = 1_000_000, 10_000
    folder.mkdir(parents=True)
    write_atomically(folder / RECIPE, RECIPE_OF_ALL.to_toml().encode())
    head = json.dumps({"series": [*CLOCKS, *(f"s{number}" for number in range(50))], "after": -1}) + "\n"
    rows = np.tile(np.arange(53.0), (block, 1))
    with (folder / "rows-000-00.f64").open("wb") as file:
        file.write(head.encode())
        for start in range(0, steps, block):
            rows[:, 0] = np.arange(start, start + block)
            rows.tofile(file)
        file.seek(len(head) + (777_777 * 53 + 30) * 8)
        file.write(np.float64(math.nan).tobytes())
    try:
        tracemalloc.start()
        run = Run(folder)
        assert run.steps == steps - 1
        series = run.series("s27")
        thin = series.downsample(2000)
        part = series.between(777_700.0, 777_799.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        (folder / "rows-000-00.f64").unlink()
    assert len(series.x) == steps
    assert len(thin.x) <= 2000
    assert (thin.x[0], thin.x[-1]) == (0, steps - 1)
    assert thin.x[np.isnan(thin.y)].tolist() == [777_777]
    assert part.x.tolist() == list(range(777_700, 777_800))
    # three columns of 8 bytes, their copy, and what thinning works with; the rows as Python floats would be 1.3 GB
    assert peak < 120e6


# --- thinning a curve ---------------------------------------------------------------------------------

curves = st.integers(1, 3000).flatmap(
    lambda size: arrays(
        np.float64,
        size,
        elements=st.one_of(st.floats(-10, 10), st.sampled_from([math.nan, math.inf, -math.inf, 1e300])),
        fill=st.sampled_from([0.0, 1.0]),
    )
)


@given(y=curves, points=st.integers(FEWEST, 400))
@settings(deadline=None)
def test_thinning_keeps_ends_extremes_and_failures_and_invents_nothing(y: np.ndarray, points: int) -> None:
    x = np.arange(len(y), dtype=np.float64)
    thin = Series(x, y).downsample(points)
    kept = thin.x.astype(int)
    assert len(kept) <= points
    assert np.all(np.diff(kept) > 0)
    assert np.array_equal(thin.y, y[kept], equal_nan=True)
    assert (kept[0], kept[-1]) == (0, len(y) - 1)
    finite, thinned = y[np.isfinite(y)], thin.y[np.isfinite(thin.y)]
    if len(finite):
        assert (finite.min(), finite.max()) == (thinned.min(), thinned.max())
    for failure in (np.isnan, np.isposinf, np.isneginf):
        assert failure(y).any() == failure(thin.y).any()


@given(y=arrays(np.float64, 1000, elements=st.floats(-1, 1)), points=st.integers(FEWEST, 200))
@settings(deadline=None)
def test_thinning_keeps_the_least_and_greatest_of_every_stretch(y: np.ndarray, points: int) -> None:
    thin = Series(np.arange(1000.0), y).downsample(points)
    width = math.ceil(998 / ((points - 2) // 2))
    for start in range(1, 999, width):
        stretch = y[start : min(start + width, 999)]
        kept = thin.between(float(start), min(start + width, 999) - 1.0).y
        assert (kept.min(), kept.max()) == (stretch.min(), stretch.max())


def test_a_short_curve_is_left_as_it_is_and_too_few_points_are_refused() -> None:
    curve = Series(np.arange(10.0), np.arange(10.0))
    assert curve.downsample(10) is curve
    assert len(curve.downsample(9).x) <= 9
    with pytest.raises(RunError, match="cannot be thinned to 6 points, only to 7 or more"):
        curve.downsample(6)
