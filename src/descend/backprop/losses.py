"""Losses: one number for a batch, the mean over it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descend.backprop.array import Array, Floats, Made, Operand, operation


@operation
def mse(outputs: Floats, targets: Floats) -> Made:
    """The mean of (output - target)^2 over all numbers; its gradient is 2 (output - target) / n."""
    if outputs.shape != targets.shape:
        raise ValueError("they must be equal, or every output would be compared with every target.")
    error = outputs - targets
    return np.mean(error**2), lambda g: g * 2 * error / error.size, lambda g: -g * 2 * error / error.size


def softmax_cross_entropy(logits: Operand, labels: ArrayLike) -> Array:
    """The mean over rows of -log softmax(logits)[label], for logits [rows, classes] and whole numbers as labels [rows].

    Softmax and logarithm are one operation here, because together they have a short gradient, (p - y) / rows, and
    nothing overflows.
    """
    return _softmax_cross_entropy(logits, labels=np.asarray(labels))


@operation
def _softmax_cross_entropy(logits: Floats, *, labels: NDArray[Any]) -> Made:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits must be [rows, classes] with a label for each row, and labels have shape {labels.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are whole numbers, the index of the class, and these are {labels.dtype}.")
    rows, classes = logits.shape
    if rows and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels must lie within 0 to {classes - 1}, and are {labels.min()} to {labels.max()}.")
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    y = np.zeros_like(logits)
    y[np.arange(rows), labels] = 1
    return -np.mean(log_p[np.arange(rows), labels]), lambda g: g * (np.exp(log_p) - y) / rows
