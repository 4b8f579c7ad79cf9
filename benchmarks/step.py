"""Steps per second of `descend.fit`, default monitors included, against loops that others write.

    python benchmarks/step.py [--quick] [--rounds 9] [--seconds 2]

Everybody is given the data as tensors in memory. `fit` also records every step on disk, looks for numbers that are not
finite, and evaluates once an epoch (at most a hundred times a run); the others only train, with loggers, progress bars
and checkpoints off. So a second row shows `fit` without evaluations on the way. The plain loop runs with one thread
and with one for each core, and is judged by the faster of the two; that second row, Lightning and skorch run with that
number. See README.md for the peers.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from _timing import HEAD, NEVER, Train, data_in_memory, fitting, race, random_images
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from descend import Recipe
from descend.data._dataset import Dataset


@dataclass(frozen=True)
class Case:
    """A recipe, and what others write for it."""

    title: str
    recipe: Recipe
    model: Callable[[], nn.Module]
    loss: Callable[[], nn.Module]
    optimizer: type[torch.optim.Optimizer]
    dataset: Dataset | None = None  # in place of the recipe's, for data that no catalog entry has


def _mlp(inputs: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )


CASES = (
    Case(
        "linear on employee_bonus, batch 32, sgd",
        Recipe(data="employee_bonus", model="linear", optimizer="sgd", lr=1e-3, batch_size=32),
        lambda: nn.Linear(3, 1),
        nn.MSELoss,
        torch.optim.SGD,
    ),
    Case(
        "MLP 64-64 on digits, batch 32, adam",
        Recipe(data="digits", model="mlp", width=64, optimizer="adam", lr=1e-3, batch_size=32),
        lambda: _mlp(64, 64),
        nn.CrossEntropyLoss,
        torch.optim.Adam,
    ),
    Case(
        "MLP 784-512-512-10, batch 128, adam",
        Recipe(data="digits", model="mlp", width=512, optimizer="adam", lr=1e-3, batch_size=128),
        lambda: _mlp(784, 512),
        nn.CrossEntropyLoss,
        torch.optim.Adam,
        random_images(),
    ),
)


def plain(case: Case, data: Dataset, threads: int) -> Train:
    """What a good tutorial writes."""

    def train(steps: int) -> int:
        torch.set_num_threads(threads)
        loader, model, loss_of = _loader(case, data), case.model(), case.loss()
        optimizer = case.optimizer(model.parameters(), lr=1e-3)
        step, total = 0, 0.0
        while True:
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = loss_of(model(inputs), targets)
                loss.backward()
                optimizer.step()
                total += loss.item()
                step += 1
                if step == steps:
                    return steps

    return train


def lightning(case: Case, data: Dataset, threads: int) -> Train:
    from lightning.pytorch import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss_of = case.model(), case.loss()

        def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            inputs, targets = batch
            loss: Tensor = self.loss_of(self.model(inputs), targets)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return case.optimizer(self.parameters(), lr=1e-3)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def train(steps: int) -> int:
        torch.set_num_threads(threads)
        trainer = Trainer(
            accelerator="cpu",
            max_steps=steps,
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Module(), _loader(case, data))
        return steps

    return train


def skorch(case: Case, data: Dataset, threads: int) -> Train:
    from skorch import NeuralNet

    def train(steps: int) -> int:
        torch.set_num_threads(threads)
        batches = len(_loader(case, data))
        epochs = -(-steps // batches)
        net = NeuralNet(
            case.model(),
            case.loss(),
            optimizer=case.optimizer,
            lr=1e-3,
            batch_size=case.recipe.batch_size,
            max_epochs=epochs,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        )
        net.fit(*data.train)
        return epochs * batches

    return train


def _loader(case: Case, data: Dataset) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(*data.train), batch_size=int(case.recipe.batch_size), shuffle=True)


def compare(case: Case, *, seconds: float, rounds: int) -> None:
    """Print how fast each contender is relative to the plain loop at its best number of threads."""
    cores = os.cpu_count() or 1
    with data_in_memory(case.recipe, case.dataset) as data:
        plains = {f"plain loop, threads={threads}": plain(case, data, threads) for threads in sorted({1, cores})}
        best = race(plains, seconds=seconds, rounds=3).best(*plains)
        threads = int(best.rpartition("=")[2])
        peers = {
            f"{peer.__name__}, threads={threads}": peer(case, data, threads)
            for peer in (lightning, skorch)
            if importlib.util.find_spec(peer.__name__)
        }
        fits = {
            "descend.fit": fitting(case.recipe),
            f"it, only training, threads={threads}": fitting(case.recipe.but(evaluate_every=NEVER, threads=threads)),
        }
        result = race(fits | plains | peers, seconds=seconds, rounds=rounds)
    print(f"\n{case.title}\n{HEAD}")
    for name in result.wall:
        print(result.row(name, result.best(*plains)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.3 seconds: shows that it works")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="of training a round and contender")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning|torch.utils.data")
    for case in CASES:
        if arguments.quick:
            compare(case, seconds=0.3, rounds=3)
        else:
            compare(case, seconds=arguments.seconds, rounds=arguments.rounds)


if __name__ == "__main__":
    main()
