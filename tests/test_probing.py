"""A fork is what `fit` would have done with that one thing changed; nothing else is touched."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import descend
from descend.catalog import CHECKS
from descend.doctor._chart import Chart
from descend.doctor._judge import judge
from descend.doctor._probe import beside, further, lost
from descend.errors import RunError
from descend.probing import _permuted, probe
from descend.recipe import Recipe
from descend.run import Recorder, Run
from descend.train.build import build
from descend.train.fit import fit

MOONS = Recipe(data="moons", model="mlp", width=16, lr=0.2, steps=40, evaluate_every=40)

CLOSE = 1e-5  # plain networks are trained by hand and forks by autograd, which differ in float32's rounding


def forks(run, steps=40):
    return probe(run, steps=steps)["probe"]


def without_checkpoint(recipe, tmp_path):
    """A run of which nothing but the recipe is left, so that every fork begins at the start."""
    with Recorder(tmp_path / "bare", recipe) as recorder:
        recorder.note("ended", 0, why="failed")
    return Run(tmp_path / "bare")


def trained(recipe, tmp_path):
    """Mean of the first and last ten batch losses, and the training loss at the end."""
    run = fit(recipe, runs=tmp_path)
    batch = run.series("loss/batch").y
    return batch[:10].mean(), batch[-10:].mean(), run.last("loss/train")


@pytest.mark.parametrize(
    ("name", "base", "change"),
    [
        ("baseline", MOONS, {}),
        ("fresh", MOONS, {}),
        ("lr_up", MOONS, {"lr": 0.2 * 3}),
        ("lr_down", MOONS, {"lr": 0.2 / 3}),
        ("batch_up", MOONS, {"batch_size": 256}),
        ("scaled", MOONS.but(optimizer="adam", lr=0.01), {"scale": "standard"}),
        ("plain", MOONS.but(dropout=0.5), {"dropout": 0.0}),
        ("plain", MOONS.but(weight_decay=0.3), {"weight_decay": 0.0}),
        ("baseline", MOONS.but(dropout=0.5, clip_norm=0.1), {}),
        ("lr_up", MOONS.but(optimizer="adam", lr=1e-3, clip_value=0.01), {"lr": 3e-3}),
    ],
)
def test_a_fork_from_the_start_is_a_training_with_that_one_thing_changed(name, base, change, tmp_path):
    fork = forks(without_checkpoint(base, tmp_path))[name]
    first, last, train = trained(base.but(**change), tmp_path)
    assert fork["loss_first"] == pytest.approx(first, rel=CLOSE)
    assert fork["loss_last"] == pytest.approx(last, rel=CLOSE)
    assert fork["loss_train"] == pytest.approx(train, rel=CLOSE)
    assert (fork["steps"], fork["after"]) == (40, 0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "momentum"])
def test_a_fork_goes_on_where_the_run_stood(optimizer, tmp_path):
    recipe = MOONS.but(optimizer=optimizer, lr=0.01)
    short, long = fit(recipe.but(steps=60), runs=tmp_path), fit(recipe.but(steps=100), runs=tmp_path)
    fork = forks(short)["baseline"]
    assert fork["after"] == 60
    assert fork["loss_start"] == pytest.approx(short.last("loss/train"), rel=CLOSE)
    assert fork["loss_train"] == pytest.approx(long.last("loss/train"), rel=CLOSE)


def test_a_fork_without_decay_forgets_the_decay_that_was_saved_with_the_optimizer(tmp_path):
    recipe = MOONS.but(optimizer="adamw", lr=0.01, weight_decay=5.0)
    found = forks(fit(recipe, runs=tmp_path))
    assert found["plain"]["loss_train"] < 0.9 * found["baseline"]["loss_train"]
    without = recipe.but(weight_decay=0.0)
    found = forks(fit(without, runs=tmp_path))
    assert "plain" not in found


def test_a_run_that_diverged_is_forked_from_the_start(tmp_path):
    run = fit(MOONS.but(lr=1e6), runs=tmp_path)
    found = forks(run)
    assert run.status == "non-finite"
    assert {fork["after"] for fork in found.values()} == {0}
    assert found["baseline"]["loss_train"] == math.inf
    assert found["baseline"] == found["fresh"]


def test_forks_that_change_nothing_are_left_out(tmp_path):
    full = forks(fit(MOONS.but(batch_size="all", scale="standard"), runs=tmp_path), steps=2)
    assert full.keys() == {"baseline", "lr_up", "lr_down", "fresh", "permuted"}
    tokens = Recipe(data="characters", rows=60, context=8, model="transformer", width=8, heads=2, steps=2)
    assert "scaled" not in forks(fit(tokens, runs=tmp_path), steps=2)


def test_scaled_inputs_are_trained_as_far_below_the_limit_as_the_inputs_as_they_are(tmp_path):
    raw = Recipe(lr=1e-3, steps=40)  # employee bonus, a linear model
    scaled = fit(raw.but(scale="standard"), runs=tmp_path)
    run = fit(raw, runs=tmp_path)
    share = 1e-3 / run.notes("limit")[0].details["limit"]
    fork = forks(run)["scaled"]
    assert fork["lr"] == pytest.approx(share * scaled.notes("limit")[0].details["limit"], rel=1e-5)
    assert fork["loss_train"] < 0.5 * forks(run)["fresh"]["loss_train"]


def test_the_median_rate_of_a_schedule_is_taken(tmp_path):
    run = fit(MOONS.but(schedule="cosine"), runs=tmp_path)
    assert forks(run, steps=2)["lr_up"]["lr"] == pytest.approx(3 * np.median(run.series("lr/0").y))


def test_a_permuted_target_is_that_of_another_row():
    parts = build(MOONS.but(data="sines", model="mlp"))
    permuted, _ = _permuted(parts)
    assert torch.equal(permuted.inputs, parts.dataset.train.inputs)
    assert torch.equal(permuted.targets.sort(0).values, parts.dataset.train.targets.sort(0).values)
    assert (permuted.targets != parts.dataset.train.targets).float().mean() > 0.9


def test_forks_leave_the_run_the_random_numbers_and_the_threads_alone(tmp_path):
    run = fit(MOONS.but(dropout=0.5), runs=tmp_path)
    files = {file: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert forks(run) == forks(run)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert {file: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()} == files


def test_a_run_whose_checkpoints_are_damaged_is_forked_from_the_start(tmp_path):
    run = fit(MOONS, runs=tmp_path)
    for manifest in run.folder.glob("checkpoints/*.manifest"):
        manifest.write_bytes(b"0" + manifest.read_bytes())
    assert forks(run, steps=2)["baseline"]["after"] == 0


def test_a_watched_run_is_refused_with_what_to_do(tmp_path):
    with Recorder(tmp_path / "own", {"lr": 0.1}):
        pass
    with pytest.raises(RunError, match=r"own is the record of a training loop of your own.*Change one thing"):
        probe(Run(tmp_path / "own"))


ASKING = [
    name
    for name in CHECKS
    if "_probe import" in (Path(str(descend.__file__)).parent / "doctor" / f"{name}.py").read_text()
    and CHECKS[name].sick.fault is CHECKS[name].near_miss.fault is None
]
"""Checks that ask the forks, and whose examples are recipes."""


@pytest.mark.parametrize("name", ASKING)
def test_forks_make_a_check_as_sure_or_surer_and_raise_no_alarm(name, tmp_path):
    sick, healthy = (fit(example.recipe, runs=tmp_path) for example in (CHECKS[name].sick, CHECKS[name].near_miss))
    (before,) = judge(Chart(sick), [name]).findings
    (after,) = judge(Chart(sick, probe(sick)), [name]).findings
    assert after.sure >= before.sure
    assert judge(Chart(healthy, probe(healthy)), [name]).healthy


def test_a_fork_settles_that_the_rate_is_too_low(tmp_path):
    run = fit(CHECKS["lr_too_low"].sick.recipe, runs=tmp_path)
    (finding,) = judge(Chart(run, probe(run)), ["lr_too_low"]).findings
    assert "facts/probe/lr_up" in {piece.series for piece in finding.evidence}


def chart(**losses):
    return Chart(
        None, {"probe": {name: {"loss_start": first, "loss_train": end} for name, (first, end) in losses.items()}}
    )


def test_forks_are_read_as_shares():
    found = chart(baseline=(2.0, 1.0), lr_down=(2.0, 0.25), fresh=(4.0, 3.0), scaled=(4.0, 1.0))
    assert beside(found, "lr_down") == 0.25
    assert beside(found, "scaled") == pytest.approx(1 / 3)
    assert lost(found, "lr_down") == 0.875
    assert further(found, "lr_down") == 1.75
    assert further(found, "scaled") == 3.0
    assert (beside(found, "plain"), lost(found, "plain"), further(found, "plain")) == (None, None, None)


def test_a_fork_that_diverged_is_the_worst():
    found = chart(baseline=(1.0, math.inf), lr_down=(1.0, 0.5), lr_up=(1.0, math.inf))
    assert beside(found, "lr_down") == 0.0
    assert beside(found, "lr_up") == 1.0
    assert lost(found, "lr_up") == -math.inf
    assert further(found, "lr_down") is None
