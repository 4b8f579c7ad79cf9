"""Share of sigmoid and tanh outputs so near their bounds that almost no gradient passes.

An output is saturated where the activation's derivative is below 2 % of its maximum: 1 - y^2 < 0.02 for tanh, which is
|y| > 0.990, and 4 y (1 - y) < 0.02 for the sigmoid, which is y < 0.005 or y > 0.995. (The two agree: a sigmoid is a
tanh, shifted and scaled.) Gradients through such units shrink 50 times or more, as in Glorot & Bengio 2010, section 3.

Looks at Sigmoid and Tanh modules and at plain recurrent layers with tanh; the gates inside an LSTM or a GRU cannot be
seen. Over evenly spaced examples of the batch that have 8,192 outputs, but at least 8 of them.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor

from descend.monitors._monitor import Monitor, Step
from descend.monitors._sample import some_examples

DERIVATIVE: Final = 0.02  # share of the largest derivative below which a unit is saturated
BOUND: Final = (1 - DERIVATIVE) ** 0.5  # of |tanh|
CENTRE_AND_RADIUS: Final = {"tanh": (0.0, 1.0), "sigmoid": (0.5, 0.5)}


def measure(step: Step) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}
    for name, (kind, output) in step.activations.items():
        if kind in CENTRE_AND_RADIUS:
            centre, radius = CENTRE_AND_RADIUS[kind]
            distance = (some_examples(output) - centre).abs()
            values[f"saturation/{name}"] = (distance > BOUND * radius).to(output.dtype).mean()
    return values


saturation = Monitor(measure, unit="share of outputs", needs=frozenset({"activations"}))
