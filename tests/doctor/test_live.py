"""The doctor while training: few lines, each once, noted in the record; and it never stops or changes a training."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

import descend
import descend.doctor._live
from descend.doctor._chart import Chart
from descend.doctor._check import Finding
from descend.doctor._live import ONE_LOOK, SHARE, Live
from descend.recipe import Recipe
from descend.run import Recorder, Run
from descend.train.fit import fit, resume

Look = Callable[[Chart], Finding]
LetLook = Callable[..., None]


def found(sure: float = 0.9) -> Look:
    return lambda chart: Finding("It is sick.", (), sure)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "run", Recipe())


def looks(recorder: Recorder, times: Mapping[int, float], let_look: LetLook) -> list[int]:
    """The steps at which it looked, of those that were offered."""
    seen: list[int] = []
    live = Live(recorder, say=lambda line: None)
    for step, seconds in times.items():
        let_look(watching=lambda chart, step=step: seen.append(step))
        live.look(step, seconds)
    return seen


def test_it_looks_ever_more_rarely(recorder: Recorder, let_look: LetLook) -> None:
    seconds = 1.0  # a step
    seen = looks(recorder, {step: step * seconds for step in range(1, 1001)}, let_look)
    assert seen == [50, 100, 200, 400, 800]


def test_it_does_not_look_before_a_look_is_a_hundredth_of_the_time(recorder: Recorder, let_look: LetLook) -> None:
    seconds = 1e-3
    seen = looks(recorder, {step: step * seconds for step in range(1, 50_001)}, let_look)
    assert seen == [10_000, 20_000, 40_000]
    assert seen[0] * seconds == ONE_LOOK / SHARE


def test_a_slow_look_waits_until_it_is_a_hundredth_again(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, let_look: LetLook
) -> None:
    clock = iter([0.0, 3.0, 100.0, 100.0])  # the first look takes three seconds, the second none
    monkeypatch.setattr(descend.doctor._live.time, "perf_counter", lambda: next(clock))
    seen = looks(recorder, {step: float(step) for step in range(1, 351)}, let_look)
    assert seen == [50, 350]  # 50 + 3 / 0.01


def test_each_problem_is_said_once_and_noted(recorder: Recorder, let_look: LetLook) -> None:
    let_look(overfitting=found(0.9))
    lines: list[str] = []
    live = Live(recorder, lines.append)
    for step in range(1, 1000):
        live.look(step, float(step))
    live.end(1000)
    assert lines == ["At step 50 the doctor finds overfitting (likely): It is sick."]
    (note,) = Run(recorder.folder).notes("found")
    assert note == ("found", 50, {"check": "overfitting", "sentence": "It is sick.", "sure": 0.9})


def test_only_what_is_likely_is_said(recorder: Recorder, let_look: LetLook) -> None:
    let_look(guess=found(0.69), likely=found(0.7))
    lines: list[str] = []
    Live(recorder, lines.append).end(1)
    assert [line.split()[6] for line in lines] == ["likely"]


def test_no_more_than_three_lines_are_said_of_a_run_also_after_a_resume(recorder: Recorder, let_look: LetLook) -> None:
    lines: list[str] = []
    let_look(a=found(), b=found())
    Live(recorder, lines.append).end(1)
    let_look(a=found(), c=found(), d=found(), e=found())
    Live(recorder, lines.append).end(2)
    assert [note.details["check"] for note in Run(recorder.folder).notes("found")] == ["a", "b", "c"]
    assert len(lines) == 3


def broken(chart: Chart) -> None:
    raise ValueError("bad check")


def test_a_check_that_raises_is_reported_once_and_hides_nothing(recorder: Recorder, let_look: LetLook) -> None:
    let_look(broken=broken, overfitting=found())
    lines: list[str] = []
    live = Live(recorder, lines.append)
    for step in range(1, 1000):
        live.look(step, float(step))
    live.end(1000)
    assert len(lines) == 2
    assert "overfitting" in lines[0]
    assert "broken: ValueError: bad check" in lines[1]
    assert [note.kind for note in Run(recorder.folder).notes()] == ["found", "doctor"]


def test_a_record_that_cannot_be_read_is_reported_once(recorder: Recorder, let_look: LetLook) -> None:
    let_look(overfitting=found(), plateau=found())
    recorder.log(1, 1, 1.0, {"loss/batch": 1.0})
    (file,) = recorder.folder.glob("rows-*.f64")
    file.write_bytes(b"nonsense\n")
    lines: list[str] = []
    live = Live(recorder, lines.append)
    live.end(1)
    live.end(2)
    assert len(lines) == 1
    assert "is damaged" in lines[0]


def test_a_closed_terminal_stops_nothing(recorder: Recorder, let_look: LetLook) -> None:
    def closed(line: str) -> None:
        raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))

    let_look(overfitting=found())
    Live(recorder, closed).end(1)
    assert Run(recorder.folder).notes("doctor")


SICK = Recipe(data="moons", model="mlp", width=8, steps=60, lr=0.1)


def test_fit_with_a_doctor_trains_the_same_and_says_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, let_look: LetLook, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(descend.doctor._live, "ONE_LOOK", 0.0)  # no training of a test takes ten seconds
    let_look(overfitting=lambda chart: ended.append(chart.status) or found(0.99)(chart))
    run = fit(SICK, runs=tmp_path, doctor=True)
    assert capsys.readouterr().err == "At step 50 the doctor finds overfitting (certain): It is sick.\n"
    assert ended == ["running", "finished"]
    without = fit(SICK, runs=tmp_path)
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(run.series("loss/batch").y, without.series("loss/batch").y)


def test_fit_goes_on_when_every_check_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, let_look: LetLook
) -> None:
    monkeypatch.setattr(descend.doctor._live, "ONE_LOOK", 0.0)
    let_look(broken=broken)
    run = fit(SICK, runs=tmp_path, doctor=True)
    assert (run.status, run.steps) == ("finished", 60)
    assert len(run.notes("doctor")) == 1


def test_a_resumed_run_is_looked_at_as_well(
    tmp_path: Path, let_look: LetLook, capsys: pytest.CaptureFixture[str]
) -> None:
    let_look(overfitting=found())
    Recorder(tmp_path / "run", SICK).close()
    resume(tmp_path / "run", doctor=True)
    assert capsys.readouterr().err == "At step 60 the doctor finds overfitting (likely): It is sick.\n"


def test_a_watched_loop_is_looked_at_while_it_runs_and_at_its_end(
    tmp_path: Path, let_look: LetLook, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses: list[str] = []
    let_look(overfitting=lambda chart: statuses.append(chart.status) or found()(chart))
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with descend.watch(model, optimizer, runs=tmp_path, doctor=True) as watched:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(4, 2)).square().mean().backward()
            optimizer.step()
    assert capsys.readouterr().err == "At step 3 the doctor finds overfitting (likely): It is sick.\n"
    assert statuses == ["finished"]
    assert watched.run.notes("found")
