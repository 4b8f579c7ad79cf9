"""A causal transformer: `depth` blocks of self-attention and a feed-forward layer, on `width` numbers a position.

Each position sees itself and those before it. Norms come first in a block ("pre-norm", Xiong et al. 2020), which trains
without warm-up; the feed-forward layer is 4 times as wide (Vaswani et al. 2017). Queries, keys and values are separate
matrices, so that each has the fan-in and fan-out that an initialisation thinks it has, and they have no bias: the
softmax would cancel a key's. Tokens are embedded; real vectors go through a linear layer instead.

Attention runs in PyTorch's fused kernel, which has no second derivative. Whoever needs one (a Hessian-vector product)
wraps the call in `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from descend.catalog import Count, Fraction
from descend.errors import RecipeError
from descend.models._layers import ACTIVATIONS, dropout_of
from descend.models._shape import Kind, Shape

TAKES: Final[frozenset[Kind]] = frozenset({"sequence", "labelled sequence", "tokens"})

NORMS: Final[Mapping[str, Callable[[int], nn.Module]]] = {"none": nn.Identity, "layer": nn.LayerNorm}

Sequence = Float[Tensor, "rows positions width"]


class Learned(nn.Module):
    """Adds a learned vector for each position."""

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(positions, width)

    def forward(self, x: Sequence) -> Sequence:
        return x + self.table.weight[: x.shape[1]]


class Sinusoidal(nn.Module):
    """Adds sines and cosines of the position, of wavelengths 2 pi to 20000 pi (Vaswani et al. 2017, section 3.5)."""

    table: Tensor

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        wavelengths = 10_000 ** (torch.arange(0, width, 2) / width)
        angles = torch.arange(positions)[:, None] / wavelengths
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Sequence) -> Sequence:
        return x + self.table[: x.shape[1]]


POSITIONS: Final[Mapping[str, Callable[[int, int], nn.Module]]] = {"learned": Learned, "sinusoidal": Sinusoidal}


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(width / heads)) V in each head, masked to the past (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.mix = nn.Linear(width, width)
        self.heads = heads
        self.dropout = dropout

    def forward(self, x: Sequence) -> Sequence:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        seen = nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        mixed: Tensor = self.mix(seen.transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, width: int, heads: int, activation: str, norm: str, dropout: float) -> None:
        super().__init__()
        self.attention_norm = NORMS[norm](width)
        self.attention = Attention(width, heads, dropout)
        self.attention_dropout = dropout_of(dropout)
        self.norm = NORMS[norm](width)
        self.expand = nn.Linear(width, 4 * width)
        self.activation = ACTIVATIONS[activation]()
        self.contract = nn.Linear(4 * width, width)
        self.dropout = dropout_of(dropout)

    def forward(self, x: Sequence) -> Sequence:
        x = x + self.attention_dropout(self.attention(self.attention_norm(x)))
        y: Tensor = x + self.dropout(self.contract(self.activation(self.expand(self.norm(x)))))
        return y


class Transformer(nn.Module):
    """`embedding` and `positions`, then blocks.i, a last norm, and `head`, which gives the outputs."""

    def __init__(
        self,
        shape: Shape,
        depth: int,
        width: int,
        heads: int,
        positions: str,
        activation: str,
        norm: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.tokens, width) if shape.tokens else nn.Linear(shape.inputs[-1], width)
        self.positions = POSITIONS[positions](shape.inputs[0], width)
        self.dropout = dropout_of(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, activation, norm, dropout) for _ in range(depth)))
        self.norm = NORMS[norm](width)
        self.head = nn.Linear(width, shape.outputs)
        self.every_position = shape.every_position

    def forward(self, inputs: Shaped[Tensor, "rows positions ..."]) -> Float[Tensor, "rows ... outputs"]:
        x = self.blocks(self.dropout(self.positions(self.embedding(inputs))))
        outputs: Tensor = self.head(self.norm(x if self.every_position else x[:, -1]))
        return outputs


def transformer(
    shape: Shape,
    *,
    depth: Count = 2,
    width: Count = 64,
    heads: Count = 4,
    positions: Literal["learned", "sinusoidal"] = "learned",
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "identity"] = "gelu",
    norm: Literal["none", "layer"] = "layer",
    dropout: Fraction = 0.0,
) -> nn.Module:
    shape.require("transformer", TAKES)
    if width % heads:
        fitting = ", ".join(str(count) for count in range(1, width + 1) if width % count == 0)
        raise RecipeError(f"heads is {heads}, but must divide width, which is {width}: one of {fitting}.")
    return Transformer(shape, depth, width, heads, positions, activation, norm, dropout)
