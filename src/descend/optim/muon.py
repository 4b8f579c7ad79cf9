"""Muon: momentum for matrices, every singular value of the step made about equal.

A tensor of two or more dimensions is a matrix of its first dimension by the rest (a convolution's filters are its
rows). Its Nesterov momentum is orthogonalised by five steps of a Newton-Schulz iteration with Jordan's
coefficients, which bring singular values to between 0.7 and 1.2. The step is scaled by
0.2 * sqrt(max(rows, columns)) (Liu et al. 2025, equation 4: `adjust_lr_fn="match_rms_adamw"` in
`torch.optim.Muon`), so that one lr suits matrices and all else. All else, biases and gains, takes a step of AdamW.
The authors would also leave embeddings and the output layer to AdamW: give those to an optimizer of their own.

`weight_decay` is decoupled, as in AdamW. torch rounds the iteration to bfloat16; here it keeps the parameter's dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor

from descend.catalog import Count
from descend.optim._rule import Fraction, NonNegative, Positive, State, UpdateRule, axpy
from descend.optim.adamw import adamw


def _init(param: Tensor) -> State:
    return {"velocity": torch.zeros_like(param)} if param.ndim >= 2 else adamw.init(param)


def _orthogonal(matrix: Tensor, steps: int) -> Tensor:
    """About U @ V.T, where matrix = U @ diag(S) @ V.T: the quintic iteration of Jordan et al. 2024."""
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.t() if tall else matrix  # the smaller of the two Gram matrices is the cheaper one
    x = x / torch.linalg.matrix_norm(x).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.t()
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.t() if tall else x


def step(
    param: Tensor,
    grad: Tensor,
    state: State,
    t: int,
    *,
    lr: Positive = 1e-3,
    momentum: Fraction = 0.95,
    ns_steps: Count = 5,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.1,
) -> tuple[Tensor, State]:
    if param.ndim < 2:
        return adamw.step(param, grad, state, t, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)
    velocity = torch.lerp(state["velocity"], grad, 1 - momentum)
    ahead = torch.lerp(grad, velocity, momentum).flatten(1)
    direction = _orthogonal(ahead, ns_steps) * (0.2 * max(ahead.shape) ** 0.5)
    return axpy(-lr, direction.view_as(param), param * (1 - lr * weight_decay)), {"velocity": velocity}


muon = UpdateRule(_init, step, source="Jordan et al. 2024, kellerjordan.github.io/posts/muon", elementwise=False)
