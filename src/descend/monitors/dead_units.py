"""Share of ReLU units that were not active for any of the last 512 examples or more.

A unit is active for an example where its output is above zero, in a convolution (a channel) or a sequence (a feature)
at any place. A unit that is active for no example gets no gradient, so nothing can wake it but a change below it (Lu et
al. 2019, "Dying ReLU and Initialization"). That a ReLU is silent for half of the inputs is ordinary and counts
for nothing: a unit active for 1 % of all examples is taken for dead once in 170 windows (0.99^512).

The window is a whole block of at least 512 examples and the block begun after it, from the batches that are measured;
until the first block is full there is no value. Units are the last axis of [rows, units] and [rows, positions, units]
outputs, and axis 1 of images. Cost: one pass over all outputs of ReLU modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from descend.monitors._monitor import Monitor, Step

WINDOW: Final = 512  # examples
KINDS: Final = frozenset({"relu", "relu6"})


def measure(step: Step) -> dict[str, Tensor]:
    windows: dict[str, dict[str, Any]] = step.memory.setdefault("dead_units", {})
    values: dict[str, Tensor] = {}
    for name, (kind, output) in step.activations.items():
        if kind in KINDS:
            window = _Window(**windows.get(name, {}))
            window.see(output)
            windows[name] = vars(window)
            if window.full is not None:
                values[f"dead_units/{name}"] = window.dead()
    return values


@dataclass
class _Window:
    """The largest output of each unit in the last full block, and in the one that is being filled."""

    full: Tensor | None = None
    filling: Tensor | None = None
    examples: int = 0  # in the one being filled

    def see(self, output: Float[Tensor, "rows ..."]) -> None:
        units = 1 if output.dim() > 3 else output.dim() - 1
        largest = output.amax(dim=[axis for axis in range(output.dim()) if axis != units])
        self.filling = largest if self.filling is None else torch.maximum(self.filling, largest)
        self.examples += len(output)
        if self.examples >= WINDOW:
            self.full, self.filling, self.examples = self.filling, None, 0

    def dead(self) -> Float[Tensor, ""]:
        """The share of units that stayed at zero in both blocks."""
        assert self.full is not None, "no block is full"
        largest = self.full if self.filling is None else torch.maximum(self.full, self.filling)
        return (largest <= 0).float().mean()


dead_units = Monitor(measure, unit="share of units", needs=frozenset({"activations"}))
