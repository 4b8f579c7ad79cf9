"""Length of the update relative to the weights, for each parameter and for all together.

|new - old| / |new|, Euclidean norms. The weights are taken after the update, so that a bias that starts at zero has
the ratio 1 at its first step and not infinity; where the weights are exactly zero even then, the ratio is 0. About
1e-3 is healthy for weight matrices (Stanford CS231n, "Neural Networks Part 3"): far more is a learning rate that
is too high, far less one that is too low.

Cost: one pass over the updates and one over the parameters, beside the copy of the parameters from which the
updates are taken.
"""

from __future__ import annotations

import torch
from torch import Tensor

from descend.monitors._monitor import Monitor, Step
from descend.monitors._norms import norms, series


def measure(step: Step) -> dict[str, Tensor]:
    update, weight = norms(step.updates), norms(step.parameters)
    return series("update_ratio", step.parameters, torch.where(weight > 0, update / weight, 0))


update_ratio = Monitor(measure, unit="share of the weights' norm", needs=frozenset({"updates"}))
