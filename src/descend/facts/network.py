"""What a network is, and what it does with real rows before anybody trains it."""

from __future__ import annotations

import contextlib
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
    leaves = [module for _, module in modules if not any(module.children())]
    parameters = named_parameters(plain)
    weights = [(name, parameter.detach()) for name, parameter in parameters if parameter.dim() > 1]
    facts = {
        "kinds": [type(module).__name__.lower() for module in leaves][:MANY],
        "parameters": sum(parameter.numel() for _, parameter in parameters),
        "frozen": [name for name, parameter in parameters if not parameter.requires_grad][:MANY],
        "unregistered": unregistered(plain)[:MANY],
        "hidden_linear": max(0, sum(isinstance(module, WEIGHTED) for module in leaves) - 1),
        "nonlinear_kinds": sorted(
            {type(module).__name__.lower() for _, module in modules if isinstance(module, (*NONLINEAR, *RECURRENT))}
        ),
        "stochastic": [name for name, module in modules if isinstance(module, STOCHASTIC) and module.p > 0][:MANY],
        "normalisation": [name for name, module in modules if isinstance(module, NORMALISATION)][:MANY],
        "symmetric": [name for name, weight in weights if len(weight) > 1 and bool((weight == weight[:1]).all())][
            :MANY
        ],
        "zero": [name for name, weight in weights if not weight.any()][:MANY],
        "tied": tied(plain),
    }
    if inputs is not None and len(inputs):
        facts |= _behaviour(plain, inputs)
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
        inner = [f"{place}.{name}" for name, each in value.named_parameters() if id(each) not in registered]
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


def _behaviour(model: nn.Module, inputs: Tensor) -> dict[str, Any]:
    parameter = next((each for each in model.parameters()), None)
    rows = inputs[:: max(1, len(inputs) // ROWS)][:ROWS]
    if parameter is not None:
        rows = rows.to(parameter.device, parameter.dtype if rows.is_floating_point() else rows.dtype)

    def outputs_of(batch: Tensor) -> Tensor | None:
        found = model(batch)
        found = found[0] if isinstance(found, (tuple, list)) and found else found
        return found.double() if isinstance(found, Tensor) and found.is_floating_point() else None

    with evaluating(model):
        outputs = outputs_of(rows)
        if outputs is None or not outputs.dim() or not bool(outputs.isfinite().all()):
            return {}
        facts: dict[str, Any] = {}
        rms = float(outputs.square().mean().sqrt())
        if len(outputs) == len(rows) > 1:
            spread = float(outputs.std(0, correction=0).square().mean().sqrt())
            facts |= {"output_variation": spread / rms if rms else 0.0}
            if len(rows.unique(dim=0)) >= 8:
                facts["output_depends_on_input"] = spread > 1e-7 * rms  # float32 keeps 7 digits
            scale = max(spread, 1e-6 * rms)
            again, reversed_, pair = outputs_of(rows), outputs_of(rows.flip(0)).flip(0), outputs_of(rows[:2])
            facts["repeatable"] = _difference(again, outputs, scale) < CLOSE
            facts["batch_difference"] = max(
                _difference(reversed_, outputs, scale), _difference(pair, outputs[:2], scale)
            )
            facts["batch_invariant"] = facts["batch_difference"] < CLOSE
            facts["affine"] = None
            if rows.is_floating_point() and len(rows) >= 3 and spread > 1e-6 * rms and facts["batch_invariant"]:
                a, b, c = rows, rows.roll(1, 0), rows.roll(2, 0)
                ahead = outputs_of(a + FAR * (b - c))
                straight = outputs + FAR * (outputs.roll(1, 0) - outputs.roll(2, 0))
                facts["affine"] = _difference(ahead, straight, FAR * scale) < CLOSE
    return facts


def _difference(one: Tensor | None, other: Tensor, scale: float) -> float:
    """The largest difference of two outputs, in units of `scale`; infinite where the shapes differ."""
    if one is None or one.shape != other.shape:
        return float("inf")
    return float((one - other).abs().max()) / scale if scale else 0.0
