"""Schedules: the factor on the base learning rate at a step.

Each takes the 0-based `step` of the update about to be made and the number of `steps` in all, and is pure: nothing is
counted, so a resumed run needs to remember only its step. Options say where a schedule ends as a share of the base
rate (`final_factor`) rather than how much falls off at each step, so that they mean the same for runs of any length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from descend.catalog import Count, Fraction, NonNegative, Positive, Value


@dataclass(frozen=True)
class Schedule:
    """A schedule with its options filled in, after a linear warm-up: `schedule(step)` is the factor at a step.

    The warm-up takes the first `warmup` steps and rises from 1/warmup of the schedule's first factor to that factor
    itself; the schedule then runs over the steps that remain. With warmup 0 it is the schedule alone.
    """

    function: Callable[..., float]
    steps: int
    warmup: int = 0
    options: Mapping[str, Value] = field(default_factory=dict)

    def __call__(self, step: int) -> float:
        remaining = max(self.steps - self.warmup, 1)
        if step < self.warmup:
            return (step + 1) / self.warmup * self.function(0, remaining, **self.options)
        return self.function(step - self.warmup, remaining, **self.options)


def constant(step: int, steps: int) -> float:
    """The base rate throughout."""
    return 1.0


def step(step: int, steps: int, *, drops: Count = 2, drop_factor: Positive = 0.1) -> float:
    """Times `drop_factor` at each of `drops` evenly spaced steps."""
    return drop_factor ** (step * (drops + 1) // steps)


def exponential(step: int, steps: int, *, final_factor: Positive = 0.01) -> float:
    """The same factor at every step, down to `final_factor` of the base rate."""
    return math.pow(final_factor, step / steps)


def linear(step: int, steps: int, *, final_factor: NonNegative = 0.0) -> float:
    """A straight line down to `final_factor` of the base rate."""
    return 1.0 + (final_factor - 1.0) * step / steps


def cosine(step: int, steps: int, *, final_factor: NonNegative = 0.0) -> float:
    """Half a cosine wave down to `final_factor` of the base rate (Loshchilov & Hutter 2017, equation 5)."""
    return _half_wave(1.0, final_factor, step / steps)


def one_cycle(
    step: int, steps: int, *, rise: Fraction = 0.3, first_factor: NonNegative = 0.04, final_factor: NonNegative = 4e-6
) -> float:
    """Up from `first_factor` of the base rate to it in the first `rise` of the steps, then down (Smith & Topin 2018).

    Half cosine waves, as in `torch.optim.lr_scheduler.OneCycleLR`, whose `max_lr` is the base rate here; the last
    step is at `final_factor`. Momentum is left alone.
    """
    peak = max(rise * steps - 1, 0.0)
    if step < peak:
        return _half_wave(first_factor, 1.0, step / peak)
    return _half_wave(1.0, final_factor, (step - peak) / max(steps - 1 - peak, 1.0))


def inverse_time(step: int, steps: int, *, decay_rate: NonNegative = 0.01) -> float:
    """1 / (1 + decay_rate * step): the slow end lets noise average out (Robbins & Monro 1951).

    The sum of the rates diverges, so any minimum can be reached, and the sum of their squares does not.
    """
    return 1.0 / (1.0 + decay_rate * step)


def inverse_sqrt(step: int, steps: int, *, decay_rate: NonNegative = 0.01) -> float:
    """1 / sqrt(1 + decay_rate * step) (Vaswani et al. 2017, equation 3, where decay_rate is 1 / warmup)."""
    return 1.0 / math.sqrt(1.0 + decay_rate * step)


def _half_wave(start: float, end: float, progress: float) -> float:
    """From `start` at progress 0 to `end` at progress 1, flat at both."""
    return end + (start - end) * (1.0 + math.cos(math.pi * progress)) / 2.0
