"""A sweep's runs are those that `fit` makes, series by series and note by note; it can be stopped and gone on with."""

from __future__ import annotations

import os
import resource
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from descend import Recipe, RecipeError, Run, RunError, Sweep, fit, grid, list_runs, load_model, outcomes, sweep
from descend.files import many_open_files
from descend.sweeping import _pool, _sweep
from descend.sweeping._cohort import Cohort
from descend.sweeping._drive import Witness, drive

MOONS = Recipe(data="moons", rows=60, model="mlp", width=8, epochs=12, dtype="float64", monitor_every=4)

KINDS = {
    "plain": MOONS,
    "stopping early": MOONS.but(patience=2, epochs=20),
    "a target": MOONS.but(target_loss=0.4),
    "batch norm and a test split": MOONS.but(norm="batch", test=0.2),
    "clipped, on a schedule, with last batches": MOONS.but(clip_norm=0.5, schedule="cosine", warmup=3, batch_size=7),
    "linear, with a known truth": Recipe(rows=40, epochs=6, dtype="float64", optimizer="adam", monitors="none"),
}


def worst_difference(ours: Run, theirs: Run) -> float:
    """The largest relative difference between two runs that recorded the same at the same steps."""
    assert set(ours.names()) == set(theirs.names())
    worst = 0.0
    for name in theirs.names():
        for clock in ("step", "examples"):
            x, y = ours.series(name, clock), theirs.series(name, clock)
            np.testing.assert_array_equal(x.x, y.x, err_msg=f"{name} by {clock}")
        same = (x.y == y.y) | (np.isnan(x.y) & np.isnan(y.y))
        with np.errstate(invalid="ignore"):  # infinite minus infinite, where both are
            difference = np.where(same, 0.0, np.abs(x.y - y.y) / (1e-9 + np.abs(y.y)))
        worst = max(worst, float(difference.max()))
    return worst


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_a_sweep_is_the_run_that_fit_makes(kind: str, tmp_path: Path) -> None:
    recipes = grid(KINDS[kind], optimizer=["sgd", "adam"], lr=[0.03, 1e300], seed=[0, 1])
    made = sweep(recipes, runs=tmp_path, name="all")
    for run, recipe in zip(made.runs, recipes, strict=True):
        alone = fit(recipe, runs=tmp_path)
        # the two take their sums in another order; 1e-9 is the square root of what that may grow to in 60 steps
        assert worst_difference(run, alone) < 1e-7
        assert (run.recipe, run.status, run.steps) == (recipe, alone.status, alone.steps)
        assert [(note.kind, note.step) for note in run.notes()] == [(note.kind, note.step) for note in alone.notes()]
        ours, theirs = load_model(run), load_model(alone)
        torch.testing.assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()), rtol=1e-7, atol=1e-9)
        if (
            alone.status != "non-finite"
        ):  # the forward pass of the step that failed has left its mark on fit's statistics
            torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()), rtol=1e-7, atol=1e-9)


def test_diverged_runs_are_named_as_fit_names_them(tmp_path: Path) -> None:
    recipe = MOONS.but(lr=1e300)
    (run,), alone = sweep([recipe], runs=tmp_path).runs, fit(recipe, runs=tmp_path)
    assert run.status == alone.status == "non-finite"
    assert run.notes("non_finite")[0].details == alone.notes("non_finite")[0].details


def test_facts_are_those_of_fit(tmp_path: Path) -> None:
    recipe = MOONS.but(optimizer="adam", lr=0.01)
    (run,), alone = sweep([recipe], runs=tmp_path).runs, fit(recipe, runs=tmp_path)
    ours, theirs = run.notes("facts")[0].details, alone.notes("facts")[0].details
    assert {name: ours[name] for name in ("data", "optimizer", "evaluation")} == {
        name: theirs[name] for name in ("data", "optimizer", "evaluation")
    }
    assert ours["start"]["loss"] == pytest.approx(theirs["start"]["loss"], rel=1e-12)


def test_recipes_that_no_lane_takes_are_trained_one_by_one_and_it_is_said_why(tmp_path: Path) -> None:
    recipe = MOONS.but(dropout=0.5, lr=0.1)
    made = sweep([recipe, MOONS], runs=tmp_path)
    (why,) = [why for lane, why, _ in made.trained.lanes if lane == "alone"]
    assert "Dropout" in why
    assert worst_difference(made.runs[0], fit(recipe, runs=tmp_path)) == 0.0
    assert sum(count for _, _, count in made.trained.lanes) == 2


def test_outcomes_are_what_the_runs_record(tmp_path: Path) -> None:
    recipes = [*grid(MOONS, lr=[0.01, 0.3, 1e300], seed=[0, 1]), MOONS.but(batch_size=20), MOONS.but(dropout=0.5)]
    made, told = sweep(recipes, runs=tmp_path), outcomes(recipes)
    for number, run in enumerate(made.runs):
        recorded = run.series("loss/validation")
        np.testing.assert_allclose(told.curve(number, "loss/validation").y, recorded.y, rtol=1e-12)
        np.testing.assert_array_equal(told.curve(number, "loss/validation").x, recorded.x)
        died = run.status == "non-finite"
        assert told.final("loss/validation")[number] == (np.inf if died else pytest.approx(recorded.y[-1]))
        assert told.lowest("loss/validation")[number] == pytest.approx(recorded.y.min())
        assert told.highest("accuracy/train")[number] == run.series("accuracy/train").y.max()
        assert (told.died[number] > 0) == died
        assert told.steps[number] == run.notes("ended")[0].step
        below = recorded.x[recorded.y <= 0.5]
        assert told.cost("loss/validation", 0.5)[number] == (below[0] if len(below) else np.inf)


def test_runs_of_different_lengths_and_data_are_one_sweep(tmp_path: Path) -> None:
    recipes = [MOONS, MOONS.but(epochs=2), MOONS.but(data="circles"), MOONS.but(width=4), MOONS.but(batch_size="all")]
    for run, recipe in zip(sweep(recipes, runs=tmp_path).runs, recipes, strict=True):
        assert worst_difference(run, fit(recipe, runs=tmp_path)) < 1e-9


class _Stops:
    """Sends this process a Ctrl-C once some chunks are done."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.lock = threading.Lock()

    def __call__(self, chunk: object, witness: Witness, asked: threading.Event) -> None:
        drive(chunk, witness, asked)  # type: ignore[arg-type]
        with self.lock:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGINT)
                asked.wait(5)


def test_ctrl_c_keeps_what_is_done_and_the_same_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = grid(MOONS, lr=[0.01, 0.03, 0.1], seed=range(4))
    monkeypatch.setattr(_pool, "chunk_size", lambda cohort: 2)
    monkeypatch.setattr(_pool, "drive", _Stops(after=2))
    stopped = sweep(recipes, runs=tmp_path, name="twice", workers=1)
    assert stopped.interrupted
    assert len(stopped.runs) == 4
    kept = {run.name: run.notes("ended")[0].details["seconds"] for run in stopped.runs}
    monkeypatch.setattr(_pool, "drive", drive)
    whole = sweep(recipes, runs=tmp_path, name="twice")
    assert not whole.interrupted
    assert [run.recipe for run in whole.runs] == recipes
    again = {run.name: run.notes("ended")[0].details["seconds"] for run in whole.runs}
    assert {name: again[name] for name in kept} == kept  # the clock of a run that was trained anew would differ
    assert sum(count for _, _, count in whole.trained.lanes) == 8


def test_a_sweep_that_was_killed_in_the_middle_of_runs_trains_those_anew(tmp_path: Path) -> None:
    recipes = grid(MOONS, lr=[0.01, 0.1])
    made = sweep(recipes, runs=tmp_path, name="cut")
    (made.runs[1].folder / "notes.jsonl").write_bytes(b"")  # as a kill before the end leaves it: nothing says it ended
    again = sweep(recipes, runs=tmp_path, name="cut")
    assert sum(count for _, _, count in again.trained.lanes) == 1
    assert worst_difference(again.runs[1], fit(recipes[1], runs=tmp_path)) < 1e-9


def test_an_error_in_one_chunk_ends_the_sweep_and_says_so_in_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(_pool, "drive", fail)
    with pytest.raises(MemoryError, match="no room"):
        sweep([MOONS], runs=tmp_path, name="full")
    monkeypatch.undo()
    assert len(sweep([MOONS], runs=tmp_path, name="full").runs) == 1


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    sweep([MOONS], runs=tmp_path, name="one")
    with pytest.raises(RunError, match="a sweep of other recipes"):
        sweep([MOONS.but(lr=0.5)], runs=tmp_path, name="one")
    fit(MOONS, runs=tmp_path, name="run")
    with pytest.raises(RunError, match="is no sweep"):
        sweep([MOONS], runs=tmp_path, name="run")
    with pytest.raises(RunError, match="at least one"):
        sweep([], runs=tmp_path)


def test_the_name_of_a_refused_sweep_is_free_again(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nosuch"):
        sweep([MOONS.but(layer_lrs="nosuch=0.1")], runs=tmp_path, name="typo")
    assert not (tmp_path / "typo").exists()
    assert len(sweep([MOONS], runs=tmp_path, name="typo").runs) == 1
    with pytest.raises(RunError, match="a sweep of other recipes"):
        sweep([MOONS.but(layer_lrs="nosuch=0.1")], runs=tmp_path, name="typo")
    assert (tmp_path / "typo").exists()


def test_a_sweep_needs_no_more_open_files_than_the_system_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def counted(chunk: Cohort, witness: Witness, asked: threading.Event) -> None:
        sizes.append(len(chunk))
        drive(chunk, witness, asked)

    monkeypatch.setattr(_pool, "drive", counted)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))  # raised while 40 runs have more than 100 files open
    try:
        assert len(sweep(grid(MOONS, seed=range(40)), runs=tmp_path, workers=1).runs) == 40
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (100, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert max(sizes) > 12
    sizes.clear()
    with many_open_files() as files:
        pass
    monkeypatch.setattr(_sweep, "FILES", (files - _sweep.SPARE) // 6)  # as if there were room for six runs
    sweep(grid(MOONS, seed=range(40)), runs=tmp_path, workers=2)
    assert sizes
    assert max(sizes) <= 3


def test_standings_rank_configurations_by_the_median_over_seeds(tmp_path: Path) -> None:
    made: Sweep = sweep(grid(MOONS, lr=[1e-4, 0.3, 1e300], seed=range(3)), runs=tmp_path)
    assert [standing.recipe.options["lr"] for standing in made.standings] == [0.3, 1e-4, 1e300]
    assert [standing.died for standing in made.standings] == [0, 0, 3]
    assert [run.name for run in list_runs(made.folder)] == list(made.names)
    assert repr(made) == f"Sweep(9 of 9 runs, in {tmp_path / 'sweep-001'})"
    best = made.standings[0]
    losses = [run.series("loss/validation").y[-1] for run in made.runs[3:6]]
    assert best.rank == np.median(losses)


def test_the_callers_random_numbers_and_threads_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    sweep(grid(MOONS, lr=[0.01, 0.1]), runs=tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads
