"""The loss before the first update, and what it should be of a network that knows nothing yet."""

from __future__ import annotations

import math
from typing import Any

from jaxtyping import Shaped
from torch import Tensor


def of(
    loss: float, kind: str | None, targets: Shaped[Tensor, "rows ..."], classes: int | None = None
) -> dict[str, Any]:
    """Topic "start". `kind` is the loss function ("cross_entropy", "mse", ...), `classes` the outputs it chooses from.

    `expected` is the loss of the best answer that is the same for every row (for classes: all equally likely): ln K
    for cross-entropy, ln 2 for two classes by one logit, the variance of the targets for the mean squared error, their
    mean distance from the median for the mean absolute error. It is None where nobody knows. `of_zero` is the loss of
    answering 0 to everything, where that is known: what a regression network does at first.
    """
    expected = of_zero = None
    if kind in ("cross_entropy", "nll") and classes and classes > 1:
        expected = math.log(classes)
    elif kind in ("bce", "bce_with_logits"):
        expected = math.log(2)
    elif kind == "mse" and len(targets):
        numbers = targets.double()
        expected, of_zero = float((numbers - numbers.mean(0)).square().mean()), float(numbers.square().mean())
    elif kind in ("l1", "mae") and len(targets):
        numbers = targets.double()
        expected, of_zero = float((numbers - numbers.median(0).values).abs().mean()), float(numbers.abs().mean())
    return {"loss": loss, "expected": expected, "of_zero": of_zero, "classes": classes}
