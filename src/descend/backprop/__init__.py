"""A small engine for backpropagation, to be read: NumPy and nothing else.

`scalar` has numbers, `array` arrays, `ops` the operations beside their vector-Jacobian products, `layers`, `inits`,
`losses` and `sgd` what trains a network with them, `gradcheck` tells whether a gradient is right, `graph` draws, and
`dense` is the whole backward pass of a dense network by hand.
"""

from __future__ import annotations

from descend.backprop import dense, ops
from descend.backprop.array import Array, operation, unbroadcast
from descend.backprop.differences import central_difference, forward_difference
from descend.backprop.gradcheck import GradientCheck, check_gradients, compare_gradients
from descend.backprop.graph import graph_svg
from descend.backprop.inits import INITS
from descend.backprop.layers import MLP, BatchNorm, Layer, Linear, Sequential, batch_norm, batch_norm_composed
from descend.backprop.losses import mse, softmax_cross_entropy
from descend.backprop.ops import (
    absolute,
    concatenate,
    exp,
    gelu,
    log,
    log_softmax,
    logsumexp,
    maximum,
    minimum,
    relu,
    sigmoid,
    softmax,
    sqrt,
    square,
    stack,
    take,
    tanh,
    where,
)
from descend.backprop.scalar import Message, Value
from descend.backprop.sgd import SGD

__all__ = [
    "INITS",
    "MLP",
    "SGD",
    "Array",
    "BatchNorm",
    "GradientCheck",
    "Layer",
    "Linear",
    "Message",
    "Sequential",
    "Value",
    "absolute",
    "batch_norm",
    "batch_norm_composed",
    "central_difference",
    "check_gradients",
    "compare_gradients",
    "concatenate",
    "dense",
    "exp",
    "forward_difference",
    "gelu",
    "graph_svg",
    "log",
    "log_softmax",
    "logsumexp",
    "maximum",
    "minimum",
    "mse",
    "operation",
    "ops",
    "relu",
    "sigmoid",
    "softmax",
    "softmax_cross_entropy",
    "sqrt",
    "square",
    "stack",
    "take",
    "tanh",
    "unbroadcast",
    "where",
]
