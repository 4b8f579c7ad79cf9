"""The witness that writes every run of a chunk as an ordinary Run: the series and notes that `fit` writes."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch

from descend.facts.non_finite import locate
from descend.run import Floats, Recorder
from descend.sweeping._cohort import DRAWING, Cohort
from descend.sweeping._drive import Endings, Numbers, Weights, Witness, examples_after
from descend.sweeping._measure import Judge
from descend.sweeping._pool import Tick
from descend.train import checkpoint
from descend.train.build import Loss, Parts, optimizer_of
from descend.train.facts import beginning, data_facts, facts_of

FILES: Final = 8
"""That a run has open at most while it is recorded: its lock, its notes, and a file for each kind of rows."""

KEPT: Final = 2**22  # numbers of steps that wait to be written: 32 MB


class Record(Witness):
    """Writes the runs of a chunk into `folders`, one each; leaving its context closes those that are still open."""

    watches = True

    def __init__(self, chunk: Cohort, folders: Sequence[Path], tick: Tick) -> None:
        self.chunk, self._folders = chunk, folders
        self._tick = tick
        self._recorders: list[Recorder] = []
        self._steps: dict[tuple[str, ...], list[tuple[Floats, ...]]] = {}  # that are not written yet, by what they show
        self._kept = 0  # numbers in them
        self._unnoted: tuple[int, Numbers, Weights] | None = None  # the last evaluation, if its facts are not noted
        self._open = ExitStack()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            for recorder in self._recorders:
                if recorder.is_open:
                    recorder.note("ended", 0, why="failed", error=f"{type(error).__name__}: {error}")
        self._open.close()

    def begin(self, weights: Weights, values: Mapping[str, Floats], judge: Judge) -> None:
        self._judge = judge
        for folder, recipe in zip(self._folders, self.chunk.recipes, strict=True):
            self._recorders.append(self._open.enter_context(Recorder(folder, recipe, durable=False)))
        everyone = np.arange(len(self.chunk))
        self._log(everyone, 0, 0, np.zeros(len(self.chunk)), values)
        rows = data_facts(self.chunk.parts)
        answers = judge.answers(*weights)
        for run, recorder in enumerate(self._recorders):
            parts = self._parts(run, weights.of(run))
            for kind, details in beginning(parts).items():
                recorder.note(kind, 0, **details)
            with DRAWING:  # which looks at what the network does with rows, and puts torch's generator back
                facts = facts_of(parts, float(values["loss/train"][run]), rows)
            recorder.note("facts", 0, **facts, predictions=answers[run])

    def stepped(
        self,
        runs: Numbers,
        made: Numbers,
        steps: Floats,
        examples: Floats,
        seconds: Floats,
        values: Mapping[str, Floats],
    ) -> None:
        if (made < len(steps)).any():
            self._write(runs)
            self._log_many(runs, made, steps, examples, seconds, values)
            return
        self._steps.setdefault(tuple(values), []).append((steps, examples, seconds, *values.values()))
        self._kept += seconds.size * (1 + len(values))
        if self._kept > KEPT:
            self._write(runs)

    def _write(self, runs: Numbers) -> None:
        """Bring the steps that are kept to the records: all at once, which takes a fifth of the time of one by one."""
        for names, blocks in self._steps.items():
            steps, examples, seconds, *columns = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
            made = np.full(len(runs), len(steps))
            self._log_many(runs, made, steps, examples, seconds, dict(zip(names, columns, strict=True)))
        self._steps, self._kept = {}, 0

    def _log_many(
        self,
        runs: Numbers,
        made: Numbers,
        steps: Floats,
        examples: Floats,
        seconds: Floats,
        values: Mapping[str, Floats],
    ) -> None:
        for row, run in enumerate(runs):
            recipe, count = self.chunk.recipes[run], made[row]
            clips = recipe.clip_norm is not None or recipe.clip_value is not None
            series = {
                name: numbers[:count, row] for name, numbers in values.items() if clips or name != "clip/norm_before"
            }
            self._recorders[run].log_many(steps[:count], examples[:count], seconds[:count, row], series)

    def evaluated(
        self, runs: Numbers, step: int, examples: int, seconds: Floats, values: Mapping[str, Floats], weights: Weights
    ) -> None:
        self._write(runs)
        self._log(runs, step, examples, seconds, values)
        self._unnoted = step, runs, weights
        done = step // self.chunk.parts.evaluate_every
        if done & (done - 1) == 0:  # as fit has it: after the 1st, 2nd, 4th, 8th, ... evaluation, and at the end
            self._note_answers(runs)

    def _note_answers(self, runs: Numbers) -> None:
        """Note what the last evaluation says of the answers of these runs, unless it is noted."""
        if self._unnoted is None:
            return
        step, evaluated, weights = self._unnoted
        rows = np.flatnonzero(np.isin(evaluated, runs))
        self._unnoted = None if len(rows) == len(evaluated) else self._unnoted
        if len(rows):
            for run, answers in zip(evaluated[rows], self._judge.answers(*weights.pick(rows)), strict=True):
                self._recorders[run].note("facts", step, predictions=answers)

    def died(self, runs: Numbers, steps: Numbers, seconds: Floats, losses: Floats, weights: Weights) -> None:
        examples = examples_after(self.chunk.parts, steps)
        for row, run in enumerate(runs):
            parts, step, loss = self._parts(int(run), weights.of(row)), int(steps[row]), float(losses[row])
            inputs, targets = next(parts.batches.after(step - 1))
            judge = partial(_swapped, parts.loss, targets)
            with DRAWING:
                problem = locate(loss, parts.model, inputs, partial(parts.model, inputs), judge)
            sentence = f"At step {step:,} {problem.sentence}"
            recorder = self._recorders[run]
            recorder.log(step, int(examples[row]), seconds[row], {"loss/batch": loss})
            recorder.note("non_finite", step, action="stop", **problem.fields() | {"sentence": sentence})

    def monitor_failed(self, step: int, sentence: str) -> None:
        for recorder in self._recorders:
            if recorder.is_open:
                recorder.note("monitor", step, sentence=sentence)

    def advanced(self, run_steps: int, /) -> object:
        return self._tick(run_steps)

    def ended(self, runs: Numbers, endings: Endings, weights: Weights, tested: Mapping[str, Floats]) -> None:
        self._write(runs)  # of an interrupted chunk, whose runs all end
        finite, examples = weights.finite(), examples_after(self.chunk.parts, endings.steps)
        self._note_answers(runs)
        for row, run in enumerate(runs):
            recorder, step = self._recorders[run], int(endings.steps[row])
            if tested and endings.why[row] != "non-finite":
                judged = {name: float(values[row]) for name, values in tested.items()}
                recorder.log(step, int(examples[row]), endings.seconds[row], judged)
            if finite[row]:
                state = {"model": weights.of(row)}
                checkpoint.save(recorder.folder / "checkpoints", step, state, durable=False)
            recorder.note(
                "ended",
                step,
                why=endings.why[row],
                seconds=float(endings.seconds[row]),
                best_loss=float(endings.best_loss[row]),
                best_step=int(endings.best_step[row]),
            )
            recorder.close()

    def _log(self, runs: Numbers, step: int, examples: int, seconds: Floats, values: Mapping[str, Floats]) -> None:
        for row, run in enumerate(runs):
            series = {name: float(numbers[row]) for name, numbers in values.items()}
            self._recorders[run].log(step, examples, seconds[row], series)

    def _parts(self, run: int, weights: Mapping[str, torch.Tensor]) -> Parts:
        """The parts of one run, its model with these weights."""
        recipe = self.chunk.recipes[run]
        model = copy.deepcopy(self.chunk.parts.model)
        model.load_state_dict(weights)
        batches = dataclasses.replace(self.chunk.parts.batches, seed=recipe.seed)
        return dataclasses.replace(
            self.chunk.parts, recipe=recipe, model=model, batches=batches, optimizer=optimizer_of(recipe, model)
        )


def _swapped(loss: Loss, targets: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    return loss(outputs, targets)
