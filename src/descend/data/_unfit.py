"""What reads well as a table and still must not be trained on: each is refused, with the option that solves it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float64

from descend.data._columns import Column
from descend.data._read import RawTable
from descend.errors import DataError

MOST_CATEGORIES: Final = 1000  # each becomes an input of the model
_FEW: Final = 20  # up to so many different values are categories, however few rows there are
_TIMES: Final = 3  # that each number occurs: where all differ, or each row stands twice, every column tells the target
_LEFT_OVER: Final = 1e-4  # of the target's standard deviation: a copy rounded to four digits leaves less
_ENOUGH_ROWS: Final = 10  # two columns have the same order by chance with a probability of 2 / 10! = 6e-7
_IDENTIFIER: Final = re.compile(
    r"(.*[_ .-])?(id|ID|Id)|.*[a-z](Id|ID)|(?i:index|unnamed: \d+|__index_level_\d+__|row[_ ]?(id|nr|no|number)?)"
)


def refuse_constant(table: RawTable, columns: Sequence[Column], dropped: Sequence[str]) -> None:
    constant = [column.name for column in columns if _distinct(column.codes) == 1]
    if constant:
        others = f", and so do {len(constant) - 1} more columns" if len(constant) > 1 else ""
        raise DataError(
            f"{table.file.name}, column '{constant[0]}' holds {table.columns[constant[0]][0]} in every row{others}: "
            f"there is nothing to learn from it. {_cure(dropped, constant)}"
        )


def refuse_identifiers(table: RawTable, columns: Sequence[Column], dropped: Sequence[str]) -> None:
    """Names, texts and running numbers: a model would learn the rows by heart."""
    named = [column for column in columns if _is_identifier(column)]
    if named:
        others = f", and so do {len(named) - 1} more columns" if len(named) > 1 else ""
        cells = table.columns[named[0].name]
        raise DataError(
            f"{table.file.name}, column '{named[0].name}' ({cells[0]}, {cells[1]}, ...) names the rows{others}: "
            f"a model would learn them by heart. {_cure(dropped, [column.name for column in named], keep=named[0])}"
        )


def refuse_too_many_words(table: RawTable, columns: Sequence[Column], dropped: Sequence[str]) -> None:
    for column in columns:
        if len(column.words) > MOST_CATEGORIES:
            raise DataError(
                f"{table.file.name}, column '{column.name}' has {len(column.words)} categories, but each becomes an "
                f"input and the most is {MOST_CATEGORIES}. {_cure(dropped, [column.name])}"
            )


def refuse_copies(table: RawTable, columns: Sequence[Column], target: Column, dropped: Sequence[str]) -> None:
    """Columns that give the answer away: a model would read it there and learn nothing else."""
    for column in columns:
        how = _copied(column, target)
        if how:
            raise DataError(
                f"{table.file.name}, column '{column.name}' is the target '{target.name}' over again: {how}. "
                f"{_cure(dropped, [column.name], keep=column)}"
            )


def refuse_doubled_rows(table: RawTable, cure: str) -> None:
    """Rows that are the same in every column of the file: one could train and its copy judge."""
    seen: dict[tuple[str, ...], int] = {}
    first = [seen.setdefault(cells, row) for row, cells in enumerate(zip(*table.columns.values(), strict=True))]
    copies = [row for row, original in enumerate(first) if original != row]
    if copies:
        line, original = table.lines[copies[0]], table.lines[first[copies[0]]]
        more = f", and {len(copies) - 1} more rows are copies" if len(copies) > 1 else ""
        raise DataError(
            f"{table.file.name}, row {line} is the same as row {original}{more}: a model could be judged by rows that "
            f"it was trained on. {cure}"
        )


def _is_identifier(column: Column) -> bool:
    rows, distinct = len(column.codes), _distinct(column.codes)
    if column.words:
        return distinct == rows or (distinct > _FEW and 2 * distinct > rows)
    rising = np.sort(column.codes)
    counts = rising[0] in (0, 1) and bool((np.diff(rising) == 1).all())
    whole = bool((rising == np.round(rising)).all())
    return counts or (whole and _IDENTIFIER.fullmatch(column.name) is not None)


def _copied(column: Column, target: Column) -> str | None:
    """How one can tell the target from the column alone, if there is a simple way."""
    x, y = column.codes, target.codes
    rows, values = len(x), _distinct(y)
    if column.words == target.words and np.array_equal(x, y):
        return "every cell is equal"
    few = rows / 2 if target.words else min(_FEW, rows / _TIMES)
    if values <= few and _distinct(x) == values == _distinct(np.column_stack([x, y])):
        return f"each of its {values} values stands for one of the target's"
    if column.words or target.words:
        return None
    unit_x, unit_y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of numbers about 1e-200 would be zero
    if rows > 2 and 1 - np.corrcoef(unit_x, unit_y)[0, 1] ** 2 < _LEFT_OVER**2:
        return "it lies on a straight line with it"
    if rows >= _ENOUGH_ROWS and any(_same_order(sign * x, y) for sign in (1, -1)):
        return "it puts the rows in the same order"
    return None


def _same_order(x: Float64[np.ndarray, " rows"], y: Float64[np.ndarray, " rows"]) -> bool:
    """Whether y is a strictly rising function of x."""
    by_x = np.argsort(x, kind="stable")
    return np.array_equal(np.diff(x[by_x]) > 0, np.diff(y[by_x]) > 0) and bool((np.diff(y[by_x]) >= 0).all())


def _distinct(values: Float64[np.ndarray, "rows ..."]) -> int:
    return len(np.unique(values, axis=0))


def _cure(dropped: Sequence[str], more: Sequence[str], keep: Column | None = None) -> str:
    names = io.StringIO()
    csv.writer(names, lineterminator="").writerow([*dropped, *more])
    them = "it" if len(more) == 1 else "them"
    otherwise = f", or keep it with {'categorical' if keep.words else 'numeric'}={keep.name}" if keep else ""
    return f"Leave {them} out with drop={names.getvalue()}{otherwise}."
