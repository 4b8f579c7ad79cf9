"""Loop: training as most people write it, in pieces that a fault can replace."""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, TensorDataset

from descend.catalog import DATA, FAULTS, LOOK_ALIKES, SCHEDULES
from descend.data._dataset import Split
from descend.errors import RecipeError
from descend.optim import optimizer as ours
from descend.recipe import CORE, Recipe
from descend.run import Run
from descend.schedules import Schedule
from descend.train.build import build_model, loss_name
from descend.watching._watch import watch

HEALTHY: Final = "none"
"""The loop without a fault."""

PRINTED: Final = "printed/validation"
"""The series of what the loop's author takes for the validation loss."""

UNKNOWN: Final = ("decay_exempt", "input_noise", "patience", "target_loss", "non_finite", "dtype")
"""Fields of a recipe for which this loop has no line."""

Criterion = Callable[[Tensor, Tensor], Tensor]

When = Literal["before the update", "before a batch", "before an epoch", "before the step", "after the step", "never"]
"""When gradients are set to zero. An update is made of one or several batches."""


@dataclass
class Loop:
    """Everything that the training loop below uses. A fault is a function that changes some of it."""

    recipe: Recipe
    loss: str  # its name in `descend.LOSSES`
    train: Split
    validation: Split | None
    model: nn.Module
    criterion: Criterion
    epochs: int
    batch_size: int  # rows of one forward pass
    accumulate: int  # forward passes of one update
    shuffle: bool
    drop_last: bool
    zero_grad: When = "before the update"
    before_epoch: Callable[[nn.Module], object] = nn.Module.train
    before_validation: Callable[[nn.Module], object] = nn.Module.eval
    backward: Callable[[Tensor], None] = Tensor.backward
    scheduler_clock: Literal["batch", "epoch", "never"] | None = None  # that of the schedule where it is None

    def __post_init__(self) -> None:
        self.optimize(self.model.parameters())

    @property
    def updates(self) -> int:
        """Updates of one epoch."""
        rows = len(self.train.inputs)
        batches = rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)
        return max(1, batches // self.accumulate)

    def optimize(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make the optimizer anew, for these parameters."""
        self.optimizers = [new_optimizer(self.recipe, parameters)]

    def use(self, loss: nn.Module) -> None:
        """Take another loss."""
        self.criterion = EveryPosition(loss) if isinstance(self.criterion, EveryPosition) else loss

    def loader(self, split: Split, *, shuffle: bool, drop_last: bool = False) -> DataLoader[Any]:
        order = torch.Generator().manual_seed(self.recipe.seed)
        return DataLoader(TensorDataset(*split), self.batch_size, shuffle, drop_last=drop_last, generator=order)


def run(recipe: Recipe, fault: str = HEALTHY, *, runs: str | Path = "runs", name: str | None = None) -> Run:
    """Train a recipe in an ordinary PyTorch loop with a bug in it, under `descend.watch`. Costs about a second.

    `fault` is a name in `descend.FAULTS`, or "none" for the same loop without a bug, or a name in
    `descend.catalog.LOOK_ALIKES` for a loop that looks as if it had one. The run's settings are those of
    the recipe: nothing in them tells the bug. Raises RecipeError for an unknown fault, or for fields such as
    `patience` for which the loop has no line.
    """
    catalog = LOOK_ALIKES if fault in LOOK_ALIKES else FAULTS
    if fault != HEALTHY:
        catalog.require(fault)
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), contextlib.ExitStack() as undo:
        undo.callback(torch.set_num_threads, threads)
        torch.set_num_threads(recipe.threads or 1)
        torch.manual_seed(recipe.seed)
        loop = ordinary(recipe)
        if fault != HEALTHY:
            with torch.random.fork_rng(devices=[]):  # with the bug and without, training draws the same numbers
                catalog[fault](loop)
        return train(loop, runs=runs, name=name)


def train(loop: Loop, *, runs: str | Path = "runs", name: str | None = None) -> Run:
    """The loop itself."""
    model, criterion = loop.model, loop.criterion
    training = loop.loader(loop.train, shuffle=loop.shuffle, drop_last=loop.drop_last)
    validation = loop.loader(loop.validation, shuffle=False) if loop.validation else None
    scheduler = new_scheduler(loop)
    clock = loop.scheduler_clock or clock_of(loop.recipe)
    with watch(
        model,
        loop.optimizers,
        loss=criterion,
        train=training,
        validation=validation,
        scheduler=scheduler,
        runs=runs,
        name=name,
        settings=loop.recipe.chosen(),
    ) as watched:
        model.train()
        for _ in range(loop.epochs):
            loop.before_epoch(model)
            if loop.zero_grad == "before an epoch":
                zero_grad(loop)
            for number, (inputs, targets) in enumerate(training):
                begins = number % loop.accumulate == 0
                if loop.zero_grad == "before a batch" or (loop.zero_grad == "before the update" and begins):
                    zero_grad(loop)
                loss = criterion(model(inputs), targets)
                loop.backward(loss / loop.accumulate if loop.accumulate > 1 else loss)
                if (number + 1) % loop.accumulate == 0:
                    update(loop)
                    if scheduler and clock == "batch":
                        scheduler.step()
            if scheduler and clock == "epoch":
                scheduler.step()
            if validation:
                watched.log({PRINTED: validate(loop, validation)})
    assert watched.run is not None, "the loop runs in one process"
    return watched.run


def zero_grad(loop: Loop) -> None:
    for optimizer in loop.optimizers:
        optimizer.zero_grad()


def update(loop: Loop) -> None:
    """One step of the optimizer, with the gradients clipped if the recipe says so."""
    if loop.zero_grad == "before the step":
        zero_grad(loop)
    if loop.recipe.clip_norm is not None:
        nn.utils.clip_grad_norm_(loop.model.parameters(), loop.recipe.clip_norm)
    if loop.recipe.clip_value is not None:
        nn.utils.clip_grad_value_(loop.model.parameters(), loop.recipe.clip_value)
    for optimizer in loop.optimizers:
        optimizer.step()
    if loop.zero_grad == "after the step":
        zero_grad(loop)


def validate(loop: Loop, validation: DataLoader[Any]) -> float:
    """The mean loss of the validation batches, as the loop's author would print it."""
    loop.before_validation(loop.model)
    with torch.no_grad():
        losses = [float(loop.criterion(loop.model(inputs), targets)) for inputs, targets in validation]
    return sum(losses) / len(losses)


# --- what faults are made of ------------------------------------------------------------------------------------------


def nothing(_: nn.Module) -> None:
    """In the place of `nn.Module.train` or `nn.Module.eval`."""


def require_loss(loop: Loop, *losses: str) -> None:
    """Raise RecipeError unless the recipe has one of these losses."""
    if loop.loss not in losses:
        raise RecipeError(f"This loop needs the loss {' or '.join(losses)}, but {loop.recipe.data} has {loop.loss}.")


def require_numbers(loop: Loop) -> None:
    """Raise RecipeError unless the inputs are numbers."""
    if not loop.train.inputs.is_floating_point():
        raise RecipeError(f"This loop needs numbers as inputs, but {loop.recipe.data} has tokens.")


def sum_rows(loop: Loop) -> None:
    """Let the loss be the sum over rows."""
    for module in loop.criterion.modules() if isinstance(loop.criterion, nn.Module) else ():
        if hasattr(module, "reduction"):
            setattr(module, "reduction", "sum")  # noqa: B010  # nn.Module declares no such attribute


def append(loop: Loop, name: str, module: nn.Module) -> None:
    """Let a module without parameters work on the model's outputs."""
    loop.model = nn.Sequential(OrderedDict([("network", loop.model), (name, module)]))


def last_linear(model: nn.Module) -> tuple[nn.Module | None, str, nn.Linear]:
    """The last linear layer: in which module (None where it is the model), called what there, and itself."""
    path, layer = [(path, each) for path, each in model.named_modules() if isinstance(each, nn.Linear)][-1]
    above, _, name = path.rpartition(".")
    return (model.get_submodule(above) if name else None), name, layer


def each_split(loop: Loop, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """Change the inputs and targets of the training rows, and of the validation rows likewise."""
    loop.train = Split(*change(*loop.train))
    if loop.validation:
        loop.validation = Split(*change(*loop.validation))


# --- the pieces of a recipe -------------------------------------------------------------------------------------------


def ordinary(recipe: Recipe) -> Loop:
    """The loop of a recipe, without a fault. Initial weights are drawn from torch's global generator."""
    for name in UNKNOWN:
        if recipe[name] != CORE[name].default:
            raise RecipeError(f"{name} is {recipe[name]}, but the ordinary loop has no line for it: leave it out.")
    dataset = DATA[recipe.data](**recipe.part("data"))
    loss = loss_name(recipe, dataset)
    model = build_model(recipe, dataset)
    rows = len(dataset.train.inputs)
    batch_size = rows if recipe.batch_size == "all" else min(recipe.batch_size, rows)
    micro_batch = min(recipe.micro_batch or batch_size, batch_size)
    batches = rows // batch_size if recipe.last_batch == "dropped" else -(-rows // batch_size)
    return Loop(
        recipe,
        loss,
        _as_wanted(dataset.train, loss),
        dataset.validation and _as_wanted(dataset.validation, loss),
        model,
        _criterion(recipe, loss, dataset.class_weights, dataset.every_position),
        epochs=recipe.epochs or math.ceil((recipe.steps or 1) / batches),
        batch_size=micro_batch,
        accumulate=batch_size // micro_batch,
        shuffle=recipe.order == "reshuffled",
        drop_last=recipe.last_batch == "dropped",
    )


def _as_wanted(split: Split, loss: str) -> Split:
    """PyTorch's binary cross-entropy wants its labels as a column of floats."""
    return Split(split.inputs, split.targets.float()[:, None]) if loss == "bce_with_logits" else split


class EveryPosition(nn.Module):
    """A loss over [rows, positions, classes], as if each position were a row."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        shares = targets.is_floating_point()  # one for each class, instead of a class number
        flat = targets.reshape(-1, targets.shape[-1]) if shares else targets.flatten()
        value: Tensor = self.loss(outputs.flatten(0, -2), flat)
        return value


def _criterion(recipe: Recipe, loss: str, class_weights: Tensor | None, every_position: bool) -> Criterion:
    options: dict[str, Any] = recipe.part("loss")
    classes: dict[str, type[nn.Module]] = {"mse": nn.MSELoss, "mae": nn.L1Loss, "huber": nn.HuberLoss}
    if loss in classes:
        return classes[loss](**options)
    if loss == "bce_with_logits":
        weight = None if class_weights is None else class_weights[1] / class_weights[0]
        return nn.BCEWithLogitsLoss(pos_weight=weight, **options)
    cross_entropy = nn.CrossEntropyLoss(class_weights, **options)
    return EveryPosition(cross_entropy) if every_position else cross_entropy


def new_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimizer of a recipe: that of `torch.optim` where it has one."""
    hyper: dict[str, Any] = recipe.part("optimizer")
    if recipe.optimizer in ("lion", "muon"):
        return ours(recipe.optimizer, parameters, **hyper)
    if "beta1" in hyper:
        hyper["betas"] = (hyper.pop("beta1"), hyper.pop("beta2"))
    if "initial_accumulator" in hyper:
        hyper["initial_accumulator_value"] = hyper.pop("initial_accumulator")
    if recipe.optimizer == "nesterov":
        hyper["nesterov"] = True
    classes: dict[str, type[Optimizer]] = {
        "adagrad": torch.optim.Adagrad,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
    }
    return classes.get(recipe.optimizer, torch.optim.SGD)(parameters, **hyper)


def clock_of(recipe: Recipe) -> Literal["batch", "epoch"]:
    """What the scheduler of a recipe counts."""
    return "epoch" if recipe.schedule in ("step", "cosine", "exponential") and not recipe.warmup else "batch"


def new_scheduler(loop: Loop) -> LRScheduler | None:
    """The scheduler of PyTorch that is called like the recipe's schedule, for the first optimizer."""
    recipe, optimizer, epochs = loop.recipe, loop.optimizers[0], loop.epochs
    options: dict[str, Any] = recipe.part("schedule")
    lr = optimizer.param_groups[0]["lr"]
    match "with warm-up" if recipe.warmup else recipe.schedule:
        case "constant":
            return None
        case "step":
            return lr_scheduler.StepLR(optimizer, max(1, epochs // (options["drops"] + 1)), options["drop_factor"])
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, epochs, eta_min=options["final_factor"] * lr)
        case "exponential":
            return lr_scheduler.ExponentialLR(optimizer, options["final_factor"] ** (1 / epochs))
        case "one_cycle":
            first, final = options["first_factor"], options["final_factor"]
            cycle = {"pct_start": options["rise"], "div_factor": 1 / first, "final_div_factor": first / final}
            return lr_scheduler.OneCycleLR(optimizer, lr, epochs * loop.updates, cycle_momentum=False, **cycle)
        case _:
            factor = Schedule(SCHEDULES[recipe.schedule], epochs * loop.updates, recipe.warmup, options)
            return lr_scheduler.LambdaLR(optimizer, factor)
