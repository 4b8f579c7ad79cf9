"""The graph of a loss says which loss it is, what it was given, and which parameters it reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import facts
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from descend.facts import graph
from descend.watching._watch import Watch

Watching = Callable[..., Watch]

torch.manual_seed(0)
INPUTS, NUMBERS, CLASSES = torch.randn(32, 4), torch.randn(32), torch.randint(3, (32,))
BITS = (NUMBERS > 0).float()


def layers(outputs: int, *last: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, outputs), *last)


Case = tuple[nn.Module, Callable[[Tensor], Tensor], dict[str, Any]]
CASES: dict[str, Case] = {
    "cross entropy": (
        layers(3),
        lambda out: nn.functional.cross_entropy(out, CLASSES),
        {"loss": "cross_entropy", "last_op": None, "output_shape": [32, 3], "target_shape": [32], "reduction": "mean"},
    ),
    "with label smoothing": (
        layers(3),
        lambda out: nn.functional.cross_entropy(out, CLASSES, label_smoothing=0.1),
        {"loss": "cross_entropy", "last_op": None, "target_dtype": "int64"},
    ),
    "with probabilities as targets": (
        layers(3),
        lambda out: nn.functional.cross_entropy(out, nn.functional.one_hot(CLASSES, 3).float()),
        {"loss": "cross_entropy", "output_shape": [32, 3]},
    ),
    "of softmax": (
        layers(3, nn.Softmax(1)),
        lambda out: nn.functional.cross_entropy(out, CLASSES),
        {"loss": "cross_entropy", "last_op": "softmax", "rows_sum_to_one": True},
    ),
    "nll of log-softmax is cross entropy": (
        layers(3, nn.LogSoftmax(1)),
        lambda out: nn.functional.nll_loss(out, CLASSES),
        {"loss": "cross_entropy", "last_op": None},
    ),
    "nll of softmax is not": (
        layers(3, nn.Softmax(1)),
        lambda out: nn.functional.nll_loss(out, CLASSES),
        {"loss": "nll", "last_op": "softmax", "rows_sum_to_one": True},
    ),
    "nll of log-softmax at every position, laid out flat": (
        layers(6, nn.Unflatten(1, (2, 3)), nn.LogSoftmax(-1)),
        lambda out: nn.functional.nll_loss(out.flatten(0, 1), CLASSES.repeat_interleave(2)),
        {"loss": "cross_entropy", "output_shape": [64, 3], "target_shape": [64], "last_op": None},
    ),
    "at every position": (
        layers(6),
        lambda out: nn.functional.cross_entropy(
            out.reshape(32, 2, 3).transpose(1, 2), CLASSES[:, None].expand(32, 2).contiguous()
        ),
        {"loss": "cross_entropy", "output_shape": [32, 3, 2], "target_shape": [32, 2]},
    ),
    "squares": (
        layers(1),
        lambda out: nn.functional.mse_loss(out.squeeze(1), NUMBERS),
        {"loss": "mse", "broadcast": False, "output_shape": [32], "target_shape": [32], "last_op": None},
    ),
    "squares after a relu": (
        layers(1, nn.ReLU()),
        lambda out: nn.functional.mse_loss(out.squeeze(1), NUMBERS),
        {"loss": "mse", "last_op": "relu", "output_min": 0.0},
    ),
    "squares by hand": (
        layers(1),
        lambda out: ((out.squeeze(1) - NUMBERS) ** 2).mean(),
        {"loss": "mse", "broadcast": False, "reduction": "mean"},
    ),
    "broadcast squares by hand": (
        layers(1),
        lambda out: (out - NUMBERS).square().mean(),
        {"loss": "mse", "broadcast": True, "output_shape": [32, 1]},
    ),
    "broadcast distances": (
        layers(1),
        lambda out: nn.functional.l1_loss(out.squeeze(1), NUMBERS[:, None]),
        {"loss": "l1", "broadcast": True, "output_shape": [32]},
    ),
    "summed squares": (
        layers(1),
        lambda out: nn.functional.mse_loss(out.squeeze(1), NUMBERS, reduction="sum"),
        {"loss": "mse", "reduction": "sum"},
    ),
    "summed squares by hand": (
        layers(1),
        lambda out: ((out.squeeze(1) - NUMBERS) ** 2).sum(),
        {"loss": "mse", "reduction": "sum"},
    ),
    "a sum divided by the rows is no sum": (
        layers(1),
        lambda out: nn.functional.mse_loss(out.squeeze(1), NUMBERS, reduction="sum") / 32,
        {"loss": "mse", "reduction": None},
    ),
    "huber, with decay by hand": (
        layers(1),
        lambda out: 0.5 * nn.functional.huber_loss(out.squeeze(1), NUMBERS) + 1e-3 * out.square().sum(),
        {"loss": "huber"},
    ),
    "bce": (
        layers(1, nn.Sigmoid()),
        lambda out: nn.functional.binary_cross_entropy(out.squeeze(1), BITS),
        {"loss": "bce", "last_op": "sigmoid", "target_min": 0.0, "target_max": 1.0},
    ),
    "bce with logits of a sigmoid": (
        layers(1, nn.Sigmoid()),
        lambda out: nn.functional.binary_cross_entropy_with_logits(out.squeeze(1), BITS),
        {"loss": "bce_with_logits", "last_op": "sigmoid"},
    ),
    "something else": (layers(1), lambda out: torch.logsumexp(out, 0).sum(), {"loss": None}),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("case", CASES)
def test_what_the_loss_was_given_is_read_from_its_graph(watching: Watching, case: str) -> None:
    model, loss, expected = CASES[case]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with watching(model, optimizer, every=1) as watched:
        for _ in range(3):
            optimizer.zero_grad()
            loss(model(INPUTS)).backward()
            optimizer.step()
    found = facts(watched)["graph"]
    found |= found.pop("given")
    assert {name: found.get(name) for name in expected} == expected
    assert found["unreached"] == []


def test_given_values_are_those_of_the_outputs_not_of_their_logarithms(watching: Watching) -> None:
    model = layers(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with watching(model, optimizer) as watched:
        outputs = model(INPUTS)
        nn.functional.cross_entropy(outputs, CLASSES).backward()
        optimizer.step()
    given = facts(watched)["graph"]["given"]
    assert (given["output_min"], given["output_max"]) == (outputs.min().item(), outputs.max().item())
    assert facts(watched)["start"]["expected"] == pytest.approx(1.0986123, abs=1e-6)  # ln 3
    assert facts(watched)["graph"]["ops"] == ["NllLoss", "LogSoftmax", "Addmm"]


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.spare = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(inputs).detach())


def test_parameters_that_the_loss_does_not_reach_are_named(watching: Watching) -> None:
    model = Detached()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model, optimizer, every=1) as watched:
        for _ in range(4):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(INPUTS), CLASSES).backward()
            optimizer.step()
    unreached = ["body.weight", "body.bias", "spare.weight", "spare.bias"]
    assert facts(watched)["graph"]["unreached"] == unreached
    assert facts(watched)["gradients"]["none"] == unreached
    assert facts(watched)["gradients"]["zero"] == []


def test_of_a_checkpointed_network_nobody_says_what_is_not_reached(watching: Watching) -> None:
    model = layers(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = INPUTS.clone().requires_grad_()
    with watching(model, optimizer) as watched:
        nn.functional.cross_entropy(checkpoint(model, inputs, use_reentrant=True), CLASSES).backward()
        optimizer.step()
    assert facts(watched)["graph"]["unreached"] is None
    assert facts(watched)["gradients"]["backwards"] == 1, "the pass within the pass does not count"


def test_a_number_by_which_a_loss_was_multiplied_is_told_from_a_scalers_tensor() -> None:
    loss = nn.functional.mse_loss(layers(1)(INPUTS).squeeze(1), NUMBERS)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    node, number, tensors = graph.unscaled(scaler.scale(loss / 4).grad_fn)
    assert (graph.name_of(node), number, [each.item() for each in tensors]) == ("MseLoss", 0.25, [1024.0])
    node, number, tensors = graph.unscaled((loss * NUMBERS).sum().grad_fn)
    assert (graph.name_of(node), number, tensors) == ("Sum", 1.0, [])


class Names(nn.Module):
    """As in PyTorch's tutorial on names: a sequence of letters, one word at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.RNN(4, 8), nn.Linear(8, 3)

    def forward(self, letters: Tensor) -> Tensor:
        return self.head(self.rnn(letters)[1][0])


@pytest.mark.parametrize("together", [sum, lambda losses: torch.stack(losses).sum()])
def test_losses_that_were_added_up_one_by_one_count_as_one_of_their_mean(
    watching: Watching, together: Callable[[list[Tensor]], Tensor]
) -> None:
    torch.manual_seed(0)
    model = Names()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model, optimizer) as watched:
        words = [torch.randn(5 + row, 1, 4) for row in range(6)]
        losses = [nn.functional.cross_entropy(model(word), CLASSES[row : row + 1]) for row, word in enumerate(words)]
        together(losses).backward()
        optimizer.step()
    found = facts(watched)
    assert found["graph"]["terms"] == 6
    assert found["start"]["loss"] == pytest.approx(sum(loss.item() for loss in losses) / 6, rel=1e-6)
    assert watched.run.series("loss/batch", x="examples").x.tolist() == [6]


def test_rows_are_counted_also_where_the_sequence_comes_first(watching: Watching) -> None:
    model = nn.RNN(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model, optimizer) as watched:
        for length in (7, 7, 9):
            nn.functional.cross_entropy(model(torch.randn(length, 32, 4))[1][0], CLASSES).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert watched.run.series("loss/batch", x="examples").x.tolist() == [32, 64, 96]
