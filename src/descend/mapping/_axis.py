"""Axis: a field of a recipe with the values that it takes along one side of a map."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from descend.errors import RecipeError
from descend.recipe import Recipe
from descend.sweeping._space import Scale, between, option_of, scale_of, spaced

COUNT: Final = 64  # values of an axis, unless it says
MOST: Final = 4096  # values of an axis: more than a picture has pixels

LAYER: Final = "lr@"  # lr@hidden.0 is the learning rate of the layer hidden.0

SCALES: Final[dict[str | None, Scale | None]] = {"log": "logarithmic", "linear": "linear", None: None}

_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_FORM: Final = re.compile(
    rf"(?P<field>[\w@.-]+)=(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})(:(?P<count>\d*)(?P<scale>log|linear)?)?"
)


@dataclass(frozen=True)
class Axis:
    """The values, ascending, are the middles of the map's cells: evenly spaced on the scale, whole numbers each once.

    `field` is a field of numbers of a recipe, or lr@LAYER for the learning rate of one layer.
    """

    field: str
    values: tuple[float, ...]
    scale: Scale

    @classmethod
    def read(cls, text: str, recipe: Recipe) -> Axis:
        """An axis from FIELD=LOW..HIGH, FIELD=LOW..HIGH:COUNT or that with log or linear after it.

        The scale is else the one that suits the field: lr=1e-4..0.02:256 is logarithmic, and momentum=0..0.99 is
        logarithmic in 1 - momentum. Raises RecipeError.
        """
        found = _FORM.fullmatch(text.strip())
        if not found:
            raise RecipeError(
                f"'{text}' is not an axis: write FIELD=LOW..HIGH:COUNT, such as lr=1e-4..0.02:256, with log or linear "
                "after it to choose the scale."
            )
        field = found["field"] if found["field"].startswith(LAYER) else found["field"].replace("-", "_")
        bounds = float(found["low"]), float(found["high"])
        return cls.of(field, *bounds, int(found["count"] or COUNT), recipe, SCALES[found["scale"]])

    @classmethod
    def of(cls, field: str, low: float, high: float, count: int, recipe: Recipe, scale: Scale | None = None) -> Axis:
        """`count` values from `low` to `high`. Raises RecipeError where the recipe cannot have them."""
        if not 2 <= count <= MOST:
            raise RecipeError(f"{field} has {count} values, but the axis of a map has 2 to {MOST:,}.")
        name = _option(field)
        scale = scale or scale_of(option_of(recipe, name))
        values = np.array(spaced(recipe, name, low, high, count, scale))
        told_apart = values if values.dtype.kind == "i" else np.unique(values.astype(recipe.dtype))
        if len(told_apart) < len(values) or (values.dtype.kind == "f" and len(values) < count):
            cure = "give dtype float64" if recipe.dtype == "float32" else "take a wider range"
            raise RecipeError(
                f"{field} goes from {low!r} to {high!r} in {count} steps that are not {count} different numbers in "
                f"{recipe.dtype}: {cure}, or a smaller count."
            )
        if len(values) < 2:
            raise RecipeError(f"{field} goes from {low:g} to {high:g}, where there is one whole number only.")
        return cls(field, tuple(values.tolist()), scale)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def label(self) -> str:
        """What the axis shows, in words."""
        if self.field.startswith(LAYER):
            return f"learning rate of {self.field.removeprefix(LAYER)}"
        words = {"lr": "learning rate", "steps": "updates", "batch_size": "batch size, rows"}
        return words.get(self.field, self.field.replace("_", " "))

    def changes(self, value: float, recipe: Recipe) -> dict[str, float | str]:
        """The fields of `recipe` that change where this axis has `value`."""
        if not self.field.startswith(LAYER):
            return {self.field: value}
        layer = self.field.removeprefix(LAYER)
        others = [pair for pair in recipe.layer_lrs.split(",") if pair and pair.partition("=")[0] != layer]
        return {"layer_lrs": ",".join([*others, f"{layer}={value!r}"])}

    def narrowed(self, factor: float, middle: float, recipe: Recipe) -> Axis:
        """The part of this axis around `middle` that is `factor` times shorter on its scale, with as many values.

        Near an end of the axis the part ends there.
        """
        half = 0.5 / factor
        share = float(np.interp(middle, self.values, np.linspace(0, 1, len(self))))
        share = min(max(share, half), 1 - half)
        ends = np.array([share - half, share + half])
        low, high = between(recipe, _option(self.field), self.values[0], self.values[-1], ends, self.scale)
        return Axis.of(self.field, low, high, len(self), recipe, self.scale)


def _option(field: str) -> str:
    """The option that an axis sets: a layer's learning rate is a learning rate."""
    return "lr" if field.startswith(LAYER) else field
