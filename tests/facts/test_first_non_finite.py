"""The first operation that makes a number that is none is named, with its layer, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from descend.facts.non_finite import Problem, locate


class Net(nn.Module):
    """Something between two layers, with everything that a second pass could change."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.norm, self.drop, self.last = (
            nn.Linear(4, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.2),
            nn.Linear(8, 3),
        )
        self.between = between

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.between(self.drop(self.norm(self.first(inputs)))))


def found(between: Callable[[Tensor], Tensor], judge: Callable[[Tensor], Tensor] | None = None) -> Problem:
    """What is found in a step of a network; modes, statistics, gradients and random numbers are as before."""
    torch.manual_seed(0)
    model, inputs, targets = Net(between), torch.randn(16, 4), torch.randint(3, (16,))
    judge = judge or (lambda outputs: nn.functional.cross_entropy(outputs, targets))
    loss = judge(model(inputs))
    loss.backward()
    state = [*model.state_dict().values(), *(parameter.grad for parameter in model.parameters())]
    before = [each.clone() for each in state]
    numbers = torch.get_rng_state()
    problem = locate(loss.item(), model, inputs, lambda: model(inputs), judge)
    pairs = zip((each.nan_to_num() for each in state), (each.nan_to_num() for each in before), strict=True)
    changed = [now for now, then in pairs if not torch.equal(now, then)]
    assert changed == []
    assert torch.equal(numbers, torch.get_rng_state())
    assert all(module.training for module in model.modules())
    assert sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules()) == 0
    return problem


@pytest.mark.parametrize(
    ("between", "operation"),
    [
        (lambda hidden: hidden.log(), "log"),
        (lambda hidden: (1e4 * hidden).exp(), "exp"),
        (lambda hidden: hidden / (hidden - hidden), "div"),
        (lambda hidden: (hidden.float() * 1e30).square(), "pow"),
    ],
)
def test_an_operation_of_the_forward_pass(between: Callable[[Tensor], Tensor], operation: str) -> None:
    problem = found(between)
    assert (problem.what, problem.operation, problem.layer) == ("operation", operation, "the model")
    assert f"{operation} in the model was" in problem.sentence


def test_an_operation_of_the_loss() -> None:
    problem = found(lambda hidden: hidden, lambda outputs: (outputs.softmax(1) - 1).log().mean())
    assert (problem.what, problem.operation, problem.layer) == ("operation", "log", "the loss")


def test_an_operation_of_the_backward_pass() -> None:
    problem = found(lambda hidden: (hidden * 0).sqrt() + hidden)
    assert (problem.what, problem.operation, problem.where) == ("gradient", "sqrt", "norm.bias")


def test_infinities_of_a_mask_are_meant() -> None:
    def masked(hidden: Tensor) -> Tensor:
        mask = torch.full((8, 8), -torch.inf).triu(1)
        return (hidden @ hidden.T @ hidden @ (torch.zeros(8, 8) + mask).softmax(1)).log()

    assert found(masked).operation == "log"


def test_weights_and_data_come_first() -> None:
    model, inputs = nn.Linear(3, 2), torch.randn(4, 3)
    inputs[2, 1] = torch.inf
    problem = locate(torch.nan, model, inputs, lambda: model(inputs))
    assert (problem.what, problem.row, problem.column, problem.value) == ("input", 2, 1, torch.inf)
    with torch.no_grad():
        model.bias[1] = torch.nan
    assert locate(torch.nan, model, inputs, lambda: model(inputs)).where == "bias"


def test_where_nothing_can_be_found_the_loss_is_named() -> None:
    model, inputs = nn.Linear(3, 2), torch.randn(4, 3)
    assert (
        locate(-torch.inf, model, inputs, lambda: model(inputs)).sentence == "the loss of the batch was minus infinite."
    )
