import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from descend.recipe import Recipe
from descend.train import evaluate as evaluate_module
from descend.train.build import build
from descend.train.evaluate import evaluate, judge, learned_weights, thinned


def parts_of(**fields):
    torch.manual_seed(0)
    return build(Recipe(**fields))


@settings(max_examples=10)
@given(st.integers(1, 200))
def test_a_loss_does_not_depend_on_how_many_rows_are_judged_at_once(rows):
    parts = parts_of(data="digits", model="mlp", norm="batch", dropout=0.5, dtype="float64")
    with pytest.MonkeyPatch.context() as patch:
        expected = judge(parts, parts.dataset.validation)
        patch.setattr(evaluate_module, "ROWS_AT_ONCE", rows)
        # in float64 only the order of the sum differs
        assert judge(parts, parts.dataset.validation) == pytest.approx(expected, rel=1e-12)


def test_judging_changes_neither_the_model_nor_its_mode():
    parts = parts_of(data="moons", model="mlp", norm="batch", dropout=0.5)
    before = {name: value.clone() for name, value in parts.model.state_dict().items()}
    evaluate(parts)
    assert parts.model.training
    assert all(torch.equal(value, before[name]) for name, value in parts.model.state_dict().items())


def test_r2_is_one_minus_the_share_of_variance_left():
    parts = parts_of(dtype="float64")
    split = parts.dataset.train
    with torch.no_grad():
        residual = split.targets - parts.model(split.inputs)
    expected = 1 - residual.square().mean() / split.targets.var(correction=0)
    assert judge(parts, split)["r2"] == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("loss", ["cross_entropy", "bce_with_logits"])
def test_accuracy_is_the_share_of_rows_whose_likeliest_class_is_right(loss):
    parts = parts_of(data="moons", model="mlp", loss=loss)
    split = parts.dataset.validation
    with torch.no_grad():
        outputs = parts.model.eval()(split.inputs)
    classes = outputs.softmax(-1).argmax(-1) if loss == "cross_entropy" else (outputs.sigmoid() > 0.5).long()[:, 0]
    assert judge(parts, split)["accuracy"] == (classes == split.targets).double().mean().item()


def test_a_large_training_set_is_judged_by_evenly_spaced_rows(monkeypatch):
    monkeypatch.setattr(evaluate_module, "TRAIN_ROWS", 30)
    split = thinned(parts_of(rows=100).dataset.train)
    assert len(split.inputs) == len(split.targets) == 25


@pytest.mark.parametrize("scale", ["none", "standard"])
def test_learned_weights_are_in_the_units_of_the_raw_data(scale):
    parts = parts_of(scale=scale, dtype="float64")
    split = parts.dataset.train
    design = torch.cat([split.inputs, torch.ones(100, 1, dtype=torch.float64)], dim=1)
    solution = torch.linalg.lstsq(design, split.targets).solution[:, 0]
    with torch.no_grad():
        parts.model.weight.copy_(solution[None, :-1])
        parts.model.bias.copy_(solution[-1:])
    learned = learned_weights(parts.model, parts.dataset)
    assert learned == pytest.approx(dict(parts.dataset.truth), rel=1e-5)


def test_a_model_that_is_not_linear_has_no_learned_weights_to_compare():
    parts = parts_of(model="mlp")
    assert learned_weights(parts.model, parts.dataset) == {}
