"""Edits of a model: what they change, that nothing else changes, and what they refuse."""

import pytest
import torch
from torch import nn

from descend.catalog import INITS
from descend.errors import RecipeError
from descend.models._layers import ACTIVATIONS
from descend.models._shape import Shape
from descend.models.cnn import cnn
from descend.models.mlp import mlp
from descend.models.rnn import rnn
from descend.models.transformer import transformer
from descend.optim import optimizer
from descend.surgery import SurgeryError, insert_norms, reinitialise, swap_activations

ROWS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def small(**options) -> nn.Module:
    return mlp(Shape((5,), 3), width=7, **options)


def twin(model: nn.Module, other: nn.Module) -> nn.Module:
    """`other` with the weights of `model`; those that only it has stay."""
    other.load_state_dict(other.state_dict() | model.state_dict())
    return other


@pytest.mark.parametrize("to", ACTIVATIONS)
def test_a_swapped_model_is_the_one_built_with_that_activation(to):
    model = small(activation="sigmoid", depth=3)
    expected = twin(model, small(activation=to, depth=3))(ROWS)
    assert swap_activations(model, to, ROWS) == ["activations.0", "activations.1", "activations.2"]
    assert torch.equal(model(ROWS), expected)


def test_swapping_an_activation_for_itself_changes_no_output():
    model = cnn(Shape((1, 8, 8), 3), dropout=0.3).eval()
    before = model(IMAGES)
    swap_activations(model, "relu", IMAGES)
    assert torch.equal(model(IMAGES), before)


def test_the_optimizer_goes_on_with_the_same_parameters():
    model = small(activation="tanh")
    adam = optimizer("adam", model.parameters(), flat=True)
    parameters = [id(parameter) for parameter in model.parameters()]
    swap_activations(model, "relu", ROWS)
    assert [id(parameter) for parameter in model.parameters()] == parameters
    before = [parameter.clone() for parameter in model.parameters()]
    model(ROWS).square().sum().backward()
    adam.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_modes_and_hooks_are_as_they_were():
    model = small(activation="sigmoid", norm="batch", dropout=0.5)
    model.norms[0].eval()
    statistics, numbers = model.norms[1].running_mean.clone(), torch.get_rng_state()
    swap_activations(model, "relu", ROWS)
    assert [norm.training for norm in model.norms] == [False, True]
    assert all(activation.training for activation in model.activations)
    assert torch.equal(model.norms[1].running_mean, statistics)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert not any(module._forward_hooks for module in model.modules())


class Gated(nn.Module):
    """A squeeze-and-excitation gate between two layers, and a probability at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.probability, self.gate, self.hidden = nn.Sigmoid(), nn.Sigmoid(), nn.Sigmoid()
        self.first, self.second, self.last = nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        x = self.hidden(self.first(x))
        x = x * self.gate(self.second(x)).view(-1, 7)
        return {"probability": self.dropout(self.probability(self.last(x))).squeeze(-1)}


def test_outputs_and_gates_stay_what_they_are():
    model = Gated()
    # the hidden activation is multiplied by the gate, so it cannot be told from one
    with pytest.raises(SurgeryError, match="no hidden activation module"):
        swap_activations(model, "relu", ROWS)
    model.forward = lambda x: model.last(model.gate(model.second(model.hidden(model.first(x)))))
    assert swap_activations(model, "relu", ROWS) == ["gate", "hidden"]
    assert type(model.probability) is nn.Sigmoid


def test_an_activation_in_place_is_seen_for_what_it_is():
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 3), nn.ReLU(inplace=True))
    assert swap_activations(model, "tanh", ROWS) == ["1"]
    assert [type(module) for module in model] == [nn.Linear, nn.Tanh, nn.Linear, nn.ReLU]


def test_one_activation_in_many_places_is_swapped_in_all():
    shared = nn.Sigmoid()
    model = nn.Sequential(nn.Linear(5, 5), shared, nn.Linear(5, 5), shared, nn.Linear(5, 2))
    assert swap_activations(model, "relu", ROWS) == ["1"]
    assert isinstance(model[1], nn.ReLU)
    assert model[1] is model[3]
    with pytest.raises(SurgeryError, match="'1' is called 2 times"):
        insert_norms(model, "layer", ROWS)


class Hidden(nn.Module):
    """Calls its activation through a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.activation = nn.Linear(5, 5), nn.Tanh()
        self.head = nn.Linear(5, 2)
        self.parts = [self.activation]

    def forward(self, x):
        return self.head(self.parts[0](self.layer(x)))


def test_a_model_that_cannot_be_edited_is_left_as_it_was():
    model = Hidden()
    before = model.activation
    with pytest.raises(SurgeryError, match="does not reach 'activation' by that name"):
        swap_activations(model, "relu", ROWS)
    assert model.activation is before
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        swap_activations(model, "relu", ROWS[:, :3])
    with pytest.raises(SurgeryError, match="compiled"):
        swap_activations(torch.compile(small(), backend="eager"), "relu", ROWS)
    with pytest.raises(SurgeryError, match="Did you mean 'relu'"):
        swap_activations(model, "relo", ROWS)


@pytest.mark.parametrize("build", [small, lambda **options: cnn(Shape((1, 8, 8), 3), width=4, **options)])
def test_a_model_with_inserted_layer_norms_is_the_one_built_with_them(build):
    model = build(depth=2)
    inputs = ROWS if build is small else IMAGES
    expected = twin(model, build(depth=2, norm="layer"))(inputs)
    names = dict(model.named_parameters())
    assert insert_norms(model, "layer", inputs) == ["activations.0", "activations.1"]
    assert torch.equal(model(inputs), expected)
    assert names.items() <= dict(model.named_parameters()).items()


def test_batch_norm_that_has_seen_nothing_only_divides_by_its_epsilon():
    model = nn.Sequential(nn.Linear(5, 7, bias=False), nn.ReLU(), nn.Linear(7, 3, bias=False)).double().eval()
    before = model(ROWS.double())
    insert_norms(model, "batch", ROWS.double())
    # relu(c x) = c relu(x) for c > 0, and the running variance begins at 1
    assert torch.allclose(model(ROWS.double()), before / (1 + 1e-5) ** 0.5, rtol=1e-12)


def test_batch_norm_brings_every_unit_to_mean_0_and_variance_1():
    model = nn.Sequential(nn.Linear(5, 7), nn.Sigmoid(), nn.Linear(7, 3)).double()
    insert_norms(model, "batch", ROWS.double())
    seen = model[1][0](model[0](ROWS.double()))
    assert torch.allclose(seen.mean(0), torch.zeros(7).double(), atol=1e-12)
    assert torch.allclose(seen.var(0, correction=0), torch.ones(7).double(), rtol=1e-3)  # epsilon beside 0.1


def test_norms_stand_where_none_stood():
    model = nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 3))
    assert insert_norms(model, "layer", ROWS) == ["4"]
    with pytest.raises(SurgeryError, match="no hidden activation module"):
        insert_norms(model, "layer", ROWS)


def test_batch_norm_of_sequences_is_refused():
    model = transformer(Shape((9,), 5, tokens=5, every_position=True), width=8, heads=2, activation="relu")
    tokens = torch.zeros(2, 9, dtype=torch.int64)
    with pytest.raises(SurgeryError, match=r"for which a batch norm is not defined here. Use 'layer'"):
        insert_norms(model, "batch", tokens)
    places = insert_norms(model, "layer", tokens)
    assert len(places) == 2
    assert model(tokens).shape == (2, 9, 5)


@pytest.mark.parametrize("init", [name for name in INITS if name != "default"])
def test_a_reinitialised_model_has_the_weights_of_one_made_so(init):
    expected, model = small(norm="batch"), small(norm="batch")
    torch.manual_seed(3)
    INITS[init](expected)
    torch.manual_seed(3)
    norms = [norm.weight.data.fill_(0.5).clone() for norm in model.norms]
    drawn = reinitialise(model, init)
    assert {"hidden.0.weight", "head.bias"} <= set(drawn)
    assert all(
        torch.equal(dict(expected.named_parameters())[name], dict(model.named_parameters())[name]) for name in drawn
    )
    assert all(torch.equal(norm.weight, before) for norm, before in zip(model.norms, norms, strict=True))


def test_recurrent_layers_are_drawn_anew_and_embeddings_stay():
    model = rnn(Shape((9,), 5, tokens=5), width=8)
    embeddings = {name: value.clone() for name, value in model.state_dict().items() if "embed" in name}
    assert any("weight_hh" in name for name in reinitialise(model, "orthogonal"))
    assert embeddings
    assert all(torch.equal(model.state_dict()[name], value) for name, value in embeddings.items())


def tied() -> nn.Module:
    model = nn.Sequential(nn.Embedding(5, 7), nn.Linear(7, 5))
    model[1].weight = model[0].weight
    return model


def frozen() -> nn.Module:
    model = small()
    model.hidden[0].requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (tied(), "'1.weight' is shared"),
        (frozen(), "'hidden.0.weight' is frozen"),
        (nn.Sequential(nn.Linear(5, 5), nn.Conv1d(1, 1, 3)), "'1.weight' is not of a linear"),
        (nn.ReLU(), "no linear, convolution or recurrent layer"),
    ],
)
def test_weights_that_must_stay_are_refused_and_nothing_is_drawn(model, says):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(SurgeryError, match=says):
        reinitialise(model, "he_normal")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_unknown_initialisation_is_refused():
    with pytest.raises(RecipeError, match="Did you mean 'he_normal'"):
        reinitialise(small(), "he_norm")
