"""Norm of the gradient, for each parameter and for all together.

The Euclidean norm of the batch's gradient before clipping. `grad_norm/all` is the norm of all gradients laid end to
end: what clipping by global norm compares with its limit.

Cost: one pass over the gradients. Unit: that of the loss per unit of parameter, so compare layers or steps of one
run, not two runs.
"""

from __future__ import annotations

from torch import Tensor

from descend.monitors._monitor import Monitor, Step
from descend.monitors._norms import norm_series


def measure(step: Step) -> dict[str, Tensor]:
    return norm_series("grad_norm", step.gradients)


grad_norm = Monitor(measure, unit="loss per unit of parameter")
