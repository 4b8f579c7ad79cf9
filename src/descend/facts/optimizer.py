"""What the optimizers hold, against what the models have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from descend.facts.network import named_parameters

MANY: Final = 200  # names of parameters that a fact lists


def of(models: Mapping[str, nn.Module], optimizers: Optimizer | Iterable[Optimizer]) -> dict[str, Any]:
    """Topic "optimizer": the hyperparameters by group, and which parameters are in none, in two, or in no model.

    Names are those of `named_parameters`, after the model's own name where there are several models.
    """
    held = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
    groups = [group for optimizer in held for group in optimizer.param_groups]
    counts: dict[int, int] = {}
    for group in groups:
        for parameter in group["params"]:
            counts[id(parameter)] = counts.get(id(parameter), 0) + 1
    names = named_in(models)
    known = {id(parameter) for _, parameter in names}
    trainable = [(name, id(parameter) in counts) for name, parameter in names if parameter.requires_grad]
    missing = [name for name, trained in trainable if not trained]
    return {
        "kind": ", ".join(dict.fromkeys(type(optimizer).__name__ for optimizer in held)),
        "groups": [_plain(group) for group in groups],
        "missing": missing[:MANY],
        "missing_count": len(missing),
        # as where only the last layers are fine-tuned: no parameter that is trained stands before one that is not
        "missing_first": [trained for _, trained in trainable]
        == [False] * len(missing) + [True] * (len(trainable) - len(missing)),
        "foreign": sum(key not in known for key in counts),
        "twice": [name for name, parameter in names if counts.get(id(parameter), 0) > 1][:MANY],
    }


def named_in(models: Mapping[str, nn.Module]) -> list[tuple[str, nn.Parameter]]:
    """The parameters of several models, each once, by name."""
    alone = len(models) == 1
    seen: dict[int, tuple[str, nn.Parameter]] = {}
    for title, model in models.items():
        for name, parameter in named_parameters(model):
            seen.setdefault(id(parameter), (name if alone else f"{title}.{name}", parameter))
    return list(seen.values())


def _plain(group: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters of a group as plain values, and how many numbers it trains."""
    values = {name: _number(value) for name, value in group.items() if name != "params"}
    settings = {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str, list))}
    return settings | {"parameters": sum(parameter.numel() for parameter in group["params"])}


def _number(value: object) -> object:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else None
    return [_number(each) for each in value] if isinstance(value, (tuple, list)) else value
