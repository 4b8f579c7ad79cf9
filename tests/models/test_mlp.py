"""The MLP against the same network written out with torch's modules, and the symmetries of its function."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from descend.models._layers import ACTIVATIONS
from descend.models._shape import Shape
from descend.models.mlp import NORMS, mlp

SEEDS = st.integers(0, 2**16)
ROUNDING = 1e-12  # float64, sums of a few dozen numbers of order one


def close(left, right):
    torch.testing.assert_close(left, right, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("norm", list(NORMS))
@settings(max_examples=15)
@given(depth=st.integers(1, 3), seed=SEEDS)
def test_it_is_linear_norm_activation_in_this_order(activation, norm, depth, seed):
    torch.manual_seed(seed)
    model = mlp(Shape((3,), 2), depth=depth, width=5, activation=activation, norm=norm).double()
    modules = []
    for layer in range(depth):
        modules += [model.hidden[layer], model.norms[layer], getattr(nn.functional, activation, nn.Identity())]
    x = y = torch.randn(4, 3).double()
    for module in [*modules, model.head]:
        y = module(y)
    close(model(x), y)


def test_parameters_are_called_by_the_number_of_their_layer():
    model = mlp(Shape((3,), 2), depth=2, width=5, norm="layer")
    layers = ["hidden.0", "hidden.1", "norms.0", "norms.1", "head"]
    assert [name for name, _ in model.named_parameters()] == [
        f"{layer}.{p}" for layer in layers for p in ("weight", "bias")
    ]


@given(depth=st.integers(1, 3), seed=SEEDS)
def test_exchanging_hidden_units_leaves_the_function_alone(depth, seed):
    torch.manual_seed(seed)
    model, x = mlp(Shape((3,), 2), depth=depth, width=6, norm="layer").double(), torch.randn(4, 3).double()
    before, order = model(x), torch.randperm(6)
    with torch.no_grad():
        for parameter in (*model.hidden[0].parameters(), *model.norms[0].parameters()):
            parameter.copy_(parameter[order])
        following = model.hidden[1] if depth > 1 else model.head
        following.weight.copy_(following.weight[:, order])
    close(model(x), before)


@given(seed=SEEDS)
def test_without_activation_it_is_one_linear_map(seed):
    torch.manual_seed(seed)
    model, x = mlp(Shape((3,), 2), depth=2, width=5, activation="identity").double(), torch.randn(4, 3).double()
    (w1, b1), (w2, b2), (w3, b3) = (layer.parameters() for layer in (*model.hidden, model.head))
    close(model(x), x @ (w3 @ w2 @ w1).T + w3 @ (w2 @ b1 + b2) + b3)


@given(depth=st.integers(2, 5), seed=SEEDS)
def test_residual_layers_of_zero_weights_pass_their_input_on(depth, seed):
    torch.manual_seed(seed)
    model, x = mlp(Shape((5,), 2), depth=depth, width=5, residual=True).double(), torch.randn(4, 5).double()
    for parameter in model.hidden.parameters():
        nn.init.zeros_(parameter)
    close(model(x), model.head(x))


def test_a_residual_layer_that_changes_the_width_has_no_shortcut():
    torch.manual_seed(0)
    plain, residual = (mlp(Shape((3,), 2), depth=1, width=5, residual=shortcut) for shortcut in (False, True))
    residual.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3)
    assert torch.equal(plain(x), residual(x))


def test_dropout_keeps_the_mean_and_cuts_its_share():
    torch.manual_seed(0)
    model = mlp(Shape((3,), 2), depth=1, width=10_000, dropout=0.3)
    seen = model.dropouts[0](torch.ones(10_000))
    # 10,000 draws: the share cut has a standard deviation of 0.0046, and the band is 5 of them
    assert (seen == 0).float().mean().item() == pytest.approx(0.3, abs=0.023)
    torch.testing.assert_close(seen.max(), torch.tensor(1 / 0.7))
