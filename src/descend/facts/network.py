"""What a network is, and what it does with real rows before anybody trains it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Final

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from descend.facts.rows import undisturbed

ROWS: Final = 32  # that are shown to the network
FAR: Final = 30.0  # how many times the way between two rows the affine test goes
CLOSE: Final = (
    1e-3  # relative difference that counts as none: float32 leaves about 1e-6, times what the network amplifies
)
LEAST: Final = 8  # different rows from which a network is called deaf to its input
DEPTH: Final = 3  # of lists in lists that are looked through for forgotten parameters
MANY: Final = 200  # names that a fact lists

WEIGHTED: Final = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)
NONLINEAR: Final = tuple(
    getattr(nn, name)
    for name in nn.modules.activation.__all__
    if name not in ("MultiheadAttention", "Softmax", "Softmin", "LogSoftmax", "Softmax2d")
)
RECURRENT: Final = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
STOCHASTIC: Final = nn.modules.dropout._DropoutNd
NORMALISATION: Final = nn.modules.batchnorm._BatchNorm


def of(model: nn.Module, inputs: Shaped[Tensor, "rows ..."] | None = None) -> dict[str, Any]:
    """Topic "network". `inputs` are some real rows, of which at most 32 are shown to the network in evaluation mode.

    Modes and random numbers are afterwards as they were. Fields that need inputs are missing without them.
    """
    plain = unwrapped(model)
    modules = list(plain.named_modules())
    leaves = [module for _, module in modules if next(module.children(), None) is None]
    parameters = named_parameters(plain)
    weights = [(name, parameter.detach()) for name, parameter in parameters if parameter.dim() > 1]
    facts = {
        "kinds": [type(module).__name__.lower() for module in leaves][:MANY],
        "parameters": sum(parameter.numel() for _, parameter in parameters),
        "names": [name for name, _ in parameters][:MANY],
        "matrices": [name for name, _ in weights][:MANY],
        "frozen": [name for name, parameter in parameters if not parameter.requires_grad][:MANY],
        "unregistered": unregistered(plain)[:MANY],
        "hidden_linear": max(0, sum(isinstance(module, WEIGHTED) for module in leaves) - 1),
        "nonlinear_kinds": sorted(
            {type(module).__name__.lower() for _, module in modules if isinstance(module, (*NONLINEAR, *RECURRENT))}
        ),
        "stochastic": [name for name, module in modules if isinstance(module, STOCHASTIC) and module.p > 0][:MANY],
        "dropout": max((module.p for _, module in modules if isinstance(module, STOCHASTIC)), default=0.0),
        "normalisation": [name for name, module in modules if isinstance(module, NORMALISATION)][:MANY],
        "symmetric": [name for name, weight in weights if len(weight) > 1 and bool((weight == weight[:1]).all())][
            :MANY
        ],
        "zero": [name for name, weight in weights if not weight.any()][:MANY],
        "tied": tied(plain),
    }
    if inputs is not None and len(inputs):
        facts |= _behaviour(plain, inputs)
        if facts["zero"] and facts.get("affine"):
            facts["affine"] = None  # what is nonlinear may be shut: a residual branch that begins at zero
    return facts


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's own module inside `torch.compile` and DistributedDataParallel; names are the ones in it."""
    while True:
        inner = model._modules.get("_orig_mod") or (
            model.module if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel) else None
        )
        if inner is None:
            return model
        model = inner


def named_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Each parameter once, by its name in the user's own module. Lazy ones, which have no shape yet, are left out."""
    pairs = unwrapped(model).named_parameters()
    return [(name, each) for name, each in pairs if not isinstance(each, nn.parameter.UninitializedParameter)]


def tied(model: nn.Module) -> list[list[str]]:
    """Names of parameters that are one and the same tensor."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [same for same in names.values() if len(same) > 1]


def unregistered(model: nn.Module) -> list[str]:
    """Parameters (and dropout) in plain lists, tuples and dicts of a module, which `parameters()` does not see."""
    registered = {id(each) for each in (*model.parameters(), *model.modules())}
    found: list[str] = []
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if not attribute.startswith("_"):
                found += _forgotten(value, f"{name}.{attribute}".lstrip("."), registered, DEPTH)
    return found


def _forgotten(value: object, place: str, registered: set[int], depth: int) -> list[str]:
    if isinstance(value, nn.Module):
        if id(value) in registered:
            return []
        # a frozen one is kept out of the model on purpose, as the teacher in distillation
        wanted = [(name, each) for name, each in value.named_parameters() if each.requires_grad]
        inner = [f"{place}.{name}" for name, each in wanted if id(each) not in registered]
        return inner + [f"{place}.{name}".rstrip(".") for name, m in value.named_modules() if isinstance(m, STOCHASTIC)]
    if isinstance(value, Tensor):
        return [place] if value.requires_grad and value.is_leaf and id(value) not in registered else []
    if depth and isinstance(value, (list, tuple)):
        pairs = [(f"[{number}]", each) for number, each in enumerate(value[:MANY])]
    elif depth and isinstance(value, dict):
        pairs = [(f"[{key!r}]", each) for key, each in list(value.items())[:MANY]]
    else:
        return []
    return [name for key, each in pairs for name in _forgotten(each, place + key, registered, depth - 1)]


# --- what it does with real rows --------------------------------------------------------------------------------------


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module's own mode and all random numbers are as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    with undisturbed(), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


@contextlib.contextmanager
def as_in_training(model: nn.Module) -> Iterator[None]:
    """Training mode without gradients or traces: modes, running statistics and random numbers are restored."""
    modes = [(module, module.training) for module in model.modules()]
    statistics = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with undisturbed(), torch.no_grad():
        model.train()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            for buffer, before in statistics:
                buffer.copy_(before)


def differs_in_training(model: nn.Module) -> bool:
    """Whether the model has dropout or batch norm, so that training mode gives other outputs than evaluation mode."""
    return any(
        isinstance(module, NORMALISATION)
        or (isinstance(module, STOCHASTIC) and module.p > 0)
        or (isinstance(module, RECURRENT) and getattr(module, "dropout", 0) > 0)
        for module in model.modules()
    )


def _behaviour(model: nn.Module, inputs: Tensor) -> dict[str, Any]:
    """What the outputs on some rows tell; nothing where they are not one tensor with finite numbers a row."""
    rows = inputs[:: max(1, len(inputs) // ROWS)][:ROWS]
    parameter = next(model.parameters(), None)
    if parameter is not None:
        rows = rows.to(parameter.device, parameter.dtype if rows.is_floating_point() else rows.dtype)
    with evaluating(model):
        outputs = _outputs(model, rows)
        if not len(rows) == len(outputs) > 1 or not bool(outputs.isfinite().all()):
            return {}
        rms = float(outputs.square().mean().sqrt())
        spread = float(outputs.std(0, correction=0).square().mean().sqrt())
        scale = max(spread, 1e-6 * rms) or 1.0
        backwards, pair = _outputs(model, rows.flip(0)), _outputs(model, rows[:2])
        difference = max(_difference(backwards.flip(0), outputs, scale), _difference(pair, outputs[:2], scale))
        facts: dict[str, Any] = {
            "output_shape": list(outputs.shape[1:]),
            "output_variation": spread / rms if rms else 0.0,
            "repeatable": _difference(_outputs(model, rows), outputs, scale) < CLOSE,
            "batch_difference": difference,
            "batch_invariant": difference < CLOSE,
            "affine": None,
        }
        if len(rows.unique(dim=0)) >= LEAST:
            facts["output_depends_on_input"] = spread > 1e-7 * rms  # float32 keeps 7 digits
        if rows.is_floating_point() and len(rows) > 2 and spread > 1e-6 * rms and facts["batch_invariant"]:
            ahead = _outputs(model, rows + FAR * (rows.roll(1, 0) - rows.roll(2, 0)))
            straight = outputs + FAR * (outputs.roll(1, 0) - outputs.roll(2, 0))
            facts["affine"] = _difference(ahead, straight, FAR * scale) < CLOSE
    return facts


def _outputs(model: nn.Module, rows: Tensor) -> Tensor:
    """The first output tensor, in float64; an empty one where there is none of floats."""
    found = model(rows)
    found = found[0] if isinstance(found, (tuple, list)) and found else found
    return (
        found.double() if isinstance(found, Tensor) and found.is_floating_point() and found.dim() else rows.new_empty(0)
    )


def _difference(one: Tensor, other: Tensor, scale: float) -> float:
    """The largest difference of two outputs, in units of `scale`; infinite where the shapes differ."""
    return float((one - other).abs().max()) / scale if one.shape == other.shape else math.inf
