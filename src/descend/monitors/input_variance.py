"""How much of an activation depends on the input: near 0, every input gets the same answer.

For each activation module and for the model's output: the standard deviation across the examples of the batch, as a
share of the root mean square, both pooled over all units. 1 says that each unit's mean is zero, 0 that the inputs
make no difference. In a 20-layer ReLU network of width 256 with PyTorch's default initialisation the root mean square
of 0.03 looks healthy at the last layer, but the share is 3e-7: what is left are the biases. (In float32, 1e-7 is
rounding error.)

Over evenly spaced examples of the batch that have 8,192 outputs, but at least 8 of them. A batch of one row gives no
value.
"""

from __future__ import annotations

import torch
from torch import Tensor

from descend.monitors._monitor import Monitor, Step
from descend.monitors._norms import norms
from descend.monitors._sample import some_examples


def measure(step: Step) -> dict[str, Tensor]:
    if len(step.outputs) == 1:
        return {}
    places = [f"input_variance/{where}" for where in (*step.activations, "output")]
    outputs = [*(activation.output for activation in step.activations.values()), step.outputs]
    looked_at = [some_examples(output) for output in outputs]
    std = torch.stack(norms(rows - rows.mean(dim=0) for rows in looked_at))
    rms = torch.stack(norms(looked_at))
    share = std / rms.clamp(min=torch.finfo(rms.dtype).tiny)  # all zero: the same answer for every input, so 0
    return dict(zip(places, share.unbind(), strict=True))


input_variance = Monitor(measure, unit="share of the root mean square", needs=frozenset({"activations", "outputs"}))
