"""Optimizers: one pure update rule a file, each also a `torch.optim.Optimizer` class.

`descend.optim.Adam(model.parameters(), lr=1e-3)`: the class of the file `adam.py`, made when it is asked for.
"""

from __future__ import annotations

from descend.catalog import OPTIMIZERS
from descend.optim._clip import clip_by_norm, clip_by_value, decay_groups, global_norm
from descend.optim._errors import OptimizerError
from descend.optim._optimizer import RuleOptimizer, class_name, optimizer, optimizer_class
from descend.optim._rule import State, UpdateRule

__all__ = [
    "OptimizerError",
    "RuleOptimizer",
    "State",
    "UpdateRule",
    "clip_by_norm",
    "clip_by_value",
    "decay_groups",
    "global_norm",
    "optimizer",
    "optimizer_class",
]


def __getattr__(name: str) -> type[RuleOptimizer]:
    for entry in OPTIMIZERS:
        if class_name(entry) == name:
            return optimizer_class(entry)
    raise AttributeError(f"module 'descend.optim' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *map(class_name, OPTIMIZERS)])
