"""The figures of the book: one file a chapter, one function for each figure, drawn with the style of descend.plots.

@figure
def stability_limit() -> Figure: ...     # docs/figures/gradient_descent-stability_limit.svg
"""

from __future__ import annotations

import base64
import importlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from book import CHAPTERS, ROOT
from descend.plots._style import Figure

__all__ = ["FOLDER", "figure", "figures", "same_drawing", "save"]

FOLDER: Final = ROOT / "docs" / "figures"

_FIGURES: Final[dict[str, Callable[[], Figure | str]]] = {}
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_ID: Final = re.compile(r"\b[a-z]?(?=[0-9a-f]*\d)[0-9a-f]{10,}\b")
_IMAGE: Final = re.compile(r"(?<=data:image/png;base64,)[^\"]+")
_CLOSE: Final = 1.0  # points: a shift that no eye sees, and that another processor's rounding can cause
_SHADE: Final = 8  # of 255: a colour that no eye tells apart
_FLIPPED: Final = 0.01  # of an image's pixels: runs beside a boundary that rounding sends to its other side


def figure(draw: Callable[[], Figure | str]) -> Callable[[], Figure | str]:
    """Enter a function that draws a figure, or writes an SVG of its own, among those of the book."""
    _FIGURES[f"{draw.__module__.rpartition('.')[2]}-{draw.__name__}"] = draw
    return draw


def figures() -> dict[str, Callable[[], Figure | str]]:
    """What draws each figure, by the name of its file without .svg."""
    for key in CHAPTERS:
        if (ROOT / "book" / "figures" / f"{key}.py").exists():
            importlib.import_module(f"book.figures.{key}")
    return dict(_FIGURES)


def save(name: str, folder: Path = FOLDER) -> Path:
    """Draw one figure into a folder."""
    drawn = figures()[name]()
    file = folder / f"{name}.svg"
    if isinstance(drawn, str):
        file.write_text(drawn, encoding="utf-8")
    else:
        drawn.save(file)
    return file


def same_drawing(one: str, other: str) -> bool:
    """Whether two SVG documents show the same: alike but for ids, and no coordinate further apart than a point.

    Images in them may differ in one pixel of a hundred, and in shades.
    """
    images = [[_pixels(data) for data in _IMAGE.findall(document)] for document in (one, other)]
    if len(images[0]) != len(images[1]) or not all(map(_same_image, *images)):
        return False
    one, other = (_ID.sub("id", _IMAGE.sub("", document)) for document in (one, other))
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    # colours such as #6e7681 read as infinite numbers: those must be equal
    return all(a == b or abs(float(a) - float(b)) <= _CLOSE for a, b in pairs)


def _pixels(data: str) -> NDArray[Any]:
    """Red, green, blue and opacity [rows, columns, 4] of an image in base64, black where it is transparent."""
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"), dtype=np.int64)
    return np.where(image[..., 3:] > 0, image, 0)


def _same_image(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    return bool((np.abs(one - other) > _SHADE).any(axis=-1).mean() <= _FLIPPED)
