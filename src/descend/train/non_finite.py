"""NaN and infinity, found before they reach the weights; descend.facts.non_finite says where they come from."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from descend.optim import RuleOptimizer


def buffers_of(optimizer: RuleOptimizer) -> list[tuple[Tensor, Tensor]]:
    """Weights and gradients that an update works on: the flat buffers, or parameter by parameter."""
    return optimizer.flats or [
        (parameter.detach(), parameter.grad)
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]


def healthy(loss: float, buffers: Iterable[tuple[Tensor, Tensor]]) -> bool:
    """Whether the loss, every gradient and every weight are finite.

    Costs one dot product of weights and gradients, which any NaN or infinity spoils; only where it is not finite (a
    sum of finite products may overflow) are they looked at one by one.
    """
    return math.isfinite(loss) and all(
        math.isfinite(torch.dot(weights.flatten(), gradients.flatten()).item())
        or bool(weights.isfinite().all() and gradients.isfinite().all())
        for weights, gradients in buffers
    )
