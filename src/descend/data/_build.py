"""From raw rows to a Dataset: split, scaled by the training rows, and cast to what a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from descend.data._dataset import Dataset, Scale, Split
from descend.data._split import Parts, first_equal, split_rows


def build(
    name: str,
    inputs: Float[np.ndarray, "rows ..."],
    targets: Shaped[np.ndarray, "rows ..."],
    /,
    *,
    validation: float,
    test: float,
    data_seed: int,
    scale: Literal["none", "standard"] = "none",
    **facts: Any,
) -> Dataset:
    """Split (by class, where targets are class numbers), scale and cast raw rows; `facts` are fields of Dataset.

    Equal rows stay in one part. Raises DataError where a part would be left with fewer than two rows.
    """
    rows = len(inputs)
    parts = split_rows(
        first_equal(inputs.reshape(rows, -1), targets.reshape(rows, -1).astype(np.float64)),
        targets if _are_classes(targets) else np.zeros(rows),
        source=name,
        validation=validation,
        test=test,
        seed=data_seed,
    )
    input_scale = standardisation(inputs[parts.train]) if scale == "standard" else None
    return assemble(name, inputs, targets, parts, input_scale=input_scale, **facts)


def assemble(
    name: str,
    inputs: Shaped[np.ndarray, "rows ..."],
    targets: Shaped[np.ndarray, "rows ..."],
    parts: Parts,
    /,
    *,
    input_scale: Scale | None = None,
    target_scale: Scale | None = None,
    ids: Sequence[str] = (),
    **facts: Any,
) -> Dataset:
    """A Dataset of rows whose parts and scales are known."""
    x, y = _tensor(inputs, input_scale), _tensor(targets, target_scale)
    train, validation, test = (Split(x[chosen], y[chosen]) if len(chosen) else None for chosen in parts)
    if train is None:
        raise AssertionError("a split that leaves no training rows is refused before this")
    return Dataset(
        name,
        "classification" if _are_classes(targets) else "regression",
        train,
        validation,
        test,
        ids=tuple(ids[row] for row in np.concatenate(parts)) if ids else (),
        input_scale=input_scale,
        target_scale=target_scale,
        **facts,
    )


def standardisation(
    columns: Float[np.ndarray, "rows columns"], which: Bool[np.ndarray, " columns"] | None = None
) -> Scale:
    """Mean and population standard deviation of the columns, or of those in the mask `which`; see Scale."""
    scaled = np.ones(columns.shape[1], dtype=bool) if which is None else which
    mean, std = columns.mean(axis=0), columns.std(axis=0)
    # The deviation of equal numbers may be rounding error, and that of numbers about 1e-200 rounds to zero.
    varying = scaled & (columns.min(axis=0) < columns.max(axis=0)) & (std > 0)
    return Scale(torch.from_numpy(np.where(scaled, mean, 0.0)), torch.from_numpy(np.where(varying, std, 1.0)))


def _tensor(values: np.ndarray, scale: Scale | None) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if scale is not None:
        tensor = (tensor - scale.mean) / scale.std
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64)


def _are_classes(targets: np.ndarray) -> bool:
    return bool(np.issubdtype(targets.dtype, np.integer))
