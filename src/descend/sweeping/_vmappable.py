"""A network as `vmap` wants it: the same layers, parameters and names, computed by operations that it can batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from descend.sweeping import _images, _recurrence


def attention(
    q: Float[Tensor, "*rows positions size"],
    k: Float[Tensor, "*rows positions size"],
    v: Float[Tensor, "*rows positions size"],
    dropout_p: float = 0.0,
    is_causal: bool = False,
) -> Float[Tensor, "*rows positions size"]:
    """`torch.nn.functional.scaled_dot_product_attention` by matrix products, without dropout."""
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if is_causal:
        ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(ahead, -torch.inf)
    seen: Tensor = scores.softmax(-1) @ v
    return seen


IN_PLACE_OF: Final[Mapping[Callable[..., Any], Callable[..., Any]]] = {
    torch.conv2d: _images.convolution,
    nn.functional.max_pool2d: _images.max_pooling,
    nn.functional.group_norm: _images.group_norm,
    nn.functional.scaled_dot_product_attention: attention,
    torch.rnn_tanh: _recurrence.rnn_tanh,
    torch.gru: _recurrence.gru,
    torch.lstm: _recurrence.lstm,
}
"""Functions of torch that `vmap` cannot batch, or only slowly, and what is called instead."""


class _Batchable(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return IN_PLACE_OF.get(func, func)(*args, **(kwargs or {}))


def vmappable(model: nn.Module) -> nn.Module:
    """A copy of a model, equal to it up to rounding, for `functional_call` under `vmap` and other transforms."""
    model = copy.deepcopy(model)
    forward = model.forward

    def batchable(*inputs: Tensor) -> Any:
        with _Batchable():
            return forward(*inputs)

    model.forward = batchable
    return model
