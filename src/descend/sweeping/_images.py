"""Convolution and max-pooling of many runs: the runs are laid beside the channels, which lie innermost in memory.

A run's convolution is a group of one large convolution. With channels innermost ("channels last") both operations are
vectorised over the channels of all runs. Left to itself, `vmap` has them outermost: for 8 runs with 16 channels of
8 x 8 pixels, pooling then takes eight times as long, and convolution twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import vjp

Images = Float[Tensor, "rows _ _ _"]  # [rows, channels, height, width]


class _Stacked(torch.autograd.Function):
    """`alone(*tensors)`; under `vmap` `together(*tensors)`, each [runs, ...], whose result is [rows, runs, ...].

    It can be differentiated inside and outside of `vmap`.
    """

    @staticmethod
    def forward(alone: Callable[..., Tensor], together: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        return alone(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.alone = inputs[0]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *vjp(ctx.alone, *ctx.saved_tensors)[1](grad)

    @staticmethod
    def vmap(
        info: Any,
        places: tuple[int | None, ...],
        alone: Callable[..., Tensor],
        together: Callable[..., Tensor],
        *tensors: Tensor,
    ) -> tuple[Tensor, int]:
        stacked = (
            tensor.expand(info.batch_size, *tensor.shape) if place is None else tensor.movedim(place, 0)
            for tensor, place in zip(tensors, places[2:], strict=True)
        )
        return together(*stacked), 1


def _stacked(alone: Callable[..., Tensor], together: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    result: Tensor = _Stacked.apply(alone, together, *tensors)  # type: ignore[no-untyped-call]
    return result


def _beside(x: Float[Tensor, "runs rows channels height width"]) -> Float[Tensor, "rows all_channels height width"]:
    beside: Tensor = x.movedim(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)
    return beside


def _apart(x: Float[Tensor, "rows all_channels height width"], runs: int) -> Tensor:
    apart: Tensor = x.unflatten(1, (runs, -1))
    return apart


def convolution(
    x: Images,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Images:
    """`torch.conv2d`, of many runs at once where each has one group."""
    options = stride, padding, dilation
    if groups > 1:
        return torch.conv2d(x, weight, bias, *options, groups)

    def alone(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return torch.conv2d(x, weight, bias, *options)

    def together(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        biases = None if bias is None else bias.flatten()
        return _apart(torch.conv2d(_beside(x), weight.flatten(0, 1), biases, *options, len(x)), len(x))

    return _stacked(alone, together, x, weight, *([] if bias is None else [bias]))


def max_pooling(x: Images, *options: Any, **named: Any) -> Images:
    """`torch.nn.functional.max_pool2d`, of many runs at once."""

    def alone(x: Tensor) -> Tensor:
        pooled: Tensor = nn.functional.max_pool2d(x, *options, **named)
        return pooled

    return _stacked(alone, lambda x: _apart(alone(_beside(x)), len(x)), x)


def group_norm(x: Images, groups: int, *options: Any, **named: Any) -> Images:
    """`torch.nn.functional.group_norm`, which under `vmap` refuses images with channels innermost."""
    normed: Tensor = nn.functional.group_norm(x.contiguous(), groups, *options, **named)
    return normed
