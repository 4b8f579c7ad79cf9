"""Parts that several models share. Each is a module of its own, so that monitors can look at what it puts out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from torch import nn

ACTIVATIONS: Final[Mapping[str, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


def dropout_of(share: float) -> nn.Module:
    """Dropout, or nothing where the share is zero: nn.Dropout(0) does nothing either, but takes as long as a ReLU."""
    return nn.Dropout(share) if share else nn.Identity()
