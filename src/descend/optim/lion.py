"""Lion: the sign of a momentum, so that every number moves by exactly lr.

Because each step is longer than Adam's, the authors advise an lr 3 to 10 times smaller and a `weight_decay`, here
decoupled as in AdamW, as many times larger. Not in `torch.optim`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from descend.optim._rule import Fraction, NonNegative, Positive, State, UpdateRule, axpy


def _init(param: Tensor) -> State:
    return {"m": torch.zeros_like(param)}


def step(
    param: Tensor,
    grad: Tensor,
    state: State,
    t: int,
    *,
    lr: Positive = 1e-4,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.99,
    weight_decay: NonNegative = 0.0,
) -> tuple[Tensor, State]:
    direction = torch.lerp(state["m"], grad, 1 - beta1).sign()
    moved = axpy(-lr, axpy(weight_decay, param, direction), param)
    return moved, {"m": torch.lerp(state["m"], grad, 1 - beta2)}


lion = UpdateRule(_init, step, source="Chen et al. 2023, Algorithm 2")
