"""How a loop is run is counted: gradients that were not zeroed, and models in the wrong mode."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from conftest import FAMILIES, criterion, facts
from torch import Tensor, nn

from descend.watching._watch import Watch

Watching = Callable[..., Watch]
Loop = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], None]


def zeroed(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> None:
    optimizer.zero_grad()
    criterion(model(inputs), targets).backward()
    optimizer.step()


def zeroed_in_place(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> None:
    optimizer.zero_grad(set_to_none=False)
    criterion(model(inputs), targets).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()


def zeroed_afterwards(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> None:
    criterion(model(inputs), targets).backward()
    optimizer.step()
    model.zero_grad()


def never_zeroed(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> None:
    criterion(model(inputs), targets).backward()
    optimizer.step()


def never_zeroed_but_clipped(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor
) -> None:
    criterion(model(inputs), targets).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()


def accumulated(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> None:
    optimizer.zero_grad()
    for x, y in zip(inputs.split(16), targets.split(16), strict=True):
        (criterion(model(x), y) / 4).backward()
    optimizer.step()


def accumulated_in_place(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> None:
    optimizer.zero_grad(set_to_none=False)
    for x, y in zip(inputs.split(16), targets.split(16), strict=True):
        (criterion(model(x), y) / 4).backward()
    optimizer.step()


def lost(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> None:
    for x, y in zip(inputs.split(16), targets.split(16), strict=True):
        optimizer.zero_grad()
        (criterion(model(x), y) / 4).backward()
    optimizer.step()


def two_losses(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> None:
    optimizer.zero_grad()
    outputs = model(inputs)
    criterion(outputs, targets).backward(retain_graph=True)
    (1e-3 * outputs.square().mean()).backward()
    optimizer.step()


# steps checked, stale, lost, backward passes a step: the first step has nothing to be stale of
HABITS: dict[str, tuple[Loop, tuple[int, int, int, float]]] = {
    "zeroed": (zeroed, (9, 0, 0, 1)),
    "zeroed in place": (zeroed_in_place, (9, 0, 0, 1)),
    "zeroed afterwards": (zeroed_afterwards, (9, 0, 0, 1)),
    "never zeroed": (never_zeroed, (9, 8, 0, 1)),
    "never zeroed but clipped": (never_zeroed_but_clipped, (9, 8, 0, 1)),
    "accumulated": (accumulated, (9, 0, 0, 4)),
    "accumulated in place": (accumulated_in_place, (9, 0, 0, 4)),
    "lost": (lost, (9, 0, 9, 4)),
    "two losses": (two_losses, (9, 0, 0, 2)),
}


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("family", ["mlp with dropout", "transformer with tied weights"])
def test_clean_starts_are_counted(watching: Watching, habit: str, family: str) -> None:
    torch.manual_seed(0)
    step, expected = HABITS[habit]
    make, rows = FAMILIES[family]
    model, (inputs, targets) = make(), rows()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watching(model, optimizer) as watched:
        for _ in range(25):
            step(model, optimizer, inputs, targets)
    found = facts(watched)["gradients"]
    assert tuple(found[name] for name in ("steps", "stale", "lost", "backwards")) == expected


def test_modes_are_counted(watching: Watching) -> None:
    model, (inputs, targets) = FAMILIES["cnn with batch norm"][0](), FAMILIES["cnn with batch norm"][1]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watching(model, optimizer) as watched:
        for _ in range(3):
            zeroed(model, optimizer, inputs, targets)
        model.eval()
        with torch.no_grad():
            model(inputs)
        zeroed(model, optimizer, inputs, targets)
        model.train()
        with torch.inference_mode():
            model(inputs)
    assert facts(watched)["modes"] == {
        "stochastic_modules": 0,
        "normalisation_modules": 1,
        "train_steps": 4,
        "train_steps_in_eval": 1,
        "plain_forwards": 2,
        "plain_forwards_in_train": 1,
    }


def test_a_scheduler_stepped_once_an_epoch_has_run_through_a_part_of_its_course(watching: Watching) -> None:
    model, data = nn.Linear(8, 3), FAMILIES["mlp with dropout"][1]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data), batch_size=16)
    with watching(model, optimizer, scheduler=scheduler, train=loader) as watched:
        for _ in range(2):
            for inputs, targets in loader:
                zeroed(model, optimizer, inputs, targets)
            scheduler.step()
    expected = {"kind": "CosineAnnealingLR", "period": 8, "taken": 2, "optimizer_steps": 8, "epochs": 2.0}
    assert facts(watched)["schedule"] == expected
    after = 0.1 * (1 + math.cos(math.pi / 8)) / 2  # Loshchilov & Hutter 2017, eq. 5
    assert watched.run.series("lr/0").y.tolist() == pytest.approx([0.1] * 4 + [after] * 4)
