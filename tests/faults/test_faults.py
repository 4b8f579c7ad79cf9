"""The ordinary loop trains as it should, each fault breaks it, and nothing in its record says how."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from descend import faults
from descend.catalog import CHECKS, FAULTS, LOOK_ALIKES, SCHEDULES
from descend.doctor._check import Example
from descend.errors import RecipeError
from descend.faults import HEALTHY, Loop
from descend.faults._loop import clock_of, new_scheduler, ordinary, train
from descend.recipe import Recipe
from descend.run import Run
from descend.schedules import Schedule
from descend.train.fit import fit

DROPOUT = Recipe(data="moons", model="mlp", width=8, dropout=0.2, norm="batch", batch_size=40, lr=0.1, epochs=3)
BINARY = Recipe(data="moons", model="mlp", width=8, loss="bce_with_logits", lr=0.1, epochs=3)
SINES = Recipe(data="sines", model="mlp", width=8, lr=0.1, epochs=3)

RECIPES = {
    "broadcast_loss": SINES,
    "double_sigmoid": BINARY,
    "label_range": BINARY,
    "lost_accumulation": DROPOUT.but(micro_batch=10),
    "one_output_cross_entropy": BINARY,
    "output_activation": SINES,
    "relu_of_amounts": SINES,
    "scheduler_clock": DROPOUT.but(schedule="cosine"),
    "scheduler_never_stepped": DROPOUT.but(schedule="cosine"),
    "scheduler_once_an_epoch": DROPOUT.but(schedule="one_cycle"),
    "sigmoid_and_bce": BINARY,
    "sigmoid_of_shares": SINES,
    "sigmoid_output": SINES,
    "summed_loss_with_its_rate": DROPOUT.but(norm="none"),
    "unscaled_targets": SINES,
}
"""A recipe that each fault fits; DROPOUT for the others."""

THE_SAME_WEIGHTS = frozenset(
    {"log_softmax_and_nll", "two_optimizers", "unused_layer", "validation_in_other_units", "zero_grad_after_step"}
)
"""These change how the model is judged, or only how the same thing is written."""


def trained(recipe: Recipe, fault: str, runs: Path) -> tuple[Run, list[torch.Tensor]]:
    """The run, and the weights after it of the layers that the recipe's model has."""
    loop = built(recipe, fault)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = train(loop, runs=runs)
    state = {name.removeprefix("network."): value for name, value in loop.model.state_dict().items()}
    return run, [value.detach().clone() for name, value in state.items() if not name.startswith("auxiliary")]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], tuple[Run, list[torch.Tensor]]]:
    """The loop without a bug, trained once for each recipe."""
    return cache(lambda recipe: trained(recipe, HEALTHY, tmp_path_factory.mktemp("runs")))


def built(recipe: Recipe, fault: str = HEALTHY) -> Loop:
    torch.manual_seed(recipe.seed)
    loop = ordinary(recipe)
    with torch.random.fork_rng():
        if fault != HEALTHY:
            (LOOK_ALIKES if fault in LOOK_ALIKES else FAULTS)[fault](loop)
    return loop


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(data="blobs", model="mlp", width=8, optimizer=name, batch_size="all", steps=30, lr=0.01)
        for name in ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "lion", "muon")
    ]
    + [
        Recipe(data="sines", model="mlp", width=8, batch_size="all", steps=30, lr=0.1, clip_norm=0.1),
        Recipe(data="moons", model="mlp", width=8, loss="bce_with_logits", batch_size="all", steps=30, lr=0.1),
        Recipe(data="characters", rows=60, context=8, model="transformer", width=8, depth=1, batch_size="all", steps=5),
        Recipe(data="moons", model="mlp", width=8, batch_size="all", steps=30, lr=0.1, schedule="linear", warmup=5),
    ],
    ids=lambda recipe: f"{recipe.data}-{recipe.optimizer}-{recipe.schedule}",
)
def test_the_ordinary_loop_trains_as_fit_does(recipe, tmp_path):
    """On full batches, where the order of the rows changes nothing but rounding."""
    ours, theirs = fit(recipe, runs=tmp_path), faults.run(recipe, runs=tmp_path)
    assert theirs.steps == ours.steps
    # float32 sums in another order: 1e-7 a step, amplified by 30 steps
    assert theirs.series("loss/batch").y == pytest.approx(ours.series("loss/batch").y, rel=1e-4, abs=1e-6)


def test_accumulated_batches_make_the_update_of_the_whole_batch(healthy):
    whole = Recipe(data="moons", model="mlp", width=8, batch_size=40, lr=0.1, epochs=3)
    (_, one), (_, other) = healthy(whole), healthy(whole.but(micro_batch=10))
    for a, b in zip(one, other, strict=True):
        assert b == pytest.approx(a, abs=1e-5)  # float32


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "constant"])
def test_the_schedulers_of_pytorch_go_where_the_schedules_of_the_same_name_go(name):
    """A schedule of epochs changes once an epoch; there it is where ours is, which changes at every step."""
    recipe = Recipe(data="moons", model="mlp", batch_size=40, lr=0.1, epochs=12, schedule=name)
    loop = built(recipe)
    updates = loop.epochs * loop.updates
    every = loop.updates if clock_of(recipe) == "epoch" else 1
    scheduler, (optimizer,) = new_scheduler(loop), loop.optimizers
    assert scheduler is not None
    ours = Schedule(SCHEDULES[name], updates, options=recipe.part("schedule"))
    for update in range(0, updates, every):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * ours(update), rel=1e-6), update
        optimizer.step()
        if update + every < updates:
            scheduler.step()


@pytest.mark.parametrize("fault", [*FAULTS, *LOOK_ALIKES])
def test_a_fault_changes_what_is_trained_or_how_it_is_judged_and_the_settings_do_not_tell(fault, healthy, tmp_path):
    recipe = RECIPES.get(fault, DROPOUT)
    (run, weights), (broken, others) = healthy(recipe), trained(recipe, fault, tmp_path)
    same = len(weights) == len(others) and all(torch.equal(*pair) for pair in zip(weights, others, strict=True))
    assert same == (fault in THE_SAME_WEIGHTS)
    assert broken.settings == run.settings


@pytest.mark.parametrize("name", list(FAULTS))
def test_every_fault_shows_the_wrong_line_and_the_right_one(name):
    text = inspect.getdoc(FAULTS[name])
    assert text is not None
    assert text.partition("\n")[0].endswith(".")
    assert [line.partition(":")[0] for line in text.splitlines() if line[:5] in ("wrong", "right")] == [
        "wrong",
        "right",
    ]


def test_every_fault_of_an_example_is_there():
    named = {each.fault for name in CHECKS for each in (CHECKS[name].sick, CHECKS[name].near_miss)}
    assert named - {None, HEALTHY} <= {*FAULTS, *LOOK_ALIKES}


def test_threads_and_random_numbers_are_the_callers_again(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    faults.run(BINARY.but(epochs=1), "double_sigmoid", runs=tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("fault", "recipe", "says"),
    [
        ("missing_zero_gard", DROPOUT, "Did you mean 'missing_zero_grad'"),
        ("broadcast_loss", DROPOUT, "needs the loss mse or mae or huber, but moons has cross_entropy"),
        ("lost_accumulation", DROPOUT, "give the recipe a micro_batch"),
        ("scheduler_clock", DROPOUT, "take another, such as cosine"),
        ("layers_in_a_list", Recipe(model="linear"), "take mlp or cnn"),
        ("validation_leak", Recipe(model="linear"), "give the recipe a validation share"),
        ("unscaled_inputs", Recipe(data="characters", rows=60, model="rnn"), "characters has tokens"),
        ("class_imbalance", Recipe(data="characters", rows=60, model="rnn"), "several targets"),
        (HEALTHY, DROPOUT.but(patience=3), "patience is 3, but the ordinary loop has no line for it"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(fault, recipe, says, tmp_path):
    with pytest.raises(RecipeError, match=says):
        faults.run(recipe, fault, runs=tmp_path)
    assert not list(tmp_path.iterdir())


# --- problems shown ---------------------------------------------------------------------------------------------------


def test_a_bug_is_shown_beside_the_same_loop_without_it(tmp_path):
    shown = faults.show("missing_zero_grad", fixed=True, runs=tmp_path)
    assert (shown.sick.name, shown.fixed and shown.fixed.name) == (
        "broken-missing_zero_grad-001",
        "broken-missing_zero_grad-001-fixed",
    )
    assert shown.series == "accuracy/validation"
    assert shown.before == shown.sick.last("accuracy/validation")
    assert shown.after is not None
    assert shown.after > shown.before + 0.2


def test_a_recipe_at_fault_is_shown_beside_its_first_remedy(tmp_path):
    shown = faults.show("vanishing_gradients", fixed=True, runs=tmp_path, name="deep")
    assert shown.fixed is not None
    assert shown.sick.recipe == CHECKS["vanishing_gradients"].sick.recipe
    assert shown.fixed.recipe != shown.sick.recipe
    assert shown.after is not None
    assert shown.after > shown.before + 0.2


def test_problems_shown_again_get_the_next_number(tmp_path):
    example = Example(fault=HEALTHY, data="moons", model="mlp", width=4, epochs=1)
    (tmp_path / "broken-no_gradient-001").mkdir()
    assert faults.show("no_gradient", runs=tmp_path).sick.name == "broken-no_gradient-002"
    assert isinstance(faults.train_example(example, runs=tmp_path), Run)
