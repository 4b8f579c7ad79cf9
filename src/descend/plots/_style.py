"""One look for all figures: a palette, axes, log scales, and SVG that follows the page's colour scheme.

What figures use of matplotlib they import from here, where a missing matplotlib is reported with the extra that
brings it.
"""
# ruff: noqa: E402 - `optional` has to speak before matplotlib is imported

from __future__ import annotations

import io
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, ParamSpec

import numpy as np

from descend.errors import optional
from descend.files import write_atomically

optional("matplotlib", "report", "Drawing a figure")
import matplotlib
import matplotlib.figure
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize, to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullLocator

__all__ = [
    "INK",
    "PALETTE",
    "WIDE",
    "WIDTH",
    "Axes",
    "Figure",
    "FuncFormatter",
    "Line2D",
    "ListedColormap",
    "LogLocator",
    "LogNorm",
    "MaxNLocator",
    "MultipleLocator",
    "Normalize",
    "NullLocator",
    "blank",
    "canvas",
    "colormaps",
    "colour",
    "legend",
    "log_where_wide",
    "styled",
    "tick",
    "to_hex",
]

INK: Final = "#24292f"  # becomes currentColor in SVG
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe & Ito 2008 without yellow and black: told apart by colour-blind readers, legible on white and on near-black."""

WIDTH: Final = 4.8  # inches; scaled to a phone's width, text of 9 points is still legible
_LEGEND: Final = 0.17  # inches: a line of the legend
WIDE: Final = 10.0  # a greatest value this many times the least is drawn on a log scale

_STYLE: Final[dict[str, Any]] = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # names of columns and files may hold dollar signs
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read aloud
}

P = ParamSpec("P")


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that says what it shows.

    `caption` is a sentence with the figure's main numbers; `blank` says that the runs held nothing to draw.
    """

    caption: str = ""
    blank: bool = False

    def svg(self, salt: str = "descend") -> str:
        """The figure as one <svg> element: transparent, its ink in the colour of the text around it.

        The same runs give the same bytes. The ids inside are made from `salt`: give each figure of a page its own.
        """
        buffer = io.StringIO()
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with _house({"svg.hashsalt": salt}), warnings.catch_warnings():
            # the reader's browser draws the text, with its own fonts
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            self.savefig(buffer, format="svg", transparent=True, metadata=metadata)
        return _inline(buffer.getvalue())

    def save(self, file: str | Path) -> Path:
        """Write the figure; the file's ending says as what: .svg, .png (on white) or .pdf."""
        file = Path(file)
        if file.suffix == ".svg":
            content = self.svg().replace(">", f"><style>{_SCHEME}</style>", 1).encode()
        else:
            buffer = io.BytesIO()
            with _house():
                self.savefig(buffer, format=file.suffix.removeprefix("."), dpi=200, facecolor="white")
            content = buffer.getvalue()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
        return file

    def _repr_svg_(self) -> str:
        return self.svg()


_SCHEME: Final = (
    "svg{color:#24292f;background:#fff}@media(prefers-color-scheme:dark){svg{color:#ddd;background:#16181d}}"
)


def _inline(document: str) -> str:
    """matplotlib's SVG document as an element that can stand in a page, beside others."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)  # it would style the page
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r'\1style="stroke-linejoin:round"', svg, count=1)
    # no two elements of a page may share an id, and nothing refers to those of groups and images
    svg = re.sub(r'(<(?:g|image)\b[^>]*?) id="[^"]*"', r"\1", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: system-ui, sans-serif", svg)
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]).replace("\n", ""), svg)
    return svg.replace(INK, "currentColor")


def _house(more: Mapping[str, Any] = MappingProxyType({})) -> AbstractContextManager[None]:
    """matplotlib's settings while a figure is drawn or written; those of the user come back afterwards."""
    settings: Any = _STYLE | dict(more)
    return matplotlib.rc_context(settings)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A figure function that draws in this style."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _house():
            return draw(*args, **kwargs)

    return drawn


def canvas(rows: int = 1, columns: int = 1, *, width: float = WIDTH, height: float = 2.9) -> tuple[Figure, list[Axes]]:
    """A figure of rows x columns panels, and these in reading order; `height` is that of one row, in inches."""
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes: list[Axes] = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for panel in axes:
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(MaxNLocator(5 if width / columns > 2.5 else 3, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    return figure, axes


def blank(message: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(WIDTH, 1.2), layout="constrained")
    figure.text(0.5, 0.5, textwrap.fill(message, 60), ha="center", va="center")
    figure.caption, figure.blank = message, True
    return figure


def colour(index: int) -> str:
    return PALETTE[index % len(PALETTE)]


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """What the lines mean, above the panels; as many columns as the labels have room for."""
    labels = [textwrap.shorten(str(handle.get_label()), 56, placeholder=" …") for handle in handles]
    widest = max(map(len, labels), default=0)
    columns = max(1, min(len(labels), int(figure.get_figwidth() * 13) // (widest + 6)))
    if handles:
        figure.set_figheight(figure.get_figheight() + _LEGEND * -(-len(labels) // columns))
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, handlelength=1.6, borderaxespad=0.2)


def log_where_wide(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """Make an axis logarithmic if its lines hold no negative number and span more than a factor of ten.

    A zero is below every decade: a line that reaches it leaves the panel through its edge.
    """
    lines = [np.asarray(getattr(line, f"get_{which}data")(), dtype=float) for line in axes.get_lines()]
    values = np.concatenate([*lines, np.empty(0)])
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if not len(positive) or values.min() < 0 or positive.max() < WIDE * positive.min():
        return
    low, high = np.log10(positive.min()), np.log10(positive.max())
    margin = 0.04 * (high - low)
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # else matplotlib would leave out where the lines are zero
    axes.set(**{f"{which}scale": "log", f"{which}lim": (10 ** (low - margin), 10 ** (high + margin))})
    axis = axes.xaxis if which == "x" else axes.yaxis
    stride = math.ceil((high - low) / 6)
    decades = np.arange(math.ceil(low / stride) * stride, high + margin, stride, dtype=float)
    few = high - low < 2  # decades: then 2 and 5 times a power of ten have a number too
    parts = np.outer(10.0 ** np.append(decades[:1] - 1, decades), (1, 2, 5)) if few else 10.0**decades
    axis.set_major_locator(FixedLocator(parts.ravel().tolist()))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def tick(value: float) -> str:
    """A tick's number: 0.01, 20,000, 5×10⁻⁷."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:,.10g}".replace("-", "−")
    mantissa, exponent = f"{value:.6e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", "−")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}×{power}"
