"""A network as `vmap` wants it: the same layers, parameters and names, computed by operations that it can batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from descend.models.transformer import Attention
from descend.sweeping._recurrence import recurrence


def attention(layer: Attention, x: Float[Tensor, "rows positions width"]) -> Float[Tensor, "rows positions width"]:
    """What a layer of attention without dropout computes, by matrix products: the fused kernel would run row by row."""
    q, k, v = (one(x).unflatten(-1, (layer.heads, -1)).transpose(1, 2) for one in (layer.query, layer.key, layer.value))
    ahead = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
    scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(ahead, -torch.inf)
    mixed: Tensor = layer.mix((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    return mixed


FORWARDS: Final[Mapping[type[nn.Module], Callable[..., Any]]] = {
    nn.RNN: recurrence,
    nn.GRU: recurrence,
    nn.LSTM: recurrence,
    Attention: attention,
}
"""What takes the place of a layer's forward pass."""


def vmappable(model: nn.Module) -> nn.Module:
    """A copy of a model, equal to it up to rounding, for `functional_call` under `vmap` and every other transform.

    Modules keep their classes and names, so that hooks see what they would see.
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        if type(module) in FORWARDS:
            module.forward = partial(FORWARDS[type(module)], module)
    return model
