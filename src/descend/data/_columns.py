"""What a column of a table is: numbers, or words of some categories; a column that is neither is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64, Int

from descend.data._read import RawTable
from descend.errors import DataError

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FOREIGN: Final = re.compile(r"[^0-9eE+.\-\n]")  # of what is left, float() takes exactly the numbers above
_MISSING: Final = {"", "nan", "na", "n/a", "#n/a", "<na>", "nat", "null", "?"}
_LARGEST: Final = float(np.finfo(np.float32).max)

# Forms that look like numbers to a person: (what is wrong, pattern, what to write instead).
_ALMOST_NUMBERS: Final = (
    ("is not finite", r"[+-]?(inf|infinity)", "a finite number"),
    (
        "is a date or a time",
        r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([T ].*)?|\d{1,2}:\d{2}(:\d{2}.*)?",
        "a number, such as days since the first",
    ),
    ("has a percent sign", r"[+-]?[\d.,]+ ?%", "the number alone"),
    ("has a currency sign", r"[+-]?[$€£¥] ?[\d.,]+|[+-]?[\d.,]+ ?[$€£¥]", "the number alone"),
    (
        "has a comma or blank between digits",
        r"[+-]?\d[\d.]*[,' \u00a0\u202f][\d.,' \u00a0\u202f]*",
        "1234.5 for 1,234.5",
    ),
)


@dataclass(frozen=True)
class Column:
    """One column: `codes` are its numbers or, where it has `words`, each row's place among these."""

    name: str
    codes: Float64[np.ndarray, " rows"]
    words: tuple[str, ...] = ()


def is_number(cell: str) -> bool:
    """Whether a cell is a plain decimal number: no blanks, separators, units, nan or inf."""
    return _NUMBER.fullmatch(cell) is not None


def number_column(table: RawTable, name: str, otherwise: str) -> Column:
    """A column in which every cell is a finite number that float32 can hold, else DataError.

    `otherwise` is the option that makes it a column of words, for the message.
    """
    cells = table.columns[name]
    codes = _floats(cells)
    if codes is None:
        raise _bad_number(table, name, otherwise)
    beyond = np.abs(codes) > _LARGEST
    if beyond.any():
        row = int(beyond.argmax())
        raise DataError(
            f"{table.place(row, name)}: {cells[row]} is beyond the range of float32, {_LARGEST:.2g}. "
            "Correct it, or use another unit."
        )
    return Column(name, codes)


def word_column(table: RawTable, name: str) -> Column:
    """A column of categories, in alphabetical order (whole numbers by size), else DataError."""
    cells = table.columns[name]
    _refuse_missing(table, name)
    words = sorted(set(cells), key=_by_size)
    _refuse_twins(table, name, words)
    place = {word: code for code, word in enumerate(words)}
    return Column(name, np.array([place[cell] for cell in cells], dtype=np.float64), tuple(words))


def any_column(table: RawTable, name: str, otherwise: str) -> Column:
    """A column of numbers if there is a number in it, or what a person takes for one, else of words."""
    cells = set(table.columns[name])
    if any(map(is_number, cells)) or any(map(_almost_number, cells)):
        return number_column(table, name, otherwise)
    return word_column(table, name)


def one_hot(
    column: Column, train: Int[np.ndarray, " chosen"]
) -> tuple[Float64[np.ndarray, "rows categories"], list[str]]:
    """A column for each category that occurs in the training rows, and their names: 'city=Oslo'.

    A category that occurs in other rows only has no column: such a row is all zeros.
    """
    seen = np.unique(column.codes[train])
    return (column.codes[:, None] == seen).astype(np.float64), [f"{column.name}={column.words[int(c)]}" for c in seen]


def _floats(cells: Sequence[str]) -> Float64[np.ndarray, " rows"] | None:
    """The cells as numbers, if all are: six times as fast as asking each whether it is one."""
    if _FOREIGN.search("\n".join(cells)):
        return None
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        return None


def _bad_number(table: RawTable, name: str, otherwise: str) -> DataError:
    """Why a column is not one of numbers: its first cell that is missing, or odd among the others."""
    _refuse_missing(table, name)
    cells = table.columns[name]
    good = [is_number(cell) for cell in cells]
    numbers = sum(good)
    if 0 < 2 * numbers < len(cells) and not any(map(_almost_number, set(cells))):
        row = good.index(True)
        problem, cure = (
            f"is a number, but {len(cells) - numbers} of the column's {len(cells)} cells are words",
            "a word",
        )
    else:
        row = good.index(False)
        problem, cure = _almost_number(cells[row]) or ("is not a number", "a number")
        problem += f", unlike {numbers} of the column's {len(cells)} cells" if numbers else ""
    return DataError(
        f"{table.place(row, name)}: {cells[row]!r} {problem}. "
        f"Write {cure}, or give {otherwise} if the column holds names."
    )


def _almost_number(cell: str) -> tuple[str, str] | None:
    """For what looks like a number to a person: what is wrong with it, and what to write instead."""
    for problem, form, cure in _ALMOST_NUMBERS:
        if re.fullmatch(form, cell, re.ASCII | re.IGNORECASE):
            return problem, cure
    return None


def _refuse_missing(table: RawTable, name: str) -> None:
    cells = table.columns[name]
    rows = [row for row, cell in enumerate(cells) if cell.casefold() in _MISSING]
    if rows:
        what = f"holds {cells[rows[0]]!r}, which is no value" if cells[rows[0]] else "has no value"
        more = f", and {len(rows) - 1} more of the column's cells have none" if len(rows) > 1 else ""
        raise DataError(
            f"{table.place(rows[0], name)} {what}{more}. Fill in a value, delete the row, or leave the column out."
        )


def _refuse_twins(table: RawTable, name: str, words: Sequence[str]) -> None:
    """Two categories that differ only in how they are written, 'Oslo' and 'oslo' or '1' and '1.0', are one."""
    first: dict[str | float, str] = {}
    for word in words:
        known = first.setdefault(float(word) if is_number(word) else word.casefold(), word)
        if known != word:
            rarer, other = sorted((known, word), key=table.columns[name].count)
            row = table.columns[name].index(rarer)
            raise DataError(f"{table.place(row, name)}: {rarer!r} is {other!r} written otherwise. Write both alike.")


def _by_size(word: str) -> tuple[bool, float, str]:
    return not is_number(word), float(word) if is_number(word) else 0.0, word
