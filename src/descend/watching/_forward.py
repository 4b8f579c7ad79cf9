"""Forward passes of the watched models, seen through a hook on each whole model."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from descend.facts.network import NORMALISATION, STOCHASTIC, unwrapped
from descend.monitors._capture import Capture
from descend.monitors._monitor import Activation

DICTS: Final = (dict, OrderedDict)
LOOKED_AT: Final = 16  # of a model's dropout and batch norm modules, to see in which mode it is


@dataclass(slots=True)
class Seen:
    """One forward pass of the user's loop, with gradients: what went in, what came out."""

    inputs: tuple[Any, ...]
    named: dict[str, Any]
    training: bool
    autocast: dict[str, Any] = field(default_factory=lambda: {"device_type": "cpu", "enabled": False})
    output: Tensor | None = None
    activations: Mapping[str, Activation] = field(default_factory=dict)

    @property
    def first(self) -> Tensor | None:
        """The first tensor among the inputs."""
        if self.inputs and isinstance(self.inputs[0], Tensor):
            return self.inputs[0]
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
    """The forward passes of one model, seen by a hook on it; `guard` calls what the hook does.

    Of the passes between two backward passes the first in training mode counts: a model may be called many times (a
    recurrent cell), and validated without `no_grad`.
    """

    def __init__(self, model: nn.Module, guard: Callable[..., None]) -> None:
        inner = unwrapped(model)
        self.model = inner
        # inside DistributedDataParallel the user's module is called; torch.compile only calls its `forward`
        self._called = model if "_orig_mod" in model._modules else inner
        self._guard = guard
        self._special = [m for m in inner.modules() if isinstance(m, (STOCHASTIC, NORMALISATION))]
        self.modes = Modes(
            stochastic_modules=sum(isinstance(m, STOCHASTIC) for m in self._special),
            normalisation_modules=sum(isinstance(m, NORMALISATION) for m in self._special),
        )
        self._looked_at = self._special[:: -(-len(self._special) // LOOKED_AT) or 1]
        self.latest: Seen | None = None  # since the last backward pass
        self.passed: Seen | None = None  # the one of the last backward pass
        self.shown: Seen | None = None  # the first of the step, with its output, where `show` asked for it
        self.buffers: list[tuple[Tensor, Tensor]] | None = None  # the model's, and what they were before the first pass
        self._ours = False  # whether it is we who call the model
        self._showing: Literal["nothing", "output", "activations"] = "nothing"
        self._capture: Capture | None = None
        self._handles: list[RemovableHandle] = []
        self.whole: nn.Module | None = inner  # what makes the outputs of the inputs, if a single module does
        self._standing: list[RemovableHandle] = []
        self._stand_on([self._called])

    def _stand_on(self, modules: list[nn.Module]) -> None:
        for handle in self._standing:
            handle.remove()
        hook = _Hook(self._before, self._guard)
        self._standing = [module.register_forward_pre_hook(hook, with_kwargs=True) for module in modules]

    def look_inside(self) -> None:
        """A loop, or Lightning's `training_step`, may call a model's parts and never the model: watch these instead."""
        parts = [part for part in self._called.children() if next(part.parameters(), None) is not None]
        if len(parts) == 1:
            self._called = self.whole = parts[0]
            self._stand_on(parts)
        elif parts:
            self.whole = None
            self._stand_on(parts)

    def remove(self) -> None:
        """Leave no hook on the model, and keep no batch."""
        self.end_capture()
        self._stand_on([])
        self.latest = self.passed = self.shown = None

    def show(self, what: Literal["nothing", "output", "activations"]) -> None:
        """A new step begins: what its first pass is to show."""
        self._showing, self.shown, self.passed = what, None, None

    def after_backward(self) -> None:
        """The passes so far have had their backward pass."""
        if self.latest is not None:
            self.modes.train_steps += 1
            self.modes.train_steps_in_eval += not self.latest.training
            self.passed, self.latest = self.latest, None

    def again(self, seen: Seen) -> Any:
        """What the model makes of the same inputs."""
        with torch.autocast(**seen.autocast):
            assert self.whole is not None, "parts of a model are called one by one"
            return self.whole(*seen.inputs, **seen.named)

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """The model may be called: what its modules remember, by attribute or buffer, is afterwards as it was."""
        memory = [(vars(module), _copied(vars(module))) for module in self.model.modules()]
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        self._ours = True
        # in another mode a compiled part would be compiled anew, for us alone
        eager = torch.compiler.set_stance("force_eager") if compiled(self.model) else contextlib.nullcontext()
        try:
            with eager:
                yield
        finally:
            self._ours = False
            for attributes, before in memory:
                _restore(attributes, before)
            for buffer, value in buffers:
                buffer.data.copy_(value)  # not seen by autograd, which may hold the buffer for a backward pass

    def _before(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        if self._ours:
            return
        mode = self._called.training
        if not torch.is_grad_enabled():
            awake = any(module.training for module in self._looked_at) if self._looked_at else mode
            self.modes.plain_forwards += 1
            # dropout that drops in a model in evaluation mode is meant: Monte-Carlo dropout
            self.modes.plain_forwards_in_train += mode and awake
            return
        if self.buffers is None:
            self.buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        # batch norm that sleeps in a model in training mode is meant: frozen statistics
        training = mode or any(module.training for module in self._looked_at)
        if self.latest is None or (training and not self.latest.training):
            self.latest = Seen(inputs, named, training)
            if torch._C._is_any_autocast_enabled():
                self.latest.autocast = _autocast_of(self.latest.first)
            if self._showing != "nothing" and (self.shown is None or (training and not self.shown.training)):
                self.shown = self.latest
                self._begin_capture(self.shown)

    def _begin_capture(self, seen: Seen) -> None:
        self.end_capture()
        if self._showing == "activations" and not compiled(self._called):
            self._capture = self._capture or Capture(self.model, self._guard)
            seen.activations = self._capture.__enter__()

        if self.whole is None:
            return  # the activations are captured up to the backward pass, and no output is the model's

        def after(inputs: Any, output: Any) -> None:
            self.end_capture()
            first = first_tensor(output)
            seen.output = None if first is None else first.detach()

        hook = _Hook(after, self._guard)
        self._handles = [self._called.register_forward_hook(hook, always_call=True)]

    def end_capture(self) -> None:
        """The forward pass is over, or will not end."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._capture:
            self._capture.__exit__(None, None, None)


def compiled(model: nn.Module) -> bool:
    """Whether `torch.compile` runs the model, or a part of it: hooks inside would not be called."""
    return any("_orig_mod" in module._modules or module._compiled_call_impl is not None for module in model.modules())


class _Hook:
    """A hook of ours. A copy of the module, or one that was saved, gets one that does nothing instead."""

    def __init__(self, tell: Callable[[Any, Any], None], guard: Callable[..., None]) -> None:
        self._tell, self._guard = tell, guard

    def __call__(self, module: nn.Module, inputs: Any, other: Any) -> None:
        if not torch.compiler.is_compiling():
            self._guard("forward passes", self._tell, inputs, other)

    def __reduce__(self) -> tuple[Any, ...]:
        # something of the standard library that takes any arguments and returns None, so that what was saved while
        # it was watched can be loaded without descend
        return getattr, (contextlib.nullcontext(), "__exit__")


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a module, and what is in its dicts of parameters, buffers, modules and hooks."""
    return {name: value.copy() if type(value) in DICTS else value for name, value in attributes.items()}


def _restore(attributes: dict[str, Any], before: dict[str, Any]) -> None:
    for name in attributes.keys() - before.keys():
        del attributes[name]
    for name, value in before.items():
        if type(value) in DICTS and name in attributes:
            attributes[name].clear()
            attributes[name].update(value)
        else:
            attributes[name] = value


def _autocast_of(first: Tensor | None) -> dict[str, Any]:
    """The autocast mode of the pass, as the arguments of `torch.autocast`."""
    device = "cpu" if first is None else first.device.type
    return {
        "device_type": device,
        "dtype": torch.get_autocast_dtype(device),
        "enabled": torch.is_autocast_enabled(device),
    }


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
