"""A sweep on Ray is the sweep made here, whatever happens to workers; one local session serves all tests."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from descend import DataError, MissingExtraError, Recipe, Run, RunError, grid, sweep
from descend.sweeping import _ray
from descend.train import checkpoint

MOONS = Recipe(data="moons", rows=60, model="mlp", width=8, epochs=3, monitor_every=4)
ALONE = MOONS.but(dropout=0.5)  # a job of its own


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    with ExitStack() as undo:
        with pytest.MonkeyPatch.context() as patch:  # workers that are killed leave a folder, here in one of pytest's
            patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("workers")))
            _, place = undo.enter_context(_ray._session(workers=2))
        assert signal.getsignal(signal.SIGTERM) is before
        yield
    assert place is not None
    assert not Path(place).exists()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("session")
def test_rows_and_weights_are_bit_for_bit_those_of_a_sweep_made_here(tmp_path: Path) -> None:
    recipes = [*grid(MOONS, optimizer=["sgd", "adam"], lr=[0.03, 1e300], seed=[0, 1]), ALONE]
    there = sweep(recipes, runs=tmp_path, name="there", on="ray", workers=2)
    here = sweep(recipes, runs=tmp_path, name="here", workers=2)
    assert sorted(there.trained.lanes) == sorted(here.trained.lanes)
    assert not there.interrupted
    for ours, theirs in zip(there.runs, here.runs, strict=True):
        assert (ours.name, ours.recipe, ours.status) == (theirs.name, theirs.recipe, theirs.status)
        assert ours.names() == theirs.names()
        for name in theirs.names():
            assert np.array_equal(ours.series(name).y, theirs.series(name).y, equal_nan=True), name
        assert [note.kind for note in ours.notes()] == [note.kind for note in theirs.notes()]
        saved, others = (checkpoint.load(run.folder / "checkpoints") for run in (ours, theirs))
        if theirs.status == "finished":  # of a run that diverged there are no weights
            assert saved is not None
            assert others is not None
            assert all(torch.equal(saved.state["model"][name], value) for name, value in others.state["model"].items())
    assert sorted(os.listdir(there.folder)) == sorted(os.listdir(here.folder)), "nothing else is left"


@pytest.mark.usefixtures("session")
def test_runs_of_a_killed_worker_are_trained_again_and_the_finished_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worker, train = tmp_path / "worker", _ray.train_here

    def slow(recipes: list[Recipe], folders: list[Path], workers: int) -> object:
        if recipes[0].seed == 1 and not worker.exists():
            worker.with_suffix(".new").write_text(str(os.getpid()))
            worker.with_suffix(".new").rename(worker)
            time.sleep(60)
        return train(recipes, folders, workers=workers)

    finished: list[int] = []

    def kill() -> None:
        wait_for(lambda: worker.exists() and any(tmp_path.glob("all/*seed=0*/recipe.toml")))
        finished.extend(file.stat().st_ino for file in sorted(tmp_path.glob("all/*seed=0*/*")))
        os.kill(int(worker.read_text()), signal.SIGKILL)

    monkeypatch.setattr(_ray, "train_here", slow)
    killer = threading.Thread(target=kill)
    killer.start()
    made = sweep([ALONE, ALONE.but(seed=1)], runs=tmp_path, name="all", on="ray", progress=True)
    killer.join()
    assert [run.status for run in made.runs] == ["finished", "finished"]
    assert finished
    assert finished == [file.stat().st_ino for file in sorted(tmp_path.glob("all/*seed=0*/*"))]
    assert capsys.readouterr().err == (
        "A worker was lost, so 1 of 2 runs were begun again elsewhere and have ended now. "
        "Nothing that had finished was lost.\n"
    )


@pytest.mark.usefixtures("session")
def test_runs_that_kill_every_worker_are_named_and_the_others_are_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = _ray.train_here

    def deadly(recipes: list[Recipe], folders: list[Path], workers: int) -> object:
        if recipes[0].seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return train(recipes, folders, workers=workers)

    monkeypatch.setattr(_ray, "train_here", deadly)
    monkeypatch.setattr(_ray, "RETRIES", 1)
    with pytest.raises(RunError, match=r"1 of 2 runs are missing: all 2 workers .* were lost: 2-seed=1\. The others"):
        sweep([ALONE, ALONE.but(seed=1)], runs=tmp_path, name="all", on="ray")
    (first,) = tmp_path.glob("all/*seed*")
    assert Run(first).status == "finished"


@pytest.mark.usefixtures("session")
def test_an_error_of_a_job_is_raised_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(recipes: list[Recipe], folders: list[Path], workers: int) -> object:
        raise DataError("bonus.csv is not here.")

    monkeypatch.setattr(_ray, "train_here", unable)
    with pytest.raises(DataError, match=r"^bonus.csv is not here\.$"):
        sweep([ALONE], runs=tmp_path, on="ray")


@pytest.mark.usefixtures("session")
def test_ctrl_c_keeps_what_has_ended_and_cancels_the_rest_and_the_sweep_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, cancelled, train = tmp_path / "begun", tmp_path / "cancelled", _ray.train_here

    def endless(recipes: list[Recipe], folders: list[Path], workers: int) -> object:
        if recipes[0].seed == 0:
            return train(recipes, folders, workers=workers)
        begun.touch()
        try:
            while True:
                time.sleep(0.05)
        finally:
            cancelled.touch()

    def interrupt() -> None:
        wait_for(lambda: begun.exists() and any(tmp_path.glob("all/*seed=0*/recipe.toml")))
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(_ray, "train_here", endless)
    thread = threading.Thread(target=interrupt)
    thread.start()
    recipes = [ALONE.but(seed=seed) for seed in range(4)]
    made = sweep(recipes, runs=tmp_path, name="all", on="ray")
    thread.join()
    assert made.interrupted
    assert [run.recipe.seed for run in made.runs] == [0]
    wait_for(cancelled.exists)

    monkeypatch.setattr(_ray, "train_here", train)
    again = sweep(recipes, runs=tmp_path, name="all", on="ray")
    assert [run.recipe.seed for run in again.runs] == [0, 1, 2, 3]
    assert sum(runs for _, _, runs in again.trained.lanes) == 3


def test_without_ray_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"needs ray, which is not installed\. .* 'descend\[ray\]'"):
        sweep([MOONS], runs=tmp_path, on="ray")


def test_a_cluster_that_does_not_answer_is_named() -> None:
    def init(address: str, **_: object) -> None:
        raise ConnectionError(f"ray.init was given an address.\n  Failed to connect to {address}.")

    with pytest.raises(RunError, match=r"answers at RAY_ADDRESS=head:6379 \(Failed to connect to head:6379\)\. Start"):
        _ray._begin(SimpleNamespace(init=init), "head:6379", None, None)
