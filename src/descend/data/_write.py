"""A data set as a CSV that `table` reads, and its truth beside it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from descend.data._dataset import Dataset, Scale
from descend.errors import DataError
from descend.files import write_atomically


def write_table(dataset: Dataset, path: str | Path) -> tuple[Path, Path]:
    """Write every row (train, then validation, then test) in raw units to `path`, and the truth to NAME.truth.json.

    An image or a sequence becomes one row of numbers. Both files appear whole or not at all. Returns their paths.
    Raises DataError for text, which is not a table, and for a folder that does not exist.
    """
    file = Path(path)
    if dataset.every_position:
        raise DataError(f"'{dataset.name}' is text, not a table. Write another data set.")
    if not file.parent.is_dir():
        raise DataError(f"There is no folder {file.parent} to write {file.name} into. Make it first.")
    truth = {"data": dataset.name, "weights": dict(dataset.truth), "bayes_error": dataset.bayes_error}
    beside = file.with_suffix(".truth.json")
    write_atomically(beside, json.dumps(truth, indent=2).encode() + b"\n")
    write_atomically(file, _csv(dataset).encode())
    return file, beside


def _csv(dataset: Dataset) -> str:
    parts = [part for part in (dataset.train, dataset.validation, dataset.test) if part is not None]
    inputs = _raw(torch.cat([part.inputs for part in parts]).flatten(start_dim=1), dataset.input_scale)
    targets = _raw(torch.cat([part.targets for part in parts]), dataset.target_scale)
    features = dataset.features or [f"x{number}" for number in range(1, inputs.shape[1] + 1)]
    rows = [_numbers(row) for row in inputs]
    answers = [[dataset.classes[int(k)]] for k in targets] if dataset.classes else [_numbers(row) for row in targets]
    ids = [[name] for name in dataset.ids] or [[] for _ in rows]

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(["id"] if dataset.ids else []), *features, *dataset.targets])
    writer.writerows([*name, *row, *answer] for name, row, answer in zip(ids, rows, answers, strict=True))
    return text.getvalue()


def _raw(values: Tensor, scale: Scale | None) -> np.ndarray:
    """In raw units, to within the rounding of the scaled values to float32."""
    return (values if scale is None else (values * scale.std + scale.mean).float()).numpy()


def _numbers(row: Iterable[np.float32]) -> list[str]:
    """The shortest decimals that read back as the same float32."""
    return [np.format_float_positional(number, trim="-") for number in row]
