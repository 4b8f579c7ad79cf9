"""How good many dense networks are on some examples: the loss, and right answers or squared errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Float64
from numba import types
from numpy.typing import NDArray

from descend.compiled import activations, losses, product
from descend.compiled._jit import arrays, entry, inner, table
from descend.compiled.losses import measure
from descend.compiled.network import LOSS, forward, gather, layout_of, values_of, weights_in, workspace

Numbers = NDArray[Any]

BATCH: Final = 64  # examples at once, whose values stay in the first-level cache beside a row of weights


@inner
def right(outputs: Numbers, targets: Numbers) -> float:
    """How many rows have their largest output where their target is largest; NaN counts as largest, as in torch."""
    count = 0.0
    for row in range(len(targets)):
        best, class_ = 0, 0
        for k in range(1, targets.shape[1]):
            if outputs[row, k] > outputs[row, best] or (np.isnan(outputs[row, k]) and not np.isnan(outputs[row, best])):
                best = k
            if targets[row, k] > targets[row, class_]:
                class_ = k
        count += best == class_
    return count


@inner
def squared(outputs: Numbers, targets: Numbers) -> float:
    """The sum of squared errors."""
    total = 0.0
    for row in range(len(targets)):
        for k in range(targets.shape[1]):
            error = float(outputs[row, k]) - targets[row, k]
            total += error * error
    return total


def judge(
    inputs: Numbers,  # [examples, in]
    targets: Numbers,  # [examples, outputs], for classes one-hot
    classes: bool,
    layout: Numbers,  # of the network
    params: Numbers,  # [runs, numbers]
    work: tuple[Numbers, ...],  # from `workspace`
    found: Numbers,  # [runs, 2]: the mean loss, and right answers or the sum of squared errors
    functions: Any,  # [3]: the addresses of the parts
) -> None:
    values, slopes, _, _, mean = work
    last = len(layout) - 1
    for run in range(len(params)):
        for start in range(0, len(inputs), BATCH):
            rows = min(BATCH, len(inputs) - start)
            examples = np.arange(start, start + rows)
            gather(examples, inputs, values_of(values, layout, 0, BATCH))
            forward(rows, layout, params[run], values, slopes, BATCH, functions)
            outputs, answers = values_of(values, layout, last, BATCH), targets[start : start + rows]
            found[run, 1] += right(outputs, answers) if classes else squared(outputs, answers)
            measure(functions[LOSS], rows, 1, outputs, answers, 1.0, mean)
            found[run, 0] += mean[0] * rows
        found[run, 0] /= len(inputs)


def judged(
    inputs: Float[np.ndarray, "examples in"],
    targets: Float[np.ndarray, "examples out"],
    classes: bool,
    activation: str,
    loss: str,
    tensors: Sequence[Float[np.ndarray, "runs ..."]],
) -> Float64[np.ndarray, "runs 2"]:
    """The mean loss of each network, and how many answers are right or, of numbers, the sum of squared errors.

    `tensors` are the weight [runs, out, in] and the bias [runs, out] of every layer; `targets` of classes are one-hot.
    """
    dtype = inputs.dtype.name
    layout = layout_of((inputs.shape[1], *(tensor.shape[1] for tensor in tensors[::2])))
    params = weights_in(layout, tensors)
    found = np.zeros((len(params), 2))
    work, _ = workspace(layout, BATCH, params)
    parts = product.product(dtype), activations.activation(activation, dtype), losses.loss(loss, dtype)
    _judge(dtype)(inputs, targets, classes, layout, params, work, found, table(*parts))
    return found


@cache
def _judge(dtype: str) -> Callable[..., None]:
    """The compiled `judge`."""
    row, matrix, _ = arrays(dtype)
    whole_row, whole_matrix, _ = arrays("int64")
    _, wide_matrix, _ = arrays("float64")
    arguments = matrix, matrix, types.boolean, whole_matrix, matrix, types.UniTuple(row, 5), wide_matrix, whole_row
    return entry(judge, types.void(*arguments))
