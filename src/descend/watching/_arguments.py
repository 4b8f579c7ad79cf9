"""What `watch` and `preflight` are given, looked at before anything begins."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer

from descend.errors import DescendError


def require(
    models: Iterable[object], optimizers: Iterable[object], loss: object = None, scheduler: object = None
) -> None:
    """Raise DescendError, with what to give instead, unless each is what it is called."""
    for model in models:
        if not isinstance(model, nn.Module):
            raise DescendError(
                f"The model is {_kind(model)}, but must be a torch.nn.Module: the model itself, not its parameters."
            )
    for optimizer in optimizers:
        if not isinstance(optimizer, Optimizer):
            raise DescendError(
                f"The optimizer is {_kind(optimizer)}, but must be a torch.optim.Optimizer that was made, such as "
                "torch.optim.Adam(model.parameters())."
            )
    if isinstance(loss, type) or not (loss is None or callable(loss)):
        raise DescendError(
            f"The loss is {_kind(loss)}, but must be called with outputs and targets: nn.CrossEntropyLoss(), with its "
            "brackets, or a function."
        )
    if not (scheduler is None or hasattr(scheduler, "last_epoch")):
        raise DescendError(f"The scheduler is {_kind(scheduler)}, but must be one of torch.optim.lr_scheduler.")


def _kind(value: object) -> str:
    """What was given, in words: "the class CrossEntropyLoss", "of type list"."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
