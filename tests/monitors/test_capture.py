"""Activations are seen in forward order, and no hook is left behind."""

import pytest
import torch
from torch import Tensor, nn

from descend.monitors._capture import Capture


class Twice(nn.Module):
    """One activation module called twice, and a second one between that may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Tanh()
        self.early = nn.ReLU()
        self.linear = nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.early(self.linear(inputs))
        if hidden.isnan().any():
            raise ArithmeticError
        return self.early(self.late(hidden) - 0.5)


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_activations_come_in_forward_order_and_a_second_call_has_its_own_name() -> None:
    model, inputs = Twice(), torch.randn(4, 3)
    with Capture(model) as activations:
        outputs = model(inputs)
    assert [(name, seen.kind) for name, seen in activations.items()] == [
        ("early", "relu"),
        ("late", "tanh"),
        ("early@2", "relu"),
    ]
    assert torch.equal(activations["early"].output, model.linear(inputs).relu())
    assert torch.equal(activations["early@2"].output, outputs)
    assert not any(seen.output.requires_grad for seen in activations.values())


def test_one_capture_serves_many_batches() -> None:
    model = Twice()
    capture = Capture(model)
    for rows in (2, 5):
        with capture as activations:
            model(torch.randn(rows, 3))
        assert [len(seen.output) for seen in activations.values()] == [rows] * 3


def test_hooks_are_gone_after_the_block_also_when_the_forward_pass_fails() -> None:
    model = Twice()
    with Capture(model):
        assert hooks(model) == 2
    assert hooks(model) == 0
    with pytest.raises(ArithmeticError), Capture(model):
        model(torch.full((1, 3), torch.nan))
    assert hooks(model) == 0


def test_a_model_without_activation_modules_shows_its_leaves() -> None:
    with Capture(nn.Linear(2, 1)) as single:
        pass
    assert single == {}
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1), nn.Identity())
    with Capture(model) as activations:
        model(torch.zeros(1, 2))
    assert [(name, seen.kind) for name, seen in activations.items()] == [("0", "linear"), ("1", "linear")]


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_the_output_of_a_plain_recurrent_network_is_its_activation(nonlinearity: str) -> None:
    model = nn.RNN(2, 3, nonlinearity=nonlinearity, batch_first=True)
    with Capture(model) as activations:
        outputs, _ = model(torch.randn(5, 4, 2))
    assert list(activations) == ["model"]
    assert activations["model"].kind == nonlinearity
    assert torch.equal(activations["model"].output, outputs)
