"""What every file of this folder returns: a Dataset, split and scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from jaxtyping import Float, Shaped
from torch import Tensor

from descend.catalog import Task


class Split(NamedTuple):
    """Rows to train on or to judge by."""

    inputs: Shaped[Tensor, "rows ..."]  # floats; or int64 token numbers where the data set has `tokens`
    targets: Shaped[Tensor, "rows ..."]  # regression: floats [rows, outputs]; classification: int64 class numbers


@dataclass(frozen=True)
class Scale:
    """The standardisation applied to a column block: scaled = (raw - mean) / std, float64, from the training rows only.

    A column that is not scaled (one-hot), or does not vary in the training rows, has std 1.
    """

    mean: Float[Tensor, " columns"]
    std: Float[Tensor, " columns"]


@dataclass(frozen=True)
class Dataset:
    """A data set ready to train on: float32 features, splits that share no row, and its truth where it has one.

    `truth` maps a feature name (or "bias") to the weight that generated the data, in raw units.
    `bayes_error` is the least that any model can reach on fresh rows, where it is known: an error rate
    (classification), a mean squared error in raw units (regression), nats a token (text).
    `ids` names the rows: those of train, then of validation, then of test.
    Where `every_position` is true (text), inputs and targets are [rows, positions] and each position has a target.
    """

    name: str
    task: Task
    train: Split
    validation: Split | None = None
    test: Split | None = None
    features: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    tokens: int | None = None
    every_position: bool = False
    class_weights: Float[Tensor, " classes"] | None = None
    truth: Mapping[str, float] = field(default_factory=dict)
    bayes_error: float | None = None
    ids: tuple[str, ...] = ()
    input_scale: Scale | None = None
    target_scale: Scale | None = None
