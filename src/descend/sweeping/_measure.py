"""Judge and Watcher: what `fit` evaluates and monitors, for all runs of a cohort at once."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, Final

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from descend.data._dataset import Split
from descend.facts import predictions
from descend.facts.network import differs_in_training
from descend.models.mlp import MLP
from descend.monitors._capture import Capture
from descend.monitors._monitor import Activation, Monitor, Step, chosen
from descend.monitors._panel import Panel
from descend.monitors._sample import some_rows
from descend.run import Floats
from descend.sweeping._cohort import Cohort
from descend.sweeping._vmappable import vmappable
from descend.train.evaluate import ROWS_AT_ONCE, forward, in_raw_units, judged_splits, measures

Stacked = Mapping[str, Shaped[Tensor, "runs ..."]]
One = Mapping[str, Tensor]
Model = Callable[[Tensor], Tensor]
Measure = Callable[[Step], dict[str, Tensor]]
LossOf = Callable[[One, Tensor, Tensor], Tensor]

NUMBERS: Final = 2**20  # that a layer puts out for all runs at once: more together are no faster, and take more memory
KEPT: Final = 2**26  # 256 MB in float32


class Judge:
    """`descend.train.evaluate` for many runs: the same series, of the same rows.

    Dense networks are judged together, others one by one: on hundreds of rows there is little to gain, and `vmap`
    takes PyTorch's fused kernels for convolutions, attention and recurrent layers away.
    """

    def __init__(self, cohort: Cohort) -> None:
        parts = cohort.parts
        self._model = copy.deepcopy(parts.model)  # its own: other threads may be at work on the cohort's
        self._loss, self._dataset = parts.loss, parts.dataset
        self._splits = judged_splits(parts.dataset)
        self._runs_at_once = _runs_at_once(parts.model)

    def values(self, parameters: Stacked, buffers: Stacked) -> dict[str, Floats]:
        """Every series of an evaluation: float64 [runs]."""
        values: dict[str, Floats] = {}
        for name, split in self._splits.items():
            judged = self.on(split, parameters, buffers)
            values |= {f"{measure}/{name}": numbers for measure, numbers in judged.items()}
        if not self._dataset.truth and not differs_in_training(self._model):
            return values

        def look(model: Model, weights: One) -> dict[str, Tensor]:
            seen: dict[str, Tensor] = {}
            if differs_in_training(self._model):
                self._model.train()
                seen["loss/train_mode"] = forward(model, self._loss, self._splits["train"])[1]
            learned = in_raw_units(weights, self._dataset)
            return seen | {f"learned/{feature}": value for feature, value in learned.items()}

        return values | _read(self._of_each(look, parameters, buffers))

    def on(self, split: Split, parameters: Stacked, buffers: Stacked) -> dict[str, Floats]:
        """loss, and accuracy or r2, on the rows of a split: float64 [runs]."""
        return _read(self._of_each(lambda model, _: measures(model, self._loss, split)[1], parameters, buffers))

    def answers(self, parameters: Stacked, buffers: Stacked) -> list[dict[str, Any]]:
        """What each run answers on the rows that judge: `evaluate(...).predictions`."""
        name, split = list(self._splits.items())[-1]
        seen = self._of_each(lambda model, _: {"outputs": forward(model, self._loss, split)[0]}, parameters, buffers)
        return [predictions.of(outputs, split.targets, name) for outputs in seen["outputs"]]

    def tested(self, parameters: Stacked, buffers: Stacked) -> dict[str, Floats]:
        """loss/test, and accuracy/test or r2/test: float64 [runs]; nothing where there is no test split."""
        test = self._dataset.test
        if test is None:
            return {}
        return {f"{measure}/test": values for measure, values in self.on(test, parameters, buffers).items()}

    @torch.no_grad()
    def _of_each(
        self, look: Callable[[Model, One], dict[str, Tensor]], parameters: Stacked, buffers: Stacked
    ) -> dict[str, Shaped[Tensor, "runs ..."]]:
        """What `look(model, parameters)` returns for each run; the model is in evaluation mode."""
        if self._runs_at_once:

            def together(parameters: One, buffers: One) -> dict[str, Tensor]:
                self._model.eval()
                own = {name: buffer.clone() for name, buffer in buffers.items()}  # in training mode written to
                return look(_with(self._model, parameters, own), parameters)

            seen: dict[str, Tensor] = vmap(together, chunk_size=self._runs_at_once)(dict(parameters), dict(buffers))
            return seen
        stacked = {**parameters, **buffers}
        place = dict((*self._model.named_parameters(), *self._model.named_buffers()))
        each = []
        for run in range(len(next(iter(parameters.values())))):
            for name, values in place.items():
                values.copy_(stacked[name][run])
            self._model.eval()
            each.append(look(self._model, {name: place[name] for name in parameters}))
        return {name: torch.stack([one[name] for one in each]) for name in each[0]}


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


def watched_at_once(cohort: Cohort) -> int:
    """How many runs can be measured at once in bounded memory: as many as hold KEPT numbers for a backward pass."""
    if cohort.recipes[0].monitors == "none":
        return len(cohort)
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    batches = cohort.parts.batches
    inputs, targets = batches.inputs[: batches.size], batches.targets[: batches.size]
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        cohort.parts.loss(vmappable(cohort.parts.model)(inputs), targets)
    return max(1, KEPT // kept)


def _with(model: nn.Module, parameters: One, buffers: One) -> Model:
    """The model with other parameters and buffers."""
    return lambda inputs: functional_call(model, {**parameters, **buffers}, (inputs,))


def _runs_at_once(model: nn.Module) -> int:
    """How many dense networks are best judged together; 0 for any other model."""
    if not isinstance(model, MLP | nn.Linear | nn.Sequential):
        return 0
    width = max(module.out_features for module in model.modules() if isinstance(module, nn.Linear))
    return max(1, NUMBERS // (ROWS_AT_ONCE * width))


def _read(values: Mapping[str, Shaped[Tensor, " runs"]]) -> dict[str, Floats]:
    """Tensors as float64 arrays, with one transfer from the device."""
    if not values:
        return {}
    return dict(zip(values, torch.stack([each.double() for each in values.values()]).cpu().numpy(), strict=True))
