"""Many steps of a plain dense network at once, by a compiled loop: what `fit` trains long runs with.

Between two calls the weights and the optimizer's state are where they always are, so that evaluations, monitors,
checkpoints and resumes know nothing of it. However the steps are cut into calls, they come out the same to the bit.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from descend.catalog import OPTIMIZERS
from descend.compiled._trace import UntraceableError, trace
from descend.data._dataset import Split
from descend.errors import MissingExtraError
from descend.models.mlp import MLP
from descend.recipe import Recipe
from descend.run import Floats
from descend.train.batches import Batches
from descend.train.build import Parts, loss_name, parameter_groups

if TYPE_CHECKING:
    from descend.compiled.teams import Feed, Own, Task  # starts numba, which takes half a second

LOSSES: Final = ("mse", "mae", "cross_entropy")
WIDEST: Final = 256  # units: with 256 a step takes 0.7 times as long as torch's by hand, with 512 1.2 and with 1024 3
LEAST_STEPS: Final = 70_000  # of a run: each saves 70 microseconds or more, and the first start takes up to 5 s
AT_ONCE: Final = 50_000_000  # operations of one call, some milliseconds: then it is seen whether somebody wants to stop


def why_not(parts: Parts, recipe: Recipe) -> str:
    """Why a run cannot be compiled, in a sentence; empty where it can."""
    if importlib.util.find_spec("numba") is None:
        return "Compiled loops need numba: pip install 'descend[fast]'."
    if parts.device.type != "cpu":
        return f"Compiled loops run on the CPU, and this model is on {parts.device}."
    layers = layers_of(parts.model)
    if not layers:
        return "Only linear models and plain multi-layer perceptrons are compiled."
    if max(layer.out_features for layer in layers.values()) > WIDEST:
        return f"With more than {WIDEST} units, torch is as fast as compiled loops."
    if (loss := loss_name(recipe, parts.dataset)) not in LOSSES:
        return f"The loss {loss} is not compiled."
    if parts.dataset.class_weights is not None:
        return "Losses with class weights are not compiled."
    if recipe.input_noise:
        return "Input noise is drawn anew for every row of every epoch."
    if recipe.micro_batch is not None and recipe.micro_batch < parts.batches.size:
        return "Batches that are accumulated from micro-batches are not compiled."
    if recipe.non_finite != "stop":
        return f"With non_finite = '{recipe.non_finite}' a run may leave out steps that the runs beside it make."
    try:
        trace(OPTIMIZERS[recipe.optimizer])
    except UntraceableError as error:
        return f"The optimizer {recipe.optimizer} {error}."
    return ""


class Made(NamedTuple):
    """What steps showed; fewer than were asked for where one could not be taken, as something was not finite."""

    losses: Floats  # of each batch
    norms: Floats | None  # of the gradients before clipping, where the run clips
    rows: Int64[np.ndarray, " steps"]  # of each batch


class CompiledLoop:
    """The steps of one run, on the weights and the state of its own model and optimizer."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._task = task_of(parts)
        self._names = tensor_names(parts.model)
        self._slots = list(trace(OPTIMIZERS[parts.recipe.optimizer]).state)
        clips = parts.recipe.clip_norm is not None or parts.recipe.clip_value is not None
        only = np.zeros(1, np.int64)
        self._own = own_of([parts.recipe], parts.model, clips, only, only)
        weights = sum(parameter.numel() for parameter in parts.model.parameters())
        self.at_once = max(1, AT_ONCE // (6 * weights * parts.batches.size))  # steps

    @classmethod
    def of(cls, parts: Parts, lane: str | None = None) -> CompiledLoop | None:
        """The loop of a run that is long enough for it, or that began with it: its `lane` says so; else None.

        Raises MissingExtraError where the run began with compiled loops and numba is not here to go on with.
        """
        if lane == "compiled" and importlib.util.find_spec("numba") is None:
            raise MissingExtraError(
                "This run was begun by compiled loops, and to go on with it needs numba, which is not installed. "
                "Install it with: pip install 'descend[fast]'",
                name="numba",
            )
        wanted = parts.steps >= LEAST_STEPS if lane is None else lane == "compiled"
        return cls(parts) if wanted and not why_not(parts, parts.recipe) else None

    def advance(self, done: int, steps: int) -> Made:
        """Make the `steps` steps that follow the first `done` ones, or as many of them as can be."""
        from descend.compiled.teams import NetworkTeam

        parts, optimizer = self._parts, self._parts.optimizer
        named = dict(parts.model.named_parameters())
        tensors = [named[name].detach().numpy()[None] for name in self._names]
        held = optimizer.state
        state = [[held[named[name]][slot].numpy()[None] for name in self._names] for slot in self._slots]
        team = NetworkTeam(self._task, parts.recipe.optimizer, self._own, tensors, state)
        order = np.ascontiguousarray(parts.batches.rows_after(done, steps).numpy()[None])
        factors = np.array([[parts.schedule(step)] for step in range(done, done + steps)])
        feed = feed_of(parts.batches, done, order, factors)
        losses, norms = team.advance(feed)
        made = int(team.died[0]) - done - 1 if team.died[0] else steps
        with torch.no_grad():
            for name, values in zip(self._names, team.tensors(), strict=True):
                named[name].copy_(torch.from_numpy(values[0]))
        slots = zip(self._slots, team.state(), strict=True)
        after = {slot: dict(zip(self._names, map(torch.from_numpy, tensors), strict=True)) for slot, tensors in slots}
        optimizer.put(
            {
                named[name]: {"step": done + made} | {slot: after[slot][name][0] for slot in self._slots}
                for name in self._names
            }
        )
        return Made(
            losses[:made, 0].astype(np.float64),
            norms[:made, 0].astype(np.float64) if self._own.clips else None,
            feed.sizes[:made],
        )


def own_of(
    recipes: Sequence[Recipe],
    model: nn.Module,
    clips: bool,
    seeds: Int64[np.ndarray, " runs"],
    schedules: Int64[np.ndarray, " runs"],
) -> Own:
    """What runs of one optimizer have each of their own: the hyperparameters of every tensor, and the clipping.

    `clips` says whether norms are wanted; seeds and schedules are numbers of those that a feed holds.
    """
    from descend.compiled.teams import Own

    names = tensor_names(model)
    columns = {name: number for number, name in enumerate(recipes[0].part("optimizer"))}
    each = np.array([list(recipe.part("optimizer").values()) for recipe in recipes], dtype=np.float64)
    hyper = each[:, None].repeat(len(names), axis=1)
    lrs = hyper[:, :, columns["lr"]].copy()
    known: dict[object, list[dict[str, Any]]] = {}
    for run, recipe in enumerate(recipes):
        kind = recipe.decay_exempt, recipe.layer_lrs
        if kind == ("none", ""):
            continue
        if kind not in known:
            known[kind] = exceptions_of(recipe, model, names)
        for tensor, exceptions in enumerate(known[kind]):
            lrs[run, tensor] = exceptions.get("lr", lrs[run, tensor])
            if "weight_decay" in exceptions:
                hyper[run, tensor, columns["weight_decay"]] = 0.0
    limits = [[recipe.clip_norm or np.inf, recipe.clip_value or np.inf] for recipe in recipes]
    return Own(lrs, hyper, np.array(limits), clips, seeds, schedules)


def feed_of(
    batches: Batches,
    done: int,
    order: Int64[np.ndarray, "seeds steps batch"],
    factors: Float64[np.ndarray, "steps schedules"],
) -> Feed:
    """What the steps after the first `done` ones need; in the `order` of rows -1 fills up an incomplete batch."""
    from descend.compiled.teams import Feed

    sizes = (order[0] >= 0).sum(axis=1)
    weight = {size: batches.weight(size) for size in set(sizes.tolist())}
    return Feed(done, order, sizes, np.array([weight[size] for size in sizes.tolist()]), factors)


def layers_of(model: nn.Module) -> dict[str, nn.Linear]:
    """The layers of a plain dense network, by name and in order; none where it is something else."""
    leaves = {name: module for name, module in model.named_modules() if not list(module.children())}
    if isinstance(model, MLP):
        plain = not model.residual and all(type(extra) is nn.Identity for extra in (*model.norms, *model.dropouts))
    else:
        plain = all(isinstance(leaf, nn.Linear | nn.Flatten) for leaf in leaves.values())
    return {name: leaf for name, leaf in leaves.items() if isinstance(leaf, nn.Linear)} if plain else {}


def tensor_names(model: nn.Module) -> list[str]:
    """The weight and the bias of each layer of a plain dense network, by name and in order."""
    return [f"{layer}.{tensor}".lstrip(".") for layer in layers_of(model) for tensor in ("weight", "bias")]


def task_of(parts: Parts) -> Task:
    """What all runs of the same data, model shape, loss and batch size share."""
    from descend.compiled.teams import Task

    layers = list(layers_of(parts.model).values())
    return Task(
        parts.dataset.train.inputs.flatten(1).numpy(),
        targets_of(parts, parts.dataset.train).numpy(),
        (layers[0].in_features, *(layer.out_features for layer in layers)),
        str(parts.recipe.options.get("activation", "identity")),
        loss_name(parts.recipe, parts.dataset),
        parts.batches.size,
    )


def targets_of(parts: Parts, split: Split) -> Float[Tensor, "rows outputs"]:
    """The targets of some rows; of classes the shares that the loss wants, one-hot or smoothed."""
    if parts.dataset.task == "regression":
        return split.targets
    classes = len(parts.dataset.classes)
    smoothing = float(parts.recipe.options.get("label_smoothing") or 0)
    one_hot = nn.functional.one_hot(split.targets, classes).to(split.inputs.dtype)
    return one_hot * (1 - smoothing) + smoothing / classes


def exceptions_of(recipe: Recipe, model: nn.Module, names: Sequence[str]) -> list[dict[str, Any]]:
    """For each tensor, the learning rate that it has of its own, and `weight_decay` where it is exempt from it."""
    number = {id(parameter): names.index(name) for name, parameter in model.named_parameters()}
    found: list[dict[str, Any]] = [{} for _ in names]
    for group in parameter_groups(recipe, model):
        own = {name: value for name, value in group.items() if name == "lr" or (name == "weight_decay" and value == 0)}
        for parameter in group["params"]:
            found[number[id(parameter)]] = own
    return found
