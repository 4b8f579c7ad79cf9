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
    A hyperparameter may be a tensor (one value a configuration), so a rule never branches on one, and never
    writes into its arguments.
    `elementwise` says that each number moves by itself, so that many tensors may be laid end to end in one;
    a rule that needs the shape of a matrix (Muon) says False.
    """

    init: Callable[[Tensor], State]
    step: Callable[..., tuple[Tensor, State]]
    source: str
    elementwise: bool = True


def axpy(a: float | Tensor, x: Tensor, y: Tensor) -> Tensor:
    """`a * x + y`, in one pass over memory whether `a` is a number or, under vmap, a tensor."""
    return torch.addcmul(y, x, a) if isinstance(a, Tensor) else torch.add(y, x, alpha=a)
