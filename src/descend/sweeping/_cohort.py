"""Cohort: runs that can be trained at once, and what each of them has of its own."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from descend.catalog import OPTIMIZERS
from descend.data._dataset import Dataset
from descend.recipe import CORE, PARTS, Recipe
from descend.run import Floats
from descend.schedules import Schedule
from descend.train.batches import Batches
from descend.train.build import Parts, build, build_model, load_data, schedule_of

OWN_PARTS: Final = ("init", "optimizer", "schedule")
"""Parts that runs of one cohort may have each of its own, with all their options."""

OWN: Final = frozenset(
    {*OWN_PARTS, "warmup", "clip_norm", "clip_value", "decay_exempt", "layer_lrs", "seed"}
    | {"patience", "min_delta", "target_loss", "checkpoint_every"}
)
"""Fields of a recipe that runs of one cohort may have each of its own; in all others they are alike."""

DRAWING: Final = threading.Lock()
"""Held by whoever seeds torch's generator of random numbers, or puts it back: it is one for all threads."""

Lane = Literal["compiled", "together", "alone"]
"""How a cohort is trained: by a compiled loop, by `vmap`, or run by run with `fit`."""


@dataclass(frozen=True)
class Cohort:
    """Recipes that differ in OWN fields alone, sorted by optimizer; every tensor made of them is [runs, ...]."""

    recipes: tuple[Recipe, ...]
    places: tuple[int, ...]  # where each recipe stood among those that were given
    parts: Parts  # of the first: the data, the batches, the loss and a model stand for all
    lane: Lane
    why: str = ""  # no faster lane takes them, in a sentence; empty for the fastest

    def __len__(self) -> int:
        return len(self.recipes)

    def pick(self, runs: Sequence[int]) -> Cohort:
        """The cohort of some of the runs."""
        picked = dataclasses.replace(
            self,
            recipes=tuple(self.recipes[run] for run in runs),
            places=tuple(self.places[run] for run in runs),
        )
        # where runs die all the time, working these out anew took 8 times as long as the training
        for name in {"_schedules", "_seeds"} & vars(self).keys():
            distinct, numbers = vars(self)[name]
            vars(picked)[name] = distinct, numbers[list(runs)]
        if vars(self).get("limits", ...) is None:
            vars(picked)["limits"] = None
        return picked

    def chunks(self, size: int) -> Iterator[Cohort]:
        """Cohorts of at most `size` runs, in order."""
        for start in range(0, len(self), size):
            yield self.pick(range(start, min(start + size, len(self))))

    @property
    def optimizers(self) -> dict[str, slice]:
        """The runs of each optimizer, which stand next to each other."""
        names = [recipe.optimizer for recipe in self.recipes]
        starts = [number for number, name in enumerate(names) if number == 0 or name != names[number - 1]]
        return {names[start]: slice(start, end) for start, end in zip(starts, [*starts[1:], len(names)], strict=True)}

    def hyper(self, runs: slice) -> dict[str, Floats]:
        """The hyperparameters of runs of one optimizer, by name: float64 [runs]."""
        recipes = self.recipes[runs]
        names = OPTIMIZERS.options(recipes[0].optimizer)
        return {name: np.array([recipe.options[name] for recipe in recipes], dtype=np.float64) for name in names}

    @cached_property
    def limits(self) -> dict[str, Floats] | None:
        """clip_norm and clip_value of every run, infinite where it has none; None where no run clips."""
        fields = ("clip_norm", "clip_value")
        if all(recipe[name] is None for recipe in self.recipes for name in fields):
            return None
        return {
            name: np.array([np.inf if recipe[name] is None else recipe[name] for recipe in self.recipes], np.float64)
            for name in fields
        }

    @property
    def schedule_number(self) -> Int64[Tensor, " runs"]:
        """Which of the distinct schedules each run follows."""
        return self._schedules[1]

    @cached_property
    def _schedules(self) -> tuple[list[Schedule], Int64[Tensor, " runs"]]:
        first, numbers = self._kinds(lambda recipe: (recipe.schedule, recipe.warmup, *recipe.part("schedule").items()))
        return [schedule_of(recipe, self.parts.steps) for recipe in first], numbers

    def factors(self, first: int, steps: int) -> Float64[Tensor, "steps runs"]:
        """What the base learning rate of every run is multiplied by at steps first, first + 1, ... (from 0)."""
        return self.schedule_factors(first, steps)[:, self.schedule_number]

    def schedule_factors(self, first: int, steps: int) -> Float64[Tensor, "steps schedules"]:
        """The factors of each distinct schedule at steps first, first + 1, ... (from 0)."""
        schedules, _ = self._schedules
        table = [[schedule(step) for schedule in schedules] for step in range(first, first + steps)]
        return torch.tensor(table, dtype=torch.float64).reshape(steps, len(schedules))

    @cached_property
    def _seeds(self) -> tuple[list[Recipe], Int64[Tensor, " runs"]]:
        return self._kinds(lambda recipe: recipe.seed)

    @property
    def seed_number(self) -> Int64[Tensor, " runs"]:
        """Which of the distinct seeds each run has: runs of one seed see the same batches."""
        return self._seeds[1]

    @property
    def batches(self) -> list[Batches]:
        """The batches of each distinct seed."""
        return [dataclasses.replace(self.parts.batches, seed=recipe.seed) for recipe in self._seeds[0]]

    def batches_after(self, step: int) -> Iterator[tuple[Shaped[Tensor, "seeds rows ..."], Tensor]]:
        """The batches of each distinct seed after `step` steps, without end: run r takes number seed_number[r]."""
        feeds = [batches.after(step) for batches in self.batches]
        while True:
            inputs, targets = zip(*(next(feed) for feed in feeds), strict=True)
            yield torch.stack(inputs), torch.stack(targets)

    def initial(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The weights and buffers of every run before its first step, as `fit` draws them: by name, [runs, ...]."""
        models = []
        first, numbers = self._kinds(lambda recipe: (recipe.seed, recipe.init, *recipe.part("init").items()))
        with DRAWING, torch.random.fork_rng(devices=[]):
            for recipe in first:
                torch.manual_seed(recipe.seed)
                models.append(build_model(recipe, self.parts.dataset))
        dtype, device = getattr(torch, self.recipes[0].dtype), self.parts.device

        def stacked(of: Callable[[torch.nn.Module], Iterator[tuple[str, Tensor]]]) -> dict[str, Tensor]:
            named = [dict(of(model)) for model in models]
            return {
                name: _moved(torch.stack([each[name].detach() for each in named]), dtype, device)[numbers.to(device)]
                for name in named[0]
            }

        return stacked(lambda model: model.named_parameters()), stacked(lambda model: model.named_buffers())

    def _kinds(self, key: Callable[[Recipe], object]) -> tuple[list[Recipe], Int64[Tensor, " runs"]]:
        """The first recipe of each kind, by its key, and which of these kinds each run is."""
        known: dict[object, int] = {}
        first: list[Recipe] = []
        numbers = []
        for recipe in self.recipes:
            number = known.setdefault(key(recipe), len(known))
            if number == len(first):
                first.append(recipe)
            numbers.append(number)
        return first, torch.tensor(numbers)


def _moved(values: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    return values.to(device, dtype if values.is_floating_point() else values.dtype)


def cohorts(recipes: Sequence[Recipe], lane_of: Callable[[Parts, Recipe], tuple[Lane, str]]) -> list[Cohort]:
    """Group recipes by what they share, each group sorted by optimizer; `lane_of` says how one can be trained, and why.

    Raises RecipeError or DataError for the first recipe whose parts do not fit each other.
    """
    alike: dict[object, list[int]] = {}
    for number, recipe in enumerate(recipes):
        alike.setdefault(_shared(recipe), []).append(number)
    loaded: dict[object, Dataset] = {}
    found: list[Cohort] = []
    for numbers in alike.values():
        first = recipes[numbers[0]]
        data = first.data, tuple(first.part("data").items())
        if data not in loaded:
            loaded[data] = load_data(first)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(first.seed)
            parts = build(first, loaded[data])
        ways: dict[tuple[Lane, str], list[int]] = {}
        answers: dict[str, tuple[Lane, str]] = {}
        for number in numbers:
            optimizer = recipes[number].optimizer  # of what runs have of their own, all that a lane may refuse
            if optimizer not in answers:
                answers[optimizer] = lane_of(parts, recipes[number])
            ways.setdefault(answers[optimizer], []).append(number)
        for (lane, why), members in ways.items():
            ordered = sorted(members, key=lambda number: recipes[number].optimizer)
            found.append(Cohort(tuple(recipes[number] for number in ordered), tuple(ordered), parts, lane, why))
    return found


def _shared(recipe: Recipe) -> object:
    """The fields in which recipes of one cohort are alike."""
    core = tuple(getattr(recipe, name) for name in CORE if name not in OWN)
    return core, *(tuple(recipe.part(name).items()) for name in PARTS if name not in OWN_PARTS)
