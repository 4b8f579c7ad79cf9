"""Walks the catalog: what holds for every monitor on every kind of network."""

import math
import re
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from descend.catalog import MONITORS
from descend.monitors._capture import Capture
from descend.monitors._monitor import Monitor, Step, chosen
from descend.monitors._panel import Panel, read


class Attention(nn.Module):
    """One fused attention head over tokens, and an answer at every position."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 12)
        self.project = nn.Linear(12, 36)
        self.gelu = nn.GELU()
        self.head = nn.Linear(12, 7)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.project(self.embedding(tokens)).chunk(3, dim=-1)
        seen = nn.functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], is_causal=True)
        return self.head(self.gelu(seen[:, 0]))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(3, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.recurrent(inputs)[0][:, -1])


def linear() -> tuple[nn.Module, Tensor, Tensor]:
    return nn.Linear(3, 2), torch.randn(33, 3), torch.randn(33, 2)


def mlp() -> tuple[nn.Module, Tensor, Tensor]:
    model = nn.Sequential(
        *(nn.Linear(5, 150), nn.ReLU(), nn.Dropout(0.5)), *(nn.Linear(150, 9), nn.Tanh()), *(nn.Linear(9, 4),)
    )
    return model, torch.randn(40, 5), torch.randint(4, (40,))


def binary() -> tuple[nn.Module, Tensor, Tensor]:
    model = nn.Sequential(nn.Linear(5, 9), nn.Sigmoid(), nn.Linear(9, 1))
    return model, torch.randn(16, 5), torch.randint(2, (16,))


def cnn() -> tuple[nn.Module, Tensor, Tensor]:
    model = nn.Sequential(*(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()), nn.Linear(4 * 36, 3))
    return model, torch.randn(12, 1, 8, 8), torch.randint(3, (12,))


def transformer() -> tuple[nn.Module, Tensor, Tensor]:
    return Attention(), torch.randint(7, (9, 5)), torch.randint(7, (9, 5))


def recurrent() -> tuple[nn.Module, Tensor, Tensor]:
    return Recurrent(), torch.randn(10, 4, 3), torch.randn(10, 2)


NETWORKS = (linear, mlp, binary, cnn, transformer, recurrent)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        return nn.functional.mse_loss(outputs, targets)
    if outputs.shape[-1] == 1:
        return nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.float())
    return nn.functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())


class Training:
    """A loop that measures as the trainer does, one update at each call."""

    def __init__(self, network: Callable[[], tuple[nn.Module, Tensor, Tensor]], panel: Panel) -> None:
        torch.manual_seed(0)
        self.model, self.inputs, self.targets = network()
        self.panel = panel
        self.parameters = {name: parameter.detach() for name, parameter in self.model.named_parameters()}
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.capture = Capture(self.model)
        self.memory: dict[str, object] = {}
        self.number = 0

    def loss_of(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        self.model.eval()
        try:
            return loss(torch.func.functional_call(self.model, dict(parameters), (inputs,)), targets)
        finally:
            self.model.train()

    def update(self) -> dict[str, Tensor]:
        self.number += 1
        self.optimizer.zero_grad()
        with self.capture as activations:
            outputs = self.model(self.inputs)
        value = loss(outputs, self.targets)
        value.backward()
        step = Step(
            number=self.number,
            loss=value.detach(),
            inputs=self.inputs,
            targets=self.targets,
            outputs=outputs.detach(),
            task="regression" if self.targets.is_floating_point() else "classification",
            lr=0.01,
            parameters=self.parameters,
            gradients={name: parameter.grad for name, parameter in self.model.named_parameters()},
            activations=activations,
            loss_of=self.loss_of,
            memory=self.memory,
        )
        values = self.panel.measure(step, "before")
        self.optimizer.step()
        return values | self.panel.measure(step, "after")

    def state(self) -> list[Tensor]:
        """Everything that measuring must leave alone, after an update: weights, gradients, buffers, random numbers."""
        tensors = (*self.model.parameters(), *(p.grad for p in self.model.parameters()), *self.model.buffers())
        return [torch.get_rng_state(), *(tensor.clone() for tensor in tensors)]


def refuse(sentence: str) -> None:
    pytest.fail(sentence)


def alone(name: str) -> Panel:
    monitor = MONITORS[name]
    return Panel({name: Monitor(monitor.measure, monitor.unit, monitor.needs)}, report=refuse)


@pytest.mark.parametrize("name", MONITORS.names())
def test_a_monitor_says_what_it_measures_and_in_which_unit(name: str) -> None:
    assert isinstance(MONITORS[name], Monitor)
    assert MONITORS[name].unit
    assert MONITORS.summary(name).endswith(".")
    assert MONITORS.options(name) == {}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", MONITORS.names())
def test_a_monitor_returns_finite_scalars_with_a_place_and_changes_nothing(
    name: str, network: Callable[[], tuple[nn.Module, Tensor, Tensor]]
) -> None:
    watched, bare = Training(network, alone(name)), Training(network, Panel({}))
    after = []
    for training in (watched, bare):
        torch.manual_seed(1)
        for _ in range(3):
            values = training.update()
            assert all(value.shape == () and not value.requires_grad for value in values.values())
            assert all(re.fullmatch(r"[a-z0-9_]+/.+", series) for series in values)
            assert all(
                math.isfinite(value) or series == "gradient_noise/scale" for series, value in read(values).items()
            )
        after.append(training.state())
    assert all(torch.equal(one, other) for one, other in zip(*after, strict=True))
    assert not any(module._forward_hooks for module in watched.model.modules())


@pytest.mark.parametrize("name", MONITORS.names())
def test_every_monitor_finds_something_to_measure_in_a_network_of_relu_and_tanh(name: str) -> None:
    training = Training(mlp, alone(name))
    # 13 updates of 40 examples are more than the 512 that dead_units waits for
    assert [training.update() for _ in range(13)][-1]


def test_the_default_monitors_are_the_cheap_ones() -> None:
    everything, default = chosen("all"), chosen("default")
    assert set(everything) == set(MONITORS)
    assert set(everything) - set(default) == {"gradient_noise", "sharpness"}
    assert set(chosen("sharpness,grad_norm")) == {"sharpness", "grad_norm"}
    assert chosen("none") == {}
