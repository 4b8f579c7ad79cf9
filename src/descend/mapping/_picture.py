"""A map as a picture: a colour for every cell, and the limit of theory as a line."""

from __future__ import annotations

import math
import textwrap
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float64

from descend.mapping._axis import Axis
from descend.mapping._map import ARRIVED, Map, Show
from descend.plots._style import (
    PALETTE,
    WIDE,
    Axes,
    Figure,
    Line2D,
    ListedColormap,
    LogNorm,
    MaxNLocator,
    Normalize,
    canvas,
    colormaps,
    legend,
    styled,
    tick,
)

WIDTH: Final = 6.0  # inches
HEIGHT: Final = 4.7
COLOURS: Final = {"trained": PALETTE[0], "oscillated": PALETTE[4], "diverged": "#9a9a9a"}
LATE: Final = "#e4e4e4"  # not reached in time
LINE: Final = PALETTE[1]
TICKS: Final = 6
SPREAD: Final = 3.0  # colours of numbers that are so many times apart are on a log scale: few are large
CLOSE: Final = 1e-3  # an axis this short, as a share of its values, shows differences from one of them


@styled
def picture(drawn: Map, show: Show) -> Figure:
    """The map in colours; its caption is the map's sentences."""
    figure, (axes,) = canvas(width=WIDTH, height=HEIGHT)
    axes.grid(visible=False)
    draw = {"loss": _losses, "steps": _steps, "outcome": _outcomes}[show]
    keys = [*draw(figure, axes, drawn), *_line(axes, drawn)]
    for axis, which in ((drawn.x, "x"), (drawn.y, "y")):
        _scale(axes, axis, which)
    axes.set_title("\n".join(textwrap.wrap(_title(drawn), 76)))
    legend(figure, keys)
    figure.caption = " ".join(drawn.sentences)
    return figure


def _losses(figure: Figure, axes: Axes, drawn: Map) -> list[Line2D]:
    """The last loss, down to where it counts as zero; where it diverged, the sooner the darker."""
    what = "validation" if drawn.measure == "loss/validation" else "training"
    floor = ARRIVED * float(np.median(drawn.first))
    _fill(figure, axes, drawn.loss, ~drawn.diverged, f"{what} loss at the end", floor)
    if not drawn.diverged.any():
        return []
    died = np.where(drawn.died > 0, drawn.died, max(2, drawn.died.max(initial=0) + 1))
    soon = -np.log(died)
    shade = Normalize(float(soon.min()), max(float(soon.max()), float(soon.min()) + 1))
    greys = ListedColormap(colormaps["Greys"](np.linspace(0.3, 0.62, 256)))
    _image(axes, soon, drawn.diverged, norm=shade, cmap=greys)
    return [_patch("diverged, the sooner the darker", COLOURS["diverged"])]


def _steps(figure: Figure, axes: Axes, drawn: Map) -> list[Line2D]:
    """The updates to the target loss."""
    target = tick(drawn.recipe.target_loss or 0.0)
    reached = np.isfinite(drawn.steps)
    _fill(figure, axes, drawn.steps, reached, f"updates to a loss of {target}")
    groups = {"not that low": (LATE, ~reached & ~drawn.diverged), "diverged": (COLOURS["diverged"], drawn.diverged)}
    return [_area(axes, label, colour, cells) for label, (colour, cells) in groups.items() if cells.any()]


def _outcomes(figure: Figure, axes: Axes, drawn: Map) -> list[Line2D]:
    """A colour for each outcome."""
    outcome = drawn.outcome
    groups = [(label, colour, outcome == index) for index, (label, colour) in enumerate(COLOURS.items())]
    return [_area(axes, label, colour, cells) for label, colour, cells in groups if cells.any()]


def _line(axes: Axes, drawn: Map) -> list[Line2D]:
    """The limit of theory, where it crosses the map; its logarithm is close to straight from cell to cell."""
    if drawn.theory is None or not drawn.theory.pressure.min() < 1 < drawn.theory.pressure.max():
        return []
    for colour, width in (("white", 2.6), (LINE, 1.3)):
        axes.contour(np.log(drawn.theory.pressure), levels=[0.0], colors=colour, linewidths=width)
    formula = drawn.theory.formula.replace("lambda_max", "λmax").replace("beta", "β")
    return [Line2D([], [], color=LINE, label=f"theory's limit {formula}")]


def _fill(
    figure: Figure,
    axes: Axes,
    values: Float64[np.ndarray, "rows columns"],
    where: Bool[np.ndarray, "rows columns"],
    label: str,
    floor: float = 0.0,
) -> None:
    """Colours for numbers, with their key; on a log scale where they are far apart.

    Those below `floor`, the lowest hundredth and the highest have the colour of the end: a few would dim all others.
    """
    if not where.any():
        return
    shown = np.maximum(values[where], floor)
    low, high = float(np.quantile(shown, 0.01, method="lower")), float(np.quantile(shown, 0.99, method="higher"))
    wide = low > 0 and high >= SPREAD * low
    norm = LogNorm(low, high) if wide else Normalize(low, high if high > low else low + 1)
    image = _image(axes, np.maximum(values, low), where, norm=norm, cmap=colormaps["viridis"])
    beyond = bool((values[where] < low).any()), bool((values[where] > high).any())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[beyond]
    bar = figure.colorbar(image, ax=axes, label=label, pad=0.02, fraction=0.05, aspect=28, extend=extend)
    bar.outline.set_visible(False)
    bar.ax.minorticks_off()
    marks = _ticks(low, high, wide=wide)
    bar.set_ticks(marks.tolist(), labels=[_short(mark) for mark in marks])


def _area(axes: Axes, label: str, colour: str, cells: Bool[np.ndarray, "rows columns"]) -> Line2D:
    """One colour for some cells, and its key."""
    _image(axes, np.zeros(cells.shape), cells, cmap=ListedColormap([colour]))
    return _patch(label, colour)


def _image(
    axes: Axes, values: Float64[np.ndarray, "rows columns"], where: Bool[np.ndarray, "rows columns"], **look: Any
) -> Any:
    """The cells as an image, one pixel each, which stays so in a file; coordinates count cells."""
    shown = np.ma.masked_where(~where, values)
    return axes.imshow(shown, origin="lower", aspect="auto", interpolation="none", **look)


def _patch(label: str, colour: str) -> Line2D:
    return Line2D([], [], color=colour, label=label, linestyle="none", marker="s", markersize=8)


def _scale(axes: Axes, axis: Axis, which: str) -> None:
    """Numbers and a name along one side, whose coordinates count cells."""
    low, high = axis.values[0], axis.values[-1]
    label, origin = axis.label, 0.0
    if len(axis) <= TICKS:
        marks = np.array(axis.values)
    elif axis.scale == "logarithmic to one":
        marks = 1 - _ticks(1 - high, 1 - low, wide=1 - low >= WIDE * (1 - high))[::-1]
    else:
        marks = _ticks(low, high, wide=axis.scale == "logarithmic" and high >= WIDE * low)
    if high - low < CLOSE * high:
        origin = float(marks[len(marks) // 2])
        label = f"{label} − {tick(origin)}"
    at = np.interp(marks, axis.values, np.arange(len(axis)))
    getattr(axes, f"set_{which}ticks")(at, labels=[_short(mark - origin) for mark in marks])
    getattr(axes, f"set_{which}label")(label)


def _ticks(low: float, high: float, *, wide: bool) -> Float64[np.ndarray, " ticks"]:
    """A handful of round numbers from `low` to `high`; of every decade some if `wide`."""
    if wide:
        span = math.log10(high / low)
        parts = (1, 2, 5) if span < 2 else (1, 3) if span < 3 else (1,)
        decades = 10.0 ** np.arange(math.floor(math.log10(low)), math.log10(high) + 1e-9, max(1, round(span / TICKS)))
        marks, slack = np.outer(decades, parts).ravel(), 1e-9 * low  # rounding must not take an end away
    else:
        locator = MaxNLocator(TICKS - 1, steps=[1, 2, 2.5, 5, 10])
        marks, slack = np.asarray(locator.tick_values(low, high)), 1e-9 * (high - low)
    return marks[(marks >= low - slack) & (marks <= high + slack)]


def _short(mark: float) -> str:
    """A tick's number without what rounding added."""
    return tick(float(f"{mark:.6g}"))


def _title(drawn: Map) -> str:
    recipe = drawn.recipe
    fields = {drawn.x.field, drawn.y.field}
    settings = []
    if "batch_size" not in fields:
        settings.append("full batch" if recipe.batch_size == "all" else f"batches of {recipe.batch_size}")
    if not {"steps", "epochs"} & fields:
        settings.append(f"{recipe.steps:,} updates" if recipe.steps else f"{recipe.epochs} epochs")
    return f"Where {recipe.optimizer} trains {recipe.model} on {recipe.data}: {', '.join(settings)}".removesuffix(": ")
