"""What theory says of a plane of hyperparameters: where full-batch training of a linear model diverges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from descend.mapping._axis import Axis
from descend.recipe import Recipe
from descend.train.build import build
from descend.train.stability import PRODUCTS, mse_hessian

SETTLED = {"schedule": "constant", "warmup": 0, "input_noise": 0.0, "clip_norm": None, "clip_value": None}
"""What has to be so for the limit to hold exactly; with other values it is where the first steps grow."""


@dataclass(frozen=True, eq=False)
class Theory:
    """`pressure` is the learning rate as a share of the stability limit: above 1 full-batch training diverges.

    `exact` says that every run of the map is full-batch and has a constant rate, so that nothing else is decisive.
    """

    formula: str
    pressure: Float64[np.ndarray, "rows columns"]
    exact: bool


def theory_of(recipe: Recipe, x: Axis, y: Axis) -> Theory | None:
    """The limit over the plane of two axes; None where theory knows none, or an axis changes the data themselves.

    Where weights and biases have learning rates or decays of their own, P and D on the diagonal, the eigenvalue that
    counts is the greatest of P^1/2 (H + D) P^1/2, the Hessian in coordinates where all rates are 1.
    """
    with torch.random.fork_rng(devices=[]):
        parts = build(recipe.but(layer_lrs=""))
    limit = parts.limit()
    fields = {x.field, y.field}
    own = {axis.removeprefix("lr@") for axis in fields if axis.startswith("lr@")}
    if limit is None or recipe.layer_lrs or own - {"weight", "bias"} or fields & recipe.part("data").keys():
        return None

    def over(name: str, default: str = "") -> Float64[np.ndarray, "rows columns"]:
        """A field's value in every cell."""
        shape = (len(y), len(x))
        if x.field == name:
            return np.broadcast_to(np.array(x.values, dtype=np.float64), shape)
        if y.field == name:
            return np.broadcast_to(np.array(y.values, dtype=np.float64)[:, None], shape)
        return over(default) if default else np.full(shape, float(recipe.options.get(name) or 0.0))

    decay = over("weight_decay")
    rates = [over("lr@weight", "lr"), over("lr@bias", "lr")]
    decays = [decay, decay if recipe.decay_exempt == "none" else np.zeros_like(decay)]
    split = parts.dataset.train
    hessian = (mse_hessian(split.inputs.flatten(1)) / split.targets.shape[1]).numpy()
    if own or np.any(decays[0] != decays[1]):
        grown = _greatest(hessian, rates, decays)
    else:
        grown = rates[0] * (np.linalg.eigvalsh(hessian)[-1] + decay)
    rows = len(split.inputs)
    whole = parts.batches.size == rows and recipe.order != "replacement" and "batch_size" not in fields
    settled = all(recipe[name] == value for name, value in SETTLED.items()) and not fields & SETTLED.keys()
    product, _ = PRODUCTS[recipe.optimizer]
    return Theory(limit.formula, grown / product(over("momentum")), whole and settled)


def _greatest(
    hessian: Float64[np.ndarray, "weights weights"],
    rates: list[Float64[np.ndarray, "rows columns"]],
    decays: list[Float64[np.ndarray, "rows columns"]],
) -> Float64[np.ndarray, "rows columns"]:
    """The greatest eigenvalue of P^1/2 (H + D) P^1/2 in every cell; rates and decays are those of weights and bias."""
    weights = len(hessian) - 1

    def diagonal(of: list[Float64[np.ndarray, "rows columns"]], row: int) -> Float64[np.ndarray, "columns weights"]:
        return np.stack([of[0][row]] * weights + [of[1][row]], axis=-1)

    found = []
    for row in range(len(rates[0])):  # a row at a time: all matrices of a map would be too many to hold
        scales = np.sqrt(diagonal(rates, row))
        matrices = hessian + diagonal(decays, row)[:, :, None] * np.eye(weights + 1)
        found.append(np.linalg.eigvalsh(scales[:, :, None] * matrices * scales[:, None, :])[:, -1])
    return np.stack(found)
