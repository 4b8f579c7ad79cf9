"""The vmap lane: a run among others is the run that `fit` makes of its recipe alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

import descend
from descend.catalog import MODELS, OPTIMIZERS
from descend.recipe import Recipe
from descend.sweeping._cohort import Cohort, cohorts
from descend.sweeping._stack import Losses
from descend.sweeping._vmappable import vmappable
from descend.sweeping.together import TogetherStack, runs_at_once, why_not
from descend.train.fit import load_model

STEPS = 8
COMMON = {"steps": STEPS, "dtype": "float64", "monitors": "none", "lr": 0.01, "evaluate_every": STEPS}
IMAGES = {"data": "digits"}
SEQUENCES = {"data": "adding", "rows": 100, "length": 6}
TOKENS = {"data": "characters", "rows": 50, "context": 6}
WILD = {"optimizer": "sgd", "lr": 1e200, "weight_decay": 1e200}  # the decay alone overflows: gates are bounded

NETWORKS = {
    "linear": Recipe(data="employee_bonus", model="linear", **COMMON),
    "mlp": Recipe(**IMAGES, model="mlp", width=8, loss="cross_entropy", label_smoothing=0.1, **COMMON),
    "mlp with batch norm": Recipe(**IMAGES, model="mlp", width=8, norm="batch", residual=True, **COMMON),
    "mlp with layer norm": Recipe(**IMAGES, model="mlp", width=8, norm="layer", activation="gelu", **COMMON),
    "cnn": Recipe(**IMAGES, model="cnn", width=4, **COMMON),
    "cnn with batch norm": Recipe(**IMAGES, model="cnn", width=4, norm="batch", residual=True, **COMMON),
    "cnn with layer norm": Recipe(**IMAGES, model="cnn", width=4, norm="layer", activation="tanh", **COMMON),
    "tanh": Recipe(**SEQUENCES, model="rnn", width=4, cell="tanh", depth=2, **COMMON),
    "gru": Recipe(**SEQUENCES, model="rnn", width=4, cell="gru", loss="huber", **COMMON),
    "lstm": Recipe(**TOKENS, model="rnn", width=4, cell="lstm", **COMMON),
    "transformer": Recipe(**TOKENS, model="transformer", width=4, heads=2, depth=1, **COMMON),
    "transformer on vectors": Recipe(
        **SEQUENCES,
        model="transformer",
        width=4,
        heads=2,
        depth=1,
        norm="none",
        positions="sinusoidal",
        loss="mae",
        **COMMON,
    ),
}


def of_all_optimizers(base: Recipe) -> list[Recipe]:
    """A run of each optimizer, of two seeds."""
    return [base.but(optimizer=name, seed=number % 2) for number, name in enumerate(OPTIMIZERS)]


def cohort_of(recipes: list[Recipe]) -> Cohort:
    (cohort,) = cohorts(recipes, lambda parts, recipe: ("together", why_not(parts, recipe)))
    assert not cohort.why
    return cohort


def assert_equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12, equal_nan=True)


def assert_the_runs_of_fit(cohort: Cohort, stack: TogetherStack, losses: Losses, folder: Path) -> None:
    state = stack.parameters | stack.buffers
    for number, recipe in enumerate(cohort.recipes):
        run = descend.fit(recipe, runs=folder)
        died = int(stack.died[number])
        assert (run.status == "non-finite") == bool(died)
        series = {"loss/batch": losses.losses[:, number]}
        if "clip/norm_before" in run.names():
            assert losses.norms is not None
            series["clip/norm_before"] = losses.norms[:, number]
        for name, values in series.items():
            steps = run.series(name).x.astype(int) - 1
            assert_equal(values[steps], torch.from_numpy(run.series(name).y))
            assert int(values.isnan().sum()) == STEPS - len(steps) + int(values[steps].isnan().sum())
        if died:
            assert run.series("loss/batch").x[-1] == died
        else:
            for name, value in load_model(run).state_dict().items():
                assert_equal(state[name][number], value)


def test_every_model_of_the_catalog_is_here():
    assert {recipe.model for recipe in NETWORKS.values()} == set(MODELS)


@pytest.mark.parametrize("network", NETWORKS)
def test_runs_together_are_those_that_fit_makes_one_by_one_and_one_that_diverges_disturbs_none(network, tmp_path):
    base = NETWORKS[network]
    cohort = cohort_of([*of_all_optimizers(base), base.but(**WILD)])
    stack = TogetherStack(cohort)
    losses = stack.advance(STEPS)
    assert int((stack.died > 0).sum()) == 1
    assert_the_runs_of_fit(cohort, stack, losses, tmp_path)


def test_clipping_schedules_rates_of_layers_and_decay_are_each_runs_own(tmp_path):
    base = NETWORKS["mlp with layer norm"].but(batch_size=1000, input_noise=0.1)  # the second batch has 438 rows
    cohort = cohort_of(
        [
            base.but(clip_norm=0.1),
            base.but(clip_value=0.001, schedule="cosine", warmup=3),
            base.but(decay_exempt="biases_and_norms", weight_decay=0.5),
            base.but(optimizer="adamw", layer_lrs="hidden.0=0.1,head=0.001", weight_decay=0.5),
            base.but(optimizer="adamw", decay_exempt="biases_and_norms", schedule="step", seed=3, clip_norm=0.5),
            base.but(optimizer="muon", ns_steps=3),
            base.but(optimizer="muon", ns_steps=5, layer_lrs="hidden=0.1", decay_exempt="biases_and_norms"),
            base.but(optimizer="muon", ns_steps=3, init="he_normal"),
        ]
    )
    stack = TogetherStack(cohort)
    assert_the_runs_of_fit(cohort, stack, stack.advance(STEPS), tmp_path)


def test_class_weights_and_an_unweighted_last_batch_are_those_of_fit(tmp_path):
    base = Recipe(data="blobs", model="mlp", width=4, batch_size=300, last_batch="unweighted", **COMMON)
    cohort = cohort_of(of_all_optimizers(base))
    stack = TogetherStack(cohort)
    assert_the_runs_of_fit(cohort, stack, stack.advance(STEPS), tmp_path)


@pytest.mark.parametrize("network", ["mlp with batch norm", "lstm"])
def test_steps_cut_into_calls_give_the_same_bits(network):
    base = NETWORKS[network]
    cohort = cohort_of([*of_all_optimizers(base.but(clip_norm=0.5)), base.but(**WILD)])
    whole, cut = TogetherStack(cohort), TogetherStack(cohort)
    at_once = whole.advance(STEPS)
    pieces = [cut.advance(steps) for steps in (1, 4, 0, 3)]
    for field in ("losses", "norms"):
        joined = torch.cat([getattr(piece, field) for piece in pieces])
        torch.testing.assert_close(joined, getattr(at_once, field), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(whole.died, cut.died)
    ours, theirs = (stack.parameters | stack.buffers for stack in (whole, cut))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_record_of_a_step_gives_the_bits_that_the_step_itself_gives(monkeypatch):
    cohort = cohort_of(of_all_optimizers(NETWORKS["cnn with batch norm"]))
    played = TogetherStack(cohort)
    monkeypatch.setattr("descend.sweeping.together.SMALL", 0)
    stepped = TogetherStack(cohort)
    assert torch.equal(played.advance(STEPS).losses, stepped.advance(STEPS).losses)
    ours, theirs = (stack.parameters | stack.buffers for stack in (played, stepped))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_stacks_in_several_threads_do_not_disturb_each_other():
    cohort = cohort_of(of_all_optimizers(NETWORKS["mlp with batch norm"]))
    chunks = list(cohort.chunks(3))
    with ThreadPoolExecutor(len(chunks)) as threads:
        at_once = list(threads.map(lambda chunk: TogetherStack(chunk).advance(STEPS).losses, chunks))
    in_turn = [TogetherStack(chunk).advance(STEPS).losses for chunk in chunks]
    assert all(torch.equal(one, other) for one, other in zip(in_turn, at_once, strict=True))


def test_runs_that_are_kept_go_on_as_if_the_others_had_never_left():
    base = NETWORKS["mlp with batch norm"].but(clip_norm=0.5)
    cohort = cohort_of([*of_all_optimizers(base), base.but(optimizer="muon", ns_steps=3, seed=1), base.but(**WILD)])
    all_of_them, some = TogetherStack(cohort), TogetherStack(cohort)
    everything = all_of_them.advance(STEPS)
    some.advance(3)
    kept = torch.tensor([number for number in range(len(cohort)) if number % 3])
    some.keep(kept)
    losses = some.advance(STEPS - 3)
    assert_equal(losses.losses, everything.losses[3:, kept])
    assert torch.equal(some.died, all_of_them.died[kept])
    for name, values in (all_of_them.parameters | all_of_them.buffers).items():
        assert_equal((some.parameters | some.buffers)[name], values[kept])


def test_a_run_that_dies_keeps_the_weights_that_it_had():
    base = NETWORKS["mlp with batch norm"]
    stack = TogetherStack(cohort_of([base, base.but(**WILD)]))
    step = 0
    while not stack.died[1]:
        before = {name: values[1].clone() for name, values in (stack.parameters | stack.buffers).items()}
        losses = stack.advance(1)
        step += 1
    assert int(stack.died[1]) == step
    stack.advance(2)
    assert all(torch.equal(values[1], before[name]) for name, values in (stack.parameters | stack.buffers).items())
    assert losses.norms is None


def test_in_float32_a_run_is_that_of_fit_to_rounding(tmp_path):
    # hyperparameters are rounded only where they meet the weights: 1 - 0.999 in float32 would be off by 1e-5
    cohort = cohort_of([recipe.but(dtype="float32") for recipe in of_all_optimizers(NETWORKS["mlp with layer norm"])])
    stack = TogetherStack(cohort)
    stack.advance(1)
    for number, recipe in enumerate(cohort.recipes):
        run = descend.fit(recipe.but(steps=1), runs=tmp_path)
        for name, value in load_model(run).state_dict().items():
            torch.testing.assert_close(stack.parameters[name][number], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("layers", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_plain_recurrence_equals_torchs_fused_one(layers, depth):
    torch.manual_seed(0)
    fused = layers(3, 5, num_layers=depth, batch_first=True, dtype=torch.float64)
    inputs = torch.randn(4, 7, 3, dtype=torch.float64, requires_grad=True)
    (ours, our_state), (theirs, their_state) = vmappable(fused)(inputs), fused(inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(our_state, their_state, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad(outputs.square().sum(), inputs)[0] for outputs in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dropout": 0.1}, "Dropout"),
        ({"non_finite": "skip"}, "'skip'"),
        ({"micro_batch": 8}, "micro-batches of 8"),
        ({"width": 1000}, "enough for a core by itself"),
    ],
)
def test_what_cannot_or_should_not_be_batched_is_refused_with_a_reason(changes, reason):
    base = NETWORKS["mlp"].but(**changes)
    (cohort,) = cohorts([base], lambda parts, recipe: ("alone", why_not(parts, recipe)))
    assert reason in cohort.why


def test_the_less_a_step_touches_the_more_runs_are_trained_at_once():
    small, large = (runs_at_once(cohort_of([NETWORKS["linear"].but(batch_size=size)])) for size in (8, 64))
    assert small > large > runs_at_once(cohort_of([NETWORKS["mlp"].but(width=256)])) == 16
