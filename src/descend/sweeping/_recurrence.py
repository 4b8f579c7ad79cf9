"""Recurrent layers in plain operations, equal to torch's fused ones, which `vmap` cannot batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What a layer hands from one position to the next, each [rows, width]: its output, and for an LSTM the cell."""

Cell = Callable[[Tensor, Tensor, State], State]
"""From W x + b and U h + c of a position, and the state before it, to the state after it."""


def _tanh(inputs: Tensor, recurrent: Tensor, state: State) -> State:
    """Elman 1990."""
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


def _layers(
    cell: Cell, x: Float[Tensor, "rows positions features"], first: State, weights: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Layer upon layer: the last one's outputs, then the last states of all, each [layers, rows, width]."""
    lasts = []
    for layer, start in enumerate(range(0, len(weights), 4)):
        w, u, b, c = weights[start : start + 4]
        state = tuple(each[layer] for each in first)
        outputs = []
        for inputs in nn.functional.linear(x, w, b).unbind(1):
            state = cell(inputs, nn.functional.linear(state[0], u, c), state)
            outputs.append(state[0])
        x = torch.stack(outputs, dim=1)
        lasts.append(state)
    return x, *(torch.stack(each) for each in zip(*lasts, strict=True))


# What follows is called like the functions of the same names in torch, for layers of one direction that are
# batch-first and have biases but no dropout; `flags` say so.


def rnn_tanh(x: Tensor, first: Tensor, weights: Sequence[Tensor], *flags: object) -> tuple[Tensor, ...]:
    return _layers(_tanh, x, (first,), weights)


def gru(x: Tensor, first: Tensor, weights: Sequence[Tensor], *flags: object) -> tuple[Tensor, ...]:
    return _layers(_gru, x, (first,), weights)


def lstm(x: Tensor, first: State, weights: Sequence[Tensor], *flags: object) -> tuple[Tensor, ...]:
    return _layers(_lstm, x, tuple(first), weights)
