"""What watching costs: the share of a bare loop's speed that `descend.fit` keeps with its monitors.

    python benchmarks/monitor.py [--quick] [--rounds 9] [--seconds 2] [--threads 1]

The bare loop is the same `fit` with monitors="none", which records the loss of every step and nothing else; a loop
written by hand stands beside it. Nobody evaluates on the way.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from contextlib import ExitStack
from unittest import mock

import torch
from _timing import HEAD, NEVER, Train, data_in_memory, fitting, race, random_images
from torch import nn

from descend import Recipe
from descend.catalog import MONITORS
from descend.data._dataset import Dataset
from descend.train.build import build_model

ADAM = {"optimizer": "adam", "lr": 1e-3, "evaluate_every": NEVER}
IMAGES = random_images()
CASES: tuple[tuple[str, Recipe, Dataset | None], ...] = (
    ("MLP 784-512-512-10, batch 128", Recipe(data="digits", model="mlp", width=512, batch_size=128, **ADAM), IMAGES),
    ("CNN on 28 x 28 images, batch 32", Recipe(data="digits", model="cnn", batch_size=32, **ADAM), IMAGES),
    ("transformer on 64 characters, batch 32", Recipe(data="characters", rows=400, model="transformer", **ADAM), None),
)


def by_hand(recipe: Recipe, data: Dataset) -> Train:
    """Batches by index from tensors in memory, torch's Adam, the loss read at every step."""

    def train(steps: int) -> int:
        torch.set_num_threads(recipe.threads or 1)
        model, (inputs, targets) = build_model(recipe, data), data.train
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        made, total = 0, 0.0
        while True:
            for rows in torch.randperm(len(inputs)).split(int(recipe.batch_size)):
                optimizer.zero_grad()
                outputs, answers = model(inputs[rows]), targets[rows]
                loss = nn.functional.cross_entropy(outputs.flatten(0, -2), answers.flatten())
                loss.backward()
                optimizer.step()
                total += loss.item()
                made += 1
                if made == steps:
                    return made

    return train


def truly_every_step(train: Train) -> Train:
    """With the dear monitors, too, at every step instead of every few."""

    def patched(steps: int) -> int:
        with ExitStack() as patches:
            for name in MONITORS:
                module = importlib.import_module(f"descend.monitors.{name}")
                patches.enter_context(mock.patch.object(module, name, dataclasses.replace(MONITORS[name], every=1)))
            return train(steps)

    return patched


def measure(title: str, recipe: Recipe, dataset: Dataset | None, *, seconds: float, rounds: int) -> None:
    dear = {name: MONITORS[name].every for name in MONITORS if MONITORS[name].every > 1}
    intervals = ", ".join(f"{name} every {every}" for name, every in dear.items())
    everything = fitting(recipe.but(monitors="all", monitor_every=1))
    with data_in_memory(recipe, dataset) as data:
        contenders = {
            "bare fit": fitting(recipe.but(monitors="none")),
            "loop by hand": by_hand(recipe, data),
            "default monitors": fitting(recipe),
            "all but the dear, every step": fitting(recipe.but(monitor_every=1)),
            "all, the dear less often": everything,
            "all, truly every step": truly_every_step(everything),
        }
        result = race(contenders, seconds=seconds, rounds=rounds)
    print(f"\n{title}, threads={recipe.threads}; dear: {intervals}\n{HEAD}")
    for name in contenders:
        print(result.row(name, "bare fit"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.3 seconds: shows that it works")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="of training a round and contender")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for all contenders")
    arguments = parser.parse_args()
    seconds, rounds = (0.3, 3) if arguments.quick else (arguments.seconds, arguments.rounds)
    for title, recipe, dataset in CASES:
        measure(title, recipe.but(threads=arguments.threads), dataset, seconds=seconds, rounds=rounds)


if __name__ == "__main__":
    main()
