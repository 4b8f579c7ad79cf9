"""A run that is cut and resumed is, bit for bit, the run that was not."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from descend.errors import RunBusyError, RunError
from descend.recipe import Recipe
from descend.run import Recorder, Run
from descend.train import checkpoint
from descend.train.fit import fit, resume

STEPS = 36
PLAIN = Recipe(
    data="moons", rows=50, validation=0.2, model="mlp", depth=1, width=8, optimizer="adam", lr=0.01, batch_size=16,
    steps=STEPS, evaluate_every=5, checkpoint_every=4, monitor_every=7, seed=3,
)  # fmt: skip
VARIANTS = {
    "plain": PLAIN.but(monitors="all", monitor_every=2),
    "dropout and batch norm": PLAIN.but(dropout=0.3, norm="batch", input_noise=0.1),
    "accumulation": PLAIN.but(micro_batch=5, optimizer="momentum", momentum=0.9),
    "schedule and early stopping": PLAIN.but(
        schedule="cosine", warmup=4, patience=3, evaluate_every=2, lr=0.5, clip_norm=1.0
    ),
}


def record(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {name: run.series(name) for name in run.names()}


def leaves(tree: object) -> list[object]:
    if isinstance(tree, dict):
        return [leaf for key in tree if key != "seconds" for leaf in leaves(tree[key])]
    return [leaf for item in tree for leaf in leaves(item)] if isinstance(tree, list) else [tree]


def assert_same_run(run: Run, uncut: Run) -> None:
    """Losses and all other series, and in the final checkpoint weights, optimizer, generators and counters."""
    expected, got = record(uncut), record(run)
    assert got.keys() == expected.keys()
    for name, series in expected.items():
        np.testing.assert_array_equal(got[name].x, series.x, err_msg=name)
        np.testing.assert_array_equal(got[name].y, series.y, err_msg=name)
    pairs = zip(
        leaves(checkpoint.load(run.folder / "checkpoints").state),
        leaves(checkpoint.load(uncut.folder / "checkpoints").state),
        strict=True,
    )
    for a, b in pairs:
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    assert run.status == uncut.status


class Cut(BaseException):
    """As sudden as a kill, within one process."""


@contextmanager
def cutting(step: int, act: Callable[[], None]) -> Iterator[None]:
    """Make the recorder act after it has written the row of an update."""
    log = Recorder.log

    def log_and_act(self: Recorder, at: int, examples: int, seconds: float, values: dict[str, float]) -> None:
        log(self, at, examples, seconds, values)
        if at == step and "loss/batch" in values:
            act()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "log", log_and_act)
        yield


def sudden() -> None:
    raise Cut


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_cut_at_any_step_and_resumed_equals_the_uncut_one(variant, tmp_path):
    recipe = VARIANTS[variant]
    uncut = fit(recipe, runs=tmp_path, name="uncut")
    for step in range(1, uncut.steps):
        with pytest.raises(Cut), cutting(step, sudden):
            fit(recipe, runs=tmp_path, name=f"cut-{step}")
        assert_same_run(resume(tmp_path / f"cut-{step}"), uncut)


@pytest.mark.parametrize("variant", VARIANTS)
def test_ctrl_c_ends_a_run_after_the_step_with_everything_saved(variant, tmp_path):
    recipe = VARIANTS[variant]
    uncut = fit(recipe, runs=tmp_path, name="uncut")
    with cutting(13, ctrl_c):
        run = fit(recipe, runs=tmp_path, name="interrupted")
    assert run.status == "interrupted"
    assert run.steps == checkpoint.load(run.folder / "checkpoints").step == 13
    assert_same_run(resume(run.folder), uncut)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_killed_just_before_it_notes_its_end_ends_the_same_way(variant, tmp_path, monkeypatch):
    recipe, note = VARIANTS[variant], Recorder.note
    uncut = fit(recipe, runs=tmp_path, name="uncut")

    def note_but_the_end(self: Recorder, kind: str, step: int, **details: object) -> None:
        if kind == "ended":
            raise Cut
        note(self, kind, step, **details)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "note", note_but_the_end)
        with pytest.raises(Cut):
            fit(recipe, runs=tmp_path, name="cut")
    assert_same_run(resume(tmp_path / "cut"), uncut)


def test_early_stopping_did_stop_the_run_that_is_resumed_above(tmp_path):
    run = fit(VARIANTS["schedule and early stopping"], runs=tmp_path)
    assert run.status == "early stopped"
    assert run.steps < STEPS


def test_a_run_cut_many_times_equals_the_uncut_one(tmp_path):
    uncut = fit(PLAIN, runs=tmp_path, name="uncut")
    for turn, step in enumerate([3, 9, 10, 21, 22, 23, 35]):
        with pytest.raises(Cut), cutting(step, sudden):
            fit(PLAIN, runs=tmp_path, name="cut") if turn == 0 else resume(tmp_path / "cut")
    assert_same_run(resume(tmp_path / "cut"), uncut)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(tmp_path):
    uncut = fit(PLAIN, runs=tmp_path, name="uncut")
    with pytest.raises(Cut), cutting(30, sudden):
        fit(PLAIN, runs=tmp_path, name="cut")
    newest = max((tmp_path / "cut" / "checkpoints").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:100])
    run = resume(tmp_path / "cut")
    assert_same_run(run, uncut)
    (note,) = run.notes("resumed")
    assert note.step == 24
    assert f"{newest.name} is damaged" in note.details["sentence"]


def test_a_finished_run_is_not_resumed(tmp_path):
    run = fit(PLAIN, runs=tmp_path)
    with pytest.raises(RunError, match=r"has ended \(finished\): there is nothing to resume"):
        resume(run.folder)


def test_a_run_that_is_being_written_is_refused_naming_the_writer(tmp_path):
    with Recorder(tmp_path / "busy", PLAIN), pytest.raises(RunBusyError, match=f"process {os.getpid()}"):
        resume(tmp_path / "busy")


def test_resuming_leaves_the_callers_random_numbers_and_threads_alone(tmp_path):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with cutting(9, ctrl_c):
        run = fit(PLAIN.but(dropout=0.5), runs=tmp_path)
    resume(run.folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


KILLER = """
import os, random, signal, sys, time
import torch
from pathlib import Path
from descend.recipe import Recipe
from descend.train.fit import fit, resume

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
recipe = Recipe.from_json(sys.argv[3])
torch.set_num_threads(1)
# what a child needs is imported now, so that it trains at once
fit(recipe.but(checkpoint_every=1000), runs=folder, name="uncut")
run, draw = folder / "killed", random.Random(0)

def saved():
    return set((run / "checkpoints").glob("*.manifest"))

for _ in range(kills):
    before = saved()
    child = os.fork()
    if not child:
        resume(run) if run.exists() else fit(recipe, runs=folder, name="killed")
        os._exit(0)
    while saved() == before:  # until it has resumed and saves at every step
        time.sleep(0.001)
    time.sleep(draw.uniform(0.0, 0.01))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it ended before it was killed"
resume(run)
"""


@pytest.mark.slow
def test_a_run_killed_200_times_while_it_saves_resumes_by_itself_every_time(tmp_path):
    recipe = VARIANTS["dropout and batch norm"].but(checkpoint_every=1, steps=2500, evaluate_every=50)
    subprocess.run([sys.executable, "-c", KILLER, str(tmp_path), "200", recipe.to_json()], check=True, timeout=500)
    killed = Run(tmp_path / "killed")
    assert_same_run(killed, Run(tmp_path / "uncut"))
    assert len(killed.notes("resumed")) == 200
    assert len({note.step for note in killed.notes("resumed")}) == 200, "each got further than the one before"


def test_a_run_whose_data_has_changed_is_not_resumed(tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("x,y\n" + "".join(f"{x / 7:.3f},{7 * x % 13}\n" for x in range(40)))
    recipe = Recipe(data="table", file=str(rows), target="y", steps=20, batch_size=8)
    with pytest.raises(Cut), cutting(9, sudden):
        fit(recipe, runs=tmp_path, name="cut")
    rows.write_text(rows.read_text().replace("1.429,", "1.5,"))
    with pytest.raises(RunError, match="has changed since it began"):
        resume(tmp_path / "cut")
