"""The whole backward pass of a dense network by hand: plain arrays in, plain arrays out, no graph.

Rows of a batch are rows of x. Layer l computes z = a W' + b and a = f(z), where a is what the layer before gave. With
delta = dL/dz, a matrix [rows, outputs] like z:

    dL/dW = delta' a        dL/db = sum of delta over rows        dL/da = delta W

and one layer further down delta = dL/da * f'(z). All else here is bookkeeping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
from jaxtyping import Float, Int, Shaped

Matrix = Float[np.ndarray, "rows _"]
Weight = Float[np.ndarray, "_ _"]  # [outputs, inputs], as PyTorch stores it
Bias = Float[np.ndarray, " _"]  # [outputs]
Entry = TypeVar("Entry")


Function = Callable[[np.ndarray], np.ndarray]
ACTIVATIONS: Final[Mapping[str, tuple[Function, Function]]] = {
    "relu": (lambda z: np.maximum(z, 0), lambda a: (a > 0).astype(a.dtype)),
    "tanh": (np.tanh, lambda a: 1 - a * a),
    "sigmoid": (lambda z: 0.5 * (1 + np.tanh(0.5 * z)), lambda a: a * (1 - a)),
    "identity": (lambda z: z, np.ones_like),
}
"""f(z), and its slope f'(z) told from a = f(z), so that z need not be kept."""


def forward(x: Matrix, weights: Sequence[Weight], biases: Sequence[Bias], activation: str = "relu") -> list[Matrix]:
    """What enters each layer, and the outputs at the end: one more array than layers. The last layer is linear."""
    f, _ = _named(activation, ACTIVATIONS)
    arrays = [x]
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        z = arrays[-1] @ weight.T + bias
        arrays.append(f(z) if layer < len(weights) - 1 else z)
    return arrays


def backward(
    delta: Matrix, arrays: Sequence[Matrix], weights: Sequence[Weight], activation: str = "relu"
) -> tuple[list[Weight], list[Bias], Matrix]:
    """The gradients of weights, biases and x, from `delta` = dL/d(outputs) and what `forward` returned."""
    _, slope = _named(activation, ACTIVATIONS)
    d_weights, d_biases = [], []
    for layer in reversed(range(len(weights))):
        d_weights.append(delta.T @ arrays[layer])
        d_biases.append(delta.sum(axis=0))
        d_a = delta @ weights[layer]
        delta = d_a * slope(arrays[layer]) if layer > 0 else d_a
    return d_weights[::-1], d_biases[::-1], delta


def mse(outputs: Matrix, targets: Matrix) -> tuple[float, Matrix]:
    """The mean squared error over all numbers, and delta = 2 (output - target) / n."""
    error = outputs - targets
    return float((error * error).mean()), 2 * error / error.size


def cross_entropy(outputs: Matrix, labels: Int[np.ndarray, " rows"]) -> tuple[float, Matrix]:
    """The mean cross-entropy of the logits, and delta = (p - y) / rows, where p is their softmax and y is one-hot."""
    rows = np.arange(len(outputs))
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    delta = np.exp(log_p)
    delta[rows, labels] -= 1
    return float(-log_p[rows, labels].mean()), delta / len(outputs)


LOSSES: Final[Mapping[str, Callable[..., tuple[float, np.ndarray]]]] = {"cross_entropy": cross_entropy, "mse": mse}


def loss_and_gradients(
    x: Matrix,
    targets: Shaped[np.ndarray, "rows ..."],
    weights: Sequence[Weight],
    biases: Sequence[Bias],
    *,
    activation: str = "relu",
    loss: str = "cross_entropy",
) -> tuple[float, list[Weight], list[Bias]]:
    """One forward and one backward pass: the loss, and its gradients by every weight matrix and bias."""
    arrays = forward(x, weights, biases, activation)
    value, delta = _named(loss, LOSSES)(arrays[-1], targets)
    d_weights, d_biases, _ = backward(delta, arrays, weights, activation)
    return value, d_weights, d_biases


def _named(name: str, table: Mapping[str, Entry]) -> Entry:
    if name not in table:
        raise ValueError(f"Nothing is called {name!r} here. Known: {', '.join(table)}.")
    return table[name]
