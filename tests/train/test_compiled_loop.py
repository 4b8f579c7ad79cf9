"""Long runs of plain networks go by a compiled loop, and are the runs that they would be without it."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from descend import MissingExtraError, Recipe, Run, fit, load_model, resume
from descend.train import compiled
from descend.train.compiled import CompiledLoop

MLP = Recipe(data="moons", rows=60, model="mlp", width=8, steps=150, dtype="float64", monitor_every=11, seed=3)
LINEAR = Recipe(rows=40, steps=150, lr=1e-3, dtype="float64", batch_size=7)

KINDS = {
    "sgd": MLP,
    "adam, clipped, on a schedule": MLP.but(optimizer="adam", lr=0.02, clip_norm=0.5, schedule="cosine", warmup=5),
    "adamw, layers of their own": MLP.but(
        optimizer="adamw", lr=0.01, layer_lrs="hidden.0=0.03", decay_exempt="biases_and_norms", weight_decay=0.1
    ),
    "rmsprop, early stopping": MLP.but(optimizer="rmsprop", lr=0.1, patience=2),
    "linear, no monitors": LINEAR.but(monitors="none"),
    "linear, momentum, checkpoints": LINEAR.but(optimizer="momentum", checkpoint_every=40),
}


def compiled_fit(recipe: Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch, at_once: int = 10**9) -> Run:
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "LEAST_STEPS", 1)
        patch.setattr(compiled, "AT_ONCE", at_once)
        run = fit(recipe, runs=folder)
    assert run.notes("started")[0].details["lane"] == "compiled"
    return run


def series(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Steps, examples and values of every series."""
    return {
        name: (run.series(name).x, run.series(name, "examples").x, run.series(name).y) for name in sorted(run.names())
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_by_compiled_loops_is_the_run_without(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = compiled_fit(KINDS[kind], tmp_path, monkeypatch), fit(KINDS[kind], runs=tmp_path)
    assert "lane" not in theirs.notes("started")[0].details
    assert (ours.status, ours.steps) == (theirs.status, theirs.steps)
    assert [(note.kind, note.step) for note in ours.notes()] == [(note.kind, note.step) for note in theirs.notes()]
    ours_series, theirs_series = series(ours), series(theirs)
    assert ours_series.keys() == theirs_series.keys()
    for name, (steps, examples, values) in theirs_series.items():
        np.testing.assert_array_equal(ours_series[name][0], steps)
        np.testing.assert_array_equal(ours_series[name][1], examples)
        np.testing.assert_allclose(ours_series[name][2], values, rtol=1e-7, atol=1e-10, err_msg=name)
    torch.testing.assert_close(load_model(ours).state_dict(), load_model(theirs).state_dict(), rtol=1e-8, atol=1e-10)


def test_however_the_steps_are_cut_the_bits_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = MLP.but(optimizer="adam", lr=0.02)
    whole, cut = (compiled_fit(recipe, tmp_path, monkeypatch, at_once) for at_once in (10**9, 10**5))
    for name, parts in series(whole).items():
        for ours, theirs in zip(parts, series(cut)[name], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = MLP.but(optimizer="adam", lr=0.02, checkpoint_every=10)
    uncut = compiled_fit(recipe, tmp_path, monkeypatch)
    advance = CompiledLoop.advance

    def stopping(loop: CompiledLoop, done: int, steps: int) -> compiled.Made:
        if done > 60:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(loop, done, steps)

    with monkeypatch.context() as patch:
        patch.setattr(CompiledLoop, "advance", stopping)
        stopped = compiled_fit(recipe, tmp_path, monkeypatch)
    assert stopped.status == "interrupted"
    assert 60 < stopped.steps < 150
    resumed = resume(stopped.folder)  # the run says how it is trained, whatever a new one would be
    for name, parts in series(uncut).items():
        for ours, theirs in zip(parts, series(resumed)[name], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    ours, theirs = load_model(resumed).state_dict(), load_model(uncut).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_step_that_cannot_be_taken_is_named_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = LINEAR.but(lr=10.0, dtype="float32", steps=400)
    ours, theirs = compiled_fit(recipe, tmp_path, monkeypatch), fit(recipe, runs=tmp_path)
    assert (ours.status, ours.steps) == (theirs.status, theirs.steps) == ("non-finite", ours.steps)
    assert ours.notes("non_finite")[0].details == theirs.notes("non_finite")[0].details


def test_short_runs_and_other_networks_are_left_to_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "lane" not in fit(MLP, runs=tmp_path).notes("started")[0].details
    monkeypatch.setattr(compiled, "LEAST_STEPS", 1)
    assert "lane" not in fit(MLP.but(norm="layer"), runs=tmp_path).notes("started")[0].details


def test_without_numba_a_new_run_goes_without_and_one_begun_with_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = MLP.but(checkpoint_every=10)
    begun = compiled_fit(recipe, tmp_path, monkeypatch)
    (begun.folder / "notes.jsonl").write_text(  # as a kill before the end leaves it
        "".join(f"{line}\n" for line in (begun.folder / "notes.jsonl").read_text().splitlines()[:-1])
    )
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numba" else find_spec(name))
    monkeypatch.setattr(compiled, "LEAST_STEPS", 1)
    assert "lane" not in fit(recipe, runs=tmp_path).notes("started")[0].details
    with pytest.raises(MissingExtraError, match=r"pip install 'descend\[fast\]'"):
        resume(begun.folder)
