"""UpdateRule: how parameters move, as a pure function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from descend import catalog

State = dict[str, Tensor]

# The vocabulary of hyperparameters: a number or, under vmap, a tensor of one value a configuration.
Positive = catalog.Positive | Tensor
NonNegative = catalog.NonNegative | Tensor
Fraction = catalog.Fraction | Tensor


@dataclass(frozen=True)
class UpdateRule:
    """A pure update rule; the same two functions serve the eager optimizer, `vmap` and a compiler.

    `init(param)` is the state before the first step, all tensors shaped like `param`.
    `step(param, grad, state, t, *, lr, ...)` returns the new parameter and the new state; `t` counts from 1.
    A hyperparameter may be a tensor (one value a configuration), so a rule never branches on one. It never writes
    into its arguments, and returns neither `param` nor `grad` as state: both are overwritten after the step.
    `elementwise` says that each number moves by itself, so that many tensors may be laid end to end in one;
    a rule that needs the shape of a matrix (Muon) says False.
    """

    init: Callable[[Tensor], State]
    step: Callable[..., tuple[Tensor, State]]
    source: str
    elementwise: bool = True


def axpy(a: float | Tensor, x: Tensor, y: Tensor) -> Tensor:
    """`a * x + y`, in one pass over memory, whether `a` is a number or, under vmap, a tensor."""
    return torch.addcmul(y, x, a) if isinstance(a, Tensor) else torch.add(y, x, alpha=a)


def addcdiv(y: Tensor, a: float | Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """`y + a * numerator / denominator`, in one pass over memory where `a` is a number; under vmap it is a tensor."""
    if isinstance(a, Tensor):
        return torch.addcmul(y, numerator / denominator, a)
    return torch.addcdiv(y, numerator, denominator, value=a)


def with_l2(grad: Tensor, param: Tensor, weight_decay: float | Tensor) -> Tensor:
    """The gradient once the loss has gained weight_decay / 2 * |param|^2; `grad` itself where that is the number 0."""
    return axpy(weight_decay, param, grad) if isinstance(weight_decay, Tensor) or weight_decay else grad
