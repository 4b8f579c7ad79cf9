"""A recurrent network: `depth` layers of `width` units that read a sequence from its first position to its last.

The cell is plain tanh (Elman 1990), GRU (Cho et al. 2014, with the reset gate after the product, as in torch.nn.GRU)
or LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000). Tokens are embedded first. The
answer comes from the last layer's state: at the last position, or at every one where the data set wants that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from descend.catalog import Count, Fraction
from descend.models._layers import dropout_of
from descend.models._shape import Kind, Shape

TAKES: Final[frozenset[Kind]] = frozenset({"sequence", "labelled sequence", "tokens"})

CELLS: Final[Mapping[str, Callable[..., nn.RNNBase]]] = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class RNN(nn.Module):
    """`recurrent` holds all layers (its parameters end in l0, l1, ...); `head` gives the outputs."""

    def __init__(self, shape: Shape, depth: int, width: int, cell: str, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.tokens, width) if shape.tokens else nn.Identity()
        self.recurrent = CELLS[cell](
            width if shape.tokens else shape.inputs[-1],
            width,
            num_layers=depth,
            batch_first=True,
            dropout=dropout if depth > 1 else 0.0,  # PyTorch's is between layers only
        )
        self.dropout = dropout_of(dropout)
        self.head = nn.Linear(width, shape.outputs)
        self.every_position = shape.every_position

    def forward(self, inputs: Shaped[Tensor, "rows positions ..."]) -> Float[Tensor, "rows ... outputs"]:
        states, _ = self.recurrent(self.embedding(inputs))
        outputs: Tensor = self.head(self.dropout(states if self.every_position else states[:, -1]))
        return outputs


def rnn(
    shape: Shape,
    *,
    depth: Count = 1,
    width: Count = 64,
    cell: Literal["tanh", "gru", "lstm"] = "lstm",
    dropout: Fraction = 0.0,
) -> nn.Module:
    shape.require("rnn", TAKES)
    return RNN(shape, depth, width, cell, dropout)
