"""AdaGrad: divides by the root of the sum of all squared gradients, so that rare features keep long steps.

The sum only grows: under a constant gradient the step is lr / sqrt(t). `initial_accumulator` is what the sum starts
from; it is added here and not kept in the state. `lr_decay` shortens lr to lr / (1 + (t - 1) * lr_decay). Both are
as in `torch.optim.Adagrad`. `weight_decay` is L2, added to the gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from descend.optim._rule import NonNegative, Positive, State, UpdateRule, addcdiv, with_l2


def _init(param: Tensor) -> State:
    return {"sum_of_squares": torch.zeros_like(param)}


def step(
    param: Tensor,
    grad: Tensor,
    state: State,
    t: int,
    *,
    lr: Positive = 0.01,
    lr_decay: NonNegative = 0.0,
    initial_accumulator: NonNegative = 0.0,
    eps: Positive = 1e-10,
    weight_decay: NonNegative = 0.0,
) -> tuple[Tensor, State]:
    grad = with_l2(grad, param, weight_decay)
    total = torch.addcmul(state["sum_of_squares"], grad, grad)
    scale = (total + initial_accumulator).sqrt() + eps
    return addcdiv(param, -lr / (1 + (t - 1) * lr_decay), grad, scale), {"sum_of_squares": total}


adagrad = UpdateRule(_init, step, source="Duchi, Hazan & Singer 2011, Figure 1, diagonal case")
