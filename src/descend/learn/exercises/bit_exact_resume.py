"""5.5 A checkpoint from which training goes on bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from descend.learn import Answer, Exercise, Observation, expect_close, expect_equal

EPOCHS = 6


class _Training:
    """A loop with all that a checkpoint has to hold."""

    def __init__(self, inputs: Tensor, labels: Tensor, seed: int, adam: bool) -> None:
        torch.manual_seed(seed)
        self.inputs, self.labels = inputs, labels
        self.model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 2))
        parameters = self.model.parameters()
        self.optimizer: Any = (
            torch.optim.Adam(parameters, 0.05) if adam else torch.optim.SGD(parameters, 0.2, momentum=0.9)
        )
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.5)
        self.order = torch.Generator().manual_seed(seed)

    @property
    def parts(self) -> tuple[Any, ...]:
        return self.model, self.optimizer, self.scheduler, self.order

    def epoch(self) -> None:
        for rows in torch.randperm(len(self.inputs), generator=self.order).split(8):
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(self.inputs[rows]), self.labels[rows]).backward()
            self.optimizer.step()
        self.scheduler.step()

    def weights(self) -> Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()]).clone()


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    done = (1, 2, 4)[variant]  # the last epoch before the interruption, counted from 0
    seed = int(draw.integers(1, 10_000))
    inputs = torch.from_numpy(draw.normal(size=(24, 4))).float()
    labels = (inputs.sum(dim=1) > 0).long()
    uncut = _Training(inputs, labels, seed, adam=variant != 1)
    state: Any = None
    for epoch in range(EPOCHS):
        uncut.epoch()
        if epoch == done:
            state = yours.save(epoch, *uncut.parts)
    resumed = _Training(inputs, labels, seed + 1, adam=variant != 1)
    start = yours.restore(state, *resumed.parts)
    yield expect_equal(f"the epoch to go on with, where epoch {done} was the last one done", start, done + 1)
    for _ in range(start, EPOCHS):
        resumed.epoch()
    yield expect_close(
        "the learning rate at the end",
        resumed.optimizer.param_groups[0]["lr"],
        uncut.optimizer.param_groups[0]["lr"],
        rel=1e-12,
    )
    yield expect_close(
        "the weights at the end of the resumed training, against the uncut one",
        resumed.weights(),
        uncut.weights(),
        rel=0,
    )


bit_exact_resume = Exercise(
    number="5.5",
    title="A resume that nobody can tell",
    anchor="checkpoints",
    minutes=20,
    task="""
A training with dropout, momentum or Adam, a learning-rate schedule and shuffled rows is interrupted after an epoch. In
a new process it is to go on so that every weight comes out bit for bit as if it had never stopped.

Write save(epoch, model, optimizer, scheduler, order), called when `epoch` (counted from 0) is done, which returns
whatever is needed; the training then goes on for a while and changes all of these objects. And write
restore(state, model, optimizer, scheduler, order), which is given what save returned and freshly made objects, brings
them to where the others were, and returns the number of the epoch to go on with.

`order` is the torch.Generator that shuffles the rows. Dropout draws from torch's global generator.
""",
    starter='''
import copy

import torch


def save(epoch, model, optimizer, scheduler, order):
    """What is needed to go on."""
    raise NotImplementedError


def restore(state, model, optimizer, scheduler, order):
    """Bring the objects to where they were; returns the epoch to go on with."""
    raise NotImplementedError
''',
    hints=(
        "What does the next step depend on? Weights, what the optimizer remembers, the rate, the rows, the dropout.",
        "model, optimizer and scheduler have state_dict() and load_state_dict(). Do these hold copies?",
        "A generator has get_state() and set_state(), the global one torch.get_rng_state() and torch.set_rng_state().",
        "The epoch that was done must not be done again.",
    ),
    explanation="""
Each part that is left out gives a training that runs on without an error and is another one: the momentum begins at
zero, the schedule starts over, rows that were seen come again. state_dict() hands out the live tensors, so what is kept
in memory needs a copy; writing to disk makes one. And only a test by equality finds out: a resumed run that is "about
as good" proves nothing.
""",
    check=check,
)
