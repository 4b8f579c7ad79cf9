"""What claims of several chapters begin from: the bonus data, a descent by a rule of the library, a place for runs."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from descend import OPTIMIZERS
from descend.data.employee_bonus import employee_bonus


@cache
def design(scale: str = "none") -> tuple[Tensor, Tensor]:
    """The employee-bonus data in float64: X [100, 4], with the column of ones last, and y [100]."""
    rows = employee_bonus().train
    features = rows.inputs.double()
    if scale == "standard":
        features = (features - features.mean(0)) / features.std(0, correction=0)
    return torch.cat([features, torch.ones(len(features), 1).double()], dim=1), rows.targets.double()[:, 0]


def walk(
    name: str, start: Sequence[float] | Tensor, gradient: Callable[[Tensor, int], Tensor], steps: int, **hyper: float
) -> Tensor:
    """The points [steps + 1, ...] of a descent, the start first: what a rule makes of gradient(point, t)."""
    rule, point = OPTIMIZERS[name], torch.as_tensor(start, dtype=torch.float64)
    state, path = rule.init(point), [point]
    for t in range(1, steps + 1):
        point, state = rule.step(point, gradient(point, t), state, t, **hyper)
        path.append(point)
    return torch.stack(path)


@cache
def folder() -> str:
    """Where runs stand until Python ends, since what they recorded is read when it is asked for."""
    place = tempfile.mkdtemp(prefix="descend-book-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place
