"""What a network is and does, told without changing it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from descend.facts import network


def mlp(activation=nn.ReLU, *, scale=1.0, norm=False, depth=2):
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(4, 4), *([nn.BatchNorm1d(4)] if norm else []), activation()]
    model = nn.Sequential(*layers, nn.Linear(4, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


class Only(nn.Module):
    """A function as a module, with one weight."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(3, 4))

    def forward(self, x):
        return self.function(x @ self.weight.T)


ROWS = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))


@given(st.integers(0, 2**16), st.floats(0.2, 3), st.booleans(), st.floats(-100, 100))
@settings(max_examples=30)
def test_a_network_of_linear_layers_is_affine_whatever_its_weights(seed, scale, norm, offset):
    torch.manual_seed(seed)
    assert network.of(mlp(nn.Identity, scale=scale, norm=norm), ROWS + offset)["affine"] is True


@given(st.integers(0, 2**16), st.sampled_from([nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.LeakyReLU]), st.floats(0.3, 3))
@settings(max_examples=30)
def test_a_network_with_an_activation_is_not(seed, activation, scale):
    torch.manual_seed(seed)
    assert network.of(mlp(activation, scale=scale), ROWS)["affine"] is False


def test_a_tanh_that_is_all_but_straight_on_the_data_is_still_told_from_a_line():
    torch.manual_seed(0)
    # on rows of 0.01 tanh differs from a line by 1e-4 of its value: far from them it bends
    assert network.of(mlp(nn.Tanh), 0.01 * ROWS)["affine"] is False


def test_tokens_have_no_affine_test():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 2))
    assert network.of(model, torch.randint(5, (20, 2)))["affine"] is None


def test_looking_changes_neither_weights_nor_modes_nor_statistics_nor_random_numbers():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    model[1].eval()  # one module sleeps while the model trains
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    network.of(model, ROWS)
    with network.as_in_training(model):
        model(ROWS)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("function", "invariant"),
    [
        (torch.relu, True),
        (lambda x: x - x.mean(0), False),
        (lambda x: nn.functional.batch_norm(x, None, None, training=True), False),
        (lambda x: x.softmax(0), False),
        (lambda x: x.T.reshape(x.shape), False),
    ],
)
def test_an_answer_that_depends_on_the_other_rows_is_seen(function, invariant):
    assert network.of(Only(function), ROWS)["batch_invariant"] is invariant


def test_dropout_that_never_stops_is_seen():
    assert network.of(Only(lambda x: nn.functional.dropout(x, 0.5)), ROWS)["repeatable"] is False
    assert network.of(Only(torch.relu), ROWS)["repeatable"] is True


def test_a_network_that_ignores_its_input_is_seen():
    assert network.of(Only(lambda x: x * 0 + 1), ROWS)["output_depends_on_input"] is False
    assert network.of(Only(lambda x: x), ROWS)["output_depends_on_input"] is True


def test_equal_units_and_zero_weights_are_named():
    model = mlp()
    nn.init.constant_(model[0].weight, 0.1)
    nn.init.zeros_(model[4].weight)
    facts = network.of(model)
    assert facts["symmetric"] == ["0.weight", "4.weight"]
    assert facts["zero"] == ["4.weight"]


def test_parameters_in_plain_lists_and_dicts_are_named_and_those_registered_elsewhere_are_not():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.known = nn.Linear(2, 2)
            self.blocks = [nn.Linear(2, 2), (nn.Dropout(0.5), nn.ReLU())]
            self.heads = {"a": nn.Linear(2, 1, bias=False), "b": self.known}
            self.scale = [torch.ones(2, requires_grad=True)]
            self.teacher = [nn.Linear(2, 2).requires_grad_(False)]
            self.table = [torch.ones(2)]

    expected = {"blocks[0].weight", "blocks[0].bias", "blocks[1][0]", "heads['a'].weight", "scale[0]"}
    assert set(network.of(Model())["unregistered"]) == expected


def test_a_tied_weight_counts_once():
    model = nn.ModuleDict({"embedding": nn.Embedding(7, 4), "head": nn.Linear(4, 7, bias=False)})
    model["head"].weight = model["embedding"].weight
    facts = network.of(model)
    assert facts["tied"] == [["embedding.weight", "head.weight"]]
    assert facts["parameters"] == 28


def test_a_compiled_model_is_looked_at_as_the_user_wrote_it():
    model = mlp()
    compiled = torch.compile(model, backend="eager")
    assert network.of(compiled, ROWS) == network.of(model, ROWS)
    assert [name for name, _ in network.named_parameters(compiled)] == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize(
    ("model", "differs"),
    [
        (mlp(), False),
        (mlp(norm=True), True),
        (nn.Dropout(0.0), False),
        (nn.Dropout(0.1), True),
        (nn.LSTM(2, 2, num_layers=2, dropout=0.1), True),
        (nn.LSTM(2, 2), False),
        (nn.TransformerEncoderLayer(4, 2, dropout=0.0), False),
    ],
)
def test_dropout_and_batch_norm_make_training_mode_another(model, differs):
    assert network.differs_in_training(model) is differs
