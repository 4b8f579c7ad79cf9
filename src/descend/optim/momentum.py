"""Momentum (the heavy ball): the step is lr times a decaying sum of gradients, the velocity.

In the convention of `torch.optim.SGD`, lr stands outside the velocity, so that a change of lr acts at once;
Sutskever et al. 2013, equations 1 and 2, have it inside. The two agree while lr is constant. Under a constant
gradient the steps grow to lr / (1 - momentum) times it. `weight_decay` is L2, added to the gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from descend.optim._rule import Fraction, NonNegative, Positive, State, UpdateRule, axpy, with_l2


def _init(param: Tensor) -> State:
    return {"velocity": torch.zeros_like(param)}


def step(
    param: Tensor,
    grad: Tensor,
    state: State,
    t: int,
    *,
    lr: Positive = 1e-3,
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 0.0,
) -> tuple[Tensor, State]:
    grad = with_l2(grad, param, weight_decay)
    velocity = axpy(momentum, state["velocity"], grad)
    return axpy(-lr, velocity, param), {"velocity": velocity}


momentum = UpdateRule(_init, step, source="Polyak 1964; Sutskever et al. 2013, equations 1 and 2")
