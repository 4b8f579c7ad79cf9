"""Which rows each step sees: a pure function of (seed, epoch, index), so that no cut or resume changes it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor, nn

Order = Literal["reshuffled", "fixed", "replacement"]
LastBatch = Literal["weighted", "dropped", "unweighted"]

BLOCK: Final = 16_384  # inputs (numbers) of the epochs that are drawn together: to begin one costs 20 microseconds
GATHER: Final = 4_000_000  # numbers gathered at once, so that memory stays bounded


def generator(*key: int) -> torch.Generator:
    """A CPU generator whose numbers depend on every integer of `key` and on nothing else."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


@dataclass(frozen=True)
class Batches:
    """The batches of a training set, epoch after epoch.

    `order`: "reshuffled" (a new permutation every epoch), "fixed" (the rows as they stand) or "replacement" (each
    row drawn anew, so that the gradient is unbiased and its noise independent from step to step).
    `noise` is the standard deviation of Gaussian noise added to float inputs, drawn anew every epoch.
    """

    inputs: Shaped[Tensor, "rows ..."]
    targets: Shaped[Tensor, "rows ..."]
    size: int  # rows of a batch, at most the rows there are
    order: Order = "reshuffled"
    last: LastBatch = "weighted"
    seed: int = 0
    noise: float = 0.0

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch, the incomplete last one included unless it is dropped."""
        rows = len(self.inputs)
        return rows // self.size if self.last == "dropped" else -(-rows // self.size)

    def weight(self, rows: int) -> float:
        """What the mean loss of a batch of `rows` rows counts: less for an incomplete one, so that all rows count
        alike; always 1 where `last` is "unweighted" (PyTorch's default, which lets the leftovers count more)."""
        return 1.0 if self.last == "unweighted" else rows / self.size

    def indices(self, epoch: int) -> Int64[Tensor, " rows"]:
        """The rows of one epoch, in the order in which they are seen."""
        block, number = divmod(epoch, self._epochs)
        return self._orders(block)[number]

    def after(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches that follow the first `step` ones, without end."""
        block, done = divmod(step, self._epochs * self.per_epoch)
        while True:
            yield from self._batches(block, done)
            block, done = block + 1, 0

    def rows_after(self, step: int, steps: int) -> Int64[Tensor, "steps size"]:
        """The rows of the `steps` batches that follow the first `step` ones; -1 fills up an incomplete batch."""
        if self._whole:
            return torch.arange(self.size).expand(steps, self.size)
        first, last = step // self.per_epoch, (step + steps - 1) // self.per_epoch
        blocks = range(first // self._epochs, last // self._epochs + 1)
        orders = torch.cat([self._orders(block) for block in blocks])
        count = self.per_epoch * self.size
        filled = nn.functional.pad(orders[:, :count], (0, max(0, count - orders.shape[1])), value=-1)
        start = step - blocks[0] * self._epochs * self.per_epoch
        return filled.reshape(-1, self.size)[start : start + steps]

    @property
    def _whole(self) -> bool:
        """Whether every batch is the whole set as it stands: another order would change nothing but rounding."""
        return self.size == len(self.inputs) and self.order != "replacement" and not self.noise

    @property
    def _epochs(self) -> int:
        """Epochs of a block, which are drawn together: many where they are small, so that each costs little."""
        return max(1, BLOCK // max(1, self.inputs.numel()))

    def _orders(self, block: int) -> Int64[Tensor, "epochs rows"]:
        """The rows of each epoch of a block, in the order in which they are seen."""
        shape = (self._epochs, len(self.inputs))
        if self.order == "fixed":
            return torch.arange(shape[1]).expand(shape)
        draw = generator(self.seed, block, 0)
        if self.order == "replacement":
            return torch.randint(shape[1], shape, generator=draw)
        # to sort random numbers is to shuffle, here all epochs at once; 53 bits leave no ties to speak of, and numpy
        # sorts them in a quarter of torch's time
        return torch.from_numpy(torch.rand(shape, generator=draw, dtype=torch.float64).numpy().argsort(axis=1))

    def _batches(self, block: int, done: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of a block after the first `done` ones, gathered some at a time."""
        rows = len(self.inputs)
        if self._whole:
            yield from itertools.repeat((self.inputs, self.targets), self._epochs - done)
            return
        starts = range(0, self.per_epoch * self.size, self.size)
        sizes = [min(self.size, rows - start) for start in starts] * self._epochs
        order = self._orders(block)[:, : sum(sizes) // self._epochs]
        epoch = torch.arange(self._epochs)[:, None].expand_as(order)
        order, epoch = (index.flatten()[sum(sizes[:done]) :].to(self.inputs.device) for index in (order, epoch))
        noise = self._noise(block)
        at_once = max(1, GATHER // (self.size * max(1, self.inputs[0].numel())))
        for first in range(done, len(sizes), at_once):
            some = sizes[first : first + at_once]
            here, order = order.tensor_split([sum(some)])
            when, epoch = epoch.tensor_split([sum(some)])
            inputs = self.inputs[here] if noise is None else self.inputs[here] + noise[when, here]
            yield from zip(inputs.split(some), self.targets[here].split(some), strict=True)

    def _noise(self, block: int) -> Shaped[Tensor, "epochs rows ..."] | None:
        if not self.noise:
            return None
        shape = (self._epochs, *self.inputs.shape)
        drawn = torch.randn(shape, generator=generator(self.seed, block, 1), dtype=self.inputs.dtype)
        return self.noise * drawn.to(self.inputs.device)
