"""Updates are far too short or far too long for the weights that they change.

The length of an update relative to that of the weights has no unit, so it can be compared across layers, models and
optimizers. About a thousandth a step is usual. At a millionth, weights would need a million steps to become others; at
a tenth, ten steps forget what was there. If it is so in some layers only, they are as good as frozen while the others
learn around them: a learning rate of their own that has too many zeros, say.

It is a symptom more often than a cause: a learning rate out of range, gradients that vanish, dead units, a plateau. In
a run that has converged updates are short because nothing is left to do, and that is healthy. So are layers that train
a hundred times more slowly than others on purpose, as in fine-tuning.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import Progress, progress, remedy, slower, two_digits, typical, weights
from descend.run import Series

MEASURED: Final = 5  # measurements after the first, at which biases that begin at zero make any ratio large

SHORT: Final = 1e-5  # sick runs 5e-7 to 7e-7; slow ones that learned something 8e-5 and more
LONG: Final = 0.2  # sick runs 0.3 to 1.6; ones that learned 0.13 at most, in any layer
USUAL: Final = 1e-3
LEFT: Final = 0.9  # of the loss of guessing, where all updates are short
LEFT_LONG: Final = 0.3  # where updates are long

WAY: Final = 1e-3
"""How far all updates of a layer together go, of its weights' length: layers of 150 healthy networks 0.015 and more,
one with a learning rate of 3e-8 in 480 steps 1e-4."""

BEHIND: Final = 1e3
"""How much further the layer that moves most has gone: in healthy networks 125 times at most, with such a rate 1e4."""


RATES: Final = 100.0
"""Highest learning rate over the lowest: mistaken groups 300 and 1,000; rates meant for fine-tuning 10."""

SWOLLEN: Final = 10.0
"""By how much weights have grown, by themselves and relative to most layers': with such a rate 20 and 98, in networks
with several rates that learn 7 at most."""

LAYERS: Final = 3  # of which most can be said to have grown less


def look(chart: Chart) -> Finding | Unknown | None:
    ratios, gone = _without_first(chart.series("update_ratio/all")), progress(chart)
    if gone is None or len(ratios.y) < MEASURED:
        return Unknown(f"{MEASURED} measurements of the updates")
    layers = {place: _without_first(series) for place, series in weights(chart, "update_ratio").items()}
    typicals = {place: typical(series.y) for place, series in layers.items()} | {"all layers": typical(ratios.y)}
    longest = max(typicals, key=lambda place: typicals[place])
    if typicals[longest] > LONG and gone.end > LEFT_LONG:
        return _out_of_range(chart, gone, longest, typicals[longest], LONG)
    if 0 < typicals["all layers"] < SHORT and gone.end > LEFT:
        return _out_of_range(chart, gone, "all layers", typicals["all layers"], SHORT)
    return _left_behind(chart, gone, layers) or _swollen(chart, gone)


def _without_first(series: Series) -> Series:
    later = (series.x > 1) & np.isfinite(series.y)
    return Series(series.x[later], series.y[later])


def _out_of_range(chart: Chart, gone: Progress, place: str, ratio: float, threshold: float) -> Finding:
    short = threshold == SHORT
    name = "all" if place == "all layers" else place
    return Finding(
        f"Updates are far too {'short' if short else 'long'}: each changes the weights of {place} by "
        f"{two_digits(ratio)} of their length, where about {USUAL:g} is usual, and {gone.says}.",
        (
            Evidence(
                f"update_ratio/{name}",
                ratio,
                threshold,
                f"Of the weights of {place}, an update typically has {two_digits(ratio)} of the length.",
            ),
            Evidence(gone.series, gone.end, LEFT if short else LEFT_LONG, f"{gone.says}.".capitalize()),
        ),
        sure=0.7,
        where=None if name == "all" else place,
        since=1,
        remedies=(_faster(chart, USUAL / ratio) if short else slower(chart, 10.0),),
    )


def _left_behind(chart: Chart, gone: Progress, layers: dict[str, Series]) -> Finding | None:
    """Some layers hardly move while others do."""
    ways = {place: float(series.y.mean()) * gone.steps for place, series in layers.items() if series.y.any()}
    behind = [place for place, way in ways.items() if way < WAY and max(ways.values()) > BEHIND * way]
    if not behind:
        return None
    least, most = min(behind, key=lambda place: ways[place]), max(ways, key=lambda place: ways[place])
    way = f"in {gone.steps:,} steps they have moved {two_digits(ways[least])} of their length"
    return Finding(
        f"{least} and {len(behind) - 1} other weight matrices are as good as frozen: {way}, those of {most} "
        f"{two_digits(ways[most])}."
        if len(behind) > 1
        else f"{least} is as good as frozen: {way}, those of {most} {two_digits(ways[most])}.",
        (
            Evidence(
                f"update_ratio/{least}",
                ways[least],
                WAY,
                f"All updates of {least} together have {two_digits(ways[least])} of its length, those of {most} "
                f"{two_digits(ways[most] / ways[least])} times as much.",
            ),
        ),
        sure=0.8,
        where=least,
        since=1,
        remedies=(
            Remedy(
                f"Look at the learning rate that the optimizer has for {least}: is it meant to be that much lower?",
                diff={'{"params": body.parameters(), "lr": 3e-8}': '{"params": body.parameters(), "lr": 3e-3}'},
            ),
        ),
    )


def _swollen(chart: Chart, gone: Progress) -> Finding | None:
    """Some weights have grown many times over, and the optimizer has a rate of their own for some."""
    rates = [group["lr"] for group in chart.fact("optimizer", "groups") or () if group.get("lr")]
    growths = {
        place: float(series.y[-1] / series.y[0])
        for place, series in weights(chart, "weight_norm").items()
        if len(series.y) and series.y[0] > 0
    }
    if len(growths) < LAYERS or len(rates) < 2 or max(rates) < RATES * min(rates):
        return None
    place = max(growths, key=lambda each: growths[each])
    growth, usual = growths[place], float(np.median(list(growths.values())))
    ends = {each: float(chart.series(f"weight_norm/{each}").y[-1]) for each in growths}
    largest = all(ends[place] > 2 * end for each, end in ends.items() if each != place)  # not one that began near zero
    if not max(1.0, usual) * SWOLLEN < growth < math.inf or not largest:
        return None
    says = (
        f"The optimizer has learning rates from {two_digits(min(rates))} to {two_digits(max(rates))}, a factor of "
        f"{two_digits(max(rates) / min(rates))}."
    )
    grown = f"The weights of {place} have grown {two_digits(growth)} times, those of most layers {usual:.2g} times."
    return Finding(
        f"Updates of {place} are far too long for it: in {gone.steps:,} steps its weights have grown "
        f"{two_digits(growth)} times, those of most layers {usual:.2g} times. {says}",
        (
            Evidence(f"weight_norm/{place}", growth, SWOLLEN, grown),
            Evidence("facts/optimizer/groups", max(rates) / min(rates), RATES, says),
        ),
        sure=0.8,
        where=place,
        since=1,
        remedies=(
            Remedy(
                f"Look at the learning rate that the optimizer has for {place}: is it meant to be that much higher?",
                diff={'{"params": head.parameters(), "lr": 1.0}': '{"params": head.parameters(), "lr": 1e-2}'},
            ),
        ),
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
    symptom="The loss does not move at all, or is thrown about from step to step; or some layers never change.",
    sick=Example(data="digits", model="mlp", optimizer="sgd", lr=1e-5, steps=200),
    near_miss=Example(
        data="employee_bonus", scale="standard", model="linear", optimizer="sgd", lr=0.3, batch_size="all", steps=800
    ),
    look_alike="A converged run: its updates are a billionth of the weights, because nothing is left to learn.",
    source="Stanford CS231n, Neural Networks Part 3: ratio of weights to updates",
    explains=frozenset({"chance_level", "plateau", "underfitting"}),
)
