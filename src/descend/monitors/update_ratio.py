"""Length of the update relative to the weights, for each parameter and for all together.

|new - old| / |new|, Euclidean norms. The weights are taken after the update, so that a bias that starts at zero has
the ratio 1 at its first step and not infinity; where the weights are exactly zero even then, the ratio is 0. About
1e-3 is healthy for weight matrices (Stanford CS231n, "Neural Networks Part 3"): far more is a learning rate that
is too high, far less one that is too low.

Of a matrix with 64 rows or more, 32 to 63 evenly spaced ones are looked at; the units of a layer are exchangeable,
so the ratio is off by a few percent, for a fraction of what all rows would cost.
"""

from __future__ import annotations

import torch
from torch import Tensor

from descend.monitors._monitor import Monitor, Step
from descend.monitors._norms import norms
from descend.monitors._sample import some_rows


def measure(step: Step) -> dict[str, Tensor]:
    parameters, updates = [step.parameters[name] for name in step.updates], list(step.updates.values())
    update = torch.stack(norms(updates))
    weight = torch.stack(norms(some_rows(parameter).contiguous() for parameter in parameters))
    # In the norm of everything a parameter counts with all its rows, not only with those looked at.
    rows = zip(parameters, updates, strict=True)
    whole = update.new_tensor([(parameter.numel() / part.numel()) ** 0.5 for parameter, part in rows])
    ratio = _ratio(update, weight)
    total = _ratio(torch.linalg.vector_norm(whole * update), torch.linalg.vector_norm(whole * weight))
    values = {f"update_ratio/{name}": each for name, each in zip(step.updates, ratio.unbind(), strict=True)}
    return values | {"update_ratio/all": total}


def _ratio(update: Tensor, weight: Tensor) -> Tensor:
    return torch.where(weight > 0, update / weight, 0)


update_ratio = Monitor(measure, unit="share of the weights' norm", needs=frozenset({"updates"}))
