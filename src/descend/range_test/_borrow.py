"""What belongs to the user is borrowed: used for as long as a test lasts, and given back bit for bit."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from descend.errors import DataError, DescendError
from descend.facts.rows import parts
from descend.optim import RuleOptimizer


class Borrowed:
    """Modules and an optimizer as they are now; `restore` makes them so again, every time it is called.

    That is parameters, gradients, buffers, modes and all that modules hold as plain attributes; the optimizer's groups
    and state. What a module keeps elsewhere, or changes inside a list of its own, is not known here.
    """

    def __init__(self, modules: Iterable[nn.Module], optimizer: Optimizer) -> None:
        every = [each for module in modules for each in module.modules()]
        own = [tensor for module in every for tensor in (*module._parameters.values(), *module._buffers.values())]
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        tensors = {id(tensor): tensor for tensor in (*own, *trained) if tensor is not None}.values()
        if any(is_lazy(tensor) for tensor in tensors):
            raise DescendError("The model has parameters without a shape yet: show it one batch first, model(inputs).")
        self._attributes = [(vars(module), {**vars(module)}) for module in every]
        self._buffers = [(module._buffers, {**module._buffers}) for module in every]
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in tensors]
        self._gradients = [(tensor, tensor.grad, _clone(tensor.grad)) for tensor in tensors if tensor.is_leaf]
        self._groups = [(group, {**group}) for group in optimizer.param_groups]
        # a flat optimizer knows by itself how to go back; of others torch would cast the state to the parameters' dtype
        self._flat = isinstance(optimizer, RuleOptimizer) and optimizer.flat
        self._state = copy.deepcopy(optimizer.state_dict()) if self._flat else _copied(optimizer.state)
        self._optimizer, self._own = optimizer, {**vars(optimizer)}

    def restore(self) -> None:
        if self._flat:
            self._optimizer.load_state_dict(copy.deepcopy(self._state))
            vars(self._optimizer).update(self._own | {"state": vars(self._optimizer)["state"]})
        else:
            vars(self._optimizer).update(self._own)
            self._optimizer.state.clear()
            self._optimizer.state.update(_copied(self._state))
        for place, before in (*self._attributes, *self._buffers, *self._groups):
            place.clear()
            place.update(before)
        with torch.no_grad():
            for tensor, value in self._tensors:
                _bring_back(tensor, value)
            for tensor, gradient, value in self._gradients:
                tensor.grad = gradient
                if gradient is not None and value is not None:
                    _bring_back(gradient, value)


def _bring_back(tensor: Tensor, value: Tensor) -> None:
    """Write `value`, unless it is there: a buffer that is a view of itself, as `expand` makes it, takes no writing."""
    if not torch.equal(tensor, value):
        tensor.copy_(value)


def _copied(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """A deep copy of what an optimizer keeps for each parameter, by the same parameters."""
    return copy.deepcopy({**state}, {id(parameter): parameter for parameter in state})


def _clone(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.detach().clone()


@contextlib.contextmanager
def batches_of(loader: Any, device: torch.device) -> Iterator[Callable[[], tuple[Tensor, Tensor]]]:
    """Inputs and targets of batch after batch, from the first again after the last; the loader is left as it was.

    That is so of a DataLoader that somebody is iterating, and of generators that it, its samplers or its data set
    draw from. Raises DataError for what cannot be iterated twice, is empty, or does not give inputs and targets.
    """
    if isinstance(loader, Iterator):
        raise DataError("The loader is an iterator, whose batches would be gone: give the DataLoader, or a list.")
    if not isinstance(loader, Iterable):
        raise DataError(
            f"A range test reads batches, and {type(loader).__name__} gives none: give a DataLoader or a list of "
            "(inputs, targets)."
        )
    twin = copy.copy(loader) if isinstance(loader, DataLoader) else loader
    if isinstance(twin, DataLoader):
        twin._iterator = None  # else workers that persist would drop what they are loading for somebody
    states = [(generator, _state(generator)) for generator in _generators(twin)]
    stream = _endless(twin)

    def batch() -> tuple[Tensor, Tensor]:
        inputs, targets = parts(next(stream))
        if inputs is None or targets is None:
            raise DataError(
                "A batch must be a pair of tensors (inputs, targets), or name them, as in {'x': ..., 'y': ...}."
            )
        return inputs.to(device), targets.to(device)

    try:
        yield batch
    finally:
        stream.close()
        for generator, state in states:
            _set_state(generator, state)


def _endless(loader: Iterable[Any]) -> Generator[Any]:
    while True:
        nothing = True
        for batch in loader:
            nothing = False
            yield batch
        if nothing:
            raise DataError("The loader gives no batch at all. With drop_last, fewer rows than a batch are none.")


def _generators(loader: Any) -> list[Any]:
    """The generators that a loader, its samplers and its data set hold."""
    places = [loader, *(getattr(loader, name, None) for name in ("sampler", "batch_sampler", "dataset"))]
    places += [getattr(places[2], "sampler", None), getattr(places[3], "dataset", None)]
    held = [value for place in places for value in getattr(place, "__dict__", {}).values()]
    found = {
        id(value): value for value in held if isinstance(value, torch.Generator | np.random.Generator | random.Random)
    }
    return list(found.values())


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    return generator.bit_generator.state if isinstance(generator, np.random.Generator) else generator.getstate()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.setstate(state)
