"""NaN and infinity: found before they reach the weights, and named with their place."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from descend.optim import RuleOptimizer


@dataclass(frozen=True)
class Problem:
    """The first thing that is not a finite number: `what` ("loss", "weight", ...), `where`, and the `value`."""

    what: str
    where: str
    value: float

    @property
    def sentence(self) -> str:
        value = "NaN" if math.isnan(self.value) else "infinite" if self.value > 0 else "minus infinite"
        return f"the {self.what} of {self.where} was {value}."


def buffers_of(optimizer: RuleOptimizer) -> list[tuple[Tensor, Tensor]]:
    """Weights and gradients that an update works on: the flat buffers, or parameter by parameter."""
    return optimizer.flats or [
        (parameter.detach(), parameter.grad)
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]


def healthy(loss: float, buffers: Iterable[tuple[Tensor, Tensor]]) -> bool:
    """Whether the loss, every gradient and every weight are finite.

    Costs one dot product of weights and gradients, which any NaN or infinity spoils; only where it is not finite (a
    sum of finite products may overflow) are they looked at one by one.
    """
    return math.isfinite(loss) and all(
        math.isfinite(torch.dot(weights.flatten(), gradients.flatten()).item())
        or bool(weights.isfinite().all() and gradients.isfinite().all())
        for weights, gradients in buffers
    )


def locate(loss: float, model: nn.Module, inputs: Tensor) -> Problem:
    """Where the first non-finite number of an unhealthy step is: weight, input, module output, loss, or gradient."""
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return Problem("weight", name, _first(parameter))
    if not inputs.isfinite().all():
        return Problem("input", f"row {int((~inputs.isfinite()).nonzero()[0, 0])} of the batch", _first(inputs))
    if not math.isfinite(loss):
        return _in_forward(model, inputs) or Problem("loss", "the batch", loss)
    # the backward pass runs from the last parameter to the first, so the last one is nearest to the cause
    gradients = [(name, parameter.grad) for name, parameter in model.named_parameters()]
    name, gradient = [(n, g) for n, g in gradients if g is not None and not g.isfinite().all()][-1]
    return Problem("gradient", name, _first(gradient))


def _in_forward(model: nn.Module, inputs: Tensor) -> Problem | None:
    """The first module, in forward order, whose output is not finite; looked for on a copy."""
    found: list[Problem] = []
    twin = copy.deepcopy(model)

    def look(name: str) -> object:
        def hook(module: nn.Module, _: object, output: object) -> None:
            if isinstance(output, Tensor) and not found and not output.isfinite().all():
                found.append(Problem("output", f"{name} ({type(module).__name__})", _first(output)))

        return hook

    for name, module in twin.named_modules():
        module.register_forward_hook(look(name or "the model"))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        twin(inputs)
    return found[0] if found else None


def _first(tensor: Tensor) -> float:
    return float(tensor.detach()[~tensor.isfinite()][0])
