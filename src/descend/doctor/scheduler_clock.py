"""The learning rate schedule is stepped at another clock than it counts by.

A scheduler knows nothing of epochs or batches: it counts calls of `scheduler.step()`. One that was made for the epochs
of a run and is stepped at every batch is through after a few hundred batches: a step or exponential schedule has then
taken the learning rate to almost nothing, a cosine goes up and down. One that was made for all batches (one-cycle) and
is stepped once an epoch hardly begins, and one that is never stepped stays where it is, which for one-cycle and warm-up
is a small fraction of the rate that was meant.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, counted

EPOCHS: Final = 2.0  # that must have passed, for the two clocks to differ
UPDATES: Final = 3.0  # of an epoch at least, for the same reason
TOGETHER: Final = 0.9  # steps of the scheduler for each update, where it is stepped with them
SPENT: Final = 1e-3  # of the highest rate, half-way; healthy schedules keep 0.1 (three steps) to 0.5 (linear, cosine)
AGAIN: Final = 3.0  # periods of a schedule that is made for one
ONCE: Final = ("CosineAnnealingLR", "StepLR", "MultiStepLR", "PolynomialLR")
"""Schedulers that are made for one run, and whose period is a number of epochs or of updates."""
BY_UPDATES: Final = ("LinearLR", "OneCycleLR", "CyclicLR")
"""Schedulers that count updates as a rule: one that ends too early was made too short, and plateau says so."""


def look(chart: Chart) -> Finding | Unknown | None:
    seen = chart.fact("schedule")
    if not seen:  # our own loop, or one without a scheduler
        return None if chart.recipe or chart.fact("gradients") else Unknown("a loop that `descend.watch` saw")
    kind, period, taken, updates = seen["kind"], seen.get("period"), seen["taken"], seen["optimizer_steps"]
    epochs = float(seen.get("epochs") or 0)
    if epochs < EPOCHS or updates < UPDATES * epochs:
        return Unknown(f"{EPOCHS:g} epochs of {UPDATES:g} updates or more")
    if not taken:
        return _finding(
            f"The scheduler ({kind}) is never stepped: after {updates:,} updates the learning rate still stands where "
            "the schedule begins.",
            f"0 steps of the scheduler in {updates:,} updates",
            0.0,
            sure=0.97,
        )
    if taken >= TOGETHER * updates:
        return _too_often(chart, kind, period, taken, epochs)
    if chart.ended and taken <= epochs + 1 and period and abs(period - updates) < (1 - TOGETHER) * updates:
        return _finding(
            f"The scheduler ({kind}) was made for {period:,} steps, one for each update, but is stepped once an epoch: "
            f"after {updates:,} updates it has taken {counted(taken, 'step')}.",
            f"{taken:,} steps of the scheduler in {updates:,} updates and {epochs:.3g} epochs",
            taken / updates,
            sure=0.95,
        )
    return None


def _too_often(chart: Chart, kind: str, period: int | None, taken: int, epochs: float) -> Finding | None:
    """Stepped with the updates: was it made for the epochs?"""
    rates = chart.series("lr/0").y
    highest = float(np.max(rates)) if len(rates) else 0.0
    half_way = float(rates[len(rates) // 2]) / highest if highest > 0 else 1.0
    over = taken / period if period else 0.0
    for_epochs = kind in ONCE and period is not None and period <= 1.5 * epochs and over >= AGAIN
    spent = half_way < SPENT and kind not in BY_UPDATES
    # a StepLR goes on after its period and may be meant to; a cosine comes back up, and milestones have a last one
    if not spent and not (for_epochs and kind in ("CosineAnnealingLR", "MultiStepLR")):
        return None
    made_for = f" and was made for {period:,} (there are {epochs:.3g} epochs)" if for_epochs else ""
    effect = (
        f"half-way through training the learning rate was {half_way:.1g} of its highest value"
        if spent or kind == "MultiStepLR"
        else f"the learning rate went through its period {over:.2g} times instead of once"
    )
    return _finding(
        f"The scheduler ({kind}) is stepped at every batch: it has taken {taken:,} steps{made_for}, so that {effect}.",
        f"{taken:,} steps of the scheduler in {epochs:.3g} epochs",
        taken / epochs,
        sure=0.95 if for_epochs else 0.8,
    )


def _finding(sentence: str, says: str, value: float, sure: float) -> Finding:
    return Finding(
        sentence,
        (Evidence("facts/schedule/taken", float(value), 1.0, f"{says}."),),
        sure=sure,
        remedies=(
            Remedy(
                "Step the scheduler by the clock that it was made for: a schedule of epochs once an epoch, outside of "
                "the loop over batches; a schedule of updates after every optimizer.step().",
                diff={"    optimizer.step()\n    scheduler.step()": "    optimizer.step()\nscheduler.step()"},
            ),
        ),
    )


scheduler_clock = Check(
    look,
    symptom="The learning rate is gone after a few epochs, or hardly changes; learning stops early or never begins.",
    sick=Example(fault="scheduler_clock", data="moons", model="mlp", width=32, lr=0.5, schedule="step", epochs=20),
    near_miss=Example(fault="none", data="moons", model="mlp", width=32, lr=0.5, schedule="one_cycle", epochs=20),
    look_alike="Schedules that count updates and are stepped with them: one-cycle, warm-up, cyclic, warm restarts.",
    source="PyTorch, documentation of torch.optim.lr_scheduler: how to adjust the learning rate",
    explains=LEARNS_NOTHING | {"loss_spikes", "lr_too_high", "noisy_batches", "update_ratio"},
)
