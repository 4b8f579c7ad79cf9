"""Activations of a module, seen through hooks that are always removed."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from descend.monitors._monitor import Activation

ACTIVATIONS: Final = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus),
    *(nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softsign, nn.LogSigmoid, nn.GLU),
    nn.RNN,  # its output is its tanh or relu at every position
)
CALLS: Final = 8  # of a module in one forward pass that are kept: a recurrent cell is called once a position

Guard = Callable[..., None]


def _plainly(part: str, function: Callable[..., None], *arguments: Any) -> None:
    function(*arguments)


class Capture:
    """`with capture as activations:` fills {module name: Activation} during a forward pass, in forward order.

    Watches the activation modules of `model`, or the leaves in it where it has none. A module called several times
    gives `relu`, `relu@2`, `relu@3`, up to 8 times. Outputs are detached and not copied: an in-place operation later
    in the forward pass shows in them. Hooks stand only inside the block, and leave it with an exception too.

    One object serves a whole run: it looks for modules once; a block then costs 3 microseconds a module.
    """

    def __init__(self, model: nn.Module, guard: Guard = _plainly) -> None:
        """`guard("activations", hook, ...)` calls what the hooks do: in somebody else's loop an error must not pass."""
        self._guard = guard
        named = [(name or "model", module) for name, module in model.named_modules()]
        leaves = [
            pair
            for pair in named[1:]  # what a model without parts puts out is its output
            if next(pair[1].children(), None) is None and not isinstance(pair[1], nn.Identity)
        ]
        self._watched = [pair for pair in named if isinstance(pair[1], ACTIVATIONS)] or leaves
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> dict[str, Activation]:
        activations: dict[str, Activation] = {}
        self._handles = [
            module.register_forward_hook(_keep(activations, name, self._guard)) for name, module in self._watched
        ]
        return activations

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _keep(activations: dict[str, Activation], name: str, guard: Guard) -> Any:
    """A forward hook that files the module's output under `name`."""

    def keep(module: nn.Module, output: Any) -> None:
        first = output[0] if isinstance(output, (tuple, list)) and output else output
        if not isinstance(first, Tensor):
            return
        where, call = name, 1
        while where in activations:
            call += 1
            where = f"{name}@{call}"
        if call > CALLS:
            return
        activations[where] = Activation(_kind(module), first.detach())

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if not torch.compiler.is_compiling():  # what is traced now would stay in the compiled code
            guard("activations", keep, module, output)

    return hook


def _kind(module: nn.Module) -> str:
    """The class in lower case; a recurrent network goes by its nonlinearity."""
    return module.nonlinearity if isinstance(module, nn.RNN) else type(module).__name__.lower()
