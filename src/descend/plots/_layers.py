"""A measure of every layer over the updates: a line each, or a heat map where the layers are many."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np

from descend.plots._curves import curve, key, time_axis
from descend.plots._runs import number, places, series, variants
from descend.plots._style import (
    INK,
    PALETTE,
    WIDE,
    Axes,
    Figure,
    FuncFormatter,
    Line2D,
    LogLocator,
    LogNorm,
    MaxNLocator,
    Normalize,
    NullLocator,
    blank,
    canvas,
    colormaps,
    legend,
    log_where_wide,
    tick,
    to_hex,
)
from descend.run import Floats, Run, Series

LINES: Final = 8  # more layers than this make a heat map
COLUMNS: Final = 200  # of a heat map
PANELS: Final = 6

Layers = Mapping[str, Series]


def by_layer(
    runs: Sequence[Run],
    measures: Mapping[str, str],
    *,
    guide: float | None = None,
    shares: Collection[str] = (),
) -> Figure:
    """A panel for each measure (key: its series, value: its axis label) of the first run of each variant.

    `guide` is a value to compare with, drawn dotted; `shares` are the measures that lie between 0 and 1, which are not
    drawn on a log scale.
    """
    found = [
        (label, measure, layers)
        for label, members in (variants(runs) if runs else {}).items()
        for measure in measures
        if (layers := _layers(members[0], measure))
    ]
    if not found:
        return blank(f"Not recorded: {' and '.join(measures.values())}.")
    figure, panels = canvas(len(found[:PANELS]), height=2.5)
    several = len({label for label, _, _ in found}) > 1
    keys: dict[str, Line2D] = {}
    for axes, (label, measure, layers) in zip(panels, found, strict=False):
        axes.set(ylabel=measures[measure], title=label if several else "")
        if len(layers) > LINES:
            _heat_map(axes, layers, log=measure not in shares)
        else:
            keys |= _lines(axes, layers, guide, log=measure not in shares)
        time_axis(axes, "step")
    legend(figure, list(keys.values()))
    sentences = [(f"{label}: " if several else "") + _range(measures[what], layers) for label, what, layers in found]
    left_out = f" {len(found) - PANELS} more panels are left out." if len(found) > PANELS else ""
    figure.caption = " ".join(sentences[:PANELS]) + left_out
    return figure


def _layers(run: Run, measure: str) -> Layers:
    recorded = {place: series(run, f"{measure}/{place}") for place in places([run], measure)}
    return {place: values for place, values in recorded.items() if len(values.x)}


def _lines(axes: Axes, layers: Layers, guide: float | None, *, log: bool) -> dict[str, Line2D]:
    parts = [place for place in layers if place != "all"]
    # viridis without its ends, which vanish on a dark and on a white page
    inks = map(to_hex, colormaps["viridis"](np.linspace(0.3, 0.8, max(len(parts), 1))))
    styles: dict[str, dict[str, Any]] = {place: {"colour": ink} for place, ink in zip(parts, inks, strict=False)}
    styles["all"] = {"colour": INK, "linestyle": "--", "linewidth": 0.8}
    for place, values in layers.items():
        curve(axes, values, **styles[place])
    if guide is not None:
        axes.axhline(guide, color=INK, linestyle=":", linewidth=0.9)
    if log:
        log_where_wide(axes)
    return {place: key(place, **styles[place]) for place in layers}


def _heat_map(axes: Axes, layers: Layers, *, log: bool) -> None:
    """Layers from top to bottom as they follow in the network; where a value is not finite the map is vermillion."""
    rows = {place: values for place, values in layers.items() if place != "all"}
    x, table = _table(list(rows.values()))
    finite = table[np.isfinite(table)]
    positive = finite[finite > 0]
    log = log and len(positive) > 0 and finite.min() >= 0 and positive.max() > WIDE * positive.min()
    low, high = (positive.min(), positive.max()) if log else (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    image = axes.imshow(
        np.where(np.isfinite(table), np.clip(table, low, high), np.nan),
        cmap=colormaps["viridis"].with_extremes(bad=PALETTE[1]),
        norm=LogNorm(low, high) if log else Normalize(low, high),
        extent=(x[0], max(x[-1], x[0] + 1), len(rows) - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
    )
    stride = -(-len(rows) // 16)
    axes.set_yticks(range(0, len(rows), stride), [place[:24] for place in list(rows)[::stride]], fontsize=7)
    axes.grid(False)
    bar = axes.figure.colorbar(
        image, ax=axes, label=axes.get_ylabel(), format=FuncFormatter(lambda value, _: tick(value))
    )
    bar.locator = LogLocator(numticks=5) if log else MaxNLocator(5)
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.outline.set_visible(False)
    axes.set_ylabel("")


def _table(rows: Sequence[Series]) -> tuple[Floats, Floats]:
    """At most COLUMNS places along x, and the newest value of each row there: [rows, columns]."""
    x = max((values.x for values in rows), key=len)
    x = x[np.unique(np.linspace(0, len(x) - 1, min(len(x), COLUMNS)).astype(int))]
    return x, np.stack([values.y[np.searchsorted(values.x, x, side="right").clip(1) - 1] for values in rows])


def _range(what: str, layers: Layers) -> str:
    """Between which layers a measure lies at the end."""
    ends = {place: float(values.y[-1]) for place, values in layers.items() if place != "all" or len(layers) == 1}
    least, greatest = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)
    words = f"{number(ends[least])} in {least}"
    if least != greatest:
        words = f"between {words} and {number(ends[greatest])} in {greatest}"
    return f"{what.capitalize()} at the end: {words}."
