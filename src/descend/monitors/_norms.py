"""Euclidean norms of named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def norms(tensors: Mapping[str, Tensor]) -> Float[Tensor, " norms"]:
    """The norm of each tensor in order, then the norm of all of them laid end to end. One pass over the data."""
    # The one fused norm of many tensors; torch.nn.utils.clip_grad_norm_ is built on it.
    each = torch.stack(torch._foreach_norm(list(tensors.values())))
    return torch.cat([each, torch.linalg.vector_norm(each, keepdim=True)])


def series(measure: str, names: Mapping[str, Tensor], values: Float[Tensor, " norms"]) -> dict[str, Tensor]:
    """{"measure/<name>": value} for each name, and "measure/all" for the last value."""
    return dict(zip([f"{measure}/{where}" for where in (*names, "all")], values.unbind(), strict=True))
