"""watch: a Run from a training loop that knows nothing of descend."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from descend.catalog import MONITORS, Value
from descend.doctor._live import Live
from descend.errors import RecipeError, RunError
from descend.facts import rows
from descend.facts.network import unwrapped
from descend.facts.optimizer import named_in
from descend.monitors._monitor import chosen
from descend.run import Run, new_folder, run_folder
from descend.watching._arguments import require
from descend.watching._loop import Loop
from descend.watching._record import Record

Data = Any  # a DataLoader, a Dataset or an (inputs, targets) pair


def watch(
    model: nn.Module | Mapping[str, nn.Module],
    optimizer: Optimizer | Sequence[Optimizer],
    *,
    loss: Callable[..., Any] | None = None,
    train: Data = None,
    validation: Data = None,
    scheduler: Any = None,
    runs: str | Path = "runs",
    name: str | None = None,
    every: int = 20,
    monitors: str = "default",
    evaluate_every: int | None = None,
    settings: Mapping[str, Value] | None = None,
    doctor: bool = False,
) -> Watch:
    """Record a Run from your own training loop, without a line changed in it.

        with descend.watch(model, optimizer, loss=criterion, train=loader, validation=others) as watched:
            for inputs, targets in loader:
                optimizer.zero_grad()
                criterion(model(inputs), targets).backward()
                optimizer.step()
        descend.diagnose(watched.run)

    Or in two lines: `watched = descend.watch(...)` before the loop and `watched.close()` after it.

    The loss is taken from the backward pass. `loss`, `train` and `validation` serve to evaluate the model on 512
    fixed rows of each split and to look at the data. Every update's loss and learning rate are recorded, and every
    `every` updates what the `monitors` see ("default", "all", "none", or names). With several optimizers, a step is an
    update of the first. With `doctor`, problems are named on standard error while it trains, in at most three lines.

    Training is not changed: weights and random numbers are bit for bit those of the loop alone, and what fails in
    watching is reported once and left out from then on.

    In a distributed run rank 0 records, and the loss is that of its own rows. Inside a module that `torch.compile`
    runs activations cannot be seen.

    Raises RunError if a run called `name` exists, RecipeError for an unknown monitor or an `every` below 1.
    """
    if every < 1 or (evaluate_every is not None and evaluate_every < 1):
        raise RecipeError(f"every is {every} and evaluate_every is {evaluate_every}, but both count steps: from 1 on.")
    for wanted in set(monitors.split(",")) - {"default", "all", "none"}:
        MONITORS.require(wanted)
    models = dict(model) if isinstance(model, Mapping) else {"model": model}
    given: Any = optimizer  # whatever it is: `require` refuses what is no optimizer
    optimizers: list[Optimizer] = list(given) if isinstance(given, (list, tuple)) else [given]
    require(models.values(), optimizers, loss, scheduler)
    if _rank():
        return Watch()
    known: dict[str, Value] = {
        "model": ", ".join(type(unwrapped(each)).__name__ for each in models.values()),
        "optimizer": ", ".join(type(each).__name__ for each in optimizers),
        "lr": float(optimizers[0].param_groups[0]["lr"]),
    }
    if loss is not None:
        known["loss"] = getattr(loss, "__name__", type(loss).__name__)
    known |= {key: value for key, value in (settings or {}).items() if value is not None}
    record = Record(_folder(runs, name, models, optimizers), known)
    try:
        record.note(
            "started",
            0,
            parameters=sum(parameter.numel() for _, parameter in named_in(models)),
            versions={"descend": version("descend"), "torch": torch.__version__},
        )
        splits: dict[str, rows.Rows] = {}

        def read(split: str, data: Data) -> None:
            found = None if data is None else rows.read(data)
            if found is not None:
                splits[split] = found

        record.guard("training data", read, "train", train)
        record.guard("validation data", read, "validation", validation)
        loop = Loop(
            record,
            models,
            optimizers,
            chosen(monitors),
            every,
            loss,
            splits,
            scheduler,
            evaluate_every,
            Live(record.recorder) if doctor else None,
        )
    except BaseException:
        record.release()
        raise
    return Watch(record, loop)


class Watch:
    """A loop that is being watched: what `watch` returns. `run` is its record, None where another rank records."""

    def __init__(self, record: Record | None = None, loop: Loop | None = None) -> None:
        self._record, self._loop = record, loop
        self.run = Run(record.recorder.folder) if record is not None else None
        if loop is not None:
            _OPEN.add(loop)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _close(self._loop, error)

    def loss(self, value: float | Tensor) -> None:
        """The loss of the coming update, where the backward pass does not show it."""
        if self._loop is not None:
            self._loop.given_loss = float(_number(value))

    def log(self, values: Mapping[str, float | Tensor]) -> None:
        """Add series of your own, at the current step."""
        if self._record is not None:
            self._record.row({name: float(_number(value)) for name, value in values.items()})

    def close(self) -> None:
        """End the record, and leave no hook behind. May be called twice."""
        _close(self._loop, None)


def _close(loop: Loop | None, error: BaseException | None) -> None:
    """End the record of a loop that is over, or that has failed."""
    if loop is None or not loop.record.open:
        return
    done = isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and not error.code)
    failed = error is not None and not done
    loop.detach()
    loop.end(finished=not failed)
    if failed:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        loop.record.end(why, {"error": f"{type(error).__name__}: {error}"}, loop.live)
    else:
        loop.record.end("finished", {}, loop.live)


_OPEN: Final[weakref.WeakSet[Loop]] = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    """A fork of a process that is watched: the record stays with the parent."""
    for loop in list(_OPEN):
        loop.record.open = False
        loop.detach()


os.register_at_fork(after_in_child=_leave_to_the_parent)


@atexit.register
def _close_all() -> None:
    """Close what a script has left open, also where it ends by an exception."""
    for loop in list(_OPEN):
        _close(loop, getattr(sys, "last_value", None))


def _number(value: float | Tensor) -> float:
    """The number in a tensor, which may belong to a graph."""
    return value.item() if isinstance(value, Tensor) else value


def _rank() -> int:
    """The number of this process in a distributed run; 0 where there is only one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    return int(os.environ.get("RANK", "0"))


def _folder(
    runs: str | Path, name: str | None, models: Mapping[str, nn.Module], optimizers: Sequence[Optimizer]
) -> Path:
    """A new folder: the one called `name`, or the next one called after model and optimizer."""
    if name is None:
        kinds = [type(unwrapped(next(iter(models.values())))).__name__, type(optimizers[0]).__name__]
        return new_folder(runs, "-".join(kinds).lower().strip("_"))
    folder = run_folder(runs, name)
    if folder.exists():
        raise RunError(f"{folder} exists already. Choose another name.")
    return folder
