"""Trainings that can be begun anew, and stepped at any learning rate: a recipe's, or a model of the user's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from descend.errors import DescendError
from descend.optim import clip_by_norm, clip_by_value
from descend.optim import optimizer as catalog_optimizer
from descend.range_test._borrow import Borrowed, batches_of
from descend.recipe import Recipe
from descend.train.build import build

Step = Callable[[float], float]
"""One update at this learning rate; the loss of its batch, before the update."""


@dataclass(frozen=True)
class Training:
    """`begin(repeat)` goes back to the start and returns what takes steps. `shares`: the groups' rates by the first."""

    begin: Callable[[int], Step]
    shares: tuple[float, ...]


@contextlib.contextmanager
def of_recipe(recipe: Recipe) -> Iterator[Training]:
    def begin(repeat: int) -> Step:
        torch.manual_seed(recipe.seed + repeat)
        parts = build(recipe.but(seed=recipe.seed + repeat))
        batches = parts.batches.after(0)

        def clip(gradients: list[Tensor]) -> None:
            if recipe.clip_norm is not None:
                clip_by_norm(gradients, recipe.clip_norm)
            if recipe.clip_value is not None:
                clip_by_value(gradients, recipe.clip_value)

        return _step(
            parts.model, parts.loss, parts.optimizer, lambda: next(batches), _shares(parts.lrs), clip,
            parts.batches.weight,
        )  # fmt: skip

    yield Training(begin, _shares(build(recipe).lrs))


@contextlib.contextmanager
def of_model(
    model: nn.Module,
    loader: Any,
    loss: Callable[[Any, Tensor], Tensor],
    given: Optimizer | str,
    clip_norm: float | None,
) -> Iterator[Training]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise DescendError("The model has no parameter to train: there is none, or all have requires_grad=False.")
    optimizer = catalog_optimizer(given, trained) if isinstance(given, str) else given
    if isinstance(optimizer, torch.optim.LBFGS):
        raise DescendError("LBFGS needs a closure and searches its own step length: a range test has nothing to find.")
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    if not rates[0] > 0:
        raise DescendError(
            f"The first parameter group has the learning rate {rates[0]:g}, to which the others are in proportion: "
            "give it one above 0."
        )
    borrowed = Borrowed([model, loss] if isinstance(loss, nn.Module) else [model], optimizer)
    device = trained[0].device

    def clip(gradients: list[Tensor]) -> None:
        if clip_norm is not None:
            clip_by_norm(gradients, clip_norm)

    with batches_of(loader, device) as batch:

        def begin(repeat: int) -> Step:
            borrowed.restore()
            model.train()
            return _told(_step(model, loss, optimizer, batch, _shares(rates), clip, lambda rows: 1.0))

        try:
            yield Training(begin, _shares(rates))
        finally:
            borrowed.restore()


def _shares(rates: Sequence[float]) -> tuple[float, ...]:
    return tuple(rate / rates[0] for rate in rates)


def _step(
    model: nn.Module,
    loss_of: Callable[[Any, Tensor], Tensor],
    optimizer: Optimizer,
    batch: Callable[[], tuple[Tensor, Tensor]],
    shares: Sequence[float],
    clip: Callable[[list[Tensor]], None],
    weight: Callable[[int], float],
) -> Step:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def step(rate: float) -> float:
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = rate * share
        inputs, targets = batch()
        optimizer.zero_grad()
        loss = loss_of(model(inputs), targets)
        (loss * weight(len(inputs))).backward()
        clip([parameter.grad for parameter in parameters if parameter.grad is not None])
        optimizer.step()
        return loss.item()

    return step


def _told(step: Step) -> Step:
    """A step of the user's own model, whose errors say where they come from."""

    def told(rate: float) -> float:
        try:
            return step(rate)
        except DescendError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise DescendError(f"A step cannot be taken: {type(error).__name__}: {reason}.") from error

    return told
