"""Losses and their gradients with respect to the outputs, for runs side by side.

    loss(rows, lanes, outputs, targets, weight, losses)

`outputs` is [rows, columns], where output k of run `lane` is column k * lanes + lane; targets are [rows, outputs], for
classes one-hot. The mean loss of each run is written to `losses`, and `outputs` is overwritten with the gradient of
`weight` times it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from descend.compiled._jit import arrays, calls, inlined, part

Numbers = NDArray[Any]


def mse(rows: int, lanes: int, outputs: Numbers, targets: Numbers, weight: float, losses: Numbers) -> None:
    """The mean squared error; its gradient is 2 (output - target) / n."""
    number = outputs.dtype.type
    share = number(1 / (rows * targets.shape[1]))
    scale = number(2 * weight / (rows * targets.shape[1]))
    losses[:] = 0
    for row in range(rows):
        for k in range(targets.shape[1]):
            target = targets[row, k]
            d = outputs[row, k * lanes : (k + 1) * lanes]
            for lane in range(lanes):
                error = d[lane] - target
                losses[lane] += error * error
                d[lane] = error * scale
    for lane in range(lanes):
        losses[lane] *= share


def mae(rows: int, lanes: int, outputs: Numbers, targets: Numbers, weight: float, losses: Numbers) -> None:
    """The mean absolute error; its gradient is sign(output - target) / n."""
    number = outputs.dtype.type
    share = number(1 / (rows * targets.shape[1]))
    scale = number(weight / (rows * targets.shape[1]))
    losses[:] = 0
    for row in range(rows):
        for k in range(targets.shape[1]):
            target = targets[row, k]
            d = outputs[row, k * lanes : (k + 1) * lanes]
            for lane in range(lanes):
                error = d[lane] - target
                losses[lane] += abs(error)
                d[lane] = scale if error > 0 else -scale if error < 0 else error
    for lane in range(lanes):
        losses[lane] *= share


def cross_entropy(rows: int, lanes: int, outputs: Numbers, targets: Numbers, weight: float, losses: Numbers) -> None:
    """The mean cross-entropy of logits; its gradient is (softmax - one-hot) / rows."""
    _cross_entropy(rows, lanes, outputs, targets, weight, losses)


def cross_entropy_of_one(
    rows: int, lanes: int, outputs: Numbers, targets: Numbers, weight: float, losses: Numbers
) -> None:
    """The same where `lanes` is 1, which the compiler knows here: it takes half the time without loops over them."""
    _cross_entropy(rows, 1, outputs, targets, weight, losses)


@inlined
def _cross_entropy(rows: int, lanes: int, outputs: Numbers, targets: Numbers, weight: float, losses: Numbers) -> None:
    number = outputs.dtype.type
    share, scale = number(1 / rows), number(weight / rows)
    classes = targets.shape[1]
    top, total = np.empty(lanes, outputs.dtype), np.empty(lanes, outputs.dtype)
    losses[:] = 0
    for row in range(rows):
        z = outputs[row]
        top[:], total[:] = -np.inf, 0
        for k in range(classes):
            for lane in range(lanes):
                top[lane] = max(top[lane], z[k * lanes + lane])
        for k in range(classes):
            for lane in range(lanes):
                logit = z[k * lanes + lane] - top[lane]
                losses[lane] -= targets[row, k] * logit
                z[k * lanes + lane] = math.exp(logit)
                total[lane] += z[k * lanes + lane]
        for lane in range(lanes):
            losses[lane] += math.log(total[lane])
            total[lane] = scale / total[lane]
        for k in range(classes):
            for lane in range(lanes):
                z[k * lanes + lane] = z[k * lanes + lane] * total[lane] - targets[row, k] * scale
    for lane in range(lanes):
        losses[lane] *= share


LOSSES: Final = {function.__name__: function for function in (mse, mae, cross_entropy)}


@cache
def loss(name: str, dtype: str, *, lanes: bool = False) -> Any:
    """The address of the compiled loss, for many runs side by side or for one."""
    alone = {"cross_entropy": cross_entropy_of_one}
    return part(LOSSES[name] if lanes else alone.get(name, LOSSES[name]), signature(dtype))


@cache
def signature(dtype: str) -> Any:
    """numba's type of a loss."""
    row, matrix, _ = arrays(dtype)
    return types.void(types.int64, types.int64, matrix, matrix, types.float64, row)


measure = calls(signature)
