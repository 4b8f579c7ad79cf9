"""Broken variants of a good table: none is accepted in silence."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.datasets import load_wine

from descend.data.table import table
from descend.errors import DataError

Rows = list[list[str]]
Broken = Callable[[Rows], "Rows | str | bytes"]

CELL = "row 7, column 'malic_acid'"


def good() -> Rows:
    """Four columns of scikit-learn's wine data as they stand in a CSV: three numbers and a class, 178 rows."""
    wine = load_wine()
    measured = [[f"{x:g}" for x in row[:3]] for row in wine.data]
    return [
        ["alcohol", "malic_acid", "ash", "cultivar"],
        *([*row, f"class_{k}"] for row, k in zip(measured, wine.target, strict=True)),
    ]


def to_csv(rows: Rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def cell(row: int, column: int, value: str) -> Broken:
    """Another value in a cell; `row` counts as an editor does, so 1 is the header."""

    def broken(rows: Rows) -> Rows:
        rows[row - 1][column] = value
        return rows

    return broken


def malic_acid(form: Callable[[str], str]) -> Broken:
    """Every cell of the second column in another form."""
    return lambda rows: [rows[0], *([row[0], form(row[1]), *row[2:]] for row in rows[1:])]


def column(name: str, value: Callable[[int, list[str]], str]) -> Broken:
    """A column in front; `value` makes a cell from the place of its row among the data rows, and from the row."""
    return lambda rows: [[name, *rows[0]], *([value(place, row), *row] for place, row in enumerate(rows[1:]))]


def text(change: Callable[[str], str | bytes]) -> Broken:
    return lambda rows: change(to_csv(rows))


def both(first: Broken, second: Broken) -> Broken:
    return lambda rows: second(first(rows))


side = column("side", lambda place, _: "north" if place % 3 else "south")
day = column("day", lambda place, _: str(datetime.date(2024, 1, 1) + datetime.timedelta(place)))
quoted = text(lambda csv: csv.replace("class_1", '"class_1', 1))

BROKEN: dict[str, tuple[Broken, str]] = {
    # the file
    "empty file": (lambda _: b"", r"wine\.csv is empty"),
    "blank file": (lambda _: b"\n \n", r"wine\.csv is empty"),
    "header only": (lambda rows: rows[:1], "wine.csv has a header but no rows"),
    "Excel workbook": (lambda _: b"PK\x03\x04", "is an Excel workbook or a zip archive, not a CSV"),
    "old Excel workbook": (lambda _: b"\xd0\xcf\x11\xe0", "is an old Excel workbook"),
    "compressed": (text(lambda csv: gzip.compress(csv.encode())), "is a gzip archive"),
    "UTF-16": (text(lambda csv: csv.encode("utf-16")), "is text in UTF-16"),
    "Latin-1": (both(cell(9, 3, "café"), text(lambda csv: csv.encode("latin-1"))), "row 9: the byte 0xE9 is not UTF-8"),
    "zero byte": (cell(9, 3, "a\0b"), "row 9 holds a zero byte"),
    "damaged Parquet": (lambda _: b"PAR1 and no more", "is not a Parquet file, or it is damaged"),
    "one column": (lambda rows: [row[:1] for row in rows], "row 1 has one column, 'alcohol'"),
    "one endless line": (lambda _: b"x" * 200_000, "row 1, column 1: .* the cell has more than 131072 characters"),
    "endless quote": (text(lambda csv: '"' + csv * 50), "row 1, column 1: a quote is not closed"),
    # the header
    "blank first line": (text(lambda csv: "\n" + csv), "row 1 is empty"),
    "no target": (cell(1, 3, "cultivars"), "no column 'cultivar', which target names. Did you mean 'cultivars'"),
    "no header": (lambda rows: [row[:3] for row in rows[1:]], "no column 'cultivar'.*Row 1 holds only numbers"),
    "doubled name": (cell(1, 2, "alcohol"), "row 1 has the name 'alcohol' 2 times, in columns 1 and 3"),
    "empty name": (cell(1, 2, " "), "row 1, column 3 has no name"),
    "pandas index": (column("", lambda place, _: str(place)), "row 1, column 1 has no name.*index=False"),
    # the rows
    "too few cells": (lambda rows: [*rows[:5], rows[5][:3]], "row 6 has 3 cells .* 4: column 'cultivar' is missing"),
    "too many cells": (
        lambda rows: [*rows[:5], [*rows[5], "9"]],
        r"row 6 has 5 cells .* 4: column 5 \('9'\) is beyond",
    ),
    "blank line": (lambda rows: [*rows[:5], [], *rows[5:]], "row 6 is empty"),
    "other delimiter": (lambda rows: [rows[0], *([";".join(row)] for row in rows[1:])], "row 2 has 1 cell where"),
    "open quote": (quoted, "row 61, column 4: a quote is not closed"),
    "quote closed far below": (
        both(quoted, lambda csv: str(csv).replace("class_2\n", 'class_2"\n', 1)),
        "row 61, column 4: a quote opens a cell that ends only in row 132",
    ),
    "quote in a cell": (text(lambda csv: csv.replace("class_1", '"a" b', 1)), "row 61, column 4: .* stands inside"),
    "few rows": (
        lambda rows: [*rows[:3], *rows[60:63]],
        r"wine\.csv has too few rows \(5\): .* 1 for validation",
    ),
    "doubled row": (lambda rows: [*rows, rows[7]], "row 180 is the same as row 8: .*duplicates=together"),
    "doubled table": (lambda rows: rows + rows[1:], "row 180 is the same as row 2, and 177 more rows are copies"),
    # the cells
    "empty cell": (cell(7, 1, ""), f"{CELL} has no value"),
    "blank cells": (both(cell(7, 1, " "), cell(9, 1, "")), f"{CELL} has no value, and 1 more of the column's"),
    "NaN": (cell(7, 1, "NaN"), f"{CELL} holds 'NaN', which is no value"),
    "N/A": (cell(7, 1, "n/a"), f"{CELL} holds 'n/a', which is no value"),
    "infinite": (cell(7, 1, "-inf"), f"{CELL}: '-inf' is not finite, unlike 177 of the column's 178"),
    "beyond float64": (cell(7, 1, "1e999"), f"{CELL}: 1e999 is beyond the range of float32"),
    "beyond float32": (cell(7, 1, "1e39"), f"{CELL}: 1e39 is beyond the range of float32"),
    "word": (cell(7, 1, "unknown"), f"{CELL}: 'unknown' is not a number, unlike 177 of the column's 178 cells"),
    "letter O": (cell(7, 1, "1.O5"), f"{CELL}: '1.O5' is not a number"),
    "thousands": (cell(7, 1, "1,234"), f"{CELL}: '1,234' has a comma or blank between digits"),
    "decimal commas": (malic_acid(lambda cell: cell.replace(".", ",")), "row 2, .*: '1,71' has a comma or blank"),
    "percent": (cell(7, 1, "12%"), f"{CELL}: '12%' has a percent sign"),
    "all percent": (malic_acid(lambda cell: f"{cell} %"), "row 2, column 'malic_acid': '1.71 %' has a percent sign"),
    "currency": (cell(7, 1, "€12"), f"{CELL}: '€12' has a currency sign"),
    "underscore": (cell(7, 1, "1_000"), f"{CELL}: '1_000' is not a number"),
    "dates": (day, "row 2, column 'day': '2024-01-01' is a date or a time"),
    "number among words": (both(side, cell(9, 0, "7")), "row 9, column 'side': '7' is a number, but 177 of the .* 178"),
    "one word in two cases": (both(side, cell(9, 0, "North")), "row 9, .*: 'North' is 'north' written otherwise"),
    # the target
    "empty target": (cell(7, 3, ""), "row 7, column 'cultivar' has no value"),
    "one class": (lambda rows: rows[:60], r"column 'cultivar': the target is class_0 in every row \(2 to 60\)"),
    "mistyped class": (cell(7, 3, "clas_0"), "row 7, column 'cultivar': the class 'clas_0' has only this row"),
    "class in two cases": (cell(7, 3, "CLASS_0"), "row 7, column 'cultivar': 'CLASS_0' is 'class_0' written otherwise"),
    # the columns
    "constant": (malic_acid(lambda _: "3"), "column 'malic_acid' holds 3 in every row.*drop=malic_acid"),
    "copied target": (column("copy", lambda _, row: row[3]), "'copy' is the target 'cultivar' over again: every cell"),
    "coded target": (column("code", lambda _, row: row[3][-1]), "'code' is the target 'cultivar' over again: each of"),
    "row numbers": (column("case", lambda place, _: str(place + 1)), r"column 'case' \(1, 2, \.\.\.\) names the rows"),
    "row numbers, shuffled": (column("case", lambda place, _: str(91 * place % 178)), "'case' .* names the rows"),
    "identifiers": (column("wine_id", lambda place, _: str(7 * place % 997)), "'wine_id' .*, or keep it with numeric="),
    "names": (column("label", lambda place, _: f"Wine {place}"), "'label' .*, or keep it with categorical=label"),
}


@pytest.mark.parametrize("variant", BROKEN)
def test_a_broken_table_is_refused_with_its_place_and_with_what_to_do(variant: str, tmp_path: Path) -> None:
    broken, expected = BROKEN[variant]
    content = broken(good())
    if isinstance(content, list):
        content = to_csv(content)
    file = tmp_path / "wine.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=expected) as refusal:
        table(file=str(file), target="cultivar")
    sentences = re.split(r"(?<=[.?)]) (?=[A-Z])", str(refusal.value))
    assert 2 <= len(sentences) <= 3  # "Did you mean ...?" and what is known are two
    assert sentences[-1].endswith(".")


def test_the_table_that_they_are_made_from_is_good(tmp_path: Path) -> None:
    file = tmp_path / "wine.csv"
    file.write_text(to_csv(good()))
    data = table(file=str(file), target="cultivar")
    assert (data.name, data.task, data.classes) == ("wine", "classification", ("class_0", "class_1", "class_2"))
