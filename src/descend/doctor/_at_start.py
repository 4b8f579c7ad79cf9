"""What is wrong with a network before any update, so that no learning rate is to blame for it."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._signals import BORN, SATURATED, by_depth, relus, sensitivities, two_digits

FORWARD: Final = 100.0
"""How much larger the activations of a later layer are than those of the first: exploding networks 190 to 4e4; networks
that learned 36 at most (weights drawn twice as large as He's)."""

BACKWARD: Final = 30.0
"""How much larger gradient times weight is in the first third of the layers than in the last: exploding tanh networks
40 and more; networks that learned 24 at most (many batch norms)."""

THROUGH_TIME: Final = 50.0
"""How much larger gradient times weight is in a recurrent matrix than in the last layer: exploding ones 150 and more,
networks that learned 3 at most."""

ORDER: Final = -0.8  # rank correlation of gradient times weight with depth


class Growth(NamedTuple):
    """A measure that grows: by which factor, beyond which it explodes, and how that is said."""

    series: str
    factor: float
    threshold: float
    where: str | None
    since: int
    says: str


def broken(chart: Chart) -> bool:
    """Whether at the first step the signal explodes, or a layer of ReLUs is silent, or one of tanhs at its bounds."""
    silent = any(not size.y[0] for size in relus(chart).values() if len(size.y))
    full = any(series.y[0] > BORN for series in chart.layers("saturation").values() if len(series.y))
    return silent or full or explosion(chart) is not None


def explosion(chart: Chart) -> Growth | None:
    """How the signal grows through the layers, or from position to position of a sequence."""
    grown = (_forward(chart), _backward(chart), _through_time(chart))
    return next((growth for growth in grown if growth and growth.factor > growth.threshold), None)


def _forward(chart: Chart) -> Growth | None:
    """Through the layers to the output."""
    stds = {place: float(series.y[0]) for place, series in chart.layers("activation_std").items() if len(series.y)}
    if len(stds) < 3 or not min(stds.values()) > 0:
        return None
    first, largest = next(iter(stds)), max(stds, key=lambda place: stds[place])
    factor = stds[largest] / stds[first]
    says = (
        "The signal explodes on its way through the layers: before any update its standard deviation is "
        f"{two_digits(stds[first])} at {first} and {two_digits(stds[largest])} at {largest}, "
        f"{two_digits(factor)} times as much"
    )
    return Growth(f"activation_std/{largest}", factor, FORWARD, largest, 1, says)


def _backward(chart: Chart) -> Growth | None:
    """Through the layers back to the input, where the units are not saturated, which is a problem of its own."""
    layers = sensitivities(chart)
    depth = by_depth(np.array([series.y[0] for series in layers.values()]))
    full = any(series.y[0] > SATURATED for series in chart.layers("saturation").values() if len(series.y))
    if depth is None or depth.order > ORDER or full:
        return None
    return _back(chart, next(iter(layers)), list(layers)[-1], depth.ratio, BACKWARD, "through the layers")


def _through_time(chart: Chart) -> Growth | None:
    """From position to position of a sequence, back to the first."""
    layers = sensitivities(chart)
    recurrent = [place for place in layers if "_hh" in place]
    if not recurrent or "_hh" in (last := list(layers)[-1]) or not layers[last].y[0] > 0:
        return None
    first = max(recurrent, key=lambda place: layers[place].y[0])
    factor = float(layers[first].y[0] / layers[last].y[0])
    return _back(chart, first, last, factor, THROUGH_TIME, "through time")


def _back(chart: Chart, first: str, last: str, factor: float, threshold: float, way: str) -> Growth:
    front, back = (two_digits(float(chart.series(f"grad_norm/{place}").y[0])) for place in (first, last))
    says = (
        f"The gradient explodes on its way back {way}: before any update its norm is {back} at {last} and {front} at "
        f"{first}, where gradient times weight is {two_digits(factor)} times as large"
    )
    return Growth(f"grad_norm/{first}", factor, threshold, first, 1, says)
