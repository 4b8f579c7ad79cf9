"""From a Recipe to the things that train: data, model, loss, optimizer, schedule, batches."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor, nn

from descend.catalog import DATA, INITS, LOSSES, MODELS, OPTIMIZERS, SCHEDULES
from descend.data._dataset import Dataset, Split
from descend.errors import DataError, RecipeError, did_you_mean
from descend.losses import DEFAULT, ONE_LOGIT, TASK
from descend.models._shape import Shape
from descend.optim import RuleOptimizer, UpdateRule, optimizer
from descend.optim._clip import decay_groups
from descend.recipe import AUTO, Recipe
from descend.schedules import Schedule
from descend.train.batches import Batches
from descend.train.dense import Dense
from descend.train.stability import StabilityLimit, stability_limit

Loss = Callable[[Tensor, Tensor], Tensor]

FLOPS_PER_THREAD: Final = 50e6  # a step smaller than this is slower on two threads than on one


@dataclass(frozen=True)
class Parts:
    """Everything that a recipe stands for, on its device."""

    recipe: Recipe
    dataset: Dataset
    model: nn.Module
    loss: Loss
    optimizer: RuleOptimizer
    lrs: tuple[float, ...]  # the base learning rate of each of the optimizer's parameter groups
    schedule: Schedule
    batches: Batches
    steps: int
    device: torch.device
    threads: int

    @property
    def lr(self) -> float:
        """The base learning rate of the recipe, which layers without one of their own take."""
        return float(self.recipe.options["lr"])  # type: ignore[arg-type]  # every rule has a learning rate

    @cached_property
    def dense(self) -> Dense | None:
        """The passes of a plain dense network by hand, where they can take the place of autograd."""
        whole = self.recipe.micro_batch is None or self.recipe.micro_batch >= self.batches.size
        plain = self.dataset.class_weights is None and not self.recipe.options.get("label_smoothing")
        if not (whole and plain and self.optimizer.flats):
            return None
        return Dense.of(self.model, loss_name(self.recipe, self.dataset))

    @property
    def forward(self) -> Callable[[Tensor], Tensor]:
        """From inputs to outputs, for training."""
        return self.dense.forward if self.dense else self.model

    @property
    def evaluate_every(self) -> int:
        """Steps between evaluations: whole epochs of 25 steps or a 100th of a longer run, unless the recipe says."""
        epoch = self.batches.per_epoch
        return self.recipe.evaluate_every or epoch * -(-max(25, self.steps // 100) // epoch)

    @property
    def monitor_every(self) -> int:
        """Steps between measurements: 20, or more where that would be over 100 of them, unless the recipe says."""
        return self.recipe.monitor_every or max(20, self.steps // 100)

    def fingerprint(self) -> str:
        """SHA-256 of every row trained on and judged by: a run is resumed only on the data it began with."""
        digest = hashlib.sha256()
        for split in (self.dataset.train, self.dataset.validation):
            for values in split or ():
                digest.update(values.cpu().numpy().tobytes())
        return digest.hexdigest()

    def limit(self) -> StabilityLimit | None:
        """The learning rate beyond which full-batch training diverges, where theory knows it."""
        if self.recipe.model != "linear" or loss_name(self.recipe, self.dataset) != "mse":
            return None
        split = self.dataset.train
        hyper = self.recipe.part("optimizer")
        return stability_limit(self.recipe.optimizer, hyper, split.inputs.flatten(1), split.targets.shape[1])


def load_data(recipe: Recipe) -> Dataset:
    """The data set of a recipe, every value finite. Raises DataError where one is not."""
    dataset: Dataset = DATA[recipe.data](**recipe.part("data"))
    _require_finite(dataset)
    return dataset


def build(recipe: Recipe, dataset: Dataset | None = None) -> Parts:
    """Build what a recipe describes, and set the number of torch's threads that suits its size.

    Initial weights are drawn from torch's global generator: seed it first. `dataset` is the recipe's own, where it is
    loaded already.

    Raises RecipeError or DataError where the parts do not fit each other.
    """
    dataset = dataset or load_data(recipe)
    if recipe.input_noise and dataset.tokens:
        raise RecipeError(
            f"input_noise is {recipe.input_noise:g}, but {dataset.name} has tokens for inputs: set it to 0."
        )
    model = build_model(recipe, dataset)
    rows = len(dataset.train.inputs)
    size = rows if recipe.batch_size == "all" else min(recipe.batch_size, rows)
    flops = flops_a_step(model, dataset.train.inputs[: recipe.micro_batch or size])
    device = _device(recipe.device, flops)
    threads = recipe.threads or max(1, min(cores(), int(flops / FLOPS_PER_THREAD)))
    torch.set_num_threads(threads)
    dtype = getattr(torch, recipe.dtype)
    model.to(device, dtype)
    dataset = _moved(dataset, device, dtype)
    split = dataset.train
    batches = Batches(
        split.inputs, split.targets, size, recipe.order, recipe.last_batch, recipe.seed, recipe.input_noise
    )
    _require_statistics(model, batches, recipe.micro_batch or size)
    steps = recipe.steps or (recipe.epochs or 0) * batches.per_epoch
    optimizer = optimizer_of(recipe, model)
    return Parts(
        recipe,
        dataset,
        model,
        _loss(recipe, dataset),
        optimizer,
        tuple(group["lr"] for group in optimizer.param_groups),
        schedule_of(recipe, steps),
        batches,
        steps,
        device,
        threads,
    )


def build_model(recipe: Recipe, dataset: Dataset) -> nn.Module:
    """The untrained model of a recipe, initialised from torch's global generator."""
    name = loss_name(recipe, dataset)
    if dataset.task == "regression":
        outputs = dataset.train.targets.shape[-1]
    elif name in ONE_LOGIT:
        if len(dataset.classes) != 2:
            raise RecipeError(
                f"loss is '{name}', which tells two classes apart, but {dataset.name} has {len(dataset.classes)}. "
                "Use cross_entropy."
            )
        outputs = 1
    else:
        outputs = len(dataset.classes)
    shape = Shape(tuple(dataset.train.inputs.shape[1:]), outputs, dataset.tokens, dataset.every_position)
    model: nn.Module = MODELS[recipe.model](shape, **recipe.part("model"))
    INITS[recipe.init](model, **recipe.part("init"))
    return model


def loss_name(recipe: Recipe, dataset: Dataset) -> str:
    """The loss of a recipe, by the task unless given. Raises RecipeError where it does not fit the task."""
    name = DEFAULT[dataset.task] if recipe.loss == AUTO else recipe.loss
    if TASK[name] != dataset.task:
        fitting = ", ".join(loss for loss, task in TASK.items() if task == dataset.task)
        raise RecipeError(
            f"loss is '{name}', which is for {TASK[name]}, but {dataset.name} is {dataset.task}. Use one of: {fitting}."
        )
    return name


def _loss(recipe: Recipe, dataset: Dataset) -> Loss:
    function = LOSSES[loss_name(recipe, dataset)]
    options = recipe.part("loss")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        value: Tensor = function(outputs, targets, dataset.class_weights, **options)
        return value

    return loss


def schedule_of(recipe: Recipe, steps: int) -> Schedule:
    """The factor on the learning rates of a recipe, step by step."""
    return Schedule(SCHEDULES[recipe.schedule], steps, recipe.warmup, recipe.part("schedule"))


def optimizer_of(recipe: Recipe, model: nn.Module) -> RuleOptimizer:
    """The optimizer of a recipe, on the parameters of a model. Raises as `parameter_groups` does."""
    hyper: dict[str, Any] = recipe.part("optimizer")
    rule: UpdateRule = OPTIMIZERS[recipe.optimizer]
    return optimizer(recipe.optimizer, parameter_groups(recipe, model), flat=rule.elementwise, **hyper)


def parameter_groups(recipe: Recipe, model: nn.Module) -> list[dict[str, Any]]:
    """The parameters of a model, a group for each weight decay and learning rate that the recipe gives.

    Raises RecipeError where `layer_lrs` names a layer that the model does not have.
    """
    hyper: dict[str, Any] = recipe.part("optimizer")
    if recipe.decay_exempt == "none":
        groups: list[dict[str, Any]] = [{"params": list(model.parameters())}]
    else:
        groups = decay_groups(model, hyper["weight_decay"])
    return rate_groups(groups, model, recipe.layer_lrs) if recipe.layer_lrs else groups


def rate_groups(groups: list[dict[str, Any]], model: nn.Module, layer_lrs: str) -> list[dict[str, Any]]:
    """Parameter groups divided so that the layers that `layer_lrs` names ("hidden.0=0.1,head=0.01") have rates of
    their own. The longest name that fits a parameter counts.

    Raises RecipeError where the model has no such layer, or a rate is not a positive number.
    """
    rates = {layer: _rate(layer, text) for layer, _, text in (pair.partition("=") for pair in layer_lrs.split(","))}
    layer_of: dict[int, str] = {}
    for name, parameter in model.named_parameters():
        fitting = [layer for layer in rates if f"{name}.".startswith(f"{layer}.")]
        layer_of[id(parameter)] = max(fitting, key=len, default="")
    for layer in rates:
        if layer not in layer_of.values():
            known = [name for name, module in model.named_modules() if name and any(True for _ in module.parameters())]
            raise RecipeError(
                f"layer_lrs names '{layer}', which this model does not have. "
                f"{did_you_mean(layer, known or [name for name, _ in model.named_parameters()])}"
            )
    divided = []
    for group in groups:
        for layer in dict.fromkeys(layer_of[id(parameter)] for parameter in group["params"]):
            members = [parameter for parameter in group["params"] if layer_of[id(parameter)] == layer]
            divided.append(group | {"params": members} | ({"lr": rates[layer]} if layer else {}))
    return divided


def _rate(layer: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise RecipeError(f"layer_lrs gives '{layer}' the learning rate {text}, which must be a number above 0.")
    return rate


def _require_finite(dataset: Dataset) -> None:
    """A NaN in the data is named here, before it reaches the first update."""
    for name in ("train", "validation", "test"):
        split: Split | None = getattr(dataset, name)
        if split is None:
            continue
        for what, values, labels in (
            ("inputs", split.inputs, dataset.features),
            ("targets", split.targets, dataset.targets),
        ):
            bad = (~values.isfinite()).nonzero()
            if len(bad):
                row, *place = bad[0].tolist()
                column = f", column '{labels[place[0]]}'" if labels and place else ""
                raise DataError(
                    f"The {name} {what} of {dataset.name} hold {values[tuple(bad[0])].item()} at row {row}{column} "
                    f"({len(bad)} such values). Every value must be a finite number: repair or drop those rows."
                )


def _require_statistics(model: nn.Module, batches: Batches, micro_batch: int) -> None:
    """Batch norm cannot take the variance of a single row: say so before training meets one."""
    rows = len(batches.inputs)
    last = batches.size if batches.last == "dropped" else rows % batches.size or batches.size
    if not any(isinstance(module, nn.BatchNorm1d) for module in model.modules()):
        return
    if 1 in {batches.size % micro_batch, last % micro_batch, micro_batch}:
        raise RecipeError(
            f"Batch norm needs two rows or more at a time, but {rows} rows in batches of {batches.size} (micro-batches "
            f"of {micro_batch}) leave a batch of 1 row. Change batch_size or micro_batch, or use last_batch='dropped'."
        )


def flops_a_step(model: nn.Module, inputs: Tensor) -> float:
    """Roughly the floating-point operations of one forward and backward pass: those of its weights.

    A weight of n numbers costs 2n for each place where it is applied, and the backward pass costs twice the forward.
    """
    total = 0.0

    def count(module: nn.Module, _: object, output: object) -> None:
        nonlocal total
        first = output if isinstance(output, Tensor) else output[0]  # type: ignore[index]  # recurrent: (output, state)
        channels = first.shape[1] if isinstance(module, nn.Conv2d) else first.shape[-1]
        weights = sum(weight.numel() for weight in module.parameters(recurse=False) if weight.dim() > 1)
        total += 6.0 * weights * first.numel() / channels

    leaves = [module for module in model.modules() if any(True for _ in module.parameters(recurse=False))]
    handles = [module.register_forward_hook(count) for module in leaves]
    try:
        model.eval()
        with torch.no_grad():
            model(inputs)
    finally:
        model.train()
        for handle in handles:
            handle.remove()
    return total


def cores() -> int:
    """The cores that this process may use, which in a container or under taskset are not all there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _device(wanted: str, flops: float) -> torch.device:
    """The device asked for; with "auto" a GPU where there is one and the steps are large enough to keep it busy."""
    if wanted == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() and flops > FLOPS_PER_THREAD else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise RecipeError(f"device is '{wanted}', which cannot be used here ({reason}). Use 'auto' or 'cpu'.") from None
    return device


def _moved(dataset: Dataset, device: torch.device, dtype: torch.dtype) -> Dataset:
    """The data set on a device, its floats in `dtype`."""

    def move(values: Tensor) -> Tensor:
        return values.to(device, dtype if values.is_floating_point() else values.dtype).contiguous()

    splits = {
        name: Split(move(split.inputs), move(split.targets))
        for name in ("train", "validation", "test")
        if (split := getattr(dataset, name)) is not None
    }
    weights = None if dataset.class_weights is None else move(dataset.class_weights)
    return replace(dataset, **splits, class_weights=weights)  # type: ignore[arg-type]  # mypy cannot see the keys
