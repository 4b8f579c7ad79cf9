"""Up to which learning rate gradient descent converges, for the one case where it is known exactly: a quadratic.

For a linear model and the mean squared error the loss is a quadratic with the constant Hessian H = (2/n) X'X (X with
a column of ones for the bias). In the direction of an eigenvector with eigenvalue lambda, gradient descent multiplies
the error by 1 - lr lambda, so it converges if and only if lr < 2 / lambda_max.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from descend.catalog import Value


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


def mse_hessian_eigenvalues(inputs: Float[Tensor, "rows features"]) -> Float[Tensor, " eigenvalues"]:
    """The eigenvalues, ascending, of the Hessian of a linear model's mean squared error, bias included. In float64."""
    rows = inputs.double().cpu()
    design = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)
    eigenvalues: Tensor = torch.linalg.eigvalsh(2 / len(rows) * design.T @ design)
    return eigenvalues


def stability_limit(
    optimizer: str, hyper: Mapping[str, Value], inputs: Float[Tensor, "rows features"], outputs: int = 1
) -> StabilityLimit | None:
    """The limit of an optimizer on a linear model with the mean squared error; None for one without a known limit.

    sgd: 2 / lambda_max. Heavy ball: (2 + 2 beta) / lambda_max (Goh 2017, "Why momentum really works"). Nesterov as
    PyTorch writes it: (2 + 2 beta) / ((1 + 2 beta) lambda_max), from the root -1 of its characteristic polynomial.
    Weight decay adds to every eigenvalue.
    """
    beta = float(hyper.get("momentum") or 0.0)
    known = {
        "sgd": (2.0, "2 / lambda_max"),
        "momentum": (2 + 2 * beta, "(2 + 2 beta) / lambda_max"),
        "nesterov": ((2 + 2 * beta) / (1 + 2 * beta), "(2 + 2 beta) / ((1 + 2 beta) lambda_max)"),
    }
    if optimizer not in known:
        return None
    factor, formula = known[optimizer]
    eigenvalues = mse_hessian_eigenvalues(inputs) / outputs + float(hyper.get("weight_decay") or 0.0)
    top = float(eigenvalues[-1])
    return StabilityLimit(float(hyper["lr"] or 0.0), factor / top, top, float(eigenvalues[0]), formula)
