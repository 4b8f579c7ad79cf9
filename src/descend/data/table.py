"""Your own table: a CSV or Parquet file with a column to predict.

A column of numbers is standardised by the mean and deviation of the training rows. A column of words becomes one
column of zeros and ones for each word of the training rows; a word that occurs only in other rows is all zeros there.
A target of words, or of at most 20 whole numbers with 5 rows each on average (two numbers always), is a class;
other numbers are a regression. `task` overrules this. A table that cannot be trusted is refused, with file, row
(as an editor counts: the header of a CSV is row 1) and column, and with what to do.

`drop`, `categorical` and `numeric` are names of columns with commas between. Naming a column as categorical or numeric
also says that it is meant to be there, where it would be refused as an identifier or as a copy of the target.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from descend.catalog import Fraction, Whole
from descend.data._build import assemble, standardisation
from descend.data._columns import Column, any_column, is_number, number_column, one_hot, word_column
from descend.data._dataset import Dataset
from descend.data._read import RawTable, read_table
from descend.data._split import LEAST, Parts, first_equal, split_in_order, split_rows
from descend.data._unfit import (
    refuse_constant,
    refuse_copies,
    refuse_doubled_rows,
    refuse_identifiers,
    refuse_too_many_words,
)
from descend.errors import DataError

_MOST_CLASSES: Final = 20  # that whole numbers are taken for, unless the task is given
_ROWS_A_CLASS: Final = 5


def table(
    *,
    file: str,
    target: str,
    task: Literal["auto", "regression", "classification"] = "auto",
    drop: str = "",
    categorical: str = "",
    numeric: str = "",
    scale: Literal["none", "standard"] = "standard",
    scale_target: Literal["none", "standard"] = "standard",
    validation: Fraction = 0.2,
    test: Fraction = 0.0,
    split: Literal["random", "ordered"] = "random",
    duplicates: Literal["refuse", "together"] = "refuse",
    class_weights: Literal["none", "balanced"] = "none",
    data_seed: Whole = 0,
) -> Dataset:
    """Read, check, split and encode a table.

    `split`: at random (classes in equal shares), or in the file's order with the last rows held out.
    `duplicates`: rows that are equal in every column are refused where rows are held out, or kept in one part.
    `class_weights`: balanced is rows / (classes * rows of the class), counted on the training rows.
    `scale_target` concerns regression.
    """
    raw = read_table(file)
    raw.require(target, "target")
    dropped, as_words, as_numbers = (
        _names(raw, option, text, target)
        for option, text in (("drop", drop), ("categorical", categorical), ("numeric", numeric))
    )
    answer = _target(raw, target, task)
    if class_weights == "balanced" and not answer.words:
        raise DataError(
            f"class_weights is balanced, but the target '{target}' is a regression. Leave class_weights out, or give "
            "task=classification."
        )
    columns = _features(raw, answer, dropped, as_words, as_numbers)
    parts = _parts(
        raw, columns, answer, validation=validation, test=test, split=split, duplicates=duplicates, seed=data_seed
    )
    inputs, features, numbers = _encode(columns, parts)
    targets = answer.codes.astype(np.int64) if answer.words else answer.codes[:, None]
    standard_target = scale_target == "standard" and not answer.words
    return assemble(
        Path(file).stem,
        inputs,
        targets,
        parts,
        input_scale=standardisation(inputs[parts.train], numbers) if scale == "standard" else None,
        target_scale=standardisation(targets[parts.train]) if standard_target else None,
        features=features,
        targets=(target,),
        classes=answer.words,
        class_weights=_balanced(targets[parts.train]) if class_weights == "balanced" else None,
    )


def _names(raw: RawTable, option: str, text: str, target: str) -> list[str]:
    """The columns that an option names. Raises DataError for one that is not there, or that is the target."""
    names = [name.strip() for name in next(csv.reader([text]), [])]
    for name in names:
        raw.require(name, option)
        if name == target:
            raise DataError(f"{option} names the column '{name}', which is the target. Take it out of {option}.")
    return names


def _target(raw: RawTable, name: str, task: str) -> Column:
    """The target: a column of words where the task is classification, else of numbers."""
    if task == "classification":
        return _classes(raw, name)
    otherwise = "task=classification"
    column = number_column(raw, name, otherwise) if task == "regression" else any_column(raw, name, otherwise)
    _refuse_one_value(raw, column)
    return _classes(raw, name) if task == "auto" and _are_classes(column) else column


def _are_classes(target: Column) -> bool:
    values, rows = len(np.unique(target.codes)), len(target.codes)
    whole = bool((target.codes == np.round(target.codes)).all())
    return bool(target.words) or (whole and (values == 2 or values <= min(_MOST_CLASSES, rows / _ROWS_A_CLASS)))


def _classes(raw: RawTable, name: str) -> Column:
    """A target of words or whole numbers, with at least two rows in each class."""
    column = word_column(raw, name)
    _refuse_one_value(raw, column)
    broken = [word for word in column.words if is_number(word) and not float(word).is_integer()]
    if broken:
        raise DataError(
            f"{raw.place(raw.columns[name].index(broken[0]), name)}: {broken[0]} is not a class, which is a word or a "
            "whole number. Give task=regression to predict numbers."
        )
    counts = np.bincount(column.codes.astype(np.intp))
    rare = np.flatnonzero(counts < LEAST)
    if len(rare):
        word = column.words[rare[0]]
        more = f" (and so have {len(rare) - 1} other classes)" if len(rare) > 1 else ""
        raise DataError(
            f"{raw.place(raw.columns[name].index(word), name)}: the class '{word}' has only this row{more}, "
            f"but takes at least {LEAST}, to learn from and to judge by. Correct it, add rows, or delete it."
        )
    return column


def _refuse_one_value(raw: RawTable, target: Column) -> None:
    if (target.codes == target.codes[0]).all():
        raise DataError(
            f"{raw.file.name}, column '{target.name}': the target is {raw.columns[target.name][0]} in every row "
            f"({raw.lines[0]} to {raw.lines[-1]}), so there is nothing to learn. Add rows with other values."
        )


def _features(
    raw: RawTable, target: Column, dropped: Sequence[str], as_words: Sequence[str], as_numbers: Sequence[str]
) -> list[Column]:
    """Every other column, read and found fit. Columns that the user called words or numbers are meant to be there."""
    if both := set(as_words) & set(as_numbers):
        raise DataError(f"categorical and numeric both name '{min(both)}'. Leave it out of one of them.")
    columns = []
    for name in raw.columns:
        if name in dropped or name == target.name:
            continue
        if name in as_words:
            columns.append(word_column(raw, name))
        elif name in as_numbers:
            columns.append(number_column(raw, name, f"categorical={name}"))
        else:
            columns.append(any_column(raw, name, f"categorical={name}"))
    if not columns:
        raise DataError(f"{raw.file.name} has no feature left beside the target '{target.name}'. Drop fewer columns.")
    doubted = [column for column in columns if column.name not in (*as_words, *as_numbers)]
    refuse_constant(raw, columns, dropped)
    refuse_copies(raw, doubted, target, dropped)
    refuse_identifiers(raw, doubted, dropped)
    refuse_too_many_words(raw, columns, dropped)
    return columns


def _parts(
    raw: RawTable,
    columns: Sequence[Column],
    target: Column,
    *,
    validation: float,
    test: float,
    split: str,
    duplicates: str,
    seed: int,
) -> Parts:
    """Which rows train. Raises DataError for doubled rows, too few rows, or a class that none of them has."""
    if (validation or test) and (duplicates == "refuse" or split == "ordered"):
        refuse_doubled_rows(
            raw,
            "Delete the copies, for an ordered split cannot keep them together."
            if split == "ordered"
            else "Delete the copies, or keep equal rows in one part with duplicates=together.",
        )
    if split == "ordered":
        parts = split_in_order(len(target.codes), source=raw.file.name, validation=validation, test=test)
    else:
        parts = split_rows(
            first_equal(np.column_stack([column.codes for column in (*columns, target)])),
            target.codes if target.words else np.zeros(len(target.codes)),
            source=raw.file.name,
            validation=validation,
            test=test,
            seed=seed,
        )
    absent = set(range(len(target.words))) - set(target.codes[parts.train].astype(int))
    if absent:
        word = target.words[min(absent)]
        row = raw.columns[target.name].index(word)
        raise DataError(
            f"{raw.place(row, target.name)}: no row of the class '{word}' is left to train on. "
            "Hold out a smaller share, or add rows of the class."
        )
    return parts


def _encode(
    columns: Sequence[Column], parts: Parts
) -> tuple[Float64[np.ndarray, "rows features"], tuple[str, ...], Bool[np.ndarray, " features"]]:
    """The features as numbers, their names, and which of them were numbers in the file."""
    blocks, names, numbers = [], [], []
    for column in columns:
        block, called = one_hot(column, parts.train) if column.words else (column.codes[:, None], [column.name])
        blocks.append(block)
        names += called
        numbers += [not column.words] * len(called)
    return np.concatenate(blocks, axis=1), tuple(names), np.array(numbers)


def _balanced(targets: Int[np.ndarray, " rows"]) -> Float[Tensor, " classes"]:
    """rows / (classes * rows of the class): the classes then weigh the same (King & Zeng 2001)."""
    counts = torch.bincount(torch.from_numpy(targets))
    return len(targets) / (len(counts) * counts)
