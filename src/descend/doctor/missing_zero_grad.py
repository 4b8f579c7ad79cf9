"""Gradients are not set to zero, so that every update follows the sum of many steps' gradients.

`loss.backward()` adds to `.grad`: a parameter that is used twice gets the sum of two gradients that way. Hence the loop
must set the gradients to zero before each step. Without that, an update follows the sum of all gradients since the
beginning, which is momentum that never fades (the heavy ball with a coefficient of 1). On a quadratic of curvature c
the weights then swing about the minimum for ever, with a period of 2 pi / sqrt(lr c) steps, however small the learning
rate is; on a network the loss goes up and down in slow waves, or away. Clipping the gradients hides it.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, STEPS_TOO_LONG, facts

FEWEST: Final = 4  # steps that must have been checked
SHARE: Final = 0.25  # of them; a healthy loop has 0, one that zeroes once an epoch of n batches 1 - 1/n, at least 0.5


def look(chart: Chart) -> Finding | Unknown | None:
    seen = facts(chart, "gradients")
    if not isinstance(seen, dict):
        return seen
    steps, stale = seen["steps"], seen["stale"]
    if steps < FEWEST:
        return Unknown(f"{FEWEST} steps of the optimizer")
    if stale / steps < SHARE:
        return None
    never = stale >= steps - 1  # nothing can be left over from before the first
    says = f"At {stale:,} of {steps:,} steps that were checked the backward pass added to gradients of earlier steps."
    return Finding(
        f"The gradients are {'never' if never else 'not always'} set to zero: at {stale:,} of {steps:,} checked steps, "
        "the backward pass added to what earlier steps had left, so the updates follow sums of old gradients.",
        (Evidence("facts/gradients/stale", stale / steps, SHARE, says),),
        sure=0.99,
        since=2 if never else None,
        remedies=(
            Remedy(
                "Set the gradients to zero before every backward pass (or, to accumulate over several batches, before "
                "the first of them).",
                diff={"loss.backward()": "optimizer.zero_grad()\nloss.backward()"},
            ),
        ),
    )


missing_zero_grad = Check(
    look,
    symptom="The loss falls at first, then swings up and down in slow waves, or explodes at any learning rate.",
    sick=Example(fault="missing_zero_grad", data="moons", model="mlp", width=32, lr=0.3, epochs=15),
    near_miss=Example(
        fault="none", data="moons", model="mlp", width=32, lr=0.3, epochs=15, batch_size=64, micro_batch=16
    ),
    look_alike="Gradients accumulated on purpose: several backward passes add up before one step, from a clean start.",
    source="Polyak 1964 for the heavy ball; micrograd issue 53 and IBM/aihwkit issue 446 show it in the wild",
    explains=LEARNS_NOTHING | STEPS_TOO_LONG,
)
