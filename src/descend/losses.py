"""Losses: one number to make small, the mean over the rows of a batch.

Every loss here is linear in the rows: loss(batch) is the mean of loss(row), whatever the rows. So the micro-batches
of a batch, each weighted by its number of rows, add up to the batch exactly, in value and in gradient, and so do the
batches of an evaluation. Class weights keep to it: a row counts `class_weights[its class]` times, and the sum is
divided by the number of rows. (`torch.nn.functional` divides by the sum of the weights, which makes a row's share
depend on the rows beside it; weights whose mean over the training rows is one give the same mean there.)

Outputs and targets must have the very shapes documented. A column taken from a flat vector, (n, 1) - (n,), broadcasts
to (n, n) and trains towards the mean target for every row, in silence; here it raises DescendError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from descend.catalog import Fraction, Positive, Task
from descend.errors import DescendError

TASK: Final[Mapping[str, Task]] = {
    "mse": "regression",
    "mae": "regression",
    "huber": "regression",
    "cross_entropy": "classification",
    "bce_with_logits": "classification",
}
"""The task that each loss fits."""

DEFAULT: Final[Mapping[Task, str]] = {"regression": "mse", "classification": "cross_entropy"}
"""The loss of a task where none is asked for."""

ONE_LOGIT: Final = frozenset({"bce_with_logits"})
"""Losses that tell two classes apart by one output; the others of classification want one output a class."""


def mse(outputs: Float[Tensor, "..."], targets: Float[Tensor, "..."], class_weights: None = None) -> Float[Tensor, ""]:
    """Mean squared error; the gradient of a row is 2 (output - target) / rows."""
    _require_same(outputs, targets)
    # nn.functional.mse_loss spends 3 of its 10 microseconds on broadcasting, which is refused above
    value: Tensor = torch.ops.aten.mse_loss(outputs, targets)
    return value


def mae(outputs: Float[Tensor, "..."], targets: Float[Tensor, "..."], class_weights: None = None) -> Float[Tensor, ""]:
    """Mean absolute error: fits the median, so that outliers do not pull."""
    _require_same(outputs, targets)
    return nn.functional.l1_loss(outputs, targets)


def huber(
    outputs: Float[Tensor, "..."],
    targets: Float[Tensor, "..."],
    class_weights: None = None,
    *,
    delta: Positive = 1.0,
) -> Float[Tensor, ""]:
    """Half the squared error up to `delta`, linear beyond it (Huber 1964)."""
    _require_same(outputs, targets)
    return nn.functional.huber_loss(outputs, targets, delta=delta)


def cross_entropy(
    outputs: Float[Tensor, "*rows classes"],
    targets: Int[Tensor, "..."],
    class_weights: Float[Tensor, " classes"] | None = None,
    *,
    label_smoothing: Fraction = 0.0,
) -> Float[Tensor, ""]:
    """Minus the log of the softmax probability of the right class, from logits; ln K where all K are equally likely.

    Outputs are [rows, classes], or [rows, positions, classes] with targets [rows, positions]. `label_smoothing` is the
    share of the target spread evenly over all classes (Szegedy et al. 2016, section 7).
    """
    _require_logits(outputs, targets, outputs.shape[-1])
    logits, classes = outputs.flatten(0, -2), targets.flatten()
    if class_weights is None:
        return nn.functional.cross_entropy(logits, classes, label_smoothing=label_smoothing)
    losses = nn.functional.cross_entropy(logits, classes, reduction="none", label_smoothing=label_smoothing)
    return (class_weights[classes] * losses).mean()


def bce_with_logits(
    outputs: Float[Tensor, "*rows 1"],
    targets: Int[Tensor, "..."],
    class_weights: Float[Tensor, "2"] | None = None,
) -> Float[Tensor, ""]:
    """Binary cross-entropy from one logit: class 1 is likely where it is positive.

    Targets are 0 or 1. The same model as two-class cross-entropy with the difference of the two logits.
    """
    _require_logits(outputs, targets, 1)
    weights = None if class_weights is None else class_weights[targets]
    return nn.functional.binary_cross_entropy_with_logits(outputs.squeeze(-1), targets.to(outputs.dtype), weights)


def _require_same(outputs: Tensor, targets: Tensor) -> None:
    if outputs.shape != targets.shape:
        raise DescendError(
            f"Outputs have shape {tuple(outputs.shape)} and targets {tuple(targets.shape)}; they must be equal, "
            f"[rows, outputs], and are never broadcast. Reshape the targets."
        )


def _require_logits(outputs: Tensor, targets: Tensor, logits: int) -> None:
    if outputs.shape != (*targets.shape, logits):
        raise DescendError(
            f"Outputs have shape {tuple(outputs.shape)} and class numbers {tuple(targets.shape)}; outputs must have "
            f"the shape of the class numbers and then one axis of {logits}."
        )
