"""RMSprop: divides by the root mean square of recent gradients, so that every number moves at about the same speed.

The mean starts at zero and is not corrected, so the first step is lr / sqrt(1 - alpha): 10 times lr with the default.
As in `torch.optim.RMSprop`, eps is added after the root (TensorFlow adds it before). `weight_decay` is L2, added to
the gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from descend.optim._rule import Fraction, NonNegative, Positive, State, UpdateRule, addcdiv, with_l2


def _init(param: Tensor) -> State:
    return {"mean_square": torch.zeros_like(param)}


def step(
    param: Tensor,
    grad: Tensor,
    state: State,
    t: int,
    *,
    lr: Positive = 1e-3,
    alpha: Fraction = 0.99,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
) -> tuple[Tensor, State]:
    grad = with_l2(grad, param, weight_decay)
    mean_square = torch.lerp(state["mean_square"], grad.square(), 1 - alpha)
    return addcdiv(param, -lr, grad, mean_square.sqrt() + eps), {"mean_square": mean_square}


rmsprop = UpdateRule(_init, step, source="Tieleman & Hinton 2012, Coursera lecture 6.5")
