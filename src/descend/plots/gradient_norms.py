"""The size of the loss's gradient, layer by layer: does it vanish or explode on its way back?"""

from __future__ import annotations

from collections.abc import Sequence

from descend.plots._layers import by_layer
from descend.plots._style import Figure, styled
from descend.run import Run


@styled
def gradient_norms(runs: Sequence[Run]) -> Figure:
    """Euclidean norm of each parameter's gradient before clipping, and of all together (dashed)."""
    return by_layer(runs, {"grad_norm": "gradient norm"})
