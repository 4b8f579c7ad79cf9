"""What holds for every model: the catalog is walked, and hypothesis draws data shapes and options."""

import math
from dataclasses import replace
from importlib import import_module
from typing import Annotated, Literal, NamedTuple, get_args, get_origin

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from descend.catalog import MODELS, Count
from descend.errors import RecipeError
from descend.models._layers import ACTIVATIONS
from descend.models._shape import WORDS, Shape

ROWS = 8
SIZES, POSITIONS = st.integers(1, 6), st.integers(2, 6)
SEQUENCES = {"inputs": st.tuples(POSITIONS, SIZES), "outputs": SIZES}
SHAPES = {  # the fields of a Shape of each kind
    "features": {"inputs": st.tuples(SIZES), "outputs": SIZES},
    "image": {"inputs": st.tuples(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9)), "outputs": SIZES},
    "sequence": SEQUENCES,
    "labelled sequence": SEQUENCES | {"every_position": st.just(True)},
    "tokens": {
        "inputs": st.tuples(POSITIONS),
        "outputs": SIZES,
        "tokens": st.integers(2, 9),
        "every_position": st.booleans(),
    },
}

every_model = pytest.mark.parametrize("name", list(MODELS))
law = settings(max_examples=20)


def taken(name):
    return import_module(f"descend.models.{name}").TAKES


def values(option):
    """What the tests try of an option. 16 units are enough for some to be alive."""
    if option.name == "width":
        return st.just(16)
    if get_origin(option.kind) is Literal:
        return st.sampled_from(get_args(option.kind))
    if option.kind is bool:
        return st.booleans()
    return st.integers(1, 2) if option.kind is Count else st.sampled_from([0.0, 0.3])


def shape_of(kind, data):
    return Shape(**data.draw(st.fixed_dictionaries(SHAPES[kind])))


class Case(NamedTuple):
    """A seeded model in float64, and what it was made from and for."""

    model: nn.Module
    shape: Shape
    options: dict
    inputs: torch.Tensor


def case(name, data):
    shape = shape_of(data.draw(st.sampled_from(sorted(taken(name)))), data)
    options = {option.name: data.draw(values(option)) for option in MODELS.options(name).values()}
    torch.manual_seed(data.draw(st.integers(0, 2**16)))
    return Case(MODELS[name](shape, **options).double(), shape, options, inputs_for(shape))


def inputs_for(shape, rows=ROWS):
    if shape.tokens:
        return torch.randint(shape.tokens, (rows, *shape.inputs))
    return torch.randn(rows, *shape.inputs).double()


@every_model
@law
@given(data=st.data())
def test_outputs_are_one_row_an_example_or_one_a_position(name, data):
    model, shape, _, inputs = case(name, data)
    positions = shape.inputs[:1] if shape.every_position else ()
    assert model(inputs).shape == (ROWS, *positions, shape.outputs)


@every_model
@law
@given(data=st.data())
def test_every_parameter_gets_a_gradient(name, data):
    model, _, options, inputs = case(name, data)
    # The second of two batch norms takes away the shift of the first, unless an activation lies between.
    assume(not {"identity", "batch"} <= set(options.values()))
    outputs = model(inputs)
    gradients = torch.autograd.grad((outputs * torch.randn_like(outputs)).sum(), list(model.parameters()))
    # A gradient that cancels out in theory (a bias before batch norm) is some 1e-16 of the largest in float64.
    least = 1e-12 * max(gradient.abs().max() for gradient in gradients)
    for (parameter, _), gradient in zip(model.named_parameters(), gradients, strict=True):
        assert gradient.abs().max() > least, parameter


@every_model
@law
@given(data=st.data())
def test_a_row_is_answered_alike_whatever_rows_are_beside_it(name, data):
    model, _, _, inputs = case(name, data)
    model.eval()
    together, alone = model(inputs), torch.cat([model(row) for row in inputs.split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)  # rounding: matrix sizes change summation order


@every_model
@law
@given(data=st.data())
def test_evaluation_draws_no_random_number_and_changes_no_state(name, data):
    model, _, _, inputs = case(name, data)
    model.eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    assert torch.equal(model(inputs), model(inputs))
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@every_model
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_training_draws_random_numbers_only_for_dropout(name, share):
    if share and "dropout" not in MODELS.options(name):
        return
    shape = replace(example(name), outputs=3)
    model = MODELS[name](shape, **({"dropout": share} if share else {})).double()
    inputs = inputs_for(shape)
    generator = torch.get_rng_state()
    first, second = model(inputs), model(inputs)
    assert torch.equal(first, second) == (share == 0)
    assert torch.equal(generator, torch.get_rng_state()) == (share == 0)


def example(name):
    """A shape of some size that the model takes."""
    shapes = {
        "features": Shape((12,), 1),
        "image": Shape((1, 8, 8), 1),
        "sequence": Shape((6, 4), 1),
        "tokens": Shape((6,), 1, tokens=20),
    }
    return next(shape for kind, shape in shapes.items() if kind in taken(name))


@every_model
def test_the_first_loss_of_a_classifier_is_the_log_of_the_number_of_classes_and_little_more(name):
    """With each input paired with each class once, ln K is a lower bound for any logits (Jensen). Logits of variance
    s^2 add at most s^2 / 2, and PyTorch's default head, U(+-1/sqrt(n)) for weights and bias, has s^2 = (h^2 + 1/n) / 3
    for inputs of mean square h^2 to the head. No model here has h^2 above 1 on inputs of variance one, and n is at
    least 12: s^2 / 2 <= 0.19. The mean of 20 seeds strays from that by less than 0.06.
    """
    classes, losses = 10, []
    for seed in range(20):
        torch.manual_seed(seed)
        shape = replace(example(name), outputs=classes)
        logits = MODELS[name](shape).double()(inputs_for(shape))
        losses.append(-logits.log_softmax(-1).mean().item())
    assert math.log(classes) <= sum(losses) / len(losses) <= math.log(classes) + 0.25


@every_model
@pytest.mark.parametrize("kind", list(WORDS))
@settings(max_examples=5)
@given(data=st.data())
def test_data_that_does_not_fit_is_refused_with_the_models_that_do(name, kind, data):
    if kind in taken(name):
        return
    shape = shape_of(kind, data)
    with pytest.raises(RecipeError) as refusal:
        MODELS[name](shape)
    offered = str(refusal.value).rpartition(": ")[2].rstrip(".").split(", ")
    assert offered == [model for model in MODELS if kind in taken(model)]
    for model in offered:
        MODELS[model](shape)


@every_model
def test_the_options_of_a_model_list_every_activation(name):
    option = MODELS.options(name).get("activation")
    assert option is None or get_args(option.kind) == tuple(ACTIVATIONS)


@every_model
def test_an_option_is_of_the_catalogs_vocabulary(name):
    for option in MODELS.options(name).values():
        assert option.kind is bool or get_origin(option.kind) in (Literal, Annotated)
        assert option.check(option.default) == option.default
