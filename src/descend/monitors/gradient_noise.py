"""Gradient noise scale: the batch size up to which larger batches pay.

B_simple = tr(Sigma) / |G|^2 (McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", eq. 2.9), with G the
true gradient and Sigma the covariance of the gradients of single examples. Far below it, twice the batch halves the
number of steps; far above it, the second half of the batch is wasted. It grows while the loss falls.

The batch is cut into at most 8 chunks of b rows each (a remainder is left out). From their gradients come

- `gradient_noise/trace`: b times the variance of the chunks' gradients, an unbiased estimate of tr(Sigma);
- `gradient_noise/signal`: the squared length of their mean less its share of noise, an unbiased estimate of |G|^2;
- `gradient_noise/scale`: the ratio of the running means of the two, for a ratio of single estimates would be biased.

These are the estimates of the paper's appendix A.1, with the chunks as its small batches and their union as its large
one. A measurement enters the running means with a tenth. The scale is infinite while the signal cannot be told from
zero.

Costs about one more forward and backward pass, in evaluation mode, and room for 8 gradients. A batch of one row gives
no value.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from descend.monitors._monitor import Monitor, Step

CHUNKS: Final = 8
PAST: Final = 0.9  # weight of the past in the running means


def measure(step: Step) -> dict[str, Tensor]:
    if len(step.inputs) == 1:
        return {}
    rows = math.ceil(len(step.inputs) / CHUNKS)
    now = torch.stack(_trace_and_signal(_gradients(step, rows), rows))
    means = step.memory["gradient_noise"] = now.lerp(step.memory.get("gradient_noise", now), PAST)
    trace, signal = now.unbind()
    return {
        "gradient_noise/trace": trace,
        "gradient_noise/signal": signal,
        "gradient_noise/scale": means[0] / means[1].clamp(min=0),
    }


def _gradients(step: Step, rows: int) -> Float[Tensor, "chunks parameters"]:
    """The gradients of chunks of `rows` rows each."""
    assert step.loss_of is not None, "gradient_noise needs step.loss_of"
    gradient = torch.func.grad(step.loss_of)
    pieces = zip(step.inputs.split(rows), step.targets.split(rows), strict=True)
    gradients = [gradient(step.parameters, x, y) for x, y in pieces if len(x) == rows]
    return torch.stack([torch.cat([part.flatten() for part in one.values()]) for one in gradients])


def _trace_and_signal(
    gradients: Float[Tensor, "chunks parameters"], rows: int
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    mean, chunks = gradients.mean(dim=0), len(gradients)
    variance = (gradients - mean).square().sum() / (chunks - 1)
    return rows * variance, mean.square().sum() - variance / chunks


gradient_noise = Monitor(measure, unit="squared gradient (trace, signal), examples (scale)", every=5, default=False)
