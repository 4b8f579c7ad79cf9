"""What is said about activations, against its definition."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from descend.catalog import MONITORS
from descend.monitors._capture import Capture
from descend.monitors._monitor import Activation, Step
from descend.monitors._panel import read
from descend.monitors._sample import some_examples

SMALL = st.sampled_from([(2, 3), (9, 20), (7, 5, 4), (6, 3, 4, 4)])  # all rows are looked at


def showing(memory: dict[str, object] | None = None, **activations: tuple[str, Tensor]) -> Step:
    seen = {name: Activation(kind, output) for name, (kind, output) in activations.items()}
    outputs = next(iter(seen.values())).output
    memory = {} if memory is None else memory
    return Step(1, outputs.sum(), outputs, outputs, outputs, "regression", 0.1, {}, {}, {}, seen, memory=memory)


def random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(shape=SMALL, seed=st.integers(0, 2**16), shift=st.floats(-100, 100))
def test_mean_and_standard_deviation_are_those_of_all_numbers(shape: tuple[int, ...], seed: int, shift: float) -> None:
    output = random(shape, seed) + shift
    values = read(MONITORS["activations"].measure(showing(act=("gelu", output))))
    assert values == pytest.approx(
        {"activation_mean/act": float(output.mean()), "activation_std/act": float(output.std(correction=0))}, rel=1e-9
    )


@given(shape=SMALL, seed=st.integers(0, 2**16), shift=st.floats(-100, 100))
def test_input_variance_is_the_pooled_deviation_across_examples_by_the_rms(
    shape: tuple[int, ...], seed: int, shift: float
) -> None:
    output = random(shape, seed) + shift
    values = read(MONITORS["input_variance"].measure(showing(act=("relu", output))))
    share = float((output.var(dim=0, correction=0).mean() / output.square().mean()).sqrt())
    assert values == pytest.approx({"input_variance/act": share, "input_variance/output": share}, rel=1e-9)


def test_a_network_that_gives_one_answer_for_every_input_has_no_input_variance() -> None:
    same = torch.ones(1, 4).expand(6, 4)
    step = showing(same=("relu", same), silent=("relu", torch.zeros(6, 4)))
    values = read(MONITORS["input_variance"].measure(step))
    assert values["input_variance/same"] == values["input_variance/silent"] == 0
    assert MONITORS["input_variance"].measure(showing(one=("relu", same[:1]))) == {}


def test_twenty_default_relu_layers_look_healthy_by_rms_but_lose_the_input() -> None:
    torch.manual_seed(0)
    layers = itertools.chain.from_iterable((nn.Linear(256, 256), nn.ReLU()) for _ in range(20))
    model, inputs = nn.Sequential(*layers).double(), torch.randn(128, 256).double()
    with Capture(model) as activations, torch.no_grad():
        outputs = model(inputs)
    step = showing(**activations)
    step.outputs = outputs
    share = read(MONITORS["input_variance"].measure(step))
    # other draws of the weights spread by a factor of about two around these
    assert float(outputs.square().mean().sqrt()) == pytest.approx(0.031, rel=0.5)
    assert math.log(share["input_variance/19"]) == pytest.approx(math.log(2.9e-3), abs=math.log(3))
    assert math.log(share["input_variance/39"]) == pytest.approx(math.log(3.1e-7), abs=math.log(3))
    assert share["input_variance/output"] == share["input_variance/39"]


@given(shape=SMALL, seed=st.integers(0, 2**16), kind=st.sampled_from(["tanh", "sigmoid"]))
def test_saturation_counts_where_the_derivative_is_below_a_fiftieth_of_its_maximum(
    shape: tuple[int, ...], seed: int, kind: str
) -> None:
    before = (3 * random(shape, seed)).requires_grad_()
    output = getattr(torch, kind)(before)
    (derivative,) = torch.autograd.grad(output.sum(), before)
    largest = {"tanh": 1.0, "sigmoid": 0.25}[kind]
    values = MONITORS["saturation"].measure(showing(act=(kind, output.detach()), other=("relu", output.detach())))
    assert read(values) == {"saturation/act": pytest.approx(float((derivative < 0.02 * largest).double().mean()))}


@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=40),
    active=st.floats(0, 0.02),
    seed=st.integers(0, 2**16),
)
def test_a_dead_unit_was_silent_in_the_last_whole_block_and_since(sizes: list[int], active: float, seed: int) -> None:
    generator, memory = torch.Generator().manual_seed(seed), {}
    full, filling = None, torch.empty(0, 30)
    for size in sizes:
        output = (torch.rand(size, 30, generator=generator) < active).float()
        filling = torch.cat([filling, output])
        if len(filling) >= 512:
            full, filling = filling, torch.empty(0, 30)
        values = MONITORS["dead_units"].measure(showing(memory, act=("relu", output), other=("gelu", output)))
        if full is None:
            assert values == {}
        else:
            dead = (torch.cat([full, filling]) == 0).all(dim=0).float().mean()
            assert read(values) == {"dead_units/act": float(dead)}


def test_ordinary_sparsity_in_small_batches_is_no_death() -> None:
    generator, memory = torch.Generator().manual_seed(0), {}
    for _ in range(600):
        # a unit active for one example in twenty is silent in 81 % of all batches of 4, in 4e-12 of all windows
        output = (torch.rand(4, 100, generator=generator) < 0.05).float()
        output[:, :3] = 0
        values = MONITORS["dead_units"].measure(showing(memory, act=("relu", output)))
    assert read(values) == {"dead_units/act": pytest.approx(0.03)}


@pytest.mark.parametrize(("shape", "silent"), [((512, 4, 3, 3), (slice(None), 1)), ((512, 3, 4), (..., 1))])
def test_units_are_the_channels_of_an_image_and_the_features_of_a_sequence(
    shape: tuple[int, ...], silent: tuple[object, ...]
) -> None:
    output = torch.ones(shape)
    output[silent] = 0
    assert read(MONITORS["dead_units"].measure(showing(act=("relu", output)))) == {"dead_units/act": 0.25}


@given(rows=st.integers(1, 400), width=st.sampled_from([1, 100, 3000]))
def test_the_examples_looked_at_are_spread_evenly_and_are_at_least_as_many_as_promised(rows: int, width: int) -> None:
    numbers = torch.arange(rows)[:, None].expand(rows, width)
    looked_at = some_examples(numbers)[:, 0].tolist()
    assert len(looked_at) >= min(rows, 8)
    assert len(looked_at) * width >= min(rows * width, 2**13 - width)
    assert len({after - before for before, after in itertools.pairwise(looked_at)}) <= 1
    assert looked_at[0] == 0
    assert rows - looked_at[-1] <= max(1, rows // len(looked_at) + 1) or len(looked_at) == rows
