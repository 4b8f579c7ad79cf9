"""A table file, CSV or Parquet, as named columns of text; whatever is not a table is refused with its place."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from descend.errors import DataError, did_you_mean, optional

_DELIMITERS: Final = ",;\t|"
_OTHER_FORMATS: Final = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a gzip archive",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}
_PARQUET: Final = b"PAR1"
_LONGEST_CELL: Final = csv.field_size_limit()
_LINE_END: Final = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class RawTable:
    """Cells as they stand in a file, without the blanks around them; a cell without a value is ''.

    `lines` numbers the rows as an editor does (a CSV's header is line 1), or from 1 on (Parquet).
    """

    file: Path
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]

    def place(self, row: int, column: str) -> str:
        return f"{self.file.name}, row {self.lines[row]}, column '{column}'"

    def require(self, column: str, option: str) -> None:
        """Raise DataError unless there is a column of this name, which `option` asked for."""
        if column not in self.columns:
            hint = did_you_mean(column, self.columns)
            if all(re.fullmatch(r"[-+.\de]+", name) for name in self.columns):
                hint = f"Row 1 holds only numbers: give the columns their names there. {hint}"
            raise DataError(f"{self.file.name} has no column '{column}', which {option} names. {hint}")


def read_table(path: str) -> RawTable:
    """Read a CSV (UTF-8; comma, semicolon, tab or bar between cells) or a Parquet file.

    Raises DataError, with file, row and column, for a file that is missing, damaged, or not a table.
    """
    file = Path(path).expanduser()
    content = _content(file)
    if content.startswith(_PARQUET) or file.suffix.lower() in (".parquet", ".pq"):
        table = _parquet(file, content)
    else:
        table = _csv(file, _text(file, content))
    if not table.lines:
        raise DataError(f"{file.name} has a header but no rows. Add the rows below it.")
    if len(table.columns) < 2:
        name = next(iter(table.columns))
        raise DataError(
            f"{file.name}, row 1 has one column, {name!r}, but a table needs a feature and a target. "
            "Put a comma between cells."
        )
    return table


def _content(file: Path) -> bytes:
    if file.is_dir():
        raise DataError(f"{file} is a folder, not a file. Name a CSV or Parquet file in it.")
    if not file.exists():
        near = [other.name for other in file.parent.glob("*") if other.suffix in (".csv", ".tsv", ".txt", ".parquet")]
        hint = did_you_mean(file.name, near) if near else "Check the path; it is relative to the current folder."
        raise DataError(f"There is no file {file}. {hint}")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}. Check its permissions.") from None
    if not content.strip():
        raise DataError(f"{file.name} is empty. Write a header and rows into it.")
    return content


def _text(file: Path, content: bytes) -> str:
    for magic, what in _OTHER_FORMATS.items():
        if content.startswith(magic):
            raise DataError(f"{file.name} is {what}, not a CSV. Save it as CSV in UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file.name}, row {row}: the byte 0x{content[error.start]:02X} is not UTF-8. Save the file as UTF-8."
        ) from None
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{file.name}, row {row} holds a zero byte, so this is not text. Save the table as CSV.")
    return text


def _csv(file: Path, text: str) -> RawTable:
    text = text.rstrip("\r\n")
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    line = 1
    try:
        for cells in reader:
            if reader.line_num > line:
                column = next((cell for cell in cells if "\n" in cell or "\r" in cell), "")
                raise DataError(
                    f"{file.name}, row {line}, column {cells.index(column) + 1}: a quote opens a cell that ends only "
                    f'in row {reader.line_num}. Close the quote (") in row {line}.'
                )
            if line == 1:
                names = _names(file, cells)
            elif len(cells) != len(names):
                raise _ragged(file, line, cells, names, delimiter)
            else:
                rows.append(cells)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error:
        broken = _LINE_END.split(text)[line - 1][:_LONGEST_CELL]
        column_number = len(next(csv.reader([broken], delimiter=delimiter)))
        raise DataError(
            f"{file.name}, row {line}, column {column_number}: a quote is not closed, or stands inside a cell, or the "
            f"cell has more than {_LONGEST_CELL} characters. "
            'Close it, or double a quote that belongs to the text ("").'
        ) from None
    columns = {name: [cells[at].strip() for cells in rows] for at, name in enumerate(names)}
    return RawTable(file, columns, lines)


def _delimiter(text: str) -> str:
    """The character that splits the header into most cells; the comma if none does."""
    header = _LINE_END.split(text, maxsplit=1)[0][:_LONGEST_CELL]
    return max(_DELIMITERS, key=lambda delimiter: len(next(csv.reader([header], delimiter=delimiter))))


def _names(file: Path, cells: Sequence[str]) -> list[str]:
    """The header's names. Raises DataError for one that is empty or doubled."""
    names = [cell.strip() for cell in cells]
    if not names:
        raise DataError(f"{file.name}, row 1 is empty. Put the header there.")
    if "" in names:
        raise DataError(
            f"{file.name}, row 1, column {names.index('') + 1} has no name. Name it, or delete the column; pandas "
            "writes such a column of row numbers unless given to_csv(index=False)."
        )
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        numbers = [str(number) for number, other in enumerate(names, start=1) if other == name]
        raise DataError(
            f"{file.name}, row 1 has the name '{name}' {times} times, in columns {' and '.join(numbers)}. "
            "Give every column a name of its own."
        )
    return names


def _ragged(file: Path, line: int, cells: Sequence[str], names: Sequence[str], delimiter: str) -> DataError:
    if not cells:
        return DataError(f"{file.name}, row {line} is empty. Delete it.")
    if len(cells) > len(names):
        where = f"column {len(names) + 1} ({cells[len(names)]!r}) is beyond the header"
    else:
        where = f"column '{names[len(cells)]}' is missing"
    many = f"{len(cells)} cell{'s' * (len(cells) > 1)}"
    between = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}[delimiter]
    return DataError(
        f"{file.name}, row {line} has {many} where the header has {len(names)}: {where}. "
        f"Put one {between} between cells, and quotes around a cell that contains one."
    )


def _parquet(file: Path, content: bytes) -> RawTable:
    parquet = optional("pyarrow.parquet", "data", "A Parquet table")
    arrow = optional("pyarrow", "data", "A Parquet table")
    try:
        table = parquet.read_table(io.BytesIO(content))
    except (arrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(f"{file.name} is not a Parquet file, or it is damaged ({reason}). Write it again.") from None
    names = _names(file, table.column_names)
    for name, kind in zip(names, table.schema.types, strict=True):
        if arrow.types.is_nested(kind) or "binary" in str(kind):
            raise DataError(
                f"{file.name}, column '{name}' holds {kind}, but a cell must be a number or a word. "
                "Take it apart into columns, or leave it out."
            )
    columns = {name: _cells(table.column(at).to_pylist()) for at, name in enumerate(names)}
    return RawTable(file, columns, range(1, table.num_rows + 1))


def _cells(values: Sequence[object]) -> list[str]:
    return ["" if value is None else str(value).strip() for value in values]
