"""Gradient noise scale: the batch size up to which larger batches pay.

B_simple = tr(Sigma) / |G|^2 (McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", eq. 2.9), with G the
true gradient and Sigma the covariance of the gradients of single examples. Far below it, twice the batch halves the
number of steps; far above it, the second half of the batch is wasted. It grows while the loss falls.

The batch is cut into at most 8 chunks of b rows each (a remainder is left out). With g_i their k gradients,

- `gradient_noise/trace` is b times the variance of the g_i, an unbiased estimate of tr(Sigma);
- `gradient_noise/signal` is the squared length of their mean less variance / k, an unbiased estimate of |G|^2;
- `gradient_noise/scale` is the ratio of the running means of the two, for a ratio of single estimates would be biased.

A measurement enters the running means with a tenth. The scale is infinite while the signal cannot be told from zero.

Costs the backward passes of the chunks, in evaluation mode: about 3 steps of a wide dense network, whose weights are
read anew for each, and one step of others. A batch of one row gives no value.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from descend.monitors._monitor import Monitor, Step
from descend.monitors._norms import norms

CHUNKS: Final = 8
PAST: Final = 0.9  # weight of the past in the running means


def measure(step: Step) -> dict[str, Tensor]:
    if len(step.inputs) == 1:
        return {}
    now = torch.stack(_trace_and_signal(step, rows=math.ceil(len(step.inputs) / CHUNKS)))
    means = step.memory["gradient_noise"] = now.lerp(step.memory.get("gradient_noise", now), PAST)
    trace, signal = now.unbind()
    return {
        "gradient_noise/trace": trace,
        "gradient_noise/signal": signal,
        "gradient_noise/scale": means[0] / means[1].clamp(min=0),
    }


def _trace_and_signal(step: Step, rows: int) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Appendix A.1 of the paper, with chunks of `rows` rows as the small batches and all of them as the large one."""
    assert step.loss_of is not None, "gradient_noise needs step.loss_of"
    gradient = torch.func.grad(step.loss_of)
    chunks = len(step.inputs) // rows
    used = chunks * rows
    total = [torch.zeros_like(parameter) for parameter in step.parameters.values()]
    small = step.loss.new_zeros(())  # mean squared length of a chunk's gradient
    for x, y in zip(step.inputs[:used].split(rows), step.targets[:used].split(rows), strict=True):
        grads = list(gradient(step.parameters, x, y).values())
        total = [sum_so_far + each for sum_so_far, each in zip(total, grads, strict=True)]
        small = small + _squared_length(grads) / chunks
    large = _squared_length(total) / chunks**2  # squared length of the mean
    return (small - large) / (1 / rows - 1 / used), (used * large - rows * small) / (used - rows)


def _squared_length(tensors: list[Tensor]) -> Float[Tensor, ""]:
    return torch.stack(norms(tensors)).square().sum()


gradient_noise = Monitor(
    measure,
    unit="squared gradient (trace, signal), examples (scale)",
    needs=frozenset({"targets", "loss_of"}),
    every=5,
    default=False,
)
