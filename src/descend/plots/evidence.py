"""What the doctor's first finding rests on: the curves that it read, the limits that they crossed, and since when.

Other series of the same measure stand behind them, faint. A limit is drawn where the number that crossed it is a point
of the curve: that of a ratio of two curves has no place beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from descend.doctor._check import Evidence, Finding
from descend.doctor._judge import diagnose
from descend.plots._curves import curve, key, name_crosses, smooth, time_axis
from descend.plots._runs import number, series
from descend.plots._style import INK, Axes, Figure, Line2D, blank, canvas, colour, legend, log_where_wide, styled
from descend.run import Run, Series

PANELS: Final = 3
BEHIND: Final = 30  # more would be a grey area

Curves = dict[str, Evidence]
"""Evidence by the name of its series."""


class _Drawn(NamedTuple):
    """A finding of a run that curves show: what it read, by measure."""

    run: Run
    finding: Finding
    panels: list[Curves]


@styled
def evidence(runs: Sequence[Run]) -> Figure:
    """A panel for each measure that the first finding with curves read, in the first run that has one."""
    drawn = next(filter(None, map(_drawn, runs)), None)
    if drawn is None:
        return blank("The doctor found nothing that a curve shows.")
    figure, panels = canvas(len(drawn.panels), height=2.9 if len(drawn.panels) == 1 else 2.2)
    keys: list[Line2D] = []
    for axes, curves in zip(panels, drawn.panels, strict=True):
        keys += _panel(axes, drawn.run, curves, sum(map(len, drawn.panels[: panels.index(axes)])))
        if drawn.finding.since is not None:
            axes.axvline(drawn.finding.since, color=INK, linestyle="--", linewidth=0.9)
    ends = [end for axes in panels for end in axes.get_xlim()]
    for axes in panels:
        axes.set_xlim(min(ends), max(ends))  # one time for all, so that the mark stands in one line
        time_axis(axes, "step")
    since = "" if drawn.finding.since is None else f" since step {drawn.finding.since:,}"
    legend(figure, [*keys, key(since.strip(), linestyle="--", linewidth=0.9)] if since else keys)
    names = ", ".join(name for curves in drawn.panels for name in curves)
    figure.caption = f"The evidence for {drawn.finding.check}{since}: {names}."
    return figure


def _drawn(run: Run) -> _Drawn | None:
    known = run.names()
    for finding in diagnose(run).findings:
        panels: dict[str, Curves] = {}
        for piece in finding.evidence:
            if piece.series in known and len(series(run, piece.series).x):
                panels.setdefault(piece.series.partition("/")[0], {})[piece.series] = piece
        if panels:
            return _Drawn(run, finding, list(panels.values())[:PANELS])
    return None


def _panel(axes: Axes, run: Run, curves: Curves, first: int) -> list[Line2D]:
    """Draw the series of one measure; `first` is the number of their first colour. What goes into the legend."""
    measure = next(iter(curves)).partition("/")[0]
    behind = [name for name in run.names() if name.startswith(f"{measure}/") and name not in curves]
    for name in behind[:BEHIND]:
        curve(axes, smooth(series(run, name)), INK, alpha=0.25, linewidth=0.7)
    drawn, keys = [], []
    for index, (name, piece) in enumerate(curves.items(), start=first):
        drawn.append(series(run, name))
        curve(axes, smooth(drawn[-1]), colour(index))
        keys.append(key(name, colour(index)))
        if _crosses(drawn[-1], piece):
            axes.axhline(piece.threshold, color=colour(index), linestyle=":", linewidth=1.1)
            keys.append(key(f"limit {number(piece.threshold)}", colour(index), linestyle=":"))
    axes.set(ylabel=measure.replace("_", " "))
    log_where_wide(axes)
    name_crosses(axes, drawn)
    return keys


def _crosses(values: Series, piece: Evidence) -> bool:
    """Whether the number of the evidence is a point of its series, so that its limit is one for the series too."""
    # equal but for the rounding of float32 sums: two different numbers of a run come as close about never
    return math.isfinite(piece.threshold) and bool(np.isclose(values.y, piece.value, rtol=1e-6, atol=0).any())
