"""Which rows each step sees: a pure function of (seed, epoch, index), so that no cut or resume changes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

Order = Literal["reshuffled", "fixed", "replacement"]
LastBatch = Literal["weighted", "dropped", "unweighted"]

BLOCK: Final = 4_000_000  # numbers gathered at once: one gather serves many small batches, and memory stays bounded


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
        rows = len(self.inputs)
        if self.order == "fixed":
            return torch.arange(rows)
        if self.order == "replacement":
            return torch.randint(rows, (rows,), generator=generator(self.seed, epoch, 0))
        return torch.randperm(rows, generator=generator(self.seed, epoch, 0))

    def after(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches that follow the first `step` ones, without end."""
        epoch, done = divmod(step, self.per_epoch)
        while True:
            yield from self._epoch(epoch, done * self.size)
            epoch, done = epoch + 1, 0

    def _epoch(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        if self.size == len(self.inputs) and self.order != "replacement" and not self.noise:
            yield self.inputs, self.targets  # the full batch: its order would change nothing but rounding
            return
        order = self.indices(epoch)[start : self.per_epoch * self.size].to(self.inputs.device)
        noise = self._noise(epoch)
        batches_a_block = max(1, BLOCK // (self.size * max(1, self.inputs[0].numel())))
        for block in order.split(batches_a_block * self.size):
            inputs = self.inputs[block] if noise is None else self.inputs[block] + noise[block]
            yield from zip(inputs.split(self.size), self.targets[block].split(self.size), strict=True)

    def _noise(self, epoch: int) -> Tensor | None:
        if not self.noise:
            return None
        drawn = torch.randn(self.inputs.shape, generator=generator(self.seed, epoch, 1), dtype=self.inputs.dtype)
        return self.noise * drawn.to(self.inputs.device)
