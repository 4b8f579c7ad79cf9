"""A convolutional network: `depth` blocks of `width` 3x3 kernels, each block halving the image.

One block is convolution, norm, activation, dropout, in this order; with `residual` its input is added wherever it has
as many channels; then a 2x2 max-pool halves both sides while both are at least 4 long. The head sees every number that
is left, so it knows where in the image something was. Layer norm here is over all channels and places of an example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final, Literal

from jaxtyping import Float
from torch import Tensor, nn

from descend.catalog import Count, Fraction
from descend.errors import RecipeError
from descend.models._layers import ACTIVATIONS, dropout_of
from descend.models._shape import Kind, Shape

TAKES: Final[frozenset[Kind]] = frozenset({"image"})

SMALLEST: Final = 4  # the shortest side of an image that is still halved

NORMS: Final[Mapping[str, Callable[[int], nn.Module]]] = {
    "none": nn.Identity,
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
}


class CNN(nn.Module):
    """Block i is convolutions.i, norms.i, activations.i and dropouts.i; `head` gives the outputs."""

    def __init__(
        self, shape: Shape, depth: int, width: int, activation: str, norm: str, dropout: float, residual: bool
    ) -> None:
        super().__init__()
        channels = [shape.inputs[0]] + [width] * depth
        # Batch norm takes the mean away again, so a bias before it would get no gradient.
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, padding=1, bias=norm != "batch")
            for before, after in pairwise(channels)
        )
        self.norms = nn.ModuleList(NORMS[norm](width) for _ in range(depth))
        self.activations = nn.ModuleList(ACTIVATIONS[activation]() for _ in range(depth))
        self.dropouts = nn.ModuleList(dropout_of(dropout) for _ in range(depth))
        sides = shape.inputs[1:]
        for _ in range(depth):
            sides = _halved(sides)
        self.head = nn.Linear(width * math.prod(sides), shape.outputs)
        self.residual = residual

    def forward(self, images: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows outputs"]:
        x = images
        for convolution, norm, activation, dropout in zip(
            self.convolutions, self.norms, self.activations, self.dropouts, strict=True
        ):
            y = dropout(activation(norm(convolution(x))))
            x = x + y if self.residual and x.shape == y.shape else y
            x = nn.functional.max_pool2d(x, 2) if min(x.shape[-2:]) >= SMALLEST else x
        outputs: Tensor = self.head(x.flatten(1))
        return outputs


def cnn(
    shape: Shape,
    *,
    depth: Count = 2,
    width: Count = 16,
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "identity"] = "relu",
    norm: Literal["none", "batch", "layer"] = "none",
    dropout: Fraction = 0.0,
    residual: bool = False,
) -> nn.Module:
    shape.require("cnn", TAKES)
    if min(shape.inputs[1:]) < SMALLEST:
        raise RecipeError(
            f"The model 'cnn' takes images of at least {SMALLEST} by {SMALLEST}, but one example here is "
            f"{shape.inputs}. Take mlp or linear for such small ones."
        )
    return CNN(shape, depth, width, activation, norm, dropout, residual)


def _halved(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Height and width after a block's max-pool."""
    return tuple(side // 2 for side in sides) if min(sides) >= SMALLEST else sides
