"""A training in several processes is the one in one process, and loses nothing when one of them dies."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from descend.cli._main import descend as cli
from descend.errors import RecipeError, RunError
from descend.recipe import Recipe
from descend.run import Run
from descend.train import parallel
from descend.train.build import build
from descend.train.fit import fit, load_model, resume, torch_to_ourselves, train
from descend.train.team import Team, require_shareable

EXACT = {"dtype": "float64", "threads": 1, "monitor_every": 5}

SMALL = Recipe(data="moons", model="mlp", width=8, optimizer="adam", lr=0.01, steps=12, **EXACT)


def assert_same_run(team: Run, alone: Run, rel: float) -> None:
    """Every series at the same steps with the same values, and the same weights."""
    assert team.status == alone.status
    assert team.names() == alone.names()
    for name in alone.names():
        one, other = team.series(name), alone.series(name)
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_allclose(one.y, other.y, rtol=rel, atol=rel, err_msg=name)
    weights, others = load_model(team).state_dict(), load_model(alone).state_dict()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, others[name], rtol=rel, atol=rel)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "rel"),
    [
        # 80 training rows in batches of 13 leave 2, in micro-batches of 4; norms are clipped and the rate is scheduled
        (
            Recipe(
                data="moons", rows=100, model="mlp", optimizer="adamw", lr=0.01, weight_decay=0.1, batch_size=13,
                micro_batch=4, clip_norm=0.5, schedule="cosine", warmup=5, patience=4, steps=40, evaluate_every=5,
                decay_exempt="biases_and_norms", **EXACT,
            ),
            1e-9,
        ),
        # a batch of one row is left, of which one process has nothing; it diverges, and goes back: with the same losses
        # to fewer digits, as what grows a thousandfold grows with its rounding
        (
            Recipe(
                batch_size=9, lr=0.02, steps=60, non_finite="rewind", rewind_steps=10, input_noise=0.1, **EXACT
            ),
            1e-6,
        ),
    ],
    ids=["uneven batches", "rewinds"],
)  # fmt: skip
def test_two_processes_train_as_one(recipe: Recipe, rel: float, tmp_path: Path) -> None:
    team = parallel.fit(recipe, 2, runs=tmp_path, name="team")
    alone = fit(recipe, runs=tmp_path, name="alone")
    assert_same_run(team, alone, rel)
    assert [note.kind for note in team.notes() if note.kind not in ("facts", "processes")] == [
        note.kind for note in alone.notes() if note.kind != "facts"
    ]
    assert team.notes("processes")[0].details == {"count": 2}


@contextlib.contextmanager
def group_of_one() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def test_a_team_of_one_trains_as_nobody_else_and_the_gradients_stay_in_the_flat_buffer(tmp_path: Path) -> None:
    alone = fit(SMALL, runs=tmp_path, name="alone")
    with group_of_one(), torch_to_ourselves(SMALL.seed):
        parts = build(SMALL)
        held = [parameter.grad for parameter in parts.model.parameters()]
        team = train(parts, tmp_path / "team", False, False, team=Team(parts.model, threading.Event()))
        assert all(parameter.grad is grad for parameter, grad in zip(parts.model.parameters(), held, strict=True))
    assert_same_run(team, alone, 1e-9)


def test_so_it_does_with_an_optimizer_that_has_no_flat_buffer(tmp_path: Path) -> None:
    recipe = Recipe(data="digits", model="cnn", width=4, optimizer="muon", lr=0.01, steps=4, **EXACT)
    with group_of_one(), torch_to_ourselves(recipe.seed):
        parts = build(recipe)
        team = train(parts, tmp_path / "team", False, False, team=Team(parts.model, threading.Event()))
    assert_same_run(team, fit(recipe, runs=tmp_path, name="alone"), 1e-9)


def test_a_team_that_was_asked_to_stop_ends_after_the_next_step(tmp_path: Path) -> None:
    with group_of_one(), torch_to_ourselves(SMALL.seed):
        parts, asked = build(SMALL), threading.Event()
        asked.set()
        run = train(parts, tmp_path / "team", False, False, team=Team(parts.model, asked))
    assert (run.status, run.steps) == ("interrupted", 1)
    assert resume(run.folder).status == "finished"
    assert_same_run(run, fit(SMALL, runs=tmp_path, name="alone"), 1e-9)


@given(rows=st.integers(1, 40), processes=st.integers(1, 7), size=st.integers(1, 9))
def test_the_pieces_of_all_processes_are_the_batch(rows: int, processes: int, size: int) -> None:
    seen, shares, synced = [], 0.0, 0
    for rank in range(processes):
        open_now: list[bool] = []

        @contextlib.contextmanager
        def no_sync(open_now: list[bool] = open_now) -> Iterator[None]:
            open_now.append(True)
            yield
            open_now.pop()

        team: Any = SimpleNamespace(rank=rank, size=processes, _ddp=SimpleNamespace(no_sync=no_sync))
        batch = torch.arange(rows)[:, None].double()
        for piece, answers, share in Team.pieces(team, batch, batch[:, 0], size):
            assert torch.equal(piece[:, 0], answers)
            assert 1 <= len(piece) <= size
            seen += piece[:, 0].tolist() if share else []
            shares += share
            synced += not open_now
            assert share in (0.0, len(piece) / rows)
    assert seen == list(range(rows))
    assert shares == pytest.approx(1)
    assert synced == processes  # each process adds its gradients to the others' once


# --- what dies, and what is refused -----------------------------------------------------------------------------------


LONG = Recipe(data="moons", model="mlp", width=8, steps=1500, checkpoint_every=20, evaluate_every=1000, **EXACT)


def begun(*line: str, folder: Path) -> subprocess.Popen[str]:
    program = "from descend.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *line], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def workers(launcher: int) -> list[int]:
    """The processes of a training, by rank."""
    found = subprocess.run(["pgrep", "-P", str(launcher)], capture_output=True, text=True, check=False).stdout.split()
    ranks = {}
    for pid in found:
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
            ranks[int(next(line[5:] for line in environment if line.startswith("RANK=")))] = int(pid)
    return [ranks[rank] for rank in sorted(ranks)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the processes to kill in /proc")
def test_a_killed_process_costs_one_sentence_and_nothing_that_was_saved(tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text(LONG.to_toml())
    first = begun("train", "--recipe", "long.toml", "--name", "cut", "--nproc", "2", "--quiet", folder=tmp_path)
    run = tmp_path / "runs" / "cut"
    until(lambda: any((run / "checkpoints").glob("*.manifest")))
    os.kill(workers(first.pid)[1], signal.SIGKILL)
    out, errors = first.communicate(timeout=120)
    assert first.returncode == 2
    assert out == ""
    assert errors.count("\n") == 1
    assert re.fullmatch(
        r"Error: Process 2 of 2 was killed \(SIGKILL\) after step [\d,]+; everything up to the last checkpoint is "
        r"kept\. Go on: descend resume runs/cut --nproc 2\n",
        errors,
    )
    cut = Run(run)
    assert cut.status in ("failed", "killed")
    saved = cut.steps // 20 * 20 - 20  # the checkpoint of the last multiple may have been under way

    second = begun("resume", "cut", "--nproc", "2", "--quiet", folder=tmp_path)
    until(lambda: bool(Run(run).notes("resumed")) and Run(run).steps > saved + 40)
    os.kill(second.pid, signal.SIGINT)
    out, errors = second.communicate(timeout=120)
    assert (second.returncode, out) == (130, "")
    assert errors == "Interrupted, with everything saved. Go on: descend resume runs/cut\n"
    assert Run(run).notes("resumed")[0].step >= saved

    assert_same_run(resume(run), fit(LONG, runs=tmp_path, name="uncut"), 1e-9)


@pytest.mark.parametrize(
    ("change", "processes", "sentence"),
    [
        ({}, 0, "nproc is 0, but must be from 1 to 32, the rows of a batch"),
        ({"batch_size": 3}, 4, "nproc is 4, but must be from 1 to 3, the rows of a batch"),
        ({"norm": "batch"}, 2, "Batch norm takes means over the rows of a whole batch"),
        ({"dropout": 0.2}, 2, "Dropout of 0.2 would draw other numbers in each process than in one"),
    ],
)
def test_what_could_not_be_the_same_run_is_refused_before_anything_is_written(
    change: dict[str, Any], processes: int, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=re.escape(sentence)):
        parallel.fit(SMALL.but(**change), processes, runs=tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("device", "count"), [("cuda:1", 4), ("mps", 4), ("cuda", 1)])
def test_a_device_without_room_for_all_is_refused(device: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    asked = SMALL.but(device=device)
    parts = dataclasses.replace(build(SMALL), recipe=asked, device=torch.device(device.partition(":")[0]))
    with pytest.raises(RecipeError, match="one process has room" if count == 4 else "there are 1 GPUs"):
        require_shareable(parts, 2)


def test_a_run_that_has_ended_is_not_resumed_by_several_either(tmp_path: Path) -> None:
    run = fit(SMALL, runs=tmp_path)
    with pytest.raises(RunError, match="has ended"):
        parallel.resume(run.folder, 2)


def test_the_command_line_says_what_is_wrong_with_nproc() -> None:
    result = CliRunner().invoke(cli, ["train", "moons", "--nproc", "33"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "must be from 1 to 32" in result.stderr
