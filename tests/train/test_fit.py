"""The loop against a plain PyTorch loop, and what it promises around it."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from descend.catalog import DATA
from descend.comparison import BATCH_SIZES
from descend.errors import RecipeError, RunError
from descend.recipe import Recipe
from descend.run import Run
from descend.train import checkpoint
from descend.train import fit as fit_module
from descend.train.build import build
from descend.train.fit import fit, load, load_model

BONUS = Recipe(lr=0.001, batch_size=30, steps=12, seed=1, dtype="float64", scale="standard", monitor_every=5)
MOONS = Recipe(
    data="moons", rows=60, validation=0.25, model="mlp", width=8, optimizer="adam", lr=0.01, batch_size=16, epochs=5
)


@pytest.fixture
def train(tmp_path):
    return lambda recipe: fit(recipe, runs=tmp_path)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in load(run).model.named_parameters()}


def by_hand(recipe: Recipe, loss_weight) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The same training, written as anybody would with torch alone, on the same initial weights and batches."""
    torch.manual_seed(recipe.seed)
    parts = build(recipe)
    model = parts.model
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe["lr"])
    losses = []
    for inputs, targets in itertools.islice(parts.batches.after(0), parts.steps):
        loss = nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        (loss * loss_weight(len(inputs))).backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, dict(model.named_parameters())


@pytest.mark.parametrize(
    ("last_batch", "weight"),
    [("weighted", lambda rows: rows / 30), ("unweighted", lambda rows: 1.0), ("dropped", lambda rows: 1.0)],
)
def test_fit_equals_a_plain_pytorch_loop(train, last_batch, weight):
    recipe = BONUS.but(last_batch=last_batch)
    run = train(recipe)
    losses, expected = by_hand(recipe, weight)
    # in float64 the two differ by the rounding of a few operations at each of 12 steps
    np.testing.assert_allclose(run.series("loss/batch").y, losses, rtol=1e-12)
    for name, parameter in weights(run).items():
        torch.testing.assert_close(parameter, expected[name].detach(), rtol=1e-12, atol=1e-14)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 40), st.sampled_from(["sgd", "adam"]))
def test_accumulation_equals_the_whole_batch_on_ragged_splits(tmp_path_factory, micro_batch, optimizer):
    recipe = BONUS.but(optimizer=optimizer, lr=0.01, steps=5)
    whole = fit(recipe, runs=tmp_path_factory.mktemp("runs"))
    pieces = fit(recipe.but(micro_batch=micro_batch), runs=tmp_path_factory.mktemp("runs"))
    np.testing.assert_allclose(pieces.series("loss/batch").y, whole.series("loss/batch").y, rtol=1e-11)
    for name, parameter in weights(pieces).items():
        torch.testing.assert_close(parameter, weights(whole)[name], rtol=1e-10, atol=1e-12)


def test_an_unweighted_last_batch_raises_the_floor(train):
    """100 rows in batches of 33 leave one row over, which then counts as much as 33 others (course: 446 times)."""
    noisy = Recipe(noise=5.0, scale="standard", batch_size=33, lr=0.05, epochs=300, dtype="float64", monitors="none")
    inputs = DATA["employee_bonus"](noise=5.0, scale="standard").train
    design = torch.cat([inputs.inputs.double(), torch.ones(100, 1, dtype=torch.float64)], dim=1)
    residual = inputs.targets.double() - design @ torch.linalg.lstsq(design, inputs.targets.double()).solution
    least = residual.square().mean().item()

    def floor(last_batch: str) -> float:
        losses = train(noisy.but(last_batch=last_batch)).series("loss/train").y
        return losses[len(losses) // 2 :].mean() - least

    assert floor("unweighted") > 20 * floor("dropped")


@pytest.mark.slow
def test_the_three_batch_sizes_recover_the_true_weights(train):
    for recipe in BATCH_SIZES.values():
        run = train(recipe)
        assert run.status == "target reached"
        (truth,) = run.notes("truth")
        for feature, value in truth.details["values"].items():
            assert run.last(f"learned/{feature}") == pytest.approx(value, abs=1e-3)


def test_a_learning_rate_beyond_the_limit_is_noted_with_the_number_and_diverges(train):
    run = train(Recipe(lr=0.01, batch_size="all", steps=400))
    (limit,) = run.notes("limit")
    assert limit.details["beyond"]
    assert "0.01 is beyond the stability limit 0.007863" in limit.details["sentence"]
    losses = run.series("loss/batch").y
    # once the steepest direction dominates, each update multiplies the loss by (1 - lr lambda_max)^2 = 2.383
    assert losses[50] / losses[49] == pytest.approx(2.383, rel=1e-3)
    assert run.status == "non-finite"
    assert math.isinf(run.last("loss/batch")), "an infinite loss is recorded as such"


def test_a_run_of_steps_ends_after_as_many_updates_and_evaluates_there(train):
    run = train(BONUS)
    assert run.steps == 12
    assert run.series("loss/batch").x.tolist() == list(range(1, 13))
    assert run.series("loss/train").x[[0, -1]].tolist() == [0, 12]
    assert run.series("loss/batch", "examples").x[[0, 3, -1]].tolist() == [30, 100, 300]
    assert run.status == "finished"


def test_early_stopping_restores_the_best_weights(train):
    run = train(MOONS.but(epochs=60, lr=0.3, patience=3, evaluate_every=3))
    (ended,) = run.notes("ended")
    assert run.status == "early stopped"
    assert ended.details["best_step"] == run.steps - 3 * 3
    losses = run.series("loss/validation")
    assert ended.details["best_loss"] == losses.y.min()
    parts = load(run)
    with torch.no_grad():
        outputs = parts.model.eval()(parts.dataset.validation.inputs)
    loss = parts.loss(outputs, parts.dataset.validation.targets).item()
    assert loss == pytest.approx(losses.y.min(), rel=1e-6)


def test_training_is_the_same_with_every_monitor_at_every_step_and_with_none(train):
    watched = train(MOONS.but(monitors="all", monitor_every=1, dropout=0.2, norm="batch"))
    bare = train(MOONS.but(monitors="none", dropout=0.2, norm="batch"))
    assert len(watched.names()) > 20
    assert torch.equal(torch.tensor(watched.series("loss/batch").y), torch.tensor(bare.series("loss/batch").y))
    assert all(torch.equal(value, weights(bare)[name]) for name, value in weights(watched).items())


def test_a_schedule_and_its_warmup_are_recorded_as_the_rate_of_each_step(train):
    run = train(BONUS.but(schedule="linear", warmup=4))
    rates = run.series("lr/0").y / 0.001
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[5:] == pytest.approx(1 - np.arange(1, 8) / 8)


def test_clipping_bounds_the_update(train):
    run = train(BONUS.but(clip_norm=0.5, monitor_every=1))
    assert run.series("clip/norm_before").y.min() > 0.5
    assert run.series("grad_norm/all").y == pytest.approx(run.series("clip/norm_before").y)
    # plain gradient descent moves by lr times the clipped gradient (torch adds 1e-6 to the norm it divides by)
    moved = run.series("update_ratio/all").y * run.series("weight_norm/all").y
    assert moved[1:] == pytest.approx(0.001 * 0.5, rel=0.1)


def test_decay_can_spare_biases(train):
    run = train(MOONS.but(optimizer="adamw", lr=1e-3, weight_decay=0.5, decay_exempt="biases_and_norms"))
    groups = checkpoint.load(run.folder / "checkpoints").state["optimizer"]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]


@pytest.mark.parametrize("data", ["moons", "circles", "digits", "employee_bonus"])
def test_the_same_recipe_gives_the_same_run(train, data):
    recipe = Recipe(data=data, model="mlp", optimizer="momentum", lr=1e-4, steps=20, evaluate_every=10)
    first, second = train(recipe), train(recipe)
    for name in first.names():
        assert np.array_equal(first.series(name).y, second.series(name).y, equal_nan=True), name


def test_training_leaves_the_callers_random_numbers_and_threads_alone(train):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train(MOONS.but(dropout=0.5, threads=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_an_existing_run_is_not_overwritten(tmp_path):
    fit(BONUS, runs=tmp_path, name="mine")
    with pytest.raises(RunError, match="exists already"):
        fit(BONUS, runs=tmp_path, name="mine")
    with pytest.raises(RunError, match="cannot name a run"):
        fit(BONUS, runs=tmp_path, name="../mine")


def test_a_recipe_whose_parts_do_not_fit_writes_nothing(tmp_path):
    for recipe, words in (
        (Recipe(loss="cross_entropy"), "loss is 'cross_entropy', which is for classification"),
        (Recipe(data="digits", model="mlp", loss="bce_with_logits"), "two classes apart, but digits has 10"),
        (Recipe(model="cnn"), "cnn"),
        (Recipe(device="cuda:9"), "device is 'cuda:9'"),
        (Recipe(data="characters", model="rnn", input_noise=0.1), "has tokens for inputs"),
        (MOONS.but(norm="batch", batch_size=11), "batch of 1 row"),
        (MOONS.but(norm="batch", micro_batch=5), "batch of 1 row"),
    ):
        with pytest.raises(RecipeError, match=words):
            fit(recipe, runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failure_is_noted_and_passed_on(train, tmp_path, monkeypatch):
    def fail(parts):
        raise ZeroDivisionError("as an example")

    monkeypatch.setattr(fit_module, "evaluate", fail)
    with pytest.raises(ZeroDivisionError):
        train(BONUS)
    (folder,) = tmp_path.iterdir()
    assert Run(folder).status == "failed"
    assert "as an example" in Run(folder).notes("ended")[0].details["error"]


def test_a_held_out_test_set_is_judged_once_at_the_end(train):
    run = train(MOONS.but(test=0.2, patience=2))
    assert run.series("loss/test").x.tolist() == [run.steps]
    parts = load(run)
    with torch.no_grad():
        outputs = load_model(run)(parts.dataset.test.inputs)
    assert run.last("accuracy/test") == (outputs.argmax(1) == parts.dataset.test.targets).double().mean().item()
