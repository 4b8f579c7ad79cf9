"""A multi-layer perceptron: `depth` hidden layers of `width` units.

One hidden layer is linear, norm, activation, dropout, in this order; with `residual` its input is added to what it
puts out wherever the two have the same width. The initial weights are those of `init`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final, Literal

from jaxtyping import Float
from torch import Tensor, nn

from descend.catalog import Count, Fraction
from descend.models._layers import ACTIVATIONS, dropout_of
from descend.models._shape import Kind, Shape

TAKES: Final[frozenset[Kind]] = frozenset({"features", "image", "sequence"})

NORMS: Final[Mapping[str, Callable[[int], nn.Module]]] = {
    "none": nn.Identity,
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}


class MLP(nn.Module):
    """Hidden layer i is hidden.i, norms.i, activations.i and dropouts.i; `head` gives the outputs."""

    def __init__(
        self, shape: Shape, depth: int, width: int, activation: str, norm: str, dropout: float, residual: bool
    ) -> None:
        super().__init__()
        widths = [math.prod(shape.inputs)] + [width] * depth
        # Batch norm takes the mean away again, so a bias before it would get no gradient.
        self.hidden = nn.ModuleList(
            nn.Linear(before, after, bias=norm != "batch") for before, after in pairwise(widths)
        )
        self.norms = nn.ModuleList(NORMS[norm](width) for _ in range(depth))
        self.activations = nn.ModuleList(ACTIVATIONS[activation]() for _ in range(depth))
        self.dropouts = nn.ModuleList(dropout_of(dropout) for _ in range(depth))
        self.head = nn.Linear(width, shape.outputs)
        self.residual = residual

    def forward(self, inputs: Float[Tensor, "rows ..."]) -> Float[Tensor, "rows outputs"]:
        x = inputs.flatten(1)
        for linear, norm, activation, dropout in zip(
            self.hidden, self.norms, self.activations, self.dropouts, strict=True
        ):
            y = dropout(activation(norm(linear(x))))
            x = x + y if self.residual and x.shape == y.shape else y
        outputs: Tensor = self.head(x)
        return outputs


def mlp(
    shape: Shape,
    *,
    depth: Count = 2,
    width: Count = 64,
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "identity"] = "relu",
    norm: Literal["none", "batch", "layer"] = "none",
    dropout: Fraction = 0.0,
    residual: bool = False,
) -> nn.Module:
    shape.require("mlp", TAKES)
    return MLP(shape, depth, width, activation, norm, dropout, residual)
