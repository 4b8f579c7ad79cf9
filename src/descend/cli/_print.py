"""What the commands print: tables and JSON."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    import rich.console

WIDEST: Final = 100  # characters of a line of prose: longer ones are hard to read
PIPED_WIDTH: Final = 200  # of a table that goes to a file or another program
NUMBER: Final = re.compile(r"-?[\d.,]+(e[+-]?\d+)?|-?infinite|NaN|-|")


def console() -> rich.console.Console:
    """Standard output with colours where it is a terminal and NO_COLOR is not set."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPED_WIDTH
    return Console(width=width, markup=False, emoji=False, highlight=False, soft_wrap=False)


def text_width() -> int:
    """Of prose on standard output."""
    return min(shutil.get_terminal_size().columns, WIDEST)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """A table on standard output; columns of numbers stand right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    cells = [[str(cell) for cell in row] for row in rows]
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for index, name in enumerate(columns):
        right = index > 0 and all(_is_number(row[index]) for row in cells)
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    console().print(table)


def print_json(value: object) -> None:
    """JSON that every reader takes: what is not a finite number is the text "NaN", "Infinity" or "-Infinity"."""
    click.echo(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None


def number(value: float | None) -> str:
    """Four digits, or what stands in for a number."""
    if value is None:
        return "-"
    return f"{value:.4g}" if math.isfinite(value) else "NaN" if math.isnan(value) else "infinite"
