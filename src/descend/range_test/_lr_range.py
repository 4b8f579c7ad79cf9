"""lr_range: which learning rate to train with (Smith 2017, "Cyclical learning rates", section 3.3)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, Final, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from descend.errors import RecipeError
from descend.facts.rows import undisturbed
from descend.range_test._curve import Reading, read
from descend.range_test._result import TURN, RangeTest
from descend.range_test._steps import Step, Training, of_model, of_recipe
from descend.recipe import Recipe

WIDER: Final = 1000.0  # times `high` it goes on where nothing explodes, and below `low` it begins anew
ROUNDS: Final = 3  # ranges that are begun lower, at most
REST: Final = 10.0  # times the lowest rate: a loss that turns before that was not seen to rest
RECENT: Final = 10  # losses whose mean says whether it has exploded, and how a trial ended
NOISE: Final = 5.0  # standard deviations of the first losses that are no explosion
FELL: Final = 0.5  # of the way that the range's loss fell: a trial that gets so far has held
HALVINGS: Final = 16


@overload
def lr_range(
    model: Recipe, *, low: float = ..., high: float = ..., per_decade: int = ..., repeats: int = ...
) -> RangeTest: ...


@overload
def lr_range(
    model: nn.Module,
    loader: Any,
    loss: Callable[[Any, Tensor], Tensor],
    *,
    optimizer: Optimizer | str,
    clip_norm: float | None = None,
    low: float = ...,
    high: float = ...,
    per_decade: int = ...,
    repeats: int = ...,
) -> RangeTest: ...


def lr_range(
    model: nn.Module | Recipe,
    loader: Any = None,
    loss: Callable[[Any, Tensor], Tensor] | None = None,
    *,
    optimizer: Optimizer | str | None = None,
    clip_norm: float | None = None,
    low: float = 1e-6,
    high: float = 10.0,
    per_decade: int = 50,
    repeats: int = 3,
) -> RangeTest:
    """Find the learning rate to train with, in a few hundred steps.

        descend.lr_range(descend.Recipe(data="digits", model="mlp", optimizer="adam")).lr
        descend.lr_range(model, train_loader, nn.CrossEntropyLoss(), optimizer=optimizer).figure()

    The rate begins at `low` and is raised `per_decade` steps for each factor of ten, until the loss explodes. Where it
    has not by `high` the range goes on, up to a thousand times `high`; where the loss turns within the first decade it
    is begun a thousand times lower. That is repeated: a recipe with the seeds that follow its own, a model of your own
    with the batches that come next. Half the rate at which the smoothed mean loss turns is tried, for as many steps as
    two decades have, from the start, and halved until every repeat holds: raising the rate has warmed the training up,
    which a constant rate does not. See `_curve` for why half. Schedules and warm-up are left out.

    A model of your own is given back bit for bit, with its optimizer (or name one of the catalog's), gradients,
    buffers, modes, random numbers and loader, also after an error or Ctrl-C. It is trained in training mode from where
    it stands; rates of several parameter groups stay in proportion; `clip_norm` is that of your loop.

    Raises RecipeError for a range that is none, DescendError where a step cannot be taken.
    """
    _require(low, high, per_decade, repeats)
    if isinstance(model, Recipe):
        if loader is not None or loss is not None or optimizer is not None or clip_norm is not None:
            raise RecipeError("A recipe has data, loss, optimizer and clipping: give lr_range the recipe alone.")
        training = of_recipe(model)
    elif loader is None or loss is None or optimizer is None:
        raise RecipeError(
            "A model needs a loader, a loss and an optimizer: lr_range(model, loader, loss, optimizer=...)."
        )
    else:
        training = of_model(model, loader, loss, optimizer, clip_norm)
    with undisturbed(), _same_threads(), training as ready:
        return _test(ready, low, high, per_decade, repeats)


def _require(low: float, high: float, per_decade: int, repeats: int) -> None:
    if not 0 < low < high < math.inf:
        raise RecipeError(f"low is {low:g} and high is {high:g}, but a range needs 0 < low < high.")
    if per_decade < 5:
        raise RecipeError(f"per_decade is {per_decade}, but a curve needs at least 5 steps for a factor of ten.")
    if repeats < 1:
        raise RecipeError(f"repeats is {repeats}, but must be at least 1.")


# --- the test ---------------------------------------------------------------------------------------------------------


def _test(training: Training, low: float, high: float, per_decade: int, repeats: int) -> RangeTest:
    begun = low
    for _ in range(ROUNDS):
        sweeps = [_sweep(training.begin(repeat), begun, high * WIDER, per_decade) for repeat in range(repeats)]
        points = max(len(losses) for losses, _ in sweeps)
        rates = begun * 10 ** (np.arange(points) / per_decade)
        losses = np.full((repeats, points), np.nan)
        for row, (seen, _) in zip(losses, sweeps, strict=True):
            row[: len(seen)] = seen
        reading = read(rates, losses, ended=any(ended for _, ended in sweeps))
        first = reading.turn or reading.exploded
        if first is None or first > REST * begun:
            break
        begun /= WIDER
    lr, halvings = _tried(training, reading, 2 * per_decade, repeats)
    halves = [TURN * turn for turn in (reading.turn, *reading.turns) if turn is not None]
    return RangeTest(
        lr=lr,
        interval=(min(halves), max(halves)) if halves else None,
        fastest=reading.fastest,
        turn=reading.turn,
        exploded=reading.exploded,
        halvings=halvings,
        trial=2 * per_decade,
        shares=training.shares,
        asked=(low, high),
        rates=rates,
        losses=losses,
        smoothed=reading.smoothed,
    )


def _sweep(step: Step, low: float, end: float, per_decade: int) -> tuple[list[float], bool]:
    """The losses while the rate rises from `low`, and whether they ended because the loss exploded."""
    losses: list[float] = []
    for number in range(math.ceil(math.log10(end / low) * per_decade) + 1):
        losses.append(step(low * 10 ** (number / per_decade)))
        if not math.isfinite(losses[-1]):
            return losses, True
        early = losses[: max(RECENT, per_decade // 2)]
        start = float(np.mean(early))
        if np.mean(losses[-RECENT:]) > start + max(abs(start), NOISE * float(np.std(early))):
            return losses, True
    return losses, False


def _tried(training: Training, reading: Reading, steps: int, repeats: int) -> tuple[float | None, int]:
    """The suggestion, halved until it holds, and how often it was; None where there is none or none holds."""
    if reading.turn is None:
        return None, 0
    lr, enough = TURN * reading.turn, reading.start - FELL * (reading.start - reading.lowest)
    for halvings in range(HALVINGS):
        rate = float(f"{lr / 2**halvings:.2g}")
        if all(_last(training.begin(repeat), rate, steps) <= enough for repeat in range(repeats)):
            return rate, halvings
    return None, HALVINGS


def _last(step: Step, rate: float, steps: int) -> float:
    """The mean of the last losses of some steps at a constant rate; infinite where one is not finite."""
    losses: list[float] = []
    for _ in range(steps):
        losses.append(step(rate))
        if not math.isfinite(losses[-1]):
            return math.inf
    return float(np.mean(losses[-RECENT:]))


@contextlib.contextmanager
def _same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
