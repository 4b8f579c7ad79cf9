"""What a model must fit: the shape of one example and of one answer."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Final, Literal

from descend.catalog import MODELS
from descend.errors import RecipeError

Kind = Literal["features", "image", "sequence", "labelled sequence", "tokens"]

WORDS: Final[Mapping[Kind, str]] = {
    "features": "features",
    "image": "images [channels, height, width]",
    "sequence": "sequences [positions, features]",
    "labelled sequence": "sequences with a target at every position",
    "tokens": "token numbers [positions]",
}


@dataclass(frozen=True)
class Shape:
    """`inputs` is one example without the batch axis: (3,) features, (1, 8, 8) an image, (50, 2) a sequence.

    `outputs` numbers are answered per example, or per position where `every_position` is true.
    `tokens` is the vocabulary's size where inputs are token numbers of shape (positions,), else None.
    """

    inputs: tuple[int, ...]
    outputs: int
    tokens: int | None = None
    every_position: bool = False

    @property
    def kind(self) -> Kind:
        """What one example is, as far as it decides which models fit."""
        if self.tokens is not None:
            return "tokens"
        if self.every_position:
            return "labelled sequence"
        if len(self.inputs) == 2:
            return "sequence"
        return "image" if len(self.inputs) == 3 else "features"

    def require(self, model: str, takes: Set[Kind]) -> None:
        """Raise RecipeError, naming the models that fit, unless examples are of a kind that `model` takes.

        Each file of this folder says in TAKES what its model takes.
        """
        if self.kind in takes:
            return
        fitting = [name for name in MODELS if self.kind in importlib.import_module(f"descend.models.{name}").TAKES]
        raise RecipeError(
            f"The model '{model}' takes {' or '.join(WORDS[kind] for kind in WORDS if kind in takes)}, but this data "
            f"set has {WORDS[self.kind]}: one example is {self.inputs}. Models that fit: {', '.join(fitting)}."
        )
