"""Gradient descent: a step of lr times the gradient, downhill.

`weight_decay` is L2 regularisation, as in `torch.optim.SGD`: the loss has gained weight_decay / 2 * |param|^2.
"""

from __future__ import annotations

from torch import Tensor

from descend.optim._rule import NonNegative, Positive, State, UpdateRule, axpy, with_l2


def _init(param: Tensor) -> State:
    return {}


def step(
    param: Tensor, grad: Tensor, state: State, t: int, *, lr: Positive = 1e-3, weight_decay: NonNegative = 0.0
) -> tuple[Tensor, State]:
    grad = with_l2(grad, param, weight_decay)
    return axpy(-lr, grad, param), {}


sgd = UpdateRule(_init, step, source="Robbins & Monro 1951, equation 6; Cauchy 1847 without the noise")
