"""Loops as people write them, small enough to run in a hundredth of a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import descend
from descend.watching._watch import Watch

ROWS = 64


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 8, num_layers=2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.lstm(inputs)[0][:, -1])


class Transformer(nn.Module):
    """Its output layer is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True)
        self.head = nn.Linear(16, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.block(self.embedding(tokens)))


class Bag(nn.Module):
    """A sparse gradient, and a parameter that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8, sparse=True)
        self.layer = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layer(self.layer(self.embedding(tokens).mean(1)).relu()))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def cnn() -> nn.Module:
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    return nn.Sequential(*layers)


FAMILIES: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, Tensor]]]] = {
    "mlp with dropout": (mlp, lambda: (torch.randn(ROWS, 8), torch.randint(3, (ROWS,)))),
    "cnn with batch norm": (cnn, lambda: (torch.randn(ROWS, 1, 8, 8), torch.randint(3, (ROWS,)))),
    "lstm": (Recurrent, lambda: (torch.randn(ROWS, 6, 4), torch.randint(3, (ROWS,)))),
    "transformer with tied weights": (Transformer, lambda: tuple(torch.randint(11, (2, ROWS, 7)))),  # type: ignore[dict-item]
    "sparse embedding": (Bag, lambda: (torch.randint(11, (ROWS, 5)), torch.randint(3, (ROWS,)))),
}


def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., Watch]]:
    """`descend.watch` into a folder of the test, closed at its end."""
    opened: list[Watch] = []

    def watch(*arguments: Any, **options: Any) -> Watch:
        opened.append(descend.watch(*arguments, runs=tmp_path, **options))
        return opened[-1]

    yield watch
    for watched in opened:
        watched.close()


def facts(watched: Watch) -> dict[str, dict[str, Any]]:
    """What was noted, by topic; the later note counts."""
    assert watched.run is not None
    merged: dict[str, dict[str, Any]] = {}
    for note in watched.run.notes("facts"):
        for topic, fields in note.details.items():
            merged.setdefault(topic, {}).update(fields)
    return merged


def sentences(watched: Watch) -> list[str]:
    """What was reported of ourselves."""
    assert watched.run is not None
    return [note.details["sentence"] for note in watched.run.notes("monitor")]
