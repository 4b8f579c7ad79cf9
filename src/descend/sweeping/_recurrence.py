"""Recurrent layers in plain operations, equal to torch's fused ones, which `vmap` cannot batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What a layer hands from one position to the next, each [rows, width]: its output, and for an LSTM the cell."""


def _tanh(inputs: Tensor, recurrent: Tensor, state: State) -> State:
    """Elman 1990. `inputs` and `recurrent` are W x + b and U h + c of this position."""
    return (torch.tanh(inputs + recurrent),)


def _gru(inputs: Tensor, recurrent: Tensor, state: State) -> State:
    """Cho et al. 2014, with the reset gate after the product, as in torch.nn.GRU."""
    reset_x, update_x, new_x = inputs.chunk(3, -1)
    reset_h, update_h, new_h = recurrent.chunk(3, -1)
    reset, update = torch.sigmoid(reset_x + reset_h), torch.sigmoid(update_x + update_h)
    new = torch.tanh(new_x + reset * new_h)
    return (new + update * (state[0] - new),)


def _lstm(inputs: Tensor, recurrent: Tensor, state: State) -> State:
    """Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000."""
    add, forget, new, show = (inputs + recurrent).chunk(4, -1)
    cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(add) * torch.tanh(new)
    return torch.sigmoid(show) * torch.tanh(cell), cell


CELLS: Final[Mapping[type[nn.RNNBase], tuple[Callable[[Tensor, Tensor, State], State], int]]] = {
    nn.RNN: (_tanh, 1),
    nn.GRU: (_gru, 1),
    nn.LSTM: (_lstm, 2),
}
"""Each layer's cell, and the number of tensors in its state."""


def recurrence(
    layers: nn.RNNBase, inputs: Float[Tensor, "rows positions features"]
) -> tuple[Float[Tensor, "rows positions width"], Tensor | State]:
    """What `layers(inputs)` returns, from states of zero: the last layer's outputs, and the last states of all layers.

    For layers that are one-directional, batch-first, with biases, and without dropout and projections.
    """
    cell, size = CELLS[type(layers)]
    lasts = []
    x = inputs
    for layer in range(layers.num_layers):
        w, u, b, c = (getattr(layers, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        state: State = (x.new_zeros(len(x), layers.hidden_size),) * size
        outputs = []
        for position in nn.functional.linear(x, w, b).unbind(1):
            state = cell(position, nn.functional.linear(state[0], u, c), state)
            outputs.append(state[0])
        x = torch.stack(outputs, dim=1)
        lasts.append(state)
    final = tuple(torch.stack(each) for each in zip(*lasts, strict=True))
    return x, final if size > 1 else final[0]
