"""Judge and Watcher: what `fit` evaluates and monitors, for all runs of a cohort at once."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from descend.facts.network import STOCHASTIC, differs_in_training
from descend.models.mlp import MLP
from descend.monitors._capture import Capture
from descend.monitors._monitor import Activation, Monitor, Step, chosen
from descend.monitors._panel import Panel
from descend.monitors._sample import some_rows
from descend.run import Floats
from descend.sweeping._cohort import Cohort
from descend.sweeping._vmappable import vmappable
from descend.train.evaluate import ROWS_AT_ONCE, evaluate, forward, in_raw_units, judge, judged_splits, measures

Stacked = Mapping[str, Shaped[Tensor, "runs ..."]]
One = Mapping[str, Tensor]
Measure = Callable[[Step], dict[str, Tensor]]
LossOf = Callable[[One, Tensor, Tensor], Tensor]

NUMBERS: Final = 2**20  # that the widest layer puts out at once: more runs together are no faster, and take more memory


class Judge:
    """`descend.train.evaluate` for many runs: the same series, of the same rows.

    Dense networks are judged together, others one by one: on hundreds of rows there is little to gain, and `vmap`
    takes PyTorch's fused kernels for convolutions, attention and recurrent layers away.
    """

    def __init__(self, cohort: Cohort) -> None:
        # a model of its own: other threads may be at work on the cohort's
        self._parts = dataclasses.replace(cohort.parts, model=copy.deepcopy(cohort.parts.model))
        self._splits = judged_splits(self._parts.dataset)

    def values(self, parameters: Stacked, buffers: Stacked) -> dict[str, Floats]:
        """Every series of an evaluation: float64 [runs]."""
        width = _width(self._parts.model)
        if not width:
            return _columns([evaluate(self._parts).values for _ in self._each(parameters, buffers)])
        rows = max(min(len(split.inputs), ROWS_AT_ONCE) for split in self._splits.values())
        at_once = max(1, NUMBERS // (rows * width))
        with torch.no_grad():
            return _read(vmap(self._evaluate, chunk_size=at_once)(dict(parameters), dict(buffers)))

    def answers(self, parameters: Stacked, buffers: Stacked) -> list[dict[str, Any]]:
        """What each run answers on the rows that judge: `evaluate(...).predictions`."""
        return [evaluate(self._parts).predictions for _ in self._each(parameters, buffers)]

    def tested(self, parameters: Stacked, buffers: Stacked) -> dict[str, Floats]:
        """loss/test, and accuracy/test or r2/test: float64 [runs]; nothing where there is no test split."""
        test = self._parts.dataset.test
        if test is None:
            return {}
        judged = _columns([judge(self._parts, test) for _ in self._each(parameters, buffers)])
        return {f"{measure}/test": values for measure, values in judged.items()}

    def _each(self, parameters: Stacked, buffers: Stacked) -> Iterator[None]:
        """The model with the weights of one run after the other."""
        model = self._parts.model
        own = dict((*model.named_parameters(), *model.named_buffers()))
        stacked = {**parameters, **buffers}
        for run in range(len(next(iter(parameters.values())))):
            with torch.no_grad():
                for name, values in own.items():
                    values.copy_(stacked[name][run])
            yield

    def _evaluate(self, parameters: One, buffers: One) -> dict[str, Float[Tensor, ""]]:
        """The values of `evaluate` for one run; pure."""
        parts, values = self._parts, dict[str, Tensor]()
        parts.model.eval()
        model = _with(parts.model, parameters, buffers)
        for name, split in self._splits.items():
            judged = measures(model, parts.loss, split)[1]
            values |= {f"{measure}/{name}": value for measure, value in judged.items()}
        if differs_in_training(parts.model):
            parts.model.train()
            changing = {name: buffer.clone() for name, buffer in buffers.items()}
            model = _with(parts.model, parameters, changing)
            values["loss/train_mode"] = forward(model, parts.loss, self._splits["train"])[1]
        learned = in_raw_units(parameters, parts.dataset)
        return values | {f"learned/{feature}": value for feature, value in learned.items()}


@dataclass
class Steps(Step):
    """One step of all runs: every tensor is [runs, ...]."""

    loss: Float[Tensor, " runs"]
    lr: Float[Tensor, " runs"]

    def own(self) -> dict[str, Any]:
        """What each run has of its own."""
        names = ("loss", "inputs", "targets", "outputs", "lr", "parameters", "gradients", "updates", "activations")
        return {name: getattr(self, name) for name in names}

    def one(self, own: Mapping[str, Any], loss_of: LossOf, memory: dict[str, Any]) -> Step:
        """The step of one run."""
        return Step(number=self.number, task=self.task, loss_of=loss_of, memory=memory, **own)


class Watcher:
    """`descend.train.observe` for many runs: the monitors of a recipe, at the same steps, with the same values.

    On a step that is `due`, call `before_update` and `after_update` in turn. The values of a run that dies in the step
    mean nothing: `fit` measures no such step.
    """

    def __init__(self, cohort: Cohort, report: Callable[[str], object]) -> None:
        parts = cohort.parts
        self._model = vmappable(parts.model)
        self._loss, self._task = parts.loss, parts.dataset.task
        self._batches = parts.batches
        self._capture = Capture(self._model)
        self._seed_number = cohort.seed_number
        self._memory: dict[str, Any] = {}  # of the vmapped monitors: every tensor in it is [runs, ...]
        self._memories: list[dict[str, Any]] = [{} for _ in range(len(cohort))]  # of the others, run by run
        self._buffers: dict[str, Tensor] = {}
        monitors = {name: self._for_all(monitor) for name, monitor in chosen(parts.recipe.monitors).items()}
        self._panel = Panel(monitors, parts.monitor_every, report, rows_of=vmap(some_rows))
        self._step: Steps | None = None
        self._values: dict[str, Tensor] = {}

    def due(self, number: int) -> bool:
        """Whether any monitor measures update `number` (from 1)."""
        return bool(self._panel.due(number))

    def before_update(
        self,
        number: int,
        inputs: Shaped[Tensor, "seeds rows ..."],
        targets: Shaped[Tensor, "seeds rows ..."],
        parameters: Stacked,
        buffers: Stacked,
        lrs: Float[Tensor, " runs"],
    ) -> None:
        """Measure what is there before the update: the batch's loss, its activations and gradients at these weights.

        `inputs` and `targets` are those of each distinct seed, as `Cohort.batches_after` gives them.
        """
        self._buffers = {name: buffer.clone() for name, buffer in buffers.items()}  # batch norm writes to them
        self._step = self._look(number, self._for_each(inputs), self._for_each(targets), dict(parameters), lrs)
        self._values = self._panel.measure(self._step, "before")

    def after_update(self, parameters: Stacked) -> dict[str, Floats]:
        """Measure what the update did. Everything measured at this step: float64 [runs]."""
        step, self._step = self._step, None
        assert step is not None, "before_update comes first"
        step.parameters = parameters
        return _read(self._values | self._panel.measure(step, "after"))

    def keep(self, runs: Int64[Tensor, " kept"]) -> None:
        """Go on with these runs alone, as `Stack.keep`."""
        self._seed_number = self._seed_number[runs]
        self._memory = pytree.tree_map_only(Tensor, lambda values: values[runs], self._memory)
        self._memories = [self._memories[run] for run in runs.tolist()]

    def _look(self, number: int, inputs: Tensor, targets: Tensor, parameters: dict[str, Tensor], lrs: Tensor) -> Steps:
        """A forward and a backward pass of all runs; every tensor of the step is [runs, ...]."""
        leaves = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
        kinds: dict[str, str] = {}

        def forward(parameters: One, buffers: One, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            with self._capture as activations:
                outputs = _with(self._model, parameters, buffers)(inputs)
            kinds.update({name: activation.kind for name, activation in activations.items()})
            return outputs, {name: activation.output for name, activation in activations.items()}

        outputs, activations = vmap(forward)(leaves, self._buffers, inputs)
        losses = vmap(self._loss)(outputs, targets)
        weight = torch.full_like(losses, self._batches.weight(inputs.shape[1]))
        gradients = torch.autograd.grad(losses, list(leaves.values()), weight)
        return Steps(
            number=number,
            loss=losses.detach(),
            inputs=inputs,
            targets=targets,
            outputs=outputs.detach(),
            task=self._task,
            lr=lrs,
            parameters=parameters,
            gradients=dict(zip(leaves, gradients, strict=True)),
            activations={name: Activation(kinds[name], output) for name, output in activations.items()},
        )

    def _for_each(self, batches: Shaped[Tensor, "seeds rows ..."]) -> Shaped[Tensor, "runs rows ..."]:
        """The batch of every run; not copied where all have the same."""
        runs = self._seed_number
        return batches.expand(len(runs), *batches.shape[1:]) if len(batches) == 1 else batches[runs]

    def _for_all(self, monitor: Monitor) -> Monitor:
        way = self._at_once if monitor.vmapped else self._one_by_one
        return dataclasses.replace(monitor, measure=partial(way, monitor.measure))

    def _at_once(self, measure: Measure, step: Steps) -> dict[str, Tensor]:
        """What a monitor measures at a step of all runs, by `vmap`. Plain values in its memory are those of all."""
        leaves, spec = pytree.tree_flatten((step.own(), self._buffers, self._memory))
        where = [number for number, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        memory: dict[str, Any] = {}

        def one(tensors: list[Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
            nonlocal memory
            its = leaves.copy()
            for number, tensor in zip(where, tensors, strict=True):
                its[number] = tensor
            own, buffers, memory = pytree.tree_unflatten(its, spec)
            values = measure(step.one(own, self._loss_of(buffers), memory))
            return values, [leaf for leaf in pytree.tree_leaves(memory) if isinstance(leaf, Tensor)]

        values, kept = vmap(one)([leaves[number] for number in where])
        stacked = iter(kept)
        self._memory = pytree.tree_map_only(Tensor, lambda _: next(stacked), memory)
        return values

    def _one_by_one(self, measure: Measure, step: Steps) -> dict[str, Tensor]:
        """What a monitor that reads numbers measures; NaN for runs that die in this step."""
        alive = step.loss.isfinite()
        for gradient in step.gradients.values():
            alive = alive & gradient.flatten(1).isfinite().all(1)
        values: dict[str, Tensor] = {}
        for run in alive.nonzero().flatten().tolist():
            own, buffers = pytree.tree_map_only(Tensor, itemgetter(run), (step.own(), self._buffers))
            one = step.one(own, self._loss_of(buffers), self._memories[run])
            for name, value in measure(one).items():
                values.setdefault(name, value.new_full((len(alive),), math.nan))[run] = value
        return values

    def _loss_of(self, buffers: One) -> LossOf:
        """The mean loss of one run, with these buffers, in evaluation mode."""

        def loss_of(parameters: One, inputs: Tensor, targets: Tensor) -> Tensor:
            self._model.eval()
            try:
                return self._loss(_with(self._model, parameters, buffers)(inputs), targets)
            finally:
                self._model.train()

        return loss_of


def _with(model: nn.Module, parameters: One, buffers: One) -> Callable[[Tensor], Tensor]:
    """The model with other parameters and buffers."""
    return lambda inputs: functional_call(model, {**parameters, **buffers}, (inputs,))


def _width(model: nn.Module) -> int:
    """The outputs of the widest layer of a dense network without dropout; 0 of any other model."""
    dense = isinstance(model, MLP | nn.Linear | nn.Sequential)
    random = any(isinstance(module, STOCHASTIC) for module in model.modules())
    widths = [module.out_features for module in model.modules() if isinstance(module, nn.Linear)]
    return max(widths) if dense and not random else 0


def _read(values: Mapping[str, Shaped[Tensor, " runs"]]) -> dict[str, Floats]:
    """Tensors as float64 arrays, with one transfer from the device."""
    if not values:
        return {}
    return dict(zip(values, torch.stack([each.double() for each in values.values()]).cpu().numpy(), strict=True))


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, Floats]:
    """The values of runs, by name."""
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]} if rows else {}
