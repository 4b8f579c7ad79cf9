"""Timing contenders against each other on a machine that is busy with other things.

Each contender trains for a second or two, one after the other, round after round: A B C A B C ... A ratio is taken
within a round, where the machine was equally busy for both, and its median over the rounds is reported.

Each training is timed next to one of a single step, and the difference counts: building, the first and the last
evaluation, opening a record and saving the last checkpoint are nobody's steps.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from descend import Recipe, fit
from descend.catalog import DATA
from descend.data._dataset import Dataset, Split

NEVER: Final = 10**9  # steps between evaluations: only the first and the last are left

Train = Callable[[int], int]
"""Trains a fresh model for about so many steps; returns how many it made."""


@dataclass(frozen=True)
class Race:
    """Steps a second of each contender: `wall` and `cpu` (the time of all threads together), one number a round."""

    wall: Mapping[str, NDArray[np.float64]]
    cpu: Mapping[str, NDArray[np.float64]]

    def best(self, *names: str) -> str:
        """The fastest of some contenders by the clock on the wall."""
        return max(names, key=lambda name: float(np.median(self.wall[name])))

    def row(self, name: str, base: str) -> str:
        """Speed relative to `base`: wall time with the middle half of the rounds, then CPU time."""
        ratios = self.wall[name] / self.wall[base]
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        cpu = np.median(self.cpu[name] / self.cpu[base])
        return f"{name:<34}{middle:>8.2f}   {low:>5.2f} to {high:<6.2f}{cpu:>8.2f}{np.median(self.wall[name]):>10.0f}"


HEAD = f"{'':<34}{'speed':>8}   {'half of rounds':<13}{'per CPU':>9}{'steps/s':>10}"


def race(contenders: Mapping[str, Train], *, seconds: float, rounds: int) -> Race:
    """Let each contender train for about `seconds` a round. What comes before the first round warms up."""
    steps = {name: _steps_for(seconds, train) for name, train in contenders.items()}
    rates: dict[str, list[NDArray[np.float64]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, train in contenders.items():
            rates[name].append(_rates(train, steps[name]))
    return Race(*({name: np.array(rates[name])[:, clock] for name in contenders} for clock in (0, 1)))


def _rates(train: Train, steps: int) -> NDArray[np.float64]:
    """Steps a second by wall and by processor, between a training of one step (skorch: one epoch) and one of many."""
    gc.collect()
    few, few_seconds = _timed(train, 1)
    many, many_seconds = _timed(train, steps)
    return (many - few) / (many_seconds - few_seconds)


def _timed(train: Train, steps: int) -> tuple[int, NDArray[np.float64]]:
    """How many steps were made, and the seconds they took: [wall, processor]."""
    start = np.array([time.perf_counter(), time.process_time()])
    made = train(steps)
    return made, np.array([time.perf_counter(), time.process_time()]) - start


def _steps_for(seconds: float, train: Train) -> int:
    """How many steps take about so long, the first one aside."""
    train(1)  # loads what is loaded once
    few, few_seconds = _timed(train, 1)
    steps = 8
    while True:
        many, many_seconds = _timed(train, steps)
        took = float(many_seconds[0] - few_seconds[0])
        if many > few and took > seconds / 3:
            return max(steps // 3, round((many - few) * seconds / took))
        steps *= 3


def fitting(recipe: Recipe) -> Train:
    """The whole of `fit`, from recipe to finished record."""

    def train(steps: int) -> int:
        with tempfile.TemporaryDirectory() as runs:
            fit(recipe.but(steps=steps), runs=runs)
        return steps

    return train


@contextmanager
def data_in_memory(recipe: Recipe, dataset: Dataset | None = None) -> Iterator[Dataset]:
    """The recipe's data set made once, so that no contender is timed making it; or `dataset` in its place."""
    made = dataset or DATA[recipe.data](**recipe.part("data"))
    with mock.patch(f"descend.data.{recipe.data}.{recipe.data}", return_value=made):
        yield made


def random_images(rows: int = 1280, side: int = 28, classes: int = 10) -> Dataset:
    """Images of noise with random labels: to train at full speed takes no meaning."""
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.rand(rows, 1, side, side, generator=draw), torch.randint(classes, (rows,), generator=draw))
    return Dataset("random_images", "classification", split, classes=tuple(map(str, range(classes))))
