"""Rows of what a user trains on, read without disturbing it: a loader, a data set, or a pair of tensors."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
)
from torch.utils.data._utils.collate import default_collate

MOST: Final = 2000  # rows read: a share is then known to 1 % (one standard error of at most 0.011)
SECONDS: Final = 0.3  # after which no more are read, where a row costs much (an image file)
PASSES: Final = 16  # in which the rows are read, each evenly spaced, so that those read in time are too

INPUTS: Final = ("input_ids", "pixel_values", "inputs", "input", "x", "image", "features")
TARGETS: Final = ("labels", "label", "targets", "target", "y")


@dataclass(frozen=True)
class Rows:
    """Some rows of a data set, evenly spaced, in the order in which it holds them.

    `inputs` and `targets` are as a batch would have them, on the CPU; None where that is not a tensor. `named` are all
    tensors of a batch that is a mapping. `whole` is the same of all rows, where they are in memory anyway. `shuffled`
    is None where nobody can tell.
    """

    total: int
    inputs: Shaped[Tensor, "rows ..."] | None
    targets: Shaped[Tensor, "rows ..."] | None
    named: Mapping[str, Tensor] | None = None
    whole: Whole | None = None
    batch_size: int | None = None
    batches: int | None = None
    last_batch: int | None = None
    shuffled: bool | None = None


@dataclass(frozen=True)
class Whole:
    """Every row of a data set that is made of tensors; `index` says which of them count, None for all."""

    inputs: Shaped[Tensor, "all ..."]
    targets: Shaped[Tensor, "all ..."]
    index: Shaped[Tensor, " rows"] | None = None

    def __len__(self) -> int:
        return len(self.inputs if self.index is None else self.index)

    def at(self, rows: Shaped[Tensor, " some"]) -> tuple[Tensor, Tensor]:
        """Inputs and targets of some rows."""
        chosen = rows if self.index is None else self.index[rows]
        inputs, targets = (values[chosen.to(values.device)].cpu() for values in (self.inputs, self.targets))
        return inputs, targets


def read(given: object, most: int = MOST) -> Rows | None:
    """At most `most` rows of a DataLoader, a Dataset or an (inputs, targets) pair; None of anything else.

    A loader is not iterated: its data set is asked for single rows, and no random number is drawn from a generator
    that anybody else uses. Rows that are slow to read (more than 0.3 s in all) are fewer.
    """
    loader = given if isinstance(given, DataLoader) else None
    dataset = given if loader is None else loader.dataset
    about = {} if loader is None else _loading(loader)
    if (whole := _whole(dataset)) is not None and _plain(loader):
        inputs, targets = whole.at(_spread(len(whole), most))
        return Rows(len(whole), inputs, targets, whole=whole, **about)
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        return None
    if loader is not None and loader.batch_sampler is None:
        return None  # its data set makes whole batches
    total = len(dataset)
    if not total:
        return None
    batch = _collated(dataset, _spread(total, most), default_collate if loader is None else loader.collate_fn)
    items = batch.items() if isinstance(batch, Mapping) else ()
    named = {name: each for name, each in items if isinstance(each, Tensor)}
    return Rows(total, *parts(batch), named or None, **about)


def parts(batch: object) -> tuple[Tensor | None, Tensor | None]:
    """Inputs and targets of a batch: the first two tensors of a sequence, or by their usual names in a mapping."""
    if isinstance(batch, Mapping):
        found = [next((batch[name] for name in names if name in batch), None) for names in (INPUTS, TARGETS)]
    elif isinstance(batch, (list, tuple)):
        found = [_first(each) for each in (*batch, None, None)][:2]
    else:
        found = [batch, None]
    inputs, targets = (each.detach().cpu() if isinstance(each, Tensor) else None for each in found)
    return inputs, targets


def _first(part: object) -> object:
    """A tensor, or the first one in a sequence of them."""
    return part[0] if isinstance(part, (list, tuple)) and part else part


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """The random numbers of torch, NumPy and Python go on afterwards as if nothing had been drawn."""
    states = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def _loading(loader: DataLoader[Any]) -> dict[str, Any]:
    """How a loader makes batches of its rows."""
    sampler = loader.sampler if loader.batch_size is not None else getattr(loader.batch_sampler, "sampler", None)
    shuffled = isinstance(sampler, RandomSampler) if isinstance(sampler, (RandomSampler, SequentialSampler)) else None
    about: dict[str, Any] = {"shuffled": shuffled, "batch_size": loader.batch_size}
    if loader.batch_size and not isinstance(loader.dataset, IterableDataset):
        rows = len(loader.sampler)  # type: ignore[arg-type]  # a sampler of a map-style data set has a length
        about["batches"] = len(loader)
        about["last_batch"] = 0 if loader.drop_last else rows % loader.batch_size
    return about


def _plain(loader: DataLoader[Any] | None) -> bool:
    """Whether a loader gives rows as its data set holds them."""
    return loader is None or (loader.collate_fn is default_collate and loader.batch_sampler is not None)


def _whole(dataset: object) -> Whole | None:
    """The tensors that a data set is made of, where it is."""
    if isinstance(dataset, Subset):
        inner = _whole(dataset.dataset)
        if inner is None:
            return None
        chosen = torch.as_tensor(dataset.indices, dtype=torch.int64)
        return Whole(inner.inputs, inner.targets, chosen if inner.index is None else inner.index[chosen])
    if isinstance(dataset, TensorDataset):
        dataset = dataset.tensors
    if isinstance(dataset, (tuple, list)) and len(dataset) == 2:
        pair = [torch.as_tensor(each).detach() for each in dataset if isinstance(each, (Tensor, np.ndarray))]
        if len(pair) == 2 and all(each.dim() and len(each) for each in pair) and len(pair[0]) == len(pair[1]):
            return Whole(*pair)
    return None


def _spread(total: int, most: int) -> Tensor:
    """`most` row numbers, one at random in each of as many equal stretches: even, and blind to any period."""
    if total <= most:
        return torch.arange(total)
    draw = torch.Generator().manual_seed(0)
    return ((torch.arange(most) + torch.rand(most, generator=draw, dtype=torch.float64)) * total / most).long()


def _collated(dataset: Any, chosen: Int[Tensor, " rows"], collate: Any) -> object:
    """The rows as one batch, in their order; fewer where reading them takes too long."""
    start = time.perf_counter()
    items: dict[int, object] = {}
    many = getattr(dataset, "__getitems__", None)
    with undisturbed():
        for begin in range(PASSES):
            some = chosen[begin::PASSES].tolist()
            items |= dict(zip(some, many(some) if callable(many) else [dataset[row] for row in some], strict=True))
            if time.perf_counter() - start > SECONDS:
                break
        return collate([items[row] for row in sorted(items)])
