"""Curves in the terminal, in braille: a character is 4 rows and 2 columns of dots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxtyping import Bool
from numpy.lib.stride_tricks import sliding_window_view

from descend.cli._print import number
from descend.run import Run, Series

WIDEST: Final = 100  # characters
NARROWEST: Final = 60
HEIGHT: Final = 10
EVALUATED: Final = ("loss/train", "loss/validation")
MARGIN: Final = 11  # for the numbers at the left
SAMPLES: Final = 8  # of a curve in a column of dots, so that no spike is passed over

BLANK: Final = 0x2800  # the character without dots; the others add these to it (Unicode 15, chapter 21.1)
BITS: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def draw_loss(run: Run, width: int, *, ascii_only: bool = False) -> str:
    """The evaluated losses of a run over its updates, or else those of its batches."""
    known = run.names()
    evaluated: dict[str, Series] = {name: run.series(name) for name in EVALUATED if name in known}
    if any(len(curve.x) > 1 for curve in evaluated.values()) or "loss/batch" not in known:
        return draw(evaluated, width, ascii_only=ascii_only)
    return draw({"loss/batch": run.series("loss/batch")}, width, ascii_only=ascii_only)


def draw(curves: Mapping[str, Series], width: int, *, ascii_only: bool = False) -> str:
    """One or two curves, the second one dashed, on a log scale where all numbers are positive.

    What is not a finite number is left out. Empty where there are not two numbers to draw a line between.
    """
    columns = min(width, WIDEST) - MARGIN
    finite = {name: _finite(curve) for name, curve in curves.items()}
    values = np.concatenate([np.empty(0), *(curve.y for curve in finite.values())])
    if len(values) < 2 or width < NARROWEST:
        return ""
    low, high, end = values.min(), values.max(), max(curve.x.max(initial=0) for curve in finite.values())
    scale, back = (np.log, np.exp) if low > 0 else (np.asarray, np.asarray)
    bottom, span = scale(low), (scale(high) - scale(low)) or 1.0
    picture = np.full((HEIGHT, columns), " ")
    for which, (x, y) in reversed(list(enumerate(finite.values()))):  # the first one lies on top
        dots = _dots(Series(x, (scale(y) - bottom) / span), end, 2 * columns)
        dots[:, which * (np.arange(2 * columns) % 6) >= 3] = False
        cells = _letters(dots, "*o"[which]) if ascii_only else _braille(dots)
        picture = np.where(cells == " ", picture, cells)
    labels = {0: high, HEIGHT // 2: back(bottom + span / 2)} if low < high else {}
    labels[HEIGHT - 1] = low
    left = [number(float(labels[row])) if row in labels else "" for row in range(HEIGHT)]
    signs = ("*", "o") if ascii_only else ("──", "╌╌")
    names = "   ".join(f"{sign} {name}" for sign, name in zip(signs, curves, strict=False))
    return "\n".join(
        [
            f"{'':{MARGIN}}{names}{' (log scale)' if low > 0 else ''}",
            *(f"{label:>{MARGIN - 1}} {''.join(row)}".rstrip() for label, row in zip(left, picture, strict=True)),
            f"{'':{MARGIN}}0{f'{end:,.0f} updates':>{columns - 1}}",
        ]
    )


def _finite(curve: Series) -> Series:
    finite = np.isfinite(curve.y)
    return Series(curve.x[finite], curve.y[finite])


def _dots(curve: Series, end: float, columns: int) -> Bool[np.ndarray, "rows columns"]:
    """Which dots a curve with heights from 0 to 1 passes through, over x from 0 to `end`."""
    rows = 4 * HEIGHT
    if not len(curve.x):
        return np.zeros((rows, columns), dtype=bool)
    across = np.linspace(0, end, SAMPLES * columns + 1)
    down = ((1 - np.interp(across, *curve, left=np.nan, right=np.nan)) * (rows - 1)).round()
    column = sliding_window_view(down, SAMPLES + 1)[::SAMPLES]  # ends where the next one begins, so no gap is left
    top, lowest = np.fmin.reduce(column, axis=1), np.fmax.reduce(column, axis=1)
    row = np.arange(rows)[:, None]
    passed: np.ndarray = (top <= row) & (row <= lowest)
    return passed


def _cells(dots: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "height width 4 2"]:
    """The dots of each character."""
    rows, columns = dots.shape
    cells: np.ndarray = dots.reshape(rows // 4, 4, columns // 2, 2).swapaxes(1, 2)
    return cells


def _braille(dots: Bool[np.ndarray, "rows columns"]) -> np.ndarray:
    codes = (_cells(dots) * BITS).sum((2, 3))
    return np.array([[chr(BLANK + code) if code else " " for code in line] for line in codes])


def _letters(dots: Bool[np.ndarray, "rows columns"], letter: str) -> np.ndarray:
    return np.where(_cells(dots).any((2, 3)), letter, " ")
