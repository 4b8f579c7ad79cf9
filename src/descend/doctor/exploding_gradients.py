"""The signal grows from layer to layer, or from time step to time step, so that gradients are huge or useless.

What goes through a layer is multiplied by its weights, forwards and backwards. If each layer makes it twice as large,
ten layers make it a thousand times as large: with ReLUs the outputs, the loss and every gradient with them; with tanhs,
whose outputs are bounded, the gradient on its way back. A recurrent network multiplies by the same matrix at every
position, so that a sequence of fifty positions has the depth of fifty layers. Then no learning rate suits all layers.

A large gradient is no sign of it. A gradient's norm has the unit of the loss by that of a weight: it was 3,019 at the
start of a healthy run on salaries, and would be a thousand times that if the loss were counted in thousandths. What
tells is growth: through the layers at the first step, before any update, or over the steps of the run; and that the
loss is no better than guessing in the end.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import LEARNS_NOTHING, by_depth, progress, remedy, sensitivities, slower, two_digits

FORWARD: Final = 100.0
"""How much larger the activations of a later layer are than those of the first, at the first step: exploding networks
190 to 4e4; networks that learned 36 at most (weights drawn twice as large as He's)."""

BACKWARD: Final = 30.0
"""How much larger gradient times weight is in the first third of the layers than in the last, at the first step:
exploding tanh networks 40 and more; networks that learned 24 at most (many batch norms)."""

THROUGH_TIME: Final = 50.0
"""How much larger gradient times weight is in a recurrent matrix than in the last layer, at the first step: exploding
ones 150 and more, networks that learned 3 at most."""

OVER_TIME: Final = 1e3
"""How much the gradient's norm has grown since the first step: runs that diverged 1e4 and more; in runs that learned it
grew 250-fold at most, while they left a plateau."""

SATURATED: Final = 0.6  # of a layer at the first step: weights so large have a check of their own
ORDER: Final = -0.8  # rank correlation with depth
LEFT: Final = 0.9  # of the loss of guessing: what learns in spite of it is left alone


class Growth(NamedTuple):
    """A measure that grows: by which factor, beyond which it explodes, and how that is said."""

    series: str
    factor: float
    threshold: float
    where: str | None
    since: int
    says: str


def look(chart: Chart) -> Finding | Unknown | None:
    losses = chart.series("loss/batch").y
    broken = len(losses) > 0 and not np.isfinite(losses[-1])
    gone = progress(chart)
    if gone is None and not broken:
        return Unknown("at least 20 steps")
    if gone is not None and not broken and gone.end < LEFT:
        return None
    grown = [growth for growth in (_forward(chart), _backward(chart), _through_time(chart)) if growth]
    worse = broken or (gone is not None and gone.end > max(1.0, gone.first))
    grown += [growth for growth in (_over_time(chart),) if growth and worse]
    found = next((growth for growth in grown if growth.factor > growth.threshold), None)
    if found is None:
        return None
    outcome = "the loss is not a finite number any more" if broken or gone is None else gone.says
    harm = Evidence("loss/batch", float(losses[-1]), 0.0, f"{outcome}.".capitalize())
    if gone is not None and not broken:
        harm = Evidence(gone.series, gone.end, LEFT, f"{outcome}.".capitalize())
    return Finding(
        f"{found.says}, and {outcome}.",
        (Evidence(found.series, found.factor, found.threshold, f"{found.says}."), harm),
        sure=0.85 if found.where else 0.8,
        where=found.where,
        since=found.since,
        remedies=_remedies(chart, found),
    )


# --- four ways to grow ------------------------------------------------------------------------------------------------


def _forward(chart: Chart) -> Growth | None:
    """Through the layers to the output, at the first step."""
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
    """Through the layers back to the input, at the first step."""
    layers = sensitivities(chart)
    depth = by_depth(np.array([series.y[0] for series in layers.values()]))
    full = any(series.y[0] > SATURATED for series in chart.layers("saturation").values() if len(series.y))
    if depth is None or depth.order > ORDER or full:
        return None
    places = list(layers)
    return _back(chart, places[0], places[-1], depth.ratio, BACKWARD, "through the layers")


def _through_time(chart: Chart) -> Growth | None:
    """From position to position of a sequence, at the first step."""
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


def _over_time(chart: Chart) -> Growth | None:
    """From step to step."""
    norms = chart.series("grad_norm/all")
    known = np.flatnonzero(np.isfinite(norms.y) & (norms.y > 0))
    if len(known) < 2:
        return None
    first, last = float(norms.y[known[0]]), float(norms.y[known[-1]])
    since = int(norms.x[known[norms.y[known] <= first][-1]])
    says = (
        f"The gradient explodes: since step {since:,} its norm has grown from {two_digits(first)} to "
        f"{two_digits(last)}, {two_digits(last / first)}-fold"
    )
    return Growth("grad_norm/all", last / first, OVER_TIME, None, since, says)


def _remedies(chart: Chart, found: Growth) -> tuple[Remedy, ...]:
    clip = remedy(
        chart,
        "Clip the gradient's norm, so that no update can throw the weights away.",
        "changes the result",
        {"optimizer.step()": "nn.utils.clip_grad_norm_(model.parameters(), 1.0)\noptimizer.step()"},
        clip_norm=1.0,
    )
    if found.where is None:
        return (slower(chart, 10), clip)
    smaller = remedy(
        chart,
        "Begin with weights that keep the size of a signal: PyTorch's default, Glorot's or He's initialisation.",
        "changes the result",
        {"nn.init.normal_(layer.weight)": "nn.init.xavier_normal_(layer.weight)"},
        init="xavier_normal",
    )
    return (smaller, clip)


exploding_gradients = Check(
    look,
    symptom="The loss begins far too high, jumps, or is NaN after a few steps, at any ordinary learning rate.",
    sick=Example(
        data="digits", model="mlp", depth=10, init="normal", init_std=0.6, optimizer="sgd", lr=0.01, steps=100
    ),
    near_miss=Example(data="digits", model="mlp", depth=10, init="he_normal", optimizer="adam", lr=1e-3, steps=150),
    look_alike=(
        "A gradient whose norm is in the thousands because the targets are; a deep network with He's initialisation; "
        "gradients that grow while a plateau is left."
    ),
    source="Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks",
    explains=(LEARNS_NOTHING - {"lr_too_low"})
    | {"non_finite", "loss_spikes", "saturated_units", "dead_relus", "clipping_always"},
)
