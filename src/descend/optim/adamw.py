"""AdamW: Adam, with weight decay that shrinks the parameter itself instead of passing through the division.

Adam divides an L2 term away: with no other gradient it moves every weight by lr, whatever `weight_decay` is.
Here a weight shrinks by lr * weight_decay of itself a step. As in `torch.optim.AdamW`, the decay is multiplied by
lr, where the paper has a schedule of its own.
"""

from __future__ import annotations

from torch import Tensor

from descend.optim._rule import Fraction, NonNegative, Positive, State, UpdateRule
from descend.optim.adam import adam


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
    weight_decay: NonNegative = 0.01,
) -> tuple[Tensor, State]:
    shrunk = param * (1 - lr * weight_decay)
    return adam.step(shrunk, grad, state, t, lr=lr, beta1=beta1, beta2=beta2, eps=eps)


adamw = UpdateRule(adam.init, step, source="Loshchilov & Hutter 2019, Algorithm 2")
