"""Runs of one optimizer under way: from arrays as torch has them to those that the compiled loops work on, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from numpy.typing import NDArray

from descend.catalog import OPTIMIZERS
from descend.compiled import activations, lanes, losses, network, product, rules
from descend.compiled._jit import table
from descend.compiled._trace import trace

LANE_BYTES: Final = 256 * 1024  # of weights, gradients and state side by side: an eighth of a second-level cache

Numbers = NDArray[Any]


@dataclass(frozen=True)
class Task:
    """What all runs share: the examples, the network and the loss."""

    inputs: Float[np.ndarray, "examples in"]
    targets: Float[np.ndarray, "examples out"]  # one-hot where they are classes
    widths: tuple[int, ...]  # inputs, hidden units, outputs
    activation: str
    loss: str
    batch: int

    @property
    def dtype(self) -> str:
        return self.inputs.dtype.name


@dataclass(frozen=True)
class Feed:
    """What some steps need."""

    done: int  # steps made before
    order: Int64[np.ndarray, "seeds steps batch"]  # the examples of each step
    sizes: Int64[np.ndarray, " steps"]  # how many they are
    weights: Float64[np.ndarray, " steps"]  # what the gradient of the mean loss is multiplied by
    factors: Float64[np.ndarray, "steps schedules"]  # what the base learning rates are multiplied by


@dataclass(frozen=True)
class Own:
    """What each run has of its own; a tensor is the weight or the bias of a layer."""

    lrs: Float64[np.ndarray, "runs tensors"]
    hyper: Float64[np.ndarray, "runs tensors names"]
    limits: Float64[np.ndarray, "runs 2"]  # clip_norm and clip_value, infinite where there is none
    clips: bool  # whether there is any
    seeds: Int64[np.ndarray, " runs"]  # which order of the feed
    schedules: Int64[np.ndarray, " runs"]  # which factors

    def pick(self, runs: Sequence[int]) -> Own:
        of = list(runs)
        return Own(self.lrs[of], self.hyper[of], self.limits[of], self.clips, self.seeds[of], self.schedules[of])


class Team(Protocol):
    """Some runs in training."""

    died: Int64[np.ndarray, " runs"]

    def advance(self, feed: Feed) -> tuple[Float[np.ndarray, "steps runs"], Float[np.ndarray, "lengths runs"]]:
        """Train; the losses, and the norms of gradients where any run clips: as in `Losses` of sweeping."""

    def tensors(self) -> list[Float[np.ndarray, "runs ..."]]:
        """The weight [runs, out, in] and the bias [runs, out] of every layer, in order."""

    def keep(
        self, runs: Sequence[int], seeds: Int64[np.ndarray, " kept"], schedules: Int64[np.ndarray, " kept"]
    ) -> None:
        """Go on with these runs alone."""


def _regions(sizes: Sequence[int], own: Own) -> Int64[np.ndarray, "regions 3"]:
    """Start, stop and first tensor of numbers that have the same hyperparameters; `sizes` are those of tensors."""
    found: list[list[int]] = []
    start = 0
    for tensor, size in enumerate(sizes):
        same = found and bool(
            (own.lrs[:, tensor] == own.lrs[:, found[-1][2]]).all()
            and (own.hyper[:, tensor] == own.hyper[:, found[-1][2]]).all()
        )
        if same:
            found[-1][1] += size
        else:
            found.append([start, start + size, tensor])
        start += size
    return np.array(found, dtype=np.int64)


class NetworkTeam:
    """Networks that are trained one after the other."""

    def __init__(
        self,
        task: Task,
        optimizer: str,
        own: Own,
        tensors: Sequence[Float[np.ndarray, "runs ..."]],
        state: Sequence[Sequence[Float[np.ndarray, "runs ..."]]] = (),
    ) -> None:
        """`state` is what the optimizer keeps, as many tensors as there are weights and biases for each name; of runs
        that have made no step, nothing."""
        runs = len(own.seeds)
        self._task, self._own = task, own
        self._layout = network.layout_of(task.widths)
        self._params = network.weights_in(self._layout, tensors)
        self._state = np.zeros((runs, len(trace(OPTIMIZERS[optimizer]).state), self._params.shape[1]), task.dtype)
        for slot, kept in enumerate(state):
            self._state[:, slot] = network.weights_in(self._layout, kept)
        self._regions = _regions(self._sizes(), own)
        self.died = np.zeros(runs, np.int64)
        self._functions = table(
            product.product(task.dtype),
            activations.activation(task.activation, task.dtype),
            losses.loss(task.loss, task.dtype),
            rules.rule(optimizer, task.dtype, lanes=False),
        )
        self._train = network.trainer(task.dtype)  # compiled here, and not on the clock of a first step

    def advance(self, feed: Feed) -> tuple[Numbers, Numbers]:
        task, own = self._task, self._own
        steps, runs = len(feed.sizes), len(self.died)
        shown = np.full((steps, runs), np.nan, task.dtype)
        norms = np.full((steps if own.clips else 0, runs), np.nan, task.dtype)
        self._train(
            *(task.inputs, task.targets, feed.order, feed.sizes, feed.weights, feed.factors),
            *(self._layout, self._regions, feed.done, own.seeds, own.schedules, own.lrs, own.hyper, own.limits),
            *(self._params, self._state, self.died, shown, norms),
            *network.workspace(self._layout, task.batch, self._params),
            self._functions,
        )
        return shown, norms

    def tensors(self) -> list[Numbers]:
        return [view.copy() for view in network.views_of(self._layout, self._params)]

    def state(self) -> list[list[Numbers]]:
        """What the optimizer keeps: as many tensors as there are weights and biases, for each name."""
        slots = np.ascontiguousarray(self._state.transpose(1, 0, 2))
        return [network.views_of(self._layout, slot) for slot in slots]

    def keep(self, runs: Sequence[int], seeds: Numbers, schedules: Numbers) -> None:
        self._own = replace(self._own.pick(runs), seeds=seeds, schedules=schedules)
        of = list(runs)
        self._params, self._state, self.died = self._params[of], self._state[of], self.died[of]

    def _sizes(self) -> list[int]:
        """Numbers of each tensor, padding included."""
        widths, columns = self._layout[:, network.WIDTH].tolist(), self._layout[:, network.COLUMNS].tolist()
        return [
            size for before, after in zip(widths[:-1], columns[1:], strict=True) for size in (before * after, after)
        ]


class LanesTeam:
    """Linear models of one seed that are trained side by side; the last is repeated to fill up whole vectors."""

    def __init__(self, task: Task, optimizer: str, own: Own, tensors: Sequence[Float[np.ndarray, "runs ..."]]) -> None:
        weight, bias = tensors
        self._task, self._runs = task, len(bias)
        together = np.concatenate([weight, bias[:, :, None]], axis=2)  # [runs, out, in + 1]
        self._params = together.transpose(2, 1, 0).reshape(-1, self._runs)
        self._state = np.zeros((len(trace(OPTIMIZERS[optimizer]).state), *self._params.shape), task.dtype)
        self._regions = _regions([weight[0].size, bias[0].size], own)
        self.died = np.zeros(self._runs, np.int64)
        self._functions = table(
            product.product(task.dtype),
            losses.loss(task.loss, task.dtype, lanes=True),
            rules.rule(optimizer, task.dtype, lanes=True),
        )
        self._train = lanes.trainer(task.dtype)  # compiled here, and not on the clock of a first step
        self._fill(own, range(self._runs))

    def _fill(self, own: Own, runs: Sequence[int]) -> None:
        """Lay some of the runs out anew."""
        lanes_of = [*runs, *[runs[-1]] * (-len(runs) % product.PADDING)]
        picked = own.pick(lanes_of)
        self._own, self._runs = picked, len(runs)
        self._lrs, self._limits = picked.lrs.T.copy(), picked.limits.T.copy()
        self._hyper = picked.hyper.transpose(1, 2, 0).copy()
        self._params = np.ascontiguousarray(self._params[:, lanes_of])
        self._state = np.ascontiguousarray(self._state[:, :, lanes_of])
        self._died = self.died[lanes_of]
        self.died = self._died[: self._runs]
        self._work = lanes.workspace(self._task.batch, self._task.widths, self._params)

    def advance(self, feed: Feed) -> tuple[Numbers, Numbers]:
        task, own = self._task, self._own
        steps, count = len(feed.sizes), self._params.shape[1]
        shown = np.empty((steps, count), task.dtype)
        norms = np.empty((steps if own.clips else 0, count), task.dtype)
        alive: Bool[np.ndarray, " lanes"] = self._died == 0
        self._train(
            *(task.inputs, task.targets, feed.order[own.seeds[0]], feed.sizes, feed.weights, feed.factors),
            *(self._regions, feed.done, own.schedules, self._lrs, self._hyper, self._limits),
            *(self._params, self._state, self._died, shown, norms, *self._work, alive),
            self._functions,
        )
        return shown[:, : self._runs], norms[:, : self._runs]

    def tensors(self) -> list[Numbers]:
        inputs, outputs = self._task.widths
        together = self._params.reshape(inputs + 1, outputs, -1)[:, :, : self._runs].transpose(2, 1, 0)
        return [together[:, :, :inputs].copy(), together[:, :, inputs].copy()]

    def keep(self, runs: Sequence[int], seeds: Numbers, schedules: Numbers) -> None:
        kept = self._own.pick(runs)
        columns = list(runs)
        self._params, self._state, self.died = self._params[:, columns], self._state[:, :, columns], self._died[columns]
        self._fill(replace(kept, seeds=seeds, schedules=schedules), range(len(columns)))


def lanes_at_once(task: Task, slots: int) -> int:
    """How many runs of a linear model to train side by side."""
    inputs, outputs = task.widths
    a_lane = ((2 + slots) * (inputs + 1) * outputs + task.batch * outputs) * task.inputs.itemsize
    return min(rules.LANES, max(product.PADDING, LANE_BYTES // a_lane // product.PADDING * product.PADDING))
