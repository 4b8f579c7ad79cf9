"""Euclidean norms of named tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def norms(tensors: Iterable[Tensor]) -> list[Float[Tensor, ""]]:
    """The norm of each tensor, in one pass over the data."""
    each = list(tensors)
    if any(torch._C._functorch.is_batchedtensor(tensor) for tensor in each):  # which the fused norm does not take
        return [torch.linalg.vector_norm(tensor) for tensor in each]
    # The one fused norm of many tensors; torch.nn.utils.clip_grad_norm_ is built on it.
    return list(torch._foreach_norm(each))


def norm_series(measure: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{"measure/<name>": norm} for each tensor, and in "measure/all" that of all of them laid end to end."""
    each = norms(tensors.values())
    values = {f"{measure}/{name}": norm for name, norm in zip(tensors, each, strict=True)}
    return values | {f"{measure}/all": torch.linalg.vector_norm(torch.stack(each))}
