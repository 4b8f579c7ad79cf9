"""Norm of the weights, for each parameter and for all together.

The Euclidean norm of the parameters at which the step's loss was taken. `weight_norm/all` is the norm of all of them
laid end to end: its square is what weight decay punishes.

Cost: one pass over the parameters.
"""

from __future__ import annotations

from torch import Tensor

from descend.monitors._monitor import Monitor, Step
from descend.monitors._norms import norm_series


def measure(step: Step) -> dict[str, Tensor]:
    return norm_series("weight_norm", step.parameters)


weight_norm = Monitor(measure, unit="unit of parameter")
