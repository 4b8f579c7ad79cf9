"""A team of processes that make one training: each takes its share of every batch, and all make the same update.

The transport is torch's: DistributedDataParallel adds up the gradients during the backward pass, and every process then
has the same weights, evaluates them alike and decides alike. Only the first one writes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from descend.errors import RecipeError, RunError
from descend.facts.network import NORMALISATION, STOCHASTIC
from descend.train.build import Parts

LOST = "Another process of this training is gone."


class Team:
    """This process and those it trains with, in a process group that has been set up.

    DDP averages over processes, and a batch is a mean over rows: a process that has n of a batch's B rows weighs its
    mean loss with n / B times the number of processes.
    """

    def __init__(self, model: nn.Module, asked: threading.Event) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.asked = False  # whether any process has been asked to stop, as of the last batch
        self.asked_here = asked
        # copied back, not shared: the gradients of a flat optimizer stay where they are laid
        self._ddp = DistributedDataParallel(model, gradient_as_bucket_view=False)

    def forward(self, inputs: Shaped[Tensor, "rows ..."]) -> Tensor:
        outputs: Tensor = self._ddp(inputs)
        return outputs

    def pieces(
        self, inputs: Shaped[Tensor, "rows ..."], targets: Shaped[Tensor, "rows ..."], size: int
    ) -> Iterator[tuple[Tensor, Tensor, float]]:
        """This process's rows of a batch, at most `size` at a time, and how large a share of the batch they are.

        Forward and backward pass belong between two of them; gradients are added up in the last. A process for which
        there is no row takes one that counts nothing, as all must take part.
        """
        rows = len(inputs)
        first, end = rows * self.rank // self.size, rows * (self.rank + 1) // self.size
        if first == end:
            yield inputs[:1], targets[:1], 0.0
            return
        for start in range(first, end, size):
            stop = min(start + size, end)
            with contextlib.nullcontext() if stop == end else self._ddp.no_sync():
                yield inputs[start:stop], targets[start:stop], (stop - start) / rows

    def backward(self, loss: Tensor, weight: Tensor | None) -> None:
        """The gradients of all. Raises RunError where another process is gone."""
        with _connected():
            loss.backward(weight)

    def total(self, loss: float) -> float:
        """The sum of what each process gives, equal in all; and `asked` is known of all."""
        device = next(self._ddp.parameters()).device
        both = torch.tensor([loss, self.asked_here.is_set()], dtype=torch.float64, device=device)
        with _connected():
            dist.all_reduce(both)
        told, asked = both.tolist()
        self.asked = asked > 0
        return float(told)

    def wait(self) -> None:
        """Until all are here."""
        with _connected():
            dist.barrier()


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """Say in a sentence that another process is gone, where torch says on which line of its transport it noticed."""
    try:
        yield
    except dist.DistError as error:
        raise RunError(LOST) from error
    except RuntimeError as error:
        if "gloo" not in str(error):
            raise
        raise RunError(LOST) from error


class Unwritten:
    """Stands in for a Recorder in the processes that do not write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Unwritten:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def log(self, *_: Any) -> None:
        pass

    def log_many(self, *_: Any) -> None:
        pass

    def note(self, *_: Any, **details: Any) -> None:
        pass

    def restart(self, after: int) -> None:
        pass


def require_shareable(parts: Parts, processes: int) -> None:
    """Raise RecipeError for a training that several processes could not make as one does."""
    if not 1 <= processes <= parts.batches.size:
        raise RecipeError(
            f"nproc is {processes}, but must be from 1 to {parts.batches.size}, the rows of a batch: each process "
            "takes a share of them."
        )
    modules = list(parts.model.modules())
    if any(isinstance(module, NORMALISATION) for module in modules):
        raise RecipeError(
            "Batch norm takes means over the rows of a whole batch, of which each process sees a share: train in one "
            "process, or with norm='layer'."
        )
    drops = float(parts.recipe.options.get("dropout") or 0.0)
    if drops or any(isinstance(module, STOCHASTIC) and module.p for module in modules):
        raise RecipeError(
            f"Dropout of {drops:g} would draw other numbers in each process than in one, so the run could not be the "
            "same: train in one process, or with dropout=0."
        )
    device = parts.recipe.device
    if device.startswith("cuda:") or device == "mps":
        raise RecipeError(f"device is '{device}', where one process has room: use auto, cpu or cuda with nproc.")
    if parts.device.type == "cuda" and processes > torch.cuda.device_count():
        raise RecipeError(
            f"nproc is {processes}, but there are {torch.cuda.device_count()} GPUs, one for each process: use as many, "
            "or --device cpu."
        )
