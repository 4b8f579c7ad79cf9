"""The gradient fades on its way back through the layers, so that the first ones hardly learn.

A gradient that goes back through a layer is multiplied by its weights and by the slope of its activation. A sigmoid's
slope is 1/4 at most, and with PyTorch's default weights each sigmoid layer makes the gradient about seven times
smaller: of eight layers, the first gets a millionth of what the last gets, and stays as it was drawn. It is not the
slope alone: with larger weights the product can stay at one, and with smaller ones a tanh or ReLU network fades too.

A small gradient is no sign of it. Gradients are small wherever training has converged, and the unit of a gradient is
that of the loss by that of a weight, so no fixed value is too small. What tells is that the gradient shrinks from layer
to layer towards the input, at most measured steps, while the loss has hardly moved.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Unknown
from descend.doctor._signals import (
    LEARNS_NOTHING,
    by_depth,
    deaf,
    let_through,
    progress,
    saturated,
    sensitivities,
    squashing,
    two_digits,
    typical,
)

STEPS: Final = 100  # a deep network that trains may need as many before its first layers take part

RATIO: Final = 0.01
"""Of the first third of the layers to the last: sick runs 1e-3 and less (6 sigmoid layers 1e-4, 12 3e-8), one that
began to learn late 3e-3; healthy runs 0.07 and more, one that had learned half 0.013."""

ORDER: Final = 0.8  # sick runs 0.85 to 1; in healthy ones the gradient more often shrinks towards the output (-0.3)
LEFT: Final = 0.6  # of the loss of guessing: what trained although its gradient had vanished at first has 0.5 and less


def look(chart: Chart) -> Finding | Unknown | None:
    layers = sensitivities(chart)
    gone = progress(chart)
    if chart.steps < STEPS or gone is None:
        return Unknown(f"at least {STEPS} steps")
    if not layers:
        return Unknown("the norms of gradients and weights")
    depth = by_depth(np.array([typical(series.y) for series in layers.values()]))
    if depth is None or depth.ratio > RATIO or depth.order < ORDER or gone.end < LEFT:
        return None
    if saturated(chart) or (deaf(chart) and not squashing(chart)):
        return None  # saturated_units or deaf_network says why
    norms = {place: typical(chart.series(f"grad_norm/{place}").y) for place in layers}
    (first, least), *_, (last, most) = ((place, norm) for place, norm in norms.items() if norm > 0)
    return Finding(
        f"The gradient vanishes on its way back: its norm is {two_digits(most)} at {last} but {two_digits(least)} at "
        f"{first}, a factor of {two_digits(most / least)}, and {gone.says}.",
        (
            Evidence(
                f"grad_norm/{first}",
                depth.ratio,
                RATIO,
                f"From the last layers to the first, gradient times weight shrinks to {two_digits(depth.ratio)} of its "
                "size, layer by layer.",
            ),
            Evidence(gone.series, gone.end, LEFT, f"{gone.says}.".capitalize()),
        ),
        sure=0.9 if depth.ratio < RATIO / 10 and gone.end > 0.9 else 0.75,
        where=first,
        since=int(layers[first].x[0]),
        remedies=let_through(chart),
    )


vanishing_gradients = Check(
    look,
    symptom="The loss hardly moves from its first value, in a deep network; the last layers learn, the first do not.",
    sick=Example(
        data="moons", model="mlp", depth=8, width=32, activation="sigmoid", optimizer="sgd", lr=0.1, steps=200
    ),
    near_miss=Example(data="moons", model="mlp", depth=8, width=32, optimizer="adam", lr=3e-3, steps=400),
    look_alike=(
        "A converged run, whose gradients are small in every layer; a deep ReLU network, whose first layers get less "
        "at first and catch up; layers that are frozen."
    ),
    source="Hochreiter 1991; Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward networks",
    explains=LEARNS_NOTHING | {"deaf_network", "lr_too_high"},
)
