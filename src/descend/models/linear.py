"""One linear layer: linear regression, or logistic regression under cross-entropy.

Images and sequences are laid out flat. The loss is convex, so the optimum is known and gradient descent can be
judged by it.
"""

from __future__ import annotations

import math
from typing import Final

from torch import nn

from descend.models._shape import Kind, Shape

TAKES: Final[frozenset[Kind]] = frozenset({"features", "image", "sequence"})


def linear(shape: Shape) -> nn.Module:
    """A bare nn.Linear for flat features, so that its parameters are called weight and bias."""
    shape.require("linear", TAKES)
    layer = nn.Linear(math.prod(shape.inputs), shape.outputs)
    return layer if len(shape.inputs) == 1 else nn.Sequential(nn.Flatten(), layer)
