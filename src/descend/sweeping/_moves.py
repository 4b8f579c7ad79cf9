"""Moves: the optimizers of many runs, on weights that lie in one buffer [runs, numbers]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor
from torch.func import vmap

from descend.catalog import OPTIMIZERS
from descend.optim import State, UpdateRule
from descend.sweeping._cohort import Cohort
from descend.sweeping._column import Column
from descend.train.build import parameter_groups

Shapes = Mapping[str, torch.Size]
"""The shape of each parameter of one run, by name, in the order in which they lie in the buffer."""


def named(buffer: Shaped[Tensor, "runs numbers"], shapes: Shapes) -> dict[str, Tensor]:
    """Views of a buffer, one a parameter."""
    pieces = buffer.split([shape.numel() for shape in shapes.values()], dim=1)
    return {name: piece.view(-1, *shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}


class Moves:
    """The update rules of a cohort: each is called once for all of its runs."""

    def __init__(self, cohort: Cohort, weights: Float[Tensor, "runs numbers"], shapes: Shapes) -> None:
        self._groups = [_group(cohort, runs, weights, shapes) for runs in _alike(cohort)]

    def move(
        self,
        weights: Float[Tensor, "runs numbers"],
        gradients: Float[Tensor, "runs numbers"],
        step: int,
        factors: Float64[Tensor, " runs"],
    ) -> None:
        """Make step number `step` (from 1), in place; `factors` are what the learning rates are multiplied by."""
        for group in self._groups:
            runs = group.runs
            group.move(weights[runs], gradients[runs], step, factors[runs])

    def keep(self, runs: Int64[Tensor, " kept"]) -> None:
        """Go on with these runs alone, in this order."""
        home = {run: group for group in self._groups for run in range(group.runs.start, group.runs.stop)}
        kept, start = [], 0
        for _, members in groupby(runs.tolist(), key=lambda run: id(home[run])):
            old = list(members)
            group, stop = home[old[0]], start + len(old)
            kept.append(group.pick(torch.tensor(old) - group.runs.start, slice(start, stop)))
            start = stop
        self._groups = kept


@dataclass
class _Group:
    """Runs next to each other that one call of a rule moves. A rule that is not elementwise takes each parameter."""

    rule: UpdateRule
    runs: slice
    shapes: Shapes  # of the pieces that the rule takes: all numbers of a run as one, or each parameter
    numbers: dict[str, float]  # hyperparameters that are alike for all
    columns: dict[str, dict[str, Float64[Tensor, "group ..."]]]  # the others and lr, by piece and name
    state: dict[str, State]

    def move(
        self,
        weights: Float[Tensor, "group numbers"],
        gradients: Float[Tensor, "group numbers"],
        step: int,
        factors: Float64[Tensor, " group"],
    ) -> None:
        slopes = named(gradients, self.shapes)
        for name, piece in named(weights, self.shapes).items():
            lr = self.columns[name]["lr"]
            columns = self.columns[name] | {"lr": lr * factors.view(-1, *[1] * (lr.dim() - 1))}
            moved, self.state[name] = self._step(piece, slopes[name], self.state[name], step, columns)
            piece.copy_(moved)

    def _step(
        self, piece: Tensor, slope: Tensor, state: State, step: int, columns: dict[str, Tensor]
    ) -> tuple[Tensor, State]:
        def one(piece: Tensor, slope: Tensor, state: State, columns: dict[str, Tensor]) -> tuple[Tensor, State]:
            hyper = {name: column.as_subclass(Column) for name, column in columns.items()}
            return self.rule.step(piece, slope, state, step, **hyper, **self.numbers)

        moved, state = (one if self.rule.elementwise else vmap(one))(piece, slope, state, columns)
        return moved, state

    def pick(self, members: Int64[Tensor, " kept"], runs: slice) -> _Group:
        columns = {
            piece: {name: column[members] for name, column in columns.items()}
            for piece, columns in self.columns.items()
        }
        state = {piece: {name: each[members] for name, each in state.items()} for piece, state in self.state.items()}
        return replace(self, runs=runs, columns=columns, state=state)


def _alike(cohort: Cohort) -> list[slice]:
    """Runs next to each other of one optimizer whose hyperparameters that count something are equal."""
    kinds = [
        (recipe.optimizer, *(value for value in recipe.part("optimizer").values() if isinstance(value, int)))
        for recipe in cohort.recipes
    ]
    starts = [run for run in range(len(kinds)) if run == 0 or kinds[run] != kinds[run - 1]]
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(kinds)], strict=True)]


def _group(cohort: Cohort, runs: slice, weights: Float[Tensor, "runs numbers"], shapes: Shapes) -> _Group:
    first = cohort.recipes[runs.start]
    rule: UpdateRule = OPTIMIZERS[first.optimizer]
    table = _hyper(cohort, runs)
    # a number costs a rule nothing, and zero decay not even a pass; lr is a column because the schedules are
    alike = {name for name, values in table.items() if name != "lr" and bool((values == values[0, 0]).all())}
    numbers = {name: type(first.options[name])(table[name][0, 0].item()) for name in alike}  # a count stays an int
    others = {name: values.to(weights.device) for name, values in table.items() if name not in alike}
    if rule.elementwise:
        sizes = torch.tensor([shape.numel() for shape in shapes.values()], device=weights.device)
        shapes = {"": torch.Size([weights.shape[1]])}
        columns = {"": {name: _columns(values, sizes) for name, values in others.items()}}
    else:
        columns = {
            piece: {name: values[:, place] for name, values in others.items()} for place, piece in enumerate(shapes)
        }
    pieces = named(weights[runs], shapes)
    state = {name: rule.init(piece) if rule.elementwise else vmap(rule.init)(piece) for name, piece in pieces.items()}
    return _Group(rule, runs, shapes, numbers, columns, state)


def _columns(values: Float64[Tensor, "group parameters"], sizes: Int64[Tensor, " parameters"]) -> Tensor:
    """One column where all parameters of a run are alike, else one for each number."""
    alike = bool((values == values[:, :1]).all())
    return values[:, :1] if alike else values.repeat_interleave(sizes, dim=1)


def _hyper(cohort: Cohort, runs: slice) -> dict[str, Float64[Tensor, "group parameters"]]:
    """The hyperparameters by name, of each parameter: a recipe may give some a learning rate or decay of their own."""
    model = cohort.parts.model
    places = {id(parameter): place for place, parameter in enumerate(model.parameters())}
    table = {
        name: torch.from_numpy(values)[:, None].repeat(1, len(places)) for name, values in cohort.hyper(runs).items()
    }
    for row, recipe in enumerate(cohort.recipes[runs]):
        if recipe.decay_exempt == "none" and not recipe.layer_lrs:
            continue
        for group in parameter_groups(recipe, model):
            members = [places[id(parameter)] for parameter in group.pop("params")]
            for name, value in group.items():
                table[name][row, members] = value
    return table
