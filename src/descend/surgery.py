"""Surgery: remedies for a model of your own. Each edits the model in place and keeps every other weight.

In place, since the parameters then stay those that the optimizer holds: an edited copy would train without being
seen by it. What cannot be done safely is refused, and the model is then as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from descend.catalog import INITS
from descend.errors import DescendError, did_you_mean
from descend.models._layers import ACTIVATIONS

SWAPPED: Final = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus),
    *(nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softsign),
)
"""Activations that act on each number alone and have no weights."""

NORMS: Final = (
    nn.modules.batchnorm._NormBase,
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm, nn.CrossMapLRN2d),
)

FILLED: Final = (nn.Linear, nn.Conv2d, nn.RNNBase)  # what an initialisation draws
KEPT: Final = (nn.Embedding, nn.EmbeddingBag)  # what it leaves on purpose

BATCH_NORMS: Final[Mapping[int, Callable[[Tensor], nn.Module]]] = {
    2: lambda x: nn.BatchNorm1d(x.shape[1]),
    4: lambda x: nn.BatchNorm2d(x.shape[1]),
}
LAYER_NORMS: Final[Mapping[int, Callable[[Tensor], nn.Module]]] = {
    2: lambda x: nn.LayerNorm(x.shape[1]),
    3: lambda x: nn.LayerNorm(x.shape[2]),
    4: lambda x: nn.GroupNorm(1, x.shape[1]),
}
KINDS: Final = {"batch": BATCH_NORMS, "layer": LAYER_NORMS}
"""The norm for an input of so many dimensions: [rows, features], [rows, positions, features], images."""


class SurgeryError(DescendError, ValueError):
    """An edit that cannot be made safely; the model is as it was."""


def swap_activations(model: nn.Module, to: str, example_inputs: Tensor | tuple[Any, ...]) -> list[str]:
    """Put another activation ("relu", "gelu", ...) in the place of every hidden one, and return where.

    Left alone are activations whose numbers are the model's outputs, and gates, which are multiplied with something.
    The model is run once on `example_inputs` to see which is which, in evaluation mode and without gradients. An
    optimizer may go on: no parameter changes. Raises SurgeryError where no activation is a module that can be swapped.
    """
    if to not in ACTIVATIONS:
        raise SurgeryError(f"No activation is called '{to}'. {did_you_mean(to, ACTIVATIONS)}")
    return _replaced(model, example_inputs, lambda name, use: ACTIVATIONS[to]())


def insert_norms(model: nn.Module, kind: str, example_inputs: Tensor | tuple[Any, ...]) -> list[str]:
    """Put a norm ("batch" or "layer") before every hidden activation that has none, and return the places.

    An activation becomes a Sequential of norm and activation; the names of the parameters that were there stay. Make
    the optimizer anew afterwards, since it does not know the norms' parameters. Outputs change, since that is the
    aim. Raises SurgeryError where there is no such place, or an activation serves in several.
    """
    if kind not in KINDS:
        raise SurgeryError(f"No norm is called '{kind}'. {did_you_mean(kind, KINDS)}")

    def normed(name: str, use: _Use) -> nn.Module | None:
        if use.normed:
            return None
        if len(use.inputs) > 1:
            raise SurgeryError(
                f"'{name}' is called {len(use.inputs)} times in a forward pass, and one norm for several places would "
                "mix their statistics. Give each place an activation of its own."
            )
        x = use.inputs[0]
        if x.ndim not in KINDS[kind]:
            raise SurgeryError(
                f"The input of '{name}' has the shape {list(x.shape)}, for which a {kind} norm is not defined here"
                + (". Use 'layer'." if x.ndim in LAYER_NORMS else ".")
            )
        norm = KINDS[kind][x.ndim](x).to(x.device, x.dtype)
        return nn.Sequential(norm, use.module)

    return _replaced(model, example_inputs, normed)


def reinitialise(model: nn.Module, init: str) -> list[str]:
    """Draw the weights of linear, convolution and recurrent layers anew ("he_normal", "xavier_uniform", ...).

    Embeddings and norms stay, biases become zero; returns the names of what was drawn or zeroed. Random numbers come
    from torch's default generator. An optimizer that has stepped remembers the old weights: make it anew. Raises
    SurgeryError, and draws nothing, where a weight is frozen, shared or of a layer that the schemes do not know.
    """
    INITS.require(init)
    filled = [(name, module) for name, module in model.named_modules() if isinstance(module, FILLED)]
    drawn = {f"{name}.{own}".lstrip("."): param for name, module in filled for own, param in _own(module)}
    if not drawn:
        raise SurgeryError("The model has no linear, convolution or recurrent layer whose weights could be drawn anew.")
    foreign = [
        f"{name}.{own}".lstrip(".")
        for name, module in model.named_modules()
        if not isinstance(module, FILLED + KEPT)
        for own, param in _own(module)
        if param.ndim > 1
    ]
    frozen = [name for name, param in drawn.items() if not param.requires_grad]
    names = [(name, id(param)) for name, param in model.named_parameters(remove_duplicate=False)]
    shared = [name for name, param in drawn.items() if sum(each == id(param) for _, each in names) > 1]
    for wrong, why in (
        (foreign, "not of a linear, 2d-convolution or recurrent layer, so the schemes do not say how to draw it"),
        (frozen, "frozen, which is how weights are kept that were trained before"),
        (shared, "shared by several layers, which ask for different scales"),
    ):
        if wrong:
            raise SurgeryError(f"'{wrong[0]}' is {why}. Reinitialise the other parts of the model one by one.")
    INITS[init](model)
    return list(drawn)


def _own(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(module.named_parameters(recurse=False))


class _Use(NamedTuple):
    """What a forward pass did with an activation module."""

    module: nn.Module
    inputs: list[Tensor]
    outputs: list[Tensor]
    normed: bool  # its input is a norm's output
    kept: bool  # an output or a gate


def _replaced(
    model: nn.Module, example_inputs: Tensor | tuple[Any, ...], new: Callable[[str, _Use], nn.Module | None]
) -> list[str]:
    """Put what `new` gives in the place of the hidden activations; None leaves one alone."""
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
        raise SurgeryError("The model is compiled, so its parts are fixed. Edit the model itself and compile it then.")
    uses = {name: use for name, use in _uses(model, example_inputs).items() if not use.kept}
    made = {name: module for name, use in uses.items() if (module := new(name, use)) is not None}
    if not made:
        raise SurgeryError(
            "The model has no hidden activation module to edit: it may call a function instead (F.relu, torch.tanh), "
            "or have been edited before. Edit its code."
        )
    holders = list(model.modules())
    for name, module in made.items():
        _put(holders, uses[name].module, module.train(uses[name].module.training))
    try:
        called = _called(model, example_inputs, made.values())
        unseen = [name for name, module in made.items() if module not in called]
        if unseen:
            raise SurgeryError(
                f"The forward pass does not reach '{unseen[0]}' by that name, but through a plain list or another "
                "reference to it, which cannot be edited. Edit the model's code."
            )
    except BaseException:
        for name, module in made.items():
            _put(holders, module, uses[name].module)
        raise
    return list(made)


def _called(model: nn.Module, example_inputs: Tensor | tuple[Any, ...], modules: Iterable[nn.Module]) -> set[nn.Module]:
    """Which of the modules a forward pass calls."""
    called: set[nn.Module] = set()
    handles = [module.register_forward_hook(lambda module, *_: called.add(module)) for module in modules]
    try:
        _run(model, example_inputs)
    finally:
        for handle in handles:
            handle.remove()
    return called


def _run(model: nn.Module, example_inputs: Tensor | tuple[Any, ...]) -> Any:
    """The outputs in evaluation mode, without gradients; every module is in its mode again afterwards."""
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            return model.eval()(*(example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)))
    finally:
        for module, mode in modes.items():
            module.training = mode


def _uses(model: nn.Module, example_inputs: Tensor | tuple[Any, ...]) -> dict[str, _Use]:
    """The activation modules that a forward pass calls, by their first name."""
    named = {name: module for name, module in model.named_modules() if isinstance(module, (*SWAPPED, *NORMS))}
    seen: dict[str, tuple[list[Tensor], list[Tensor]]] = {name: ([], []) for name in named}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            seen[name][0].append(inputs[0])
            seen[name][1].append(output)

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in named.items()]
    products = _Products()
    try:
        with products:
            result = _run(model, example_inputs)
    finally:
        for handle in handles:
            handle.remove()
    results = {_memory(leaf) for leaf in tree_leaves(result) if isinstance(leaf, Tensor)}
    norms = {_memory(output) for name in named if isinstance(named[name], NORMS) for output in seen[name][1]}
    return {
        name: _Use(
            named[name],
            inputs,
            outputs,
            normed=any(_memory(value) in norms for value in inputs),
            kept=any(_memory(value) in results | products.factors for value in outputs),
        )
        for name, (inputs, outputs) in seen.items()
        if inputs and isinstance(named[name], SWAPPED)
    }


class _Products(TorchFunctionMode):
    """Sees what is multiplied element by element with another tensor; keeps it, so that no memory is used again."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: set[int] = set()
        self._kept: list[Any] = []

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self._kept.append(result)
        if getattr(function, "__name__", "").strip("_") in ("mul", "rmul", "imul", "multiply"):
            tensors = [value for value in args if isinstance(value, Tensor) and value.numel() > 1]
            if len(tensors) > 1:
                self.factors |= {_memory(value) for value in tensors}
        return result


def _memory(values: Tensor) -> int:
    """Where a tensor and all views of it lie."""
    return values.untyped_storage().data_ptr()


def _put(holders: Iterable[nn.Module], old: nn.Module, new: nn.Module) -> None:
    """Put a module in every place where another one is registered."""
    for holder in holders:
        for name, child in list(holder._modules.items()):
            if child is old:
                setattr(holder, name, new)
