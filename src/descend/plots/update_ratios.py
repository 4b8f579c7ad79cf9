"""How far an update moves each parameter, in parts of the parameter's own size.

The dotted line is 0.001, a size that is often called healthy for a weight matrix (A. Karpathy, makemore part 3): far
above it training is restless, far below it a layer hardly learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from descend.plots._layers import by_layer
from descend.plots._style import Figure, styled
from descend.run import Run

HEALTHY: Final = 1e-3


@styled
def update_ratios(runs: Sequence[Run]) -> Figure:
    """Norm of each parameter's update over the norm of the parameter."""
    return by_layer(runs, {"update_ratio": "update-to-weight ratio"}, guide=HEALTHY)
