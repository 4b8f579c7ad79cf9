"""Mean and standard deviation of what each activation module puts out.

`activation_mean/<module>` and `activation_std/<module>`, over all units and positions. A standard deviation that
shrinks or grows from layer to layer by a constant factor is an initialisation that does not fit the activation
(He et al. 2015, section 2.2). A healthy-looking one is no proof of health: see input_variance.

Over evenly spaced examples of the batch that have 8,192 numbers, but at least 8 of them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from descend.monitors._monitor import Monitor, Step
from descend.monitors._sample import some_examples


def measure(step: Step) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}
    for name, activation in step.activations.items():
        mean, std = _mean_and_std(some_examples(activation.output))
        values |= {f"activation_mean/{name}": mean, f"activation_std/{name}": std}
    return values


def _mean_and_std(output: Float[Tensor, "rows ..."]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    mean = output.mean()
    # torch.std is 20 times slower on a CPU: its one-pass algorithm is not vectorised.
    return mean, torch.linalg.vector_norm(output - mean) / output.numel() ** 0.5


activations = Monitor(measure, unit="unit of the activation", needs=frozenset({"activations"}))
