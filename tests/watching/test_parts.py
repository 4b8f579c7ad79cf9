"""A loop may call the parts of a model one by one, and never the model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from conftest import FAMILIES, criterion, facts, sentences
from torch import Tensor, nn

from descend.watching._watch import Watch

Watching = Callable[..., Watch]


class Coder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.act, self.decoder = nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)


class Shell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.loss = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)), nn.CrossEntropyLoss()


CALLS: dict[type[nn.Module], Callable[[nn.Module, Tensor], Tensor]] = {
    Coder: lambda model, inputs: model.decoder(model.act(model.encoder(inputs))),
    Shell: lambda model, inputs: model.net(inputs),
}


@pytest.mark.parametrize("kind", CALLS)
def test_they_are_watched_from_the_second_step_on(watching: Watching, kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, (inputs, targets) = kind(), FAMILIES["mlp with dropout"][1]()
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.1), []
    with watching(model, optimizer, loss=criterion, train=(inputs, targets), every=2) as watched:
        for _ in range(5):
            optimizer.zero_grad()
            loss = criterion(CALLS[kind](model, inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    run = watched.run
    assert sentences(watched) == []
    assert run.series("loss/batch").y.tolist() == losses
    assert run.series("loss/batch", x="examples").x.tolist() == [64, 128, 192, 256, 320]
    place = "act" if kind is Coder else "net.1"
    assert run.series(f"activation_std/{place}").x.tolist() == [3, 5]
    assert run.series("accuracy/batch").x.tolist() == [1, 3, 5]
    assert facts(watched)["modes"]["train_steps"] == 4
    # who calls two parts may do anything between them, so nobody else can evaluate
    assert ("loss/train" in run.names()) == (kind is Shell)


def test_what_a_loop_makes_of_the_outputs_is_not_guessed(watching: Watching) -> None:
    """The loss of the last position alone: evaluating all of them would be another loss."""
    torch.manual_seed(0)
    model, (tokens, targets) = nn.Embedding(11, 11), FAMILIES["transformer with tied weights"][1]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model, optimizer, loss=criterion, train=(tokens, targets)) as watched:
        criterion(model(tokens)[:, -1], targets[:, -1]).backward()
        optimizer.step()
    assert "loss/train" not in watched.run.names()
    assert sentences(watched) == []
