"""Training of dense networks one after the other, each small enough for the cache: the whole step on one page.

A layer is z = a w, where the last row of w is the bias, as the last number of every a is one. With d = dL/dz,

    dL/dw = a' d      dL/da = d w'      and for the layer before, d = dL/da * f'(z)

w is [in + 1, out], its rows padded with zeros to whole vectors, so that every product runs along contiguous memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from descend.compiled._jit import arrays, entry, inner, reordered
from descend.compiled.activations import activate
from descend.compiled.losses import measure
from descend.compiled.product import PADDING, multiply
from descend.compiled.rules import update_network

Numbers = NDArray[Any]

MULTIPLY, ACTIVATE, LOSS, UPDATE = range(4)  # the parts that the trainer is given

WIDTH: Final = 0  # of a layer's values: inputs, hidden units, outputs
COLUMNS: Final = 1  # the same, padded: columns of the weights that lead to it
STRIDE: Final = 2  # one more, for the number that is always one, padded: columns of its values
WEIGHTS: Final = 3  # where the weights that lead to it begin
VALUES: Final = 4  # where its values begin, for a batch of one


def layout_of(widths: Sequence[int]) -> NDArray[np.int64]:
    """Where everything lies in a network of these widths, from inputs to outputs: [layers + 1, 5]; the last row + 1,
    [WEIGHTS], is the size of all weights."""

    def padded(count: int) -> int:
        return -(-count // PADDING) * PADDING

    columns, strides = [padded(width) for width in widths], [padded(width + 1) for width in widths]
    sizes = [(before + 1) * after for before, after in zip(widths[:-1], columns[1:], strict=True)]
    starts = [0, *accumulate(sizes)]
    table = [widths, columns, strides, [0, *starts[:-1]], [0, *accumulate(strides[:-1])]]
    return np.array(table, dtype=np.int64).T.copy()


def views_of(layout: NDArray[np.int64], params: Numbers) -> list[Numbers]:
    """The weight [runs, out, in] and the bias [runs, out] of every layer, in order, as views of the parameters."""
    found, start = [], 0
    widths, columns = layout[:, WIDTH].tolist(), layout[:, COLUMNS].tolist()
    for inputs, outputs, padded in zip(widths[:-1], widths[1:], columns[1:], strict=True):
        layer = params[:, start : start + (inputs + 1) * padded].reshape(-1, inputs + 1, padded)
        found += [layer[:, :inputs, :outputs].transpose(0, 2, 1), layer[:, inputs, :outputs]]
        start += (inputs + 1) * padded
    return found


def weights_in(layout: NDArray[np.int64], tensors: Sequence[Numbers]) -> Numbers:
    """The parameters [runs, numbers] that hold the weights and biases of every layer."""
    size = int((layout[:-1, WIDTH] + 1) @ layout[1:, COLUMNS])
    params = np.zeros((len(tensors[0]), size), tensors[0].dtype)
    for view, tensor in zip(views_of(layout, params), tensors, strict=True):
        view[:] = tensor
    return params


def workspace(layout: NDArray[np.int64], batch: int, params: Numbers) -> tuple[tuple[Numbers, ...], Numbers]:
    """What `train` works in: values, slopes, a matrix turned, gradients, the mean loss; and the targets of a batch."""
    values = batch * int(layout[-1, VALUES] + layout[-1, STRIDE])
    sizes = values, values, int(layout[:, WIDTH].max() * layout[:, COLUMNS].max()), params.shape[1], 1
    return tuple(np.zeros(size, params.dtype) for size in sizes), np.zeros((batch, layout[-1, WIDTH]), params.dtype)


@inner
def values_of(values: Numbers, layout: Numbers, layer: int, batch: int) -> Numbers:
    """The values of a layer: [batch, STRIDE]."""
    start, stride = batch * layout[layer, VALUES], layout[layer, STRIDE]
    return values[start : start + batch * stride].reshape(batch, stride)


@inner
def weights_of(flat: Numbers, layout: Numbers, layer: int) -> Numbers:
    """The weights that lead to a layer, or their gradients: [in + 1, COLUMNS]."""
    start, rows, columns = layout[layer, WEIGHTS], layout[layer - 1, WIDTH] + 1, layout[layer, COLUMNS]
    return flat[start : start + rows * columns].reshape(rows, columns)


@inner
def gather(examples: Numbers, source: Numbers, into: Numbers) -> None:
    """The rows of some examples."""
    for row in range(len(examples)):
        example = source[examples[row]]
        for column in range(len(example)):
            into[row, column] = example[column]


@inner
def forward(
    rows: int, layout: Numbers, param: Numbers, values: Numbers, slopes: Numbers, batch: int, functions: Any
) -> None:
    """From the inputs, the values of layer 0, to the outputs, those of the last, and every f'(z) on the way."""
    for layer in range(1, len(layout)):
        a, z = values_of(values, layout, layer - 1, batch), values_of(values, layout, layer, batch)
        for row in range(rows):
            a[row, layout[layer - 1, WIDTH]] = 1
        w = weights_of(param, layout, layer)
        multiply(functions[MULTIPLY], rows, len(w), w.shape[1], a, w, z)
        if layer < len(layout) - 1:
            start = batch * layout[layer, VALUES]
            stop = start + rows * layout[layer, STRIDE]
            activate(functions[ACTIVATE], values[start:stop], slopes[start:stop])


@inner
def backward(
    rows: int,
    layout: Numbers,
    param: Numbers,
    values: Numbers,
    slopes: Numbers,
    batch: int,
    turned: Numbers,
    grad: Numbers,
    functions: Any,
) -> None:
    """From dL/d(outputs), in the place of the outputs, to the gradients; a layer's d takes the place of its values."""
    for layer in range(len(layout) - 1, 0, -1):
        a, d = values_of(values, layout, layer - 1, batch), values_of(values, layout, layer, batch)
        w, dw = weights_of(param, layout, layer), weights_of(grad, layout, layer)
        multiply(functions[MULTIPLY], len(dw), rows, dw.shape[1], a.T, d, dw)
        if layer > 1:
            out, columns = layout[layer, WIDTH], layout[layer - 1, COLUMNS]
            wt = turned[: out * columns].reshape(out, columns)
            transpose(layout[layer - 1, WIDTH], w, wt)
            multiply(functions[MULTIPLY], rows, out, columns, d, wt, a)
            start = batch * layout[layer - 1, VALUES]
            slope = slopes[start : start + a.size].reshape(a.shape)
            for row in range(rows):
                for column in range(columns):
                    a[row, column] *= slope[row, column]


@inner
def transpose(rows: int, w: Numbers, wt: Numbers) -> None:
    """wt = w', of the first rows of w; what is left of the rows of wt becomes zero."""
    for j in range(len(wt)):
        for i in range(rows):
            wt[j, i] = w[i, j]
        for i in range(rows, wt.shape[1]):
            wt[j, i] = 0


@reordered
def dot(a: Numbers, b: Numbers) -> Any:
    total = a.dtype.type(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@inner
def healthy(param: Numbers, grad: Numbers) -> bool:
    """Whether all are finite, as descend.train.non_finite asks: a dot product tells, unless it overflows."""
    if math.isfinite(dot(param, grad)):
        return True
    for i in range(len(param)):  # noqa: SIM110  # numba has no all()
        if not (math.isfinite(param[i]) and math.isfinite(grad[i])):
            return False
    return True


@inner
def clip(grad: Numbers, norm: float, max_norm: float, max_value: float) -> None:
    """Shorten the gradient to `max_norm`, then cut its numbers to `max_value`, as descend.optim.clip_by_norm does."""
    number = grad.dtype.type
    scale, limit = number(min(1.0, max_norm / (norm + 1e-6))), number(max_value)
    for i in range(len(grad)):
        grad[i] = min(max(grad[i] * scale, -limit), limit)


def train(
    inputs: Numbers,  # [examples, in]
    targets: Numbers,  # [examples, outputs], for classes one-hot
    order: Numbers,  # [seeds, steps, batch]: the examples of each step, for each seed
    sizes: Numbers,  # [steps]: how many of them there are
    weights: Numbers,  # [steps]: what the gradient of the mean loss is multiplied by
    factors: Numbers,  # [steps, schedules]: what the base learning rates are multiplied by
    layout: Numbers,  # of the network, from `layout_of`
    regions: Numbers,  # [regions, 3]: start, stop and group of numbers that share hyperparameters
    done: int,  # steps made before
    seeds: Numbers,  # [runs]: which order a run follows
    schedules: Numbers,  # [runs]: which schedule
    lrs: Numbers,  # [runs, groups]: base learning rates
    hyper: Numbers,  # [runs, groups, names]
    limits: Numbers,  # [runs, 2]: clip_norm and clip_value, infinite where there is none
    params: Numbers,  # [runs, numbers]
    state: Numbers,  # [runs, slots, numbers]
    died: Numbers,  # [runs]: the step that could not be taken, or 0
    shown: Numbers,  # [steps, runs]: the loss of each batch, filled with NaN
    norms: Numbers,  # [steps, runs]: of the gradient before clipping, filled with NaN; empty where no run clips
    work: tuple[Numbers, ...],  # from `workspace`
    answers: Numbers,  # [batch, outputs], to work in
    functions: Any,  # [4]: the addresses of the parts
) -> None:
    """Train every run that is alive for some steps; one that meets a number that is not finite stays as it is."""
    batch, last = order.shape[2], len(layout) - 1
    values, slopes, turned, grad, mean = work
    for run in range(len(params)):
        param = params[run]
        for step in range(len(sizes)):
            if died[run]:
                break
            rows = sizes[step]
            examples = order[seeds[run], step, :rows]
            gather(examples, inputs, values_of(values, layout, 0, batch))
            gather(examples, targets, answers)
            forward(rows, layout, param, values, slopes, batch, functions)
            measure(functions[LOSS], rows, 1, values_of(values, layout, last, batch), answers, weights[step], mean)
            shown[step, run] = mean[0]
            backward(rows, layout, param, values, slopes, batch, turned, grad, functions)
            if not (math.isfinite(mean[0]) and healthy(param, grad)):
                died[run] = done + step + 1
                break
            if len(norms):
                norm = math.sqrt(dot(grad, grad))
                norms[step, run] = norm
                clip(grad, norm, limits[run, 0], limits[run, 1])
            for region in range(len(regions)):
                start, stop, group = regions[region, 0], regions[region, 1], regions[region, 2]
                lr = lrs[run, group] * factors[step, schedules[run]]
                update_network(
                    functions[UPDATE], start, stop, done + step + 1, lr, hyper[run, group], param, grad, state[run]
                )


@cache
def trainer(dtype: str) -> Callable[..., None]:
    """The compiled `train`."""
    row, matrix, cube = arrays(dtype)
    _, wide_matrix, wide_cube = arrays("float64")
    whole_row, whole_matrix, whole_cube = arrays("int64")
    wide_row, *_ = arrays("float64")
    data = matrix, matrix, whole_cube, whole_row, wide_row, wide_matrix, whole_matrix, whole_matrix, types.int64
    runs = whole_row, whole_row, wide_matrix, wide_cube, wide_matrix, matrix, cube, whole_row, matrix, matrix
    work = types.UniTuple(row, 5), matrix
    return entry(train, types.void(*data, *runs, *work, whole_row))
