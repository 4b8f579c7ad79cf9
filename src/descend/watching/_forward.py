"""Forward passes of the watched models, seen through a hook on each whole model."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from descend.facts.network import NORMALISATION, STOCHASTIC, unwrapped
from descend.monitors._capture import Capture
from descend.monitors._monitor import Activation

LOOKED_AT: Final = 16  # of a model's dropout and batch norm modules, to see in which mode it is


@dataclass
class Seen:
    """One forward pass of the user's loop, with gradients: what went in, what came out."""

    inputs: tuple[Any, ...]
    named: dict[str, Any]
    training: bool
    output: Tensor | None = None
    activations: Mapping[str, Activation] = field(default_factory=dict)

    @property
    def first(self) -> Tensor | None:
        """The first tensor among the inputs."""
        return first_tensor((*self.inputs, *self.named.values()))


@dataclass
class Modes:
    """How often the user's loop ran the model in which mode. Modules are those that tell the modes apart."""

    stochastic_modules: int = 0
    normalisation_modules: int = 0
    train_steps: int = 0
    train_steps_in_eval: int = 0
    plain_forwards: int = 0
    plain_forwards_in_train: int = 0


class Forwards:
    """The forward passes of one model. `latest` is the one before the coming backward pass.

    Between two backward passes the first pass in training mode counts: a model may be called many times (a
    recurrent cell), and validated without `no_grad`.
    """

    def __init__(self, model: nn.Module, guard: Callable[..., None]) -> None:
        inner = unwrapped(model)
        self.model = inner
        # inside DistributedDataParallel the user's module is called; torch.compile only calls its `forward`
        self._called = model if "_orig_mod" in model._modules else inner
        self._special = [m for m in inner.modules() if isinstance(m, (STOCHASTIC, NORMALISATION))]
        self.modes = Modes(
            stochastic_modules=sum(isinstance(m, STOCHASTIC) for m in self._special),
            normalisation_modules=sum(isinstance(m, NORMALISATION) for m in self._special),
        )
        self._looked_at = self._special[:: -(-len(self._special) // LOOKED_AT) or 1]
        self.latest: Seen | None = None
        self.capturing = False  # whether the next pass shows its output, and its activations where `activations`
        self.activations = True
        self.ours = False  # whether it is we who call the model
        self.first: list[tuple[Tensor, Tensor]] | None = None  # the model's buffers, and what they were at first
        self._capture: Capture | None = None
        self._handles: list[RemovableHandle] = []
        hook = _Hook(self._called, guard, self._before)
        self._standing = self._called.register_forward_pre_hook(hook, with_kwargs=True)

    def remove(self) -> None:
        """Leave no hook on the model."""
        self._end_capture()
        self._standing.remove()
        self.first = []
        self.latest = None

    def forget(self) -> None:
        """What comes next is a new step."""
        self.latest = None

    def _before(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        if self.ours:
            return
        mode = self._called.training
        awake = any(module.training for module in self._looked_at) if self._looked_at else mode
        if not torch.is_grad_enabled():
            self.modes.plain_forwards += 1
            # dropout that drops in a model in evaluation mode is meant: Monte-Carlo dropout
            self.modes.plain_forwards_in_train += mode and awake
            return
        training = mode or awake  # batch norm that sleeps in a model in training mode is meant: frozen statistics
        if self.first is None:
            self.first = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        if self.latest is None or (training and not self.latest.training):
            self.latest = Seen(inputs, named, training)
            if self.capturing:
                self._begin_capture(self.latest)

    def _begin_capture(self, seen: Seen) -> None:
        self._end_capture()
        if self.activations and not compiled(self._called):
            self._capture = self._capture or Capture(self.model)
            seen.activations = self._capture.__enter__()

        def after(output: Any) -> None:
            self._end_capture()
            first = first_tensor(output)
            seen.output = None if first is None else first.detach()

        self._handles = [self._called.register_forward_hook(_After(after), always_call=True)]

    def _end_capture(self) -> None:
        for handle in self._handles:
            handle.remove()
        if self._handles and self._capture:
            self._capture.__exit__(None, None, None)
        self._handles = []


def compiled(model: nn.Module) -> bool:
    """Whether `torch.compile` runs the model, or a part of it: hooks inside would not be called."""
    return any("_orig_mod" in module._modules or module._compiled_call_impl is not None for module in model.modules())


class _Hook:
    """A hook that belongs to one module. A copy of the module, or one that was saved, gets a hook that does nothing."""

    def __init__(self, module: nn.Module, guard: Callable[..., None], tell: Callable[..., None]) -> None:
        self._module, self._guard, self._tell = module, guard, tell

    def __call__(self, module: nn.Module, inputs: Any, named: Any) -> None:
        if not torch.compiler.is_compiling():
            self._guard("forward", self._tell, inputs, named)

    def __reduce__(self) -> tuple[Any, ...]:
        # something of the standard library that takes any arguments and returns None, so that what was saved while
        # it was watched can be loaded without descend
        return getattr, (contextlib.nullcontext(), "__exit__")


class _After(_Hook):
    """The same after the forward pass."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if not torch.compiler.is_compiling():
            self._tell(output)


def first_tensor(values: Any) -> Tensor | None:
    """The first tensor with rows in an input or an output, whatever it is packed in; logits go first."""
    if isinstance(values, Tensor):
        return values if values.dim() else None
    if dataclasses.is_dataclass(values) and not isinstance(values, (type, Mapping)):
        values = vars(values)
    if isinstance(values, Mapping):
        values = [values["logits"]] if "logits" in values else list(values.values())
    if isinstance(values, (tuple, list)):
        return next((first for each in values if (first := first_tensor(each)) is not None), None)
    return None
