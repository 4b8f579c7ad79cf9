"""preflight names what is wrong before the first step, and leaves everything as it was."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import descend
from descend.errors import DescendError


class Setup(NamedTuple):
    """What a user has before the first step."""

    model: nn.Module
    loss: Callable[[Any, Any], Tensor]
    optimizer: torch.optim.Optimizer
    train: Any
    validation: Any


def rows(seed: int, count: int = 400) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 6, generator=draw)
    return inputs, (inputs[:, 0] + inputs[:, 1] * inputs[:, 2] > 0).long()


def loader(inputs: Tensor, targets: Tensor, *, shuffle: bool = True) -> DataLoader[Any]:
    return DataLoader(TensorDataset(inputs, targets), batch_size=32, shuffle=shuffle)


def net(*last: nn.Module, outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, outputs), *last)


def healthy(model: nn.Module | None = None, **changed: Any) -> Setup:
    model = model or net()
    setup = Setup(
        model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters()), loader(*rows(0)), loader(*rows(1))
    )
    return setup._replace(**changed)


def names(setup: Setup) -> set[str]:
    found = descend.preflight(*setup).findings
    return {finding.check for finding in found} | {each.check for finding in found for each in finding.symptoms}


# --- what is wrong ----------------------------------------------------------------------------------------------------


def softmax() -> Setup:
    return healthy(net(nn.Softmax(1)))


def sigmoid() -> Setup:
    inputs, targets = rows(0)
    data = loader(inputs, targets.float()[:, None])
    return healthy(net(nn.Sigmoid(), outputs=1), loss=nn.BCEWithLogitsLoss(), train=data, validation=None)


def broadcast() -> Setup:
    inputs, _ = rows(0)
    return healthy(net(outputs=1), loss=nn.MSELoss(), train=loader(inputs, inputs[:, 0]), validation=None)


def label_out_of_range() -> Setup:
    inputs, targets = rows(0)
    return healthy(train=loader(inputs, targets + 1), validation=None)


def head_replaced_later() -> Setup:
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    model[2] = nn.Linear(32, 2)
    return healthy(model, optimizer=optimizer)


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = [nn.Linear(6, 6) for _ in range(2)]
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = torch.relu(block(x))
        logits: Tensor = self.head(x)
        return logits


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.body(x)).detach())
        return logits


def twice() -> Setup:
    model = net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = torch.optim.SGD([*model.parameters(), model[0].weight], lr=0.1)
    return healthy(model, optimizer=optimizer)


def nan_in_the_data() -> Setup:
    inputs, targets = rows(0)
    inputs[217, 3] = torch.nan
    return healthy(train=loader(inputs, targets))


def useless() -> Setup:
    inputs, targets = rows(0)
    inputs[:, 4] = 7.0
    inputs[:, 5] = inputs[:, 3]
    return healthy(train=loader(inputs, targets), validation=None)


def leaked() -> Setup:
    inputs, targets = rows(0)
    return healthy(train=loader(inputs, targets), validation=loader(inputs[100:200], targets[100:200]))


def sorted_rows() -> Setup:
    inputs, targets = rows(0)
    order = targets.argsort()
    return healthy(train=loader(inputs[order], targets[order], shuffle=False))


def zero_weights() -> Setup:
    model = net()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return healthy(model)


class Normalised(nn.Module):
    """Normalises by the statistics of the batch, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16, track_running_stats=False), nn.ReLU())
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


class Deaf(nn.Module):
    """Answers every input alike: it multiplies what it was given by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.body(0 * x)))
        return logits


WRONG: dict[str, Callable[[], Setup]] = {
    "double_softmax": softmax,
    "broadcast_loss": broadcast,
    "label_range": label_out_of_range,
    "missing_from_optimizer": head_replaced_later,
    "no_gradient": lambda: healthy(Detached()),
    "twice_in_optimizer": twice,
    "non_finite_data": nan_in_the_data,
    "useless_columns": useless,
    "validation_leak": leaked,
    "unshuffled": sorted_rows,
    "symmetric_init": zero_weights,
    "batch_dependence": lambda: healthy(Normalised()),
    "deaf_network": lambda: healthy(Deaf()),
}


@pytest.mark.parametrize("check", WRONG)
def test_what_is_wrong_is_named_before_the_first_step(check: str) -> None:
    assert check in names(WRONG[check]())


def test_a_sigmoid_before_a_loss_on_logits_is_named() -> None:
    assert "double_softmax" in names(sigmoid())


def test_layers_in_a_plain_list_are_named() -> None:
    assert "no_gradient" in names(healthy(Listed()))


def test_a_batch_that_cannot_be_learned_by_heart_is_named() -> None:
    # rows that look alike have different labels, so no network can tell them apart
    draw = torch.Generator().manual_seed(0)
    kind = torch.randint(0, 2, (400, 1), generator=draw) * 2.0 - 1
    inputs = kind * torch.arange(1.0, 7.0)
    targets = torch.arange(400) % 2
    assert "cannot_overfit_one_batch" in names(healthy(train=loader(inputs, targets), validation=None))


# --- what is not ------------------------------------------------------------------------------------------------------


def recurrent() -> Setup:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.LSTM(3, 16, batch_first=True), nn.Linear(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(self.rnn(x)[0][:, -1])
            return logits

    torch.manual_seed(0)
    inputs = torch.randn(300, 8, 3)
    return healthy(Last(), train=(inputs, (inputs[:, :, 0].mean(1) > 0).long()), validation=None)


def image() -> Setup:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 36, 10)
    )
    inputs = torch.rand(300, 1, 8, 8)
    return healthy(model, train=(inputs, (inputs[:, 0, 0, 0] * 10).long()), validation=None)


def regression() -> Setup:
    inputs, _ = rows(0)
    targets = (inputs[:, :1] * 2 + inputs[:, 1:2]) / 5**0.5
    return healthy(net(outputs=1), loss=nn.MSELoss(), train=loader(inputs, targets), validation=None)


def frozen() -> Setup:
    model = net()
    model[0].requires_grad_(False)
    return healthy(model, optimizer=torch.optim.SGD(model[2].parameters(), lr=0.1))


@pytest.mark.parametrize("make", [healthy, recurrent, image, regression, frozen])
def test_a_healthy_setup_gets_no_finding(make: Callable[[], Setup]) -> None:
    diagnosis = descend.preflight(*make())
    assert not diagnosis.findings
    assert not diagnosis.failed
    assert len(diagnosis.checked) >= 15


def test_nothing_changes() -> None:
    setup = image()
    before = copy.deepcopy(setup.model.state_dict()), copy.deepcopy(setup.optimizer.state_dict())
    random_numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # Python's own serve beartype while testing
    descend.preflight(*setup)
    for name, value in setup.model.state_dict().items():
        assert torch.equal(value, before[0][name])
    assert setup.optimizer.state_dict() == before[1]
    assert all(parameter.grad is None for parameter in setup.model.parameters())
    assert setup.model.training
    assert torch.equal(torch.get_rng_state(), random_numbers[0])
    assert np.array_equal(np.random.get_state()[1], random_numbers[1])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in setup.model.modules())


def test_a_step_that_cannot_be_taken_is_named_by_a_finding_or_by_its_own_error() -> None:
    inputs, targets = rows(0)
    with pytest.raises(DescendError, match=r"The first step cannot be taken: RuntimeError: mat1 and mat2 shapes"):
        descend.preflight(*healthy(train=(inputs[:, :5], targets), validation=None))


def test_data_that_cannot_be_read_by_number_are_refused() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(zip(*rows(0), strict=True))

    with pytest.raises(DescendError, match="Give a DataLoader over a map-style data set"):
        descend.preflight(*healthy(train=DataLoader(Stream(), batch_size=8)))
