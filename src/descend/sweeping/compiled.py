"""CompiledStack: dense networks trained by compiled loops, each run as `fit` would train it, to float32 rounding.

Linear models that see the same batches are trained side by side, one in each lane of the processor's vectors; other
networks one after the other, while each stays in the cache. See `descend.compiled`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from descend.catalog import OPTIMIZERS
from descend.compiled._trace import trace
from descend.data._dataset import Split
from descend.run import Floats
from descend.sweeping._cohort import Cohort
from descend.sweeping._measure import Judge, Stacked
from descend.sweeping._stack import Losses
from descend.train.build import loss_name
from descend.train.compiled import feed_of, own_of, targets_of, task_of, tensor_names

if TYPE_CHECKING:
    from descend.compiled.teams import Feed, Task, Team  # starts numba, which takes half a second

AHEAD: Final = 500_000  # examples whose order is drawn at once: 4 MB, and many steps of a few seeds


def runs_at_once(cohort: Cohort) -> int:
    """How many runs of a cohort to train in one stack: all that a few dozen megabytes hold."""
    numbers = sum(parameter.numel() for parameter in cohort.parts.model.parameters())
    return max(16, min(4096, 4_000_000 // numbers))


class CompiledStack:
    """The runs of one cohort in training; see `Stack`."""

    def __init__(self, cohort: Cohort) -> None:
        self.step = 0
        self.died = torch.zeros(len(cohort), dtype=torch.int64)
        self._cohort = cohort
        self._task = task_of(cohort.parts)
        self._clips = cohort.limits is not None
        self._names = tensor_names(cohort.parts.model)
        self._teams = list(_teams(cohort, self._task, self._names))
        self._order = np.empty((0, 0, self._task.batch), np.int64)  # [seeds, steps ahead, batch]

    @property
    def parameters(self) -> dict[str, Shaped[Tensor, "runs ..."]]:
        of_teams = [map(torch.from_numpy, team.tensors()) for _, team in self._teams]
        tensors = [torch.cat(parts) for parts in zip(*of_teams, strict=True)]
        order = torch.from_numpy(np.concatenate([places for places, _ in self._teams])).argsort()
        return {name: tensor[order] for name, tensor in zip(self._names, tensors, strict=True)}

    @property
    def buffers(self) -> dict[str, Shaped[Tensor, "runs ..."]]:
        return {}

    def advance(self, steps: int) -> Losses:
        losses = np.empty((steps, len(self._cohort)), self._task.dtype)
        norms = np.empty_like(losses) if self._clips else None
        start = 0
        while start < steps:
            feed = self._feed(steps - start)
            stop = start + len(feed.sizes)
            for places, team in self._teams:
                shown, lengths = team.advance(feed)
                losses[start:stop, _span(places)] = shown
                if norms is not None:
                    norms[start:stop, _span(places)] = lengths
                self.died[places] = torch.from_numpy(team.died)
            self.step += stop - start
            start = stop
        return Losses(torch.from_numpy(losses), None if norms is None else torch.from_numpy(norms))

    def keep(self, runs: Int64[Tensor, " kept"]) -> None:
        kept = {run: place for place, run in enumerate(runs.tolist())}
        self._cohort = self._cohort.pick(list(kept))
        self._order = self._order[:, :0]
        self.died = self.died[runs]
        seeds, schedules = self._cohort.seed_number.numpy(), self._cohort.schedule_number.numpy()
        teams = []
        for places, team in self._teams:
            members = [number for number, run in enumerate(places.tolist()) if run in kept]
            if members:
                now = np.array([kept[run] for run in places[members].tolist()])
                team.keep(members, seeds[now], schedules[now])
                teams.append((now, team))
        self._teams = teams

    def _feed(self, most: int) -> Feed:
        """What the next steps need, at most so many; the order of examples is drawn for many steps at a time."""
        done, batches = self.step, self._cohort.parts.batches
        if not self._order.shape[1]:
            of_seeds = self._cohort.batches
            ahead = min(max(1, AHEAD // (len(of_seeds) * batches.size)), max(most, self._cohort.parts.steps - done))
            self._order = np.stack([of_seed.rows_after(done, ahead).numpy() for of_seed in of_seeds])
        steps = min(most, self._order.shape[1])
        order, self._order = np.ascontiguousarray(self._order[:, :steps]), self._order[:, steps:]
        return feed_of(batches, done, order, self._cohort.schedule_factors(done, steps).numpy())


class CompiledJudge(Judge):
    """Judges dense networks by a compiled loop, which takes a sixth of torch's time."""

    def __init__(self, cohort: Cohort) -> None:
        super().__init__(cohort)
        self._parts = cohort.parts
        self._names = tensor_names(cohort.parts.model)

    def on(self, split: Split, parameters: Stacked, buffers: Stacked) -> dict[str, Floats]:
        from descend.compiled.judging import judged

        recipe, classes = self._parts.recipe, self._parts.dataset.task == "classification"
        targets = targets_of(self._parts, split)
        tensors = [parameters[name].numpy() for name in self._names]
        activation, loss = str(recipe.options.get("activation", "identity")), loss_name(recipe, self._parts.dataset)
        found = judged(split.inputs.flatten(1).numpy(), targets.numpy(), classes, activation, loss, tensors)
        if classes:
            return {"loss": found[:, 0], "accuracy": found[:, 1] / len(targets)}
        deviations = float((targets - targets.mean(0)).square().sum())
        return {"loss": found[:, 0], "r2": 1 - found[:, 1] / deviations}


def _span(places: Int64[np.ndarray, " members"]) -> slice | Int64[np.ndarray, " members"]:
    """Places next to each other as a slice, into which numpy copies four times as fast."""
    return slice(int(places[0]), int(places[-1]) + 1) if (np.diff(places) == 1).all() else places


def _teams(cohort: Cohort, task: Task, names: list[str]) -> Iterator[tuple[Int64[np.ndarray, " members"], Team]]:
    """The runs of a cohort, divided into those that one compiled loop trains; `names` are those of their tensors."""
    from descend.compiled.teams import LanesTeam, NetworkTeam, lanes_at_once

    parameters, _ = cohort.initial()
    seeds = cohort.seed_number.numpy()
    schedules, clips = cohort.schedule_number.numpy(), cohort.limits is not None
    linear = len(task.widths) == 2
    for optimizer, runs in cohort.optimizers.items():
        members = np.arange(runs.start, runs.stop)
        width = lanes_at_once(task, len(trace(OPTIMIZERS[optimizer]).state)) if linear else len(members)
        for seed in np.unique(seeds[members]) if linear else [None]:
            alike = members if seed is None else members[seeds[members] == seed]
            for start in range(0, len(alike), width):
                places = alike[start : start + width]
                recipes = [cohort.recipes[place] for place in places]
                own = own_of(recipes, cohort.parts.model, clips, seeds[places], schedules[places])
                tensors = [parameters[name][places].numpy() for name in names]
                yield places, (LanesTeam if linear else NetworkTeam)(task, optimizer, own, tensors)
