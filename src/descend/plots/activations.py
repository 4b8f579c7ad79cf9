"""The state of each activation layer: units that are dead or saturated, and how much the answers differ by input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from descend.plots._layers import by_layer
from descend.plots._style import Figure, styled
from descend.run import Run

MEASURES: Final = {
    "dead_units": "share of dead units",
    "saturation": "share of saturated units",
    "input_variance": "variance over inputs",
}


@styled
def activations(runs: Sequence[Run]) -> Figure:
    """Share of dead and of saturated units, and the variance of a unit over the inputs of a batch."""
    return by_layer(runs, MEASURES, shares=("dead_units", "saturation"))
