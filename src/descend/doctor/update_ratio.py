"""Updates are far too short or far too long for the weights that they change, and nothing is learned.

The length of an update relative to that of the weights has no unit, so it can be compared across layers, models and
optimizers. About a thousandth a step is usual. At a millionth, weights would need a million steps to become others; at
a tenth, ten steps forget what was there.

It is a symptom more often than a cause: a learning rate out of range, gradients that vanish, dead units, a plateau. In
a run that has converged updates are short because nothing is left to do, and that is healthy.
"""

from __future__ import annotations

import math
from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import progress, remedy, slower, two_digits, typical

MEASURED: Final = 5  # measurements after the first, at which biases that begin at zero make any ratio large

SHORT: Final = 1e-5  # sick runs 5e-7 to 7e-7; slow ones that learned something 8e-5 and more
LONG: Final = 0.1  # sick runs 0.3 to 1.6; ones that learned 0.05 at most
USUAL: Final = 1e-3
LEFT: Final = 0.9  # of the loss of guessing


def look(chart: Chart) -> Finding | Unknown | None:
    ratios, gone = chart.series("update_ratio/all"), progress(chart)
    values = ratios.y[ratios.x > 1]
    if gone is None or len(values) < MEASURED:
        return Unknown(f"{MEASURED} measurements of the updates")
    ratio = typical(values)
    if SHORT <= ratio <= LONG or not ratio > 0 or gone.end < LEFT:
        return None
    short = ratio < SHORT
    return Finding(
        f"Updates are far too {'short' if short else 'long'}: each changes the weights by {two_digits(ratio)} of their "
        f"length, where about {USUAL:g} is usual, and {gone.says}.",
        (
            Evidence(
                "update_ratio/all",
                ratio,
                SHORT if short else LONG,
                f"At {len(values)} measured steps the update had typically {two_digits(ratio)} of the weights' length.",
            ),
            Evidence(gone.series, gone.end, LEFT, f"{gone.says}.".capitalize()),
        ),
        sure=0.7,
        since=1,
        remedies=(_faster(chart, USUAL / ratio) if short else slower(chart, 10),),
    )


def _faster(chart: Chart, factor: float) -> Remedy:
    factor = 10.0 ** round(math.log10(factor))
    lr = chart.recipe and chart.recipe["lr"]
    higher = {"lr": float(lr) * factor} if isinstance(lr, (int, float)) else {}
    return remedy(
        chart,
        f"Raise the learning rate {factor:,.0f} times, if no other finding says why updates are short.",
        "safe",
        {"lr=...": f"lr=... * {factor:,.0f}"},
        **higher,
    )


update_ratio = Check(
    look,
    symptom="The loss does not move at all, or is thrown about from step to step.",
    sick=Example(data="digits", model="mlp", optimizer="sgd", lr=1e-5, steps=200),
    near_miss=Example(
        data="employee_bonus", scale="standard", model="linear", optimizer="sgd", lr=0.3, batch_size="all", steps=800
    ),
    look_alike="A converged run: its updates are a billionth of the weights, because nothing is left to learn.",
    source="Stanford CS231n, Neural Networks Part 3: ratio of weights to updates",
    explains=frozenset({"chance_level", "plateau", "underfitting"}),
)
