"""Up to which learning rate gradient descent converges, for the one case where it is known exactly: a quadratic.

For a linear model and the mean squared error the loss is a quadratic with the constant Hessian H = (2/n) X'X (X with
a column of ones for the bias). In the direction of an eigenvector with eigenvalue lambda, gradient descent multiplies
the error by 1 - lr lambda, so it converges if and only if lr < 2 / lambda_max.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from descend.catalog import Value

PRODUCTS: Final[Mapping[str, tuple[Callable[[Any], Any], str]]] = {
    "sgd": (lambda beta: 2.0 + 0 * beta, "2 / lambda_max"),
    "momentum": (lambda beta: 2 + 2 * beta, "(2 + 2 beta) / lambda_max"),
    "nesterov": (lambda beta: (2 + 2 * beta) / (1 + 2 * beta), "(2 + 2 beta) / ((1 + 2 beta) lambda_max)"),
}
"""Up to which product of learning rate and eigenvalue an optimizer converges, from its momentum beta (a number or an
array); and the limit that follows.

Heavy ball: Goh 2017, "Why momentum really works". Nesterov as PyTorch writes it: from the root -1 of its characteristic
polynomial."""


@dataclass(frozen=True)
class StabilityLimit:
    """The learning rate `limit` above which full-batch training diverges; `formula` says where it comes from."""

    lr: float
    limit: float
    lambda_max: float
    lambda_min: float
    formula: str

    @property
    def beyond(self) -> bool:
        return self.lr > self.limit

    @property
    def sentence(self) -> str:
        relation = "beyond" if self.beyond else "below"
        consequence = "full-batch training diverges" if self.beyond else "full-batch training converges"
        return (
            f"The learning rate {self.lr:g} is {relation} the stability limit {self.limit:.4g} of this data "
            f"({self.formula}, lambda_max = {self.lambda_max:.4g}): {consequence}."
        )


def mse_hessian(inputs: Float[Tensor, "rows features"]) -> Float[Tensor, "weights weights"]:
    """The Hessian (2/n) X'X of a linear model's mean squared error; the bias is last. In float64."""
    rows = inputs.double().cpu()
    design = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)
    return 2 / len(rows) * design.T @ design


def mse_hessian_eigenvalues(inputs: Float[Tensor, "rows features"]) -> Float[Tensor, " eigenvalues"]:
    """The eigenvalues, ascending, of the Hessian of a linear model's mean squared error, bias included. In float64."""
    eigenvalues: Tensor = torch.linalg.eigvalsh(mse_hessian(inputs))
    return eigenvalues


def stability_limit(
    optimizer: str, hyper: Mapping[str, Value], inputs: Float[Tensor, "rows features"], outputs: int = 1
) -> StabilityLimit | None:
    """The limit of an optimizer on a linear model with the mean squared error; None for one without a known limit.

    Weight decay adds to every eigenvalue.
    """
    if optimizer not in PRODUCTS:
        return None
    product, formula = PRODUCTS[optimizer]
    eigenvalues = mse_hessian_eigenvalues(inputs) / outputs + float(hyper.get("weight_decay") or 0.0)
    top = float(eigenvalues[-1])
    limit = product(float(hyper.get("momentum") or 0.0)) / top
    return StabilityLimit(float(hyper["lr"] or 0.0), limit, top, float(eigenvalues[0]), formula)
