"""NaN and infinity are found before the update, named, and treated as the recipe says."""

import math

import pytest
import torch

from descend.errors import DataError
from descend.recipe import Recipe
from descend.run import Run
from descend.train import build as build_module
from descend.train import checkpoint
from descend.train.fit import fit, load

RECIPE = Recipe(
    data="moons", rows=64, model="mlp", depth=1, width=4, norm="batch", lr=0.1, batch_size=16, steps=20, seed=2,
    evaluate_every=5, checkpoint_every=5, rewind_steps=4,
)  # fmt: skip


@pytest.fixture
def spoil(monkeypatch):
    """Make one batch go wrong: `spoil(12, what)` calls what(model, batch loss) at the 12th forward pass in training."""

    def at(call: int, harm) -> None:
        plain = build_module.build_model

        def build_model(recipe, dataset):
            model, calls = plain(recipe, dataset), []

            def hook(module, inputs, outputs):
                if module.training and torch.is_grad_enabled():
                    calls.append(1)
                    if len(calls) == call:
                        return harm(model, outputs)
                return None

            model.head.register_forward_hook(hook)
            return model

        monkeypatch.setattr(build_module, "build_model", build_model)

    return at


def nan_output(model, outputs):
    return outputs * math.nan


def infinite_weight(model, outputs):
    model.head.weight.data[0, 0] = math.inf
    return outputs


def infinite_gradient(model, outputs):
    outputs.register_hook(lambda gradient: gradient * math.inf)
    return outputs


def finite(run: Run) -> bool:
    return all(parameter.isfinite().all() for parameter in load(run).model.parameters())


@pytest.mark.parametrize(
    ("harm", "what", "where"),
    [
        (nan_output, "loss", "the batch"),
        (infinite_weight, "weight", "head.weight"),
        (infinite_gradient, "gradient", "head.bias"),
    ],
)
def test_it_ends_the_run_with_its_place_named_and_a_good_checkpoint_left(tmp_path, spoil, harm, what, where):
    spoil(12, harm)
    run = fit(RECIPE, runs=tmp_path)
    (note,) = run.notes("non_finite")
    assert run.status == "non-finite"
    assert (note.step, note.details["what"], note.details["where"]) == (12, what, where)
    assert not math.isfinite(note.details["value"])
    assert finite(run)


def test_the_first_non_finite_operation_and_its_layer_are_named(tmp_path):
    # the weights overflow float32 in the product of the second layer, not before
    run = fit(RECIPE.but(norm="none", init="normal", init_std=1e19, depth=2), runs=tmp_path)
    (note,) = run.notes("non_finite")
    assert note.details["what"] == "operation"
    assert (note.details["operation"], note.details["layer"]) == ("addmm", "hidden.1 (Linear)")


def test_skipping_leaves_weights_statistics_and_optimizer_as_they_were(tmp_path, spoil):
    spoil(12, nan_output)
    run = fit(RECIPE.but(non_finite="skip", optimizer="momentum", momentum=0.9), runs=tmp_path)
    assert run.status == "finished"
    assert [note.step for note in run.notes("non_finite")] == [12]
    losses = run.series("loss/batch").y
    assert math.isnan(losses[11]), "recorded as NaN, never as 0"
    assert torch.tensor(losses).isnan().sum() == 1
    state = checkpoint.load(run.folder / "checkpoints").state
    assert state["optimizer"]["state"][0]["step"] == 19, "the skipped batch made no update"


def test_skipping_undoes_what_the_batch_did_to_running_statistics(tmp_path, monkeypatch):
    plain = build_module.build_model

    def build_model(recipe, dataset):
        model, calls = plain(recipe, dataset), []

        def hook(module, inputs):
            calls.append(module.training)
            return (inputs[0] * math.nan,) if sum(calls) == 12 and module.training else None

        model.norms[0].register_forward_pre_hook(hook)
        return model

    monkeypatch.setattr(build_module, "build_model", build_model)
    run = fit(RECIPE.but(non_finite="skip"), runs=tmp_path)
    assert run.status == "finished"
    assert math.isfinite(run.last("loss/train")), "evaluation uses the running statistics"


def test_rewinding_goes_back_at_least_as_many_steps_and_on_with_half_the_rate(tmp_path, spoil):
    spoil(14, nan_output)
    run = fit(RECIPE.but(non_finite="rewind"), runs=tmp_path)
    (note,) = run.notes("rewound")
    assert (note.step, note.details["from_step"]) == (8, 14)
    assert run.status == "finished"
    assert run.series("loss/batch").x.tolist() == list(range(1, 21)), "each step stands once"
    assert run.series("lr/0").y == pytest.approx([0.1] * 8 + [0.05] * 12)


def test_a_run_that_has_to_rewind_without_end_is_ended(tmp_path):
    run = fit(Recipe(lr=100.0, batch_size="all", steps=300, non_finite="rewind", rewind_steps=10), runs=tmp_path)
    assert run.status == "non-finite"
    assert len(run.notes("rewound")) == 10
    assert run.notes("rewound")[-1].details["lr_scale"] == 2**-10


def test_rewinding_finds_a_rate_that_trains(tmp_path):
    run = fit(Recipe(lr=0.02, batch_size="all", steps=600, non_finite="rewind", rewind_steps=10), runs=tmp_path)
    assert run.status == "finished"
    assert run.series("lr/0").y[-1] < 0.007863


def test_a_nan_in_the_data_is_named_before_the_first_update(tmp_path, monkeypatch):
    plain = build_module.DATA["employee_bonus"]

    def broken(**options):
        dataset = plain(**options)
        dataset.train.inputs[41, 1] = math.nan
        return dataset

    monkeypatch.setattr("descend.data.employee_bonus.employee_bonus", broken)
    with pytest.raises(DataError, match=r"nan at row 41, column 'years_of_experience' \(1 such values\)"):
        fit(Recipe(), runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_skipped_step_is_still_evaluated_where_that_is_due(tmp_path, spoil):
    spoil(10, nan_output)
    run = fit(RECIPE.but(non_finite="skip"), runs=tmp_path)
    assert run.series("loss/train").x.tolist() == [0, 5, 10, 15, 20]


def test_a_run_whose_batches_all_have_to_be_skipped_is_ended(tmp_path):
    run = fit(Recipe(lr=1e30, steps=2000, non_finite="skip"), runs=tmp_path)
    assert run.status == "non-finite"
    assert len(run.notes("non_finite")) <= 100
