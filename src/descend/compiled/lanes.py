"""Training of linear models side by side, one run in each lane of the processor's vectors.

Runs that see the same batches share every number of them: the outputs of all are one product of the batch [rows, in]
and the weights [in, outputs * lanes], as if they were one layer, and every loop runs along the lanes. A block is the
runs of one seed, at most LANES of them; what it works on stays in the first-level cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from descend.compiled._jit import arrays, entry, inner
from descend.compiled.losses import measure
from descend.compiled.network import gather
from descend.compiled.product import multiply
from descend.compiled.rules import LANES, SLOTS, update_lanes

Numbers = NDArray[Any]

MULTIPLY, LOSS, UPDATE = range(3)  # the parts that the trainer is given


def workspace(batch: int, widths: tuple[int, ...], params: Numbers) -> tuple[Any, ...]:
    """What `train` works in, but for `alive`."""
    (inputs, outputs), (_, lanes), dtype = widths, params.shape, params.dtype
    shapes = (batch, inputs + 1), (batch, outputs), (batch, outputs * lanes), params.shape, (2, lanes)
    work = tuple(np.zeros(shape, dtype) for shape in shapes)
    return work, np.zeros(lanes), np.zeros(SLOTS * LANES), np.zeros(SLOTS * LANES, dtype)


@inner
def live(param: Numbers, grad: Numbers, mean: Numbers, total: Numbers, alive: Numbers) -> None:
    """Let runs die whose loss, gradients or weights are not all finite: a dot product tells, unless it overflows."""
    for lane in range(len(mean)):
        total[lane] = mean[lane] * 0
    for i in range(len(param)):
        for lane in range(len(mean)):
            total[lane] += param[i, lane] * grad[i, lane]
    for lane in range(len(mean)):
        if alive[lane] and not math.isfinite(total[lane]):
            well = math.isfinite(mean[lane])
            for i in range(len(param)):
                well = well and math.isfinite(param[i, lane]) and math.isfinite(grad[i, lane])
            alive[lane] = well


@inner
def clip(grad: Numbers, max_norms: Numbers, max_values: Numbers, norms: Numbers, scales: Numbers) -> None:
    """Shorten gradients to `max_norms`, then cut their numbers to `max_values`; `norms` become those before."""
    number = grad.dtype.type
    for lane in range(len(norms)):
        norms[lane] = 0
    for i in range(len(grad)):
        for lane in range(len(norms)):
            norms[lane] += grad[i, lane] * grad[i, lane]
    for lane in range(len(norms)):
        norms[lane] = math.sqrt(norms[lane])
        scales[lane] = min(1.0, max_norms[lane] / (norms[lane] + 1e-6))
    for i in range(len(grad)):
        for lane in range(len(norms)):
            limit = number(max_values[lane])
            grad[i, lane] = min(max(grad[i, lane] * scales[lane], -limit), limit)


def train(
    inputs: Numbers,  # [examples, in]
    targets: Numbers,  # [examples, outputs], for classes one-hot
    order: Numbers,  # [steps, batch]: the examples of each step
    sizes: Numbers,  # [steps]: how many of them there are
    weights: Numbers,  # [steps]: what the gradient of the mean loss is multiplied by
    factors: Numbers,  # [steps, schedules]: what the base learning rates are multiplied by
    regions: Numbers,  # [regions, 3]: start, stop and group of numbers that share hyperparameters
    done: int,  # steps made before
    schedules: Numbers,  # [lanes]: which schedule a run follows
    lrs: Numbers,  # [groups, lanes]: base learning rates
    hyper: Numbers,  # [groups, names, lanes]
    limits: Numbers,  # [2, lanes]: clip_norm and clip_value, infinite where there is none
    params: Numbers,  # [(in + 1) * outputs, lanes], the biases last
    state: Numbers,  # [slots, (in + 1) * outputs, lanes]
    died: Numbers,  # [lanes]: the step that could not be taken, or 0
    shown: Numbers,  # [steps, lanes]: the loss of each batch; NaN after the one in which a run has died
    norms: Numbers,  # [steps, lanes]: of the gradient before clipping, as `shown`; empty where no run clips
    work: tuple[Numbers, ...],  # [batch, in + 1], [batch, outputs], [batch, outputs * lanes], as params, [2, lanes]
    lr: Numbers,  # [lanes], to work in
    powers: Numbers,  # [SLOTS * LANES], to work in
    shared: Numbers,  # [SLOTS * LANES], to work in
    alive: Numbers,  # [lanes]: died == 0
    functions: Any,  # [3]: the addresses of the parts
) -> None:
    """Train the runs of one block for some steps; where a run dies, it stays as it is."""
    a, answers, z, grad, rest = work
    lanes = params.shape[1]
    features, columns = a.shape[1] - 1, z.shape[1]
    w, dw = params.reshape(features + 1, columns), grad.reshape(features + 1, columns)
    for step in range(len(sizes)):
        rows = sizes[step]
        gather(order[step, :rows], inputs, a)
        gather(order[step, :rows], targets, answers)
        for row in range(rows):
            a[row, features] = 1
        multiply(functions[MULTIPLY], rows, features + 1, columns, a, w, z)
        mean, total = rest[0], rest[1]
        measure(functions[LOSS], rows, lanes, z, answers, weights[step], mean)
        multiply(functions[MULTIPLY], features + 1, rows, columns, a.T, z, dw)
        live(params, grad, mean, total, alive)
        for lane in range(lanes):
            shown[step, lane] = mean[lane] if died[lane] == 0 else np.nan
            died[lane] = done + step + 1 if died[lane] == 0 and not alive[lane] else died[lane]
        if len(norms):
            clip(grad, limits[0], limits[1], mean, total)
            for lane in range(lanes):
                norms[step, lane] = mean[lane] if alive[lane] else np.nan
        for region in range(len(regions)):
            start, stop, group = regions[region, 0], regions[region, 1], regions[region, 2]
            for lane in range(lanes):
                lr[lane] = lrs[group, lane] * factors[step, schedules[lane]]
            update_lanes(
                functions[UPDATE],
                start,
                stop,
                done + step + 1,
                lr,
                hyper[group],
                alive,
                params,
                grad,
                state,
                powers,
                shared,
            )


@cache
def trainer(dtype: str) -> Callable[..., None]:
    """The compiled `train`."""
    row, matrix, cube = arrays(dtype)
    wide_row, wide_matrix, wide_cube = arrays("float64")
    whole_row, whole_matrix, _ = arrays("int64")
    mask, *_ = arrays("bool")
    data = matrix, matrix, whole_matrix, whole_row, wide_row, wide_matrix, whole_matrix, types.int64
    runs = whole_row, wide_matrix, wide_cube, wide_matrix, matrix, cube, whole_row, matrix, matrix
    work = types.UniTuple(matrix, 5), wide_row, wide_row, row, mask
    return entry(train, types.void(*data, *runs, *work, whole_row))
