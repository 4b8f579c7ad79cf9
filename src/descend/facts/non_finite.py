"""NaN and infinity: the first operation, in the forward or the backward pass, that makes one of finite numbers."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from descend.facts.graph import Node, name_of, walk
from descend.facts.rows import undisturbed

MASKS: Final = re.compile(r"full|fill|where|scalar_tensor|tri[lu]|empty|lift")  # infinities on purpose, and no values


@dataclass(frozen=True)
class Problem:
    """The first thing that is not a finite number.

    `what` is "weight", "input", "target", "operation" (of the forward pass), "loss" or "gradient", and `where` says
    which: a parameter, a row of the batch, a layer. `operation` is torch's name of what made it of finite numbers.
    """

    what: str
    where: str
    value: float
    row: int | None = None
    column: int | list[int] | None = None
    operation: str | None = None
    layer: str | None = None

    @property
    def sentence(self) -> str:
        value = "NaN" if math.isnan(self.value) else "infinite" if self.value > 0 else "minus infinite"
        if self.what == "operation":
            return f"{self.operation} in {self.where} was {value}, and its inputs were finite."
        of = f"; {self.operation} in {self.layer} made it of finite ones" if self.operation else ""
        return f"the {self.what} of {self.where} was {value}{of}."

    def fields(self) -> dict[str, Any]:
        """What a note says, without what is unknown."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def locate(
    loss: float,
    model: nn.Module,
    inputs: Tensor | None,
    run: Callable[[], Any],
    judge: Callable[[Any], Tensor] | None = None,
    targets: Tensor | None = None,
) -> Problem:
    """Where the first non-finite number of an unhealthy step is, before its update.

    `run` calls the model on the batch once more, and `judge` makes the loss of what it returns. Modes, running
    statistics, gradients and random numbers are afterwards as they were. Costs some steps.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return Problem("weight", name, _first(parameter))
    for what, values in (("input", inputs), ("target", targets)):
        if values is not None and not values.isfinite().all():
            row, *place = (~values.isfinite()).nonzero()[0].tolist()
            at = f"row {row} of the batch" + (f", column {place[0] if len(place) == 1 else place}" if place else "")
            return Problem(what, at, _first(values), row, place[0] if len(place) == 1 else place or None)
    if not math.isfinite(loss):
        return _in_forward(model, run, judge) or Problem("loss", "the batch", loss)
    bad = [
        (name, parameter.grad)
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not _values(parameter.grad).isfinite().all()
    ]
    # the backward pass runs from the last parameter to the first, so the last one is nearest to the cause
    name, gradient = bad[-1] if bad else ("the batch", torch.tensor(math.nan))
    made = _in_backward(model, run, judge) if judge else None
    return Problem("gradient", name, _first(_values(gradient)), operation=made and made[0], layer=made and made[1])


def _values(tensor: Tensor) -> Tensor:
    return tensor.detach().coalesce().values() if tensor.is_sparse else tensor.detach()


def _first(tensor: Tensor) -> float:
    bad = tensor.detach()[~tensor.isfinite()]
    return float(bad[0]) if len(bad) else math.nan


# --- the forward pass -------------------------------------------------------------------------------------------------


def _in_forward(model: nn.Module, run: Callable[[], Any], judge: Callable[[Any], Tensor] | None) -> Problem | None:
    """The first operation that makes a non-finite number of finite ones."""
    with _traceless(model), torch.no_grad(), _Layers(model) as layers, _FirstBad(layers) as looking:
        outputs = run()
        if looking.found is None and judge is not None:
            layers.name = "the loss"
            judge(outputs)
    found: Problem | None = looking.found
    return found


class _FirstBad(TorchDispatchMode):
    """Looks at what every operation puts out, until one of them is at fault."""

    def __init__(self, layers: _Layers) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Problem | None = None
        self._layers = layers

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        named = named or {}
        if self.found is not None:
            return function(*arguments, **named)
        nan, infinite = _holds((*arguments, *named.values()))
        output = function(*arguments, **named)
        makes_nan, makes_infinite = _holds((output,))
        name = function.overloadpacket.__name__
        made = (makes_nan and not nan) or (makes_infinite and not (nan or infinite))
        if made and not MASKS.search(name):
            value = next(_first(each) for each in _tensors((output,)) if not each.isfinite().all())
            operation = name.strip("_").removeprefix("native_").removesuffix("_forward")
            where = self._layers.name
            self.found = Problem("operation", where, value, operation=operation, layer=where)
        return output


def _holds(values: tuple[Any, ...]) -> tuple[bool, bool]:
    """Whether any of the tensors among these holds NaN, or an infinity."""
    nan = infinite = False
    for tensor in _tensors(values):
        if not tensor.isfinite().all():
            nan |= bool(tensor.isnan().any())
            infinite |= bool(tensor.isinf().any())
    return nan, infinite


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            if value.is_floating_point() and value.layout == torch.strided:
                yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


# --- the backward pass ------------------------------------------------------------------------------------------------


def _in_backward(model: nn.Module, run: Callable[[], Any], judge: Callable[[Any], Tensor]) -> tuple[str, str] | None:
    """The first operation whose backward pass makes a non-finite gradient of finite ones, and its layer."""
    found: list[tuple[str, str]] = []
    with _traceless(model), torch.enable_grad(), _Layers(model, own_nodes=True) as layers:
        loss = judge(run())
        for node in walk([loss.grad_fn]):
            node.register_hook(_look(node, layers.owners.get(node, "the loss"), found))
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        torch.autograd.grad(loss, parameters, allow_unused=True)
    return found[0] if found else None


def _look(node: Node, layer: str, found: list[tuple[str, str]]) -> Callable[..., None]:
    def hook(made: Any, given: Any) -> None:
        if not found and not any(_holds((given,))) and any(_holds((made,))):
            found.append((re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name_of(node)).lower(), layer))

    return hook


# --- around both ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _traceless(model: nn.Module) -> Iterator[None]:
    """Random numbers and buffers are as before afterwards."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with undisturbed():
        try:
            yield
        finally:
            for buffer, value in before:
                buffer.data.copy_(value)


class _Layers:
    """`name` is the innermost module that is running; `owners` are the nodes of the graph, with their layers."""

    def __init__(self, model: nn.Module, *, own_nodes: bool = False) -> None:
        self.name = "the model"
        self.owners: dict[Node, str] = {}
        self._model, self._own = model, own_nodes
        self._outside: list[str] = []
        self._handles: list[Any] = []

    def __enter__(self) -> _Layers:
        for path, module in self._model.named_modules():
            title = f"{path} ({type(module).__name__})" if path else "the model"
            self._handles.append(module.register_forward_pre_hook(self._enter(title)))
            self._handles.append(module.register_forward_hook(self._leave))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, title: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            self._claim(inputs)
            self._outside.append(self.name)
            self.name = title

        return hook

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._claim((output,))
        self.name = self._outside.pop()

    def _claim(self, values: tuple[Any, ...]) -> None:
        """The nodes that are new since the last module began or ended belong to the one that is running."""
        queue = [tensor.grad_fn for tensor in _tensors(values) if tensor.grad_fn is not None] if self._own else []
        while queue:
            node = queue.pop()
            if node not in self.owners:
                self.owners[node] = self.name
                queue += [each for each, _ in node.next_functions if each is not None]
