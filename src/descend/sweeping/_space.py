"""Space: the recipes that a sweep tries, on a grid or at random."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sized
from typing import Any, Final, Literal, get_args

import numpy as np

from descend.catalog import Option, Positive
from descend.errors import RecipeError
from descend.recipe import CORE, PARTS, Recipe, options_of
from descend.run import Floats

Scale = Literal["linear", "logarithmic", "logarithmic to one"]
"""How values are spread: evenly; evenly in their logarithms; or evenly in the logarithms of one minus them."""

MEMORIES: Final = ("momentum", "beta1", "beta2", "alpha")
"""Hyperparameters that make a mean over some 1 / (1 - value) steps: it is that number which they are spread by."""


def grid(base: Recipe, **values: Any) -> list[Recipe]:
    """Every combination of the values on a recipe: `grid(base, lr=[0.1, 0.01], seed=range(4))` is eight recipes.

    A part (optimizer, model, ...) is changed before its options, whatever the order. Raises RecipeError as `but` does,
    and where a field is given one value instead of several.
    """
    _require_several(values)
    return [base.but(**dict(zip(values, chosen, strict=True))) for chosen in itertools.product(*values.values())]


def sample(base: Recipe, count: int, *, seed: int = 0, **ranges: Any) -> list[Recipe]:
    """`count` recipes at random: `sample(base, 100, lr=(1e-4, 1.0), optimizer=["sgd", "adam"])`.

    A tuple of two numbers is a range, drawn from on the scale that suits the field (`scale_of`); a list is a choice.
    Raises RecipeError for a range that is empty, or has a bound that its scale cannot have.
    """
    _require_several(ranges)
    if count < 1:
        raise RecipeError(f"count is {count}, but at least one recipe must be drawn.")
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        chosen = {name: values for name, values in ranges.items() if not _is_range(values)}
        fields: dict[str, object] = {name: values[int(random.integers(len(values)))] for name, values in chosen.items()}
        recipe = base.but(**fields)
        for name, bounds in ranges.items():
            if name not in chosen:
                low, high = bounds
                value = between(recipe, name, float(low), float(high), random.random(1))[0]
                recipe = recipe.but(**{name: value})
        drawn.append(recipe)
    return drawn


def _require_several(values: Mapping[str, Any]) -> None:
    """Raise RecipeError for a field that is given nothing to choose from, or one value by itself."""
    for name, given in values.items():
        if isinstance(given, str) or not isinstance(given, Sized) or not len(given):
            raise RecipeError(f"{name} is {given!r}, but must be several values: {name}=[...].")


def spaced(recipe: Recipe, name: str, low: float, high: float, count: int, scale: Scale | None = None) -> list[Any]:
    """`count` values of a field from `low` to `high`, evenly spaced on its scale; whole numbers each once."""
    shares = np.linspace(0.0, 1.0, count) if count > 1 else np.array([0.0])
    return list(dict.fromkeys(between(recipe, name, low, high, shares, scale)))


def between(
    recipe: Recipe, name: str, low: float, high: float, shares: Floats, scale: Scale | None = None
) -> list[Any]:
    """The values of a field at some shares of the way from `low` to `high`, on its scale.

    Raises RecipeError where the field is no number, the range is empty, or a bound is none that its scale can have.
    """
    option = option_of(recipe, name)
    scale = scale or scale_of(option)
    if not low < high:
        raise RecipeError(f"{name} goes from {low:g} to {high:g}, but the second must be greater than the first.")
    if scale == "logarithmic" and low <= 0:
        raise RecipeError(f"{name} begins at {low:g}, but on a logarithmic scale it must be above 0.")
    if scale == "logarithmic to one" and high >= 1:
        raise RecipeError(f"{name} ends at {high:g}, but must be below 1.")
    there, back = _CHANGES[scale]

    def at(share: float) -> float:
        # the bounds as they were given; between them twelve digits, without the rounding errors of the way and back
        inside = float(f"{back((1 - share) * there(low) + share * there(high)):.12g}")
        return low if share == 0 else high if share == 1 else inside

    return [option.check(round(at(share)) if _holds(option.kind, int) else at(share)) for share in shares.tolist()]


_CHANGES: Final[Mapping[Scale, tuple[Callable[[float], float], Callable[[float], float]]]] = {
    "linear": (lambda value: value, lambda value: value),
    "logarithmic": (math.log, math.exp),
    "logarithmic to one": (lambda value: math.log1p(-value), lambda value: -math.expm1(value)),
}


def scale_of(option: Option) -> Scale:
    """Rates and other sizes that are above zero go by their logarithms, memories by that of one minus them."""
    if option.name in MEMORIES:
        return "logarithmic to one"
    positive = Positive in (option.kind, *get_args(option.kind))
    return "logarithmic" if positive or option.name in ("weight_decay", "width", "batch_size") else "linear"


def option_of(recipe: Recipe, name: str) -> Option:
    """The option of a field that is a number. Raises RecipeError where the recipe has none, or it holds words."""
    known = {**CORE, **options_of({part: recipe[part] for part in PARTS})}
    if name not in known:
        recipe[name]  # raises, with what is known
    option = known[name]
    if not _holds(option.kind, int) and not _holds(option.kind, float):
        raise RecipeError(f"{name} is not a number, so it has no range: give its values with commas.")
    return option


def _holds(kind: Any, base: type) -> bool:
    """Whether some value of a kind is of a base type."""
    return kind is base or any(_holds(part, base) for part in get_args(kind))


def _is_range(values: object) -> bool:
    return isinstance(values, tuple) and len(values) == 2 and all(isinstance(value, int | float) for value in values)
