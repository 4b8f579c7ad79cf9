"""Units of a ReLU layer are dead: below zero for every input, so that no gradient reaches them.

A ReLU's slope is zero where its input is negative. A unit that is negative for every row of the data puts out nothing
and gets no gradient, so its own weights never move again; only the layers below it can bring it back. Units die from
one long step (a learning rate that is too high), from biases far below zero, and from large inputs that are not
centred. If a whole layer dies, nothing goes through it in either direction, and the outputs are the last layer's bias.

That a ReLU is silent for half of the rows is how it works, and some units that are dead for good are common: after
1,500 steps on a curve of one variable, a network that fits it had 57 % dead units in one layer. So this check looks for
layers that are dead as a whole, or nearly so, while the loss is far from learned.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import CERTAIN, Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import LEARNS_NOTHING, Progress, percent, progress, relus, remedy, since_below, slower
from descend.run import Series

MEASURED: Final = 3  # measurements in a row in which a layer must be silent to be dead

SHARE: Final = 0.8
"""Of a layer's units: in networks that fit, 0.57 at most; in deep ones that are deaf to their input, 0.66."""

ALL: Final = 0.9  # of the loss of guessing, where a whole layer is dead: a residual connection may lead around it
MOST: Final = 0.5  # of it, where most of a layer is


def look(chart: Chart) -> Finding | Unknown | None:
    sizes = relus(chart)
    gone = progress(chart)
    if not sizes and chart.names:
        return None  # no ReLU
    if gone is None or not any(len(size.y) >= MEASURED for size in sizes.values()):
        return Unknown(f"{MEASURED} measurements of a ReLU layer")
    begins_deaf = chart.fact("network", "output_depends_on_input") is False and not chart.fact("network", "zero")
    if begins_deaf and not _born(sizes):
        return None  # the inputs did not get through before units died either: see deaf_network
    silent = [place for place, size in sizes.items() if len(size.y) >= MEASURED and not size.y[-MEASURED:].any()]
    if silent and gone.end >= ALL:
        return _silent(chart, silent[0], sizes[silent[0]], gone)
    shares = {place: float(series.y[-1]) for place, series in chart.layers("dead_units").items() if len(series.y)}
    worst = max(shares, key=lambda place: shares[place], default="")
    if worst and shares[worst] >= SHARE and gone.end >= MOST:
        return _nearly(chart, worst, shares[worst], gone)
    return None


def _born(sizes: dict[str, Series]) -> bool:
    """Whether a layer was dead at the first measurement."""
    return any(len(size.y) > 0 and not size.y[0] for size in sizes.values())


def _silent(chart: Chart, place: str, size: Series, gone: Progress) -> Finding:
    since = since_below(size, np.nextafter(0, 1))
    born = since == int(size.x[0])
    begun = "from the start" if born else f"since step {since:,} or a little before"
    steps = int((size.x >= since).sum())
    return Finding(
        f"All units of {place} are dead {begun}: none was above zero for any input, so that nothing gets through, and "
        f"{gone.says}.",
        (
            Evidence(
                f"activation_std/{place}",
                0.0,
                0.0,
                f"At {steps} measured steps in a row every output of {place} was exactly zero.",
            ),
            Evidence(gone.series, gone.end, ALL, f"{gone.says}.".capitalize()),
        ),
        sure=CERTAIN,
        where=place,
        since=since,
        remedies=_remedies(chart, born),
    )


def _nearly(chart: Chart, place: str, share: float, gone: Progress) -> Finding:
    return Finding(
        f"{percent(share)} of the units of {place} are dead: none of them was above zero for any of the last 512 "
        f"examples or more, and {gone.says}.",
        (
            Evidence(
                f"dead_units/{place}", share, SHARE, f"{percent(share)} of {place} puts out nothing for any example."
            ),
            Evidence(gone.series, gone.end, MOST, f"{gone.says}.".capitalize()),
        ),
        sure=0.8,
        where=place,
        remedies=_remedies(chart, born=False),
    )


def _remedies(chart: Chart, born: bool) -> tuple[Remedy, ...]:
    begin = remedy(
        chart,
        "Begin with He's initialisation and with biases at zero.",
        "changes the result",
        {"nn.init.constant_(layer.bias, -10)": "nn.init.zeros_(layer.bias)"},
        init="he_normal",
    )
    leaky = remedy(
        chart,
        "Take a leaky ReLU, whose slope is nowhere zero.",
        "changes the result",
        {"nn.ReLU()": "nn.LeakyReLU()"},
        activation="leaky_relu",
    )
    return (begin if born else slower(chart, 10.0), leaky)


dead_relus = Check(
    look,
    symptom="The loss stays at that of guessing, or falls back to it and never moves again.",
    sick=Example(fault="dead_relus", data="moons", model="mlp", width=32, lr=0.1, epochs=15),
    near_miss=Example(data="sines", model="mlp", depth=3, width=200, optimizer="adam", lr=3e-3, steps=600),
    look_alike="Ordinary sparsity: a ReLU is silent for about half of the rows, and some units may be dead for good.",
    source="Lu et al. 2019, Dying ReLU and Initialization: Theory and Numerical Examples",
    explains=LEARNS_NOTHING | {"deaf_network"},
)
