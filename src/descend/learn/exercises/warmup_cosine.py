"""2.6 Warm-up and cosine decay, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    steps = int(draw.integers(30, 60)) + 40 * variant
    warmup = (int(draw.integers(5, 12)), 0, int(draw.integers(15, 25)))[variant]
    peak = float(draw.uniform(0.01, 1))
    floor = peak * float(draw.uniform(0.05, 0.3))

    def rate(step: int) -> float:
        if step < warmup:
            return peak * (step + 1) / warmup
        wave = (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
        return floor + (peak - floor) * wave

    observed = [yours.lr_at(step, steps, warmup, peak, floor) for step in range(steps)]
    where = f"{steps} steps with {warmup} of warm-up"
    yield expect_close(f"the first rate of {where}", observed[0], rate(0), rel=1e-9)
    yield expect_close(
        f"the rate of the last warm-up step (or of step 0) of {where}", observed[max(warmup - 1, 0)], peak, rel=1e-9
    )
    yield expect_close(f"all rates of {where}", observed, [rate(step) for step in range(steps)], rel=1e-9)


warmup_cosine = Exercise(
    number="2.6",
    title="Warm-up and cosine decay",
    anchor="schedules",
    minutes=15,
    task="""
Write lr_at(step, steps, warmup, peak, floor): the learning rate of the update number step, counted from 0, of a run of
steps updates. Do it with math alone, without descend.schedules.

The first warmup updates rise in a straight line: the very first uses peak / warmup, not zero, and the last of them uses
peak. The update after that uses peak too, and from there the rate follows half a cosine wave, flat at both ends, which
would reach floor at the update number steps, just after the last. warmup may be 0.
""",
    starter='''
import math


def lr_at(step, steps, warmup, peak, floor):
    """The learning rate of update number step, from 0."""
    raise NotImplementedError
''',
    hints=(
        "Treat the two parts apart: is this step one of the first warmup ones?",
        "The second part has its own clock, which runs from 0 to 1 over the steps that are left after the warm-up.",
        "Half a cosine wave from 1 to 0 is (1 + cos(pi t)) / 2 for t from 0 to 1. Stretch it between floor and peak.",
    ),
    explanation="""
A first update with a rate of zero would be wasted, which is why the warm-up counts from one. Warm-up lets a network
come down from the large curvature of its random start before the rate is high; decay lets the noise of the batches
average out at the end. Most mistakes here are off by one or let the cosine run over the warm-up too, which starts the
decay too early: a trace of all rates, compared entry by entry, finds both.
""",
    check=check,
)
