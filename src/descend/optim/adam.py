"""Adam: momentum, divided number by number by the root mean square of recent gradients.

Both means start at zero. Uncorrected, the first step would be (1 - beta1) / sqrt(1 - beta2) = 3.2 times lr;
corrected, it is lr. The corrections are applied to the step's length and to eps, as at the end of section 2 of the
paper. `weight_decay` is L2, added to the gradient as in `torch.optim.Adam`, so that it is divided away like any
other gradient; see adamw.
"""

from __future__ import annotations

import torch
from torch import Tensor

from descend.optim._rule import Fraction, NonNegative, Positive, State, UpdateRule, addcdiv, with_l2


def _init(param: Tensor) -> State:
    return {"m": torch.zeros_like(param), "v": torch.zeros_like(param)}


def step(
    param: Tensor,
    grad: Tensor,
    state: State,
    t: int,
    *,
    lr: Positive = 1e-3,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
) -> tuple[Tensor, State]:
    grad = with_l2(grad, param, weight_decay)
    m = torch.lerp(state["m"], grad, 1 - beta1)
    v = torch.lerp(state["v"], grad.square(), 1 - beta2)
    correction = (1 - beta2**t) ** 0.5
    moved = addcdiv(param, -lr * correction / (1 - beta1**t), m, v.sqrt() + eps * correction)
    return moved, {"m": m, "v": v}


adam = UpdateRule(_init, step, source="Kingma & Ba 2015, Algorithm 1")
