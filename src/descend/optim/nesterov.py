"""Nesterov's accelerated gradient: momentum that looks ahead, stepping along the next velocity as well.

The parameter kept is the look-ahead point, where the gradient is taken (Sutskever et al. 2013, equations 3 and 4,
after the change of variable of Bengio et al. 2013, equation 7). In the convention of `torch.optim.SGD(nesterov=True)`,
lr stands outside the velocity. `weight_decay` is L2, added to the gradient.
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
    return axpy(-lr, axpy(momentum, velocity, grad), param), {"velocity": velocity}


nesterov = UpdateRule(_init, step, source="Nesterov 1983; Sutskever et al. 2013, equations 3 and 4")
