"""The passes by hand against autograd."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from descend.models._shape import Shape
from descend.models.mlp import mlp
from descend.recipe import Recipe
from descend.train import build as build_module
from descend.train import dense as dense_module
from descend.train.build import build
from descend.train.dense import LOSSES, Dense
from descend.train.fit import fit, load

ACTIVATIONS = ("relu", "tanh", "sigmoid", "identity")


@settings(max_examples=60)
@given(
    st.integers(0, 3),
    st.sampled_from(ACTIVATIONS),
    st.sampled_from(sorted(LOSSES)),
    st.integers(1, 7),
    st.integers(2, 5),
    st.floats(0.1, 2),
    st.integers(0, 99),
)
def test_loss_outputs_and_gradients_equal_those_of_autograd(depth, activation, loss, rows, outputs, weight, seed):
    torch.manual_seed(seed)
    # batch, inputs, width and outputs all differ, since equal sizes would hide a transpose
    sizes = {"depth": depth, "width": 9, "activation": activation}
    model = mlp(Shape((3,), outputs), **sizes) if depth else torch.nn.Linear(3, outputs)
    model.double()
    inputs = torch.randn(rows, 3, dtype=torch.float64)
    targets = torch.randn(rows, outputs).double() if loss == "mse" else torch.randint(outputs, (rows,))
    function = torch.nn.functional.mse_loss if loss == "mse" else torch.nn.functional.cross_entropy
    expected_outputs = model(inputs)
    expected_loss = function(expected_outputs, targets)
    expected = torch.autograd.grad(weight * expected_loss, list(model.parameters()))

    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)  # whatever was there is overwritten
    dense = Dense.of(model, loss)
    by_hand = dense.forward(inputs)
    # float64 rounds at 1e-16, and a gradient is a sum of at most a few dozen products
    torch.testing.assert_close(by_hand, expected_outputs.detach(), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(dense.backward(by_hand, targets, weight), expected_loss.detach(), rtol=1e-13, atol=1e-13)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(lr=1e-3, steps=30),
        Recipe(data="moons", model="mlp", width=8, optimizer="adam", lr=0.01, steps=30, clip_norm=0.5),
        Recipe(data="digits", model="mlp", depth=3, activation="tanh", optimizer="momentum", lr=0.01, steps=30),
    ],
)
def test_training_by_hand_equals_training_by_autograd(tmp_path, monkeypatch, recipe):
    recipe = recipe.but(dtype="float64", monitor_every=7)
    by_hand = fit(recipe, runs=tmp_path)
    monkeypatch.setattr(build_module.Dense, "of", lambda model, loss: None)
    by_autograd = fit(recipe, runs=tmp_path)
    assert set(by_autograd.names()) >= set(by_hand.names())
    for name in by_hand.names():
        # rounding grows a little over 30 steps
        assert by_hand.series(name).y == pytest.approx(by_autograd.series(name).y, rel=1e-9, abs=1e-12, nan_ok=True)
    for a, b in zip(load(by_hand).model.parameters(), load(by_autograd).model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "covered"),
    [
        ({}, True),
        ({"loss": "huber"}, False),
        ({"model": "mlp"}, True),
        ({"model": "mlp", "norm": "layer"}, False),
        ({"model": "mlp", "dropout": 0.1}, False),
        ({"model": "mlp", "residual": True}, False),
        ({"model": "mlp", "activation": "gelu"}, False),
        ({"model": "mlp", "optimizer": "muon"}, False),
        ({"micro_batch": 4}, False),
        ({"micro_batch": 32}, True),
        ({"data": "digits", "model": "mlp"}, True),
        ({"data": "digits", "model": "mlp", "loss": "cross_entropy", "label_smoothing": 0.1}, False),
        ({"data": "digits", "model": "cnn"}, False),
    ],
)
def test_only_what_is_covered_is_done_by_hand(fields, covered):
    assert (build(Recipe(**fields)).dense is not None) == covered


def test_every_activation_that_is_covered_is_tested():
    assert len(dense_module.BACKWARD) == len(ACTIVATIONS)
