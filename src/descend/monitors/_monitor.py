"""Monitor: a measurement of one training step, and Step: what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from jaxtyping import Float, Shaped
from torch import Tensor

from descend.catalog import MONITORS, Task

Need = Literal["activations", "updates", "outputs", "targets", "loss_of"]
"""What a monitor looks at beyond parameters and gradients, and goes without a measurement where it is not there."""


class Activation(NamedTuple):
    """What one activation module put out for this batch; `kind` is its class in lower case ("relu", "tanh")."""

    kind: str
    output: Float[Tensor, "batch ..."]


@dataclass
class Step:
    """What one training step shows. It lives for one step and is never stored.

    Monitors see it after the backward pass and before the update, so `parameters` are those at which loss and
    gradients were taken; those that need `updates` see it after the update, with `parameters` as they are then.
    Gradients are those of the batch's mean loss, before clipping. All tensors are detached.
    """

    number: int  # of the update being made, from 1
    loss: Float[Tensor, ""]
    inputs: Shaped[Tensor, "batch ..."]
    targets: Shaped[Tensor, "batch ..."]
    outputs: Shaped[Tensor, "batch ..."]
    task: Task
    lr: float | Float[Tensor, ""]  # a tensor where many runs are vmapped
    parameters: Mapping[str, Tensor]  # by name, like the two below
    gradients: Mapping[str, Tensor]
    updates: Mapping[str, Tensor] = field(default_factory=dict)  # new parameters minus old; the rows _sample.py picks
    activations: Mapping[str, Activation] = field(default_factory=dict)  # by module name, in forward order
    loss_of: Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor] | None = None
    """loss_of(parameters, inputs, targets): the mean loss, differentiable in the parameters; draws no random
    numbers and changes no state (evaluation mode)."""
    memory: dict[str, Any] = field(default_factory=dict)
    """A run's scratch space, the same at every step: for a monitor that looks at several batches. It is saved with the
    run, so it holds tensors and plain values, in dicts and lists."""


@dataclass(frozen=True)
class Monitor:
    """`measure(step)` returns {"measure/where": scalar tensor}; the trainer moves all of them to the CPU at once.

    It is pure but for `step.memory`. `every` is how many measured steps lie between two of its own measurements
    (dear monitors: 10 means every 10th); `default` says whether it runs unless asked for; `vmapped`, whether `measure`
    works under `torch.func.vmap`, so that many runs are measured at once: it must not read a number, nor branch on one.
    """

    measure: Callable[[Step], dict[str, Tensor]]
    unit: str
    needs: frozenset[Need] = frozenset()
    every: int = 1
    default: bool = True
    vmapped: bool = True


def chosen(names: str) -> dict[str, Monitor]:
    """The monitors that a recipe's `monitors` names: "default", "none", "all", or names with commas between."""
    every: dict[str, Monitor] = {name: MONITORS[name] for name in MONITORS} if names != "none" else {}
    wanted = names.split(",")
    return {
        name: monitor
        for name, monitor in every.items()
        if "all" in wanted or name in wanted or ("default" in wanted and monitor.default)
    }
