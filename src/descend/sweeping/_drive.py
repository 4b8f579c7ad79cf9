"""Drive: one chunk of a cohort from its first step to its last, with everything told to a witness on the way."""

from __future__ import annotations

import copy
import dataclasses
import math
import threading
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from descend.recipe import Recipe
from descend.run import Floats
from descend.sweeping import compiled, together
from descend.sweeping._cohort import Cohort, Lane
from descend.sweeping._measure import Judge, Watcher, watched_at_once
from descend.sweeping._stack import Losses, Stack
from descend.train.build import Parts
from descend.train.compiled import why_not as not_compiled

LONGEST: Final = 2_000_000  # run-steps between two looks at whether somebody wants to stop: a second or so

Numbers = NDArray[np.int64]


class Weights(NamedTuple):
    """Parameters and buffers of some runs, by name: [runs, ...]."""

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]

    def of(self, row: int) -> dict[str, Tensor]:
        """One run's, as its model's state_dict has them."""
        return {name: values[row] for name, values in (*self.parameters.items(), *self.buffers.items())}

    def pick(self, rows: Numbers) -> Weights:
        """Those of some of the runs, copied."""
        index = torch.from_numpy(rows)
        return Weights(*({name: values[index.to(values.device)] for name, values in part.items()} for part in self))

    def finite(self) -> NDArray[np.bool_]:
        """Which runs have only finite parameters."""
        good = [values.flatten(1).isfinite().all(1) for values in self.parameters.values()]
        return torch.stack(good).all(0).cpu().numpy()


class Endings(NamedTuple):
    """How some runs ended, an array each: after how many updates and seconds, the best evaluation and its step."""

    why: list[str]  # as in a record: "finished", "non-finite", ...
    steps: Numbers
    seconds: Floats
    best_loss: Floats
    best_step: Numbers


class Witness:
    """Who is told what happens to the runs of a chunk, step after step, and of what it does not care for does nothing.

    `runs` are their numbers in the chunk. A witness is a context, which ends with the chunk, or with what went wrong.
    """

    watches = False  # whether it wants to be told of steps, with what the monitors measure

    def __enter__(self) -> Witness:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Let go of what was opened for the chunk."""

    def begin(self, weights: Weights, values: Mapping[str, Floats], judge: Judge) -> None:
        """All runs stand before their first step; `values` is the first evaluation, [runs]."""

    def stepped(
        self,
        runs: Numbers,
        made: Numbers,
        steps: Floats,
        examples: Floats,
        seconds: Floats,
        values: Mapping[str, Floats],
    ) -> None:
        """Runs made the first `made` [runs] of `steps`, having seen `examples` [steps]; the rest is [steps, runs]."""

    def evaluated(
        self, runs: Numbers, step: int, examples: int, seconds: Floats, values: Mapping[str, Floats], weights: Weights
    ) -> None:
        """Some runs were evaluated: values and weights are [runs]."""

    def died(self, runs: Numbers, steps: Numbers, seconds: Floats, losses: Floats, weights: Weights) -> None:
        """Runs could not take a step, with these weights before it; the losses were those of the step's batch."""

    def monitor_failed(self, step: int, sentence: str) -> None:
        """A monitor is switched off for all runs."""

    def ended(self, runs: Numbers, endings: Endings, weights: Weights, tested: Mapping[str, Floats]) -> None:
        """Runs are over; `tested` is how good they are on the test split, where there is one."""

    def advanced(self, run_steps: int, /) -> object:
        """For a progress bar."""


def lane_of(parts: Parts, recipe: Recipe) -> tuple[Lane, str]:
    """The fastest lane that takes a recipe, and why no faster one does."""
    if not (slower := not_compiled(parts, recipe)):
        return "compiled", ""
    if not (slowest := together.why_not(parts, recipe)):
        return "together", slower
    return "alone", slowest


def chunk_size(cohort: Cohort) -> int:
    """How many runs of a cohort are best trained at once."""
    best = compiled.runs_at_once(cohort) if cohort.lane == "compiled" else together.runs_at_once(cohort)
    return min(best, watched_at_once(cohort))


def drive(chunk: Cohort, witness: Witness, asked: threading.Event) -> None:
    """Train a chunk. When somebody has `asked` to stop, the runs end as "interrupted" after the steps under way."""
    # a functional call puts weights into the model for as long as it lasts, and another thread may call meanwhile
    parts = dataclasses.replace(chunk.parts, model=copy.deepcopy(chunk.parts.model))
    _Drive(dataclasses.replace(chunk, parts=parts), witness, asked).run()


class _Drive:
    """A chunk on its way: its stack, which of its runs are still in it, and how good each has been."""

    def __init__(self, chunk: Cohort, witness: Witness, asked: threading.Event) -> None:
        self.chunk, self.witness, self.asked = chunk, witness, asked
        self.parts = chunk.parts
        fast = chunk.lane == "compiled"
        self.stack: Stack = compiled.CompiledStack(chunk) if fast else together.TogetherStack(chunk)
        self.judge = compiled.CompiledJudge(chunk) if fast else Judge(chunk)
        self.watcher = Watcher(chunk, lambda what: witness.monitor_failed(self.stack.step, what))
        self.runs: Numbers = np.arange(len(chunk))  # which run each row of the stack is
        self.seconds = np.zeros(len(chunk))
        self.best = _Best(chunk)
        self.rates = np.array([recipe.options["lr"] for recipe in chunk.recipes], dtype=np.float64)
        self.targets = np.array(
            [-math.inf if recipe.target_loss is None else recipe.target_loss for recipe in chunk.recipes]
        )
        self.evaluated_at = -1

    def run(self) -> None:
        weights = self._weights()
        values = self.judge.values(*weights)
        self.witness.begin(weights, values, self.judge)
        self._see(values, weights)
        while len(self.runs) and self.stack.step < self.parts.steps:
            if self.asked.is_set():
                self._end(np.ones(len(self.runs), dtype=bool), "interrupted")
                return
            self._advance()
            if len(self.runs) and self.stack.step % self.parts.evaluate_every == 0:
                self._evaluate()
        if len(self.runs):
            if self.evaluated_at != self.stack.step:
                self._evaluate()
            self._end(np.ones(len(self.runs), dtype=bool), "finished")

    def _advance(self) -> None:
        """Train up to whatever is due next: a measured step alone, or all steps before one or before an evaluation."""
        step, every = self.stack.step, self.parts.evaluate_every
        started = time.perf_counter()
        measured: Mapping[str, Floats] = {}
        if self.witness.watches and self.watcher.due(step + 1):
            inputs, targets = next(self.chunk.batches_after(step))
            lrs = torch.from_numpy(self._rates(step, 1)[0])
            self.watcher.before_update(step + 1, inputs, targets, *self._weights(), lrs)
            seen = self.stack.advance(1)
            measured = self.watcher.after_update(self.stack.parameters)
        else:
            steps = min(every - step % every, self.parts.steps - step, max(1, LONGEST // len(self.runs)))
            if self.witness.watches:
                due = (ahead for ahead in range(1, steps) if self.watcher.due(step + 1 + ahead))
                steps = next(due, steps)
            seen = self.stack.advance(steps)
        seconds = (time.perf_counter() - started) / len(self.runs)  # shared out evenly over the runs
        if self.witness.watches:
            self._tell(step, seen, measured, seconds)
        self.seconds[self.runs] += seconds
        self.witness.advanced(len(seen.losses) * len(self.runs))
        self._bury(step, seen)

    def _tell(self, first: int, seen: Losses, measured: Mapping[str, Floats], seconds: float) -> None:
        """What the steps after `first`, which took each run some seconds, showed."""
        count, died = len(seen.losses), self.stack.died.cpu().numpy()
        steps = np.arange(first + 1, first + count + 1, dtype=np.float64)
        clock = self.seconds[self.runs] + np.linspace(seconds / count, seconds, count)[:, None]
        values = {"loss/batch": _plain(seen.losses), "lr/0": self._rates(first, count)}
        if seen.norms is not None:
            values["clip/norm_before"] = _plain(seen.norms)
        values |= {name: numbers[None] for name, numbers in measured.items()}
        made = np.where(died > 0, died - first - 1, count)
        self.witness.stepped(self.runs, made, steps, examples_after(self.parts, steps), clock, values)

    def _bury(self, first: int, seen: Losses) -> None:
        """The runs that died in the steps after `first` end."""
        died = self.stack.died.cpu().numpy()
        if died.any():
            rows = np.flatnonzero(died)
            runs, losses = self.runs[rows], _plain(seen.losses)[died[rows] - first - 1, rows]
            self.witness.died(runs, died[rows], self.seconds[runs], losses, self._weights().pick(rows))
            self._end(died > 0, "non-finite")

    def _rates(self, first: int, steps: int) -> Floats:
        """The learning rates of the steps after `first`: [steps, runs]."""
        factors: Floats = self.chunk.factors(first, steps).numpy()[:, self.runs]
        return self.rates[self.runs] * factors

    def _evaluate(self) -> None:
        weights = self._weights()
        values = self.judge.values(*weights)
        step, self.evaluated_at = self.stack.step, self.stack.step
        examples = int(examples_after(self.parts, np.array([step]))[0])
        self.witness.evaluated(self.runs, step, examples, self.seconds[self.runs], values, weights)
        self._see(values, weights)

    def _see(self, values: Mapping[str, Floats], weights: Weights) -> None:
        """Take note of an evaluation; the runs that are good enough, or get no better, end."""
        self.evaluated_at = self.stack.step
        losses = values.get("loss/validation", values["loss/train"])
        exhausted = self.best.see(self.runs, losses, self.stack.step, weights)
        reached = losses <= self.targets[self.runs]
        if reached.any():
            self._end(reached, "target reached")
            exhausted = exhausted[~reached]
        if exhausted.any():
            self._end(exhausted, "early stopped")

    def _end(self, which: NDArray[np.bool_], why: str) -> None:
        """These rows of the stack are over: the others go on without them."""
        rows, left = np.flatnonzero(which), np.flatnonzero(~which)
        runs = self.runs[rows]
        weights = self._weights().pick(rows)
        good = weights.finite() if why != "non-finite" else np.zeros(len(rows), dtype=bool)
        tested: Mapping[str, Floats] = {}
        if why != "interrupted" and good.any():
            weights = self.best.restored(runs, weights)
            tested = self.judge.tested(*weights)
        steps = self.stack.died.cpu().numpy()[rows] if why == "non-finite" else np.full(len(rows), self.stack.step)
        whys = [why if fine else "non-finite" for fine in good]
        endings = Endings(whys, steps, self.seconds[runs], self.best.loss[runs], self.best.step[runs])
        self.witness.ended(runs, endings, weights, tested)
        self.runs = self.runs[left]
        if len(left):
            kept = torch.from_numpy(left)
            self.stack.keep(kept)
            self.watcher.keep(kept)

    def _weights(self) -> Weights:
        return Weights(self.stack.parameters, self.stack.buffers)


def _plain(values: Tensor) -> Floats:
    numbers: Floats = values.double().cpu().numpy()
    return numbers


class _Best:
    """The best evaluation of every run, and its weights where the run may stop early (descend.train.stop, for many)."""

    def __init__(self, chunk: Cohort) -> None:
        self.loss = np.full(len(chunk), math.inf)
        self.step = np.zeros(len(chunk), dtype=np.int64)
        self._since = np.zeros(len(chunk), dtype=np.int64)
        self._patience = np.array([recipe.patience or np.iinfo(np.int64).max for recipe in chunk.recipes])
        self._min_delta = np.array([recipe.min_delta for recipe in chunk.recipes])
        self._weights: dict[int, dict[str, Tensor]] = {}  # of runs with patience

    def see(self, runs: Numbers, losses: Floats, step: int, weights: Weights) -> NDArray[np.bool_]:
        """Take note of one evaluation; which runs have stopped getting better."""
        better = losses < self.loss[runs] - self._min_delta[runs]
        self.loss[runs] = np.where(better, losses, self.loss[runs])
        self.step[runs] = np.where(better, step, self.step[runs])
        self._since[runs] = np.where(better, 0, self._since[runs] + 1)
        for row in np.flatnonzero(better & (self._patience[runs] < np.iinfo(np.int64).max)):
            self._weights[int(runs[row])] = {name: value.clone() for name, value in weights.of(int(row)).items()}
        stopped: NDArray[np.bool_] = self._since[runs] >= self._patience[runs]
        return stopped

    def restored(self, runs: Numbers, weights: Weights) -> Weights:
        """The weights, with the best ones in place where they were kept. Writes into `weights`."""
        for row, run in enumerate(runs.tolist()):
            for name, value in self._weights.pop(run, {}).items():
                part = weights.parameters if name in weights.parameters else weights.buffers
                part[name][row] = value
        return weights


def examples_after(parts: Parts, steps: Floats | Numbers) -> Floats:
    """How many rows had been seen after each of some steps."""
    batches = parts.batches
    seen = batches.per_epoch * batches.size if batches.last == "dropped" else len(batches.inputs)
    epochs, rest = np.divmod(steps, batches.per_epoch)
    return np.asarray(epochs * seen + np.minimum(rest * batches.size, seen), dtype=np.float64)
