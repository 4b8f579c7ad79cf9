"""The loss over the learning rate, a panel for each contestant: every run, the median, and the window of good ones."""

from __future__ import annotations

import numpy as np

from descend.plots._style import (
    Axes,
    Figure,
    FuncFormatter,
    LogLocator,
    NullLocator,
    canvas,
    colour,
    styled,
    tick,
)
from descend.recommending._contestant import Contestant, logs
from descend.recommending._recommendation import Recommendation, factor
from descend.recommending._window import Window, curves_of
from descend.run import Floats


@styled
def picture(result: Recommendation) -> Figure:
    """One scale for all panels, so that low and wide can be seen."""
    columns = min(3, len(result.contestants))
    rows = -(-len(result.contestants) // columns)
    figure, panels = canvas(rows, columns, width=2.6 * columns, height=1.8)
    low, high = _limits(np.concatenate([one.tuned.ravel() for one in result.contestants.values()]))
    parts = (1, 2, 5) if high < 100 * low else (1,)  # of a decade that have a tick
    for place, (panel, (label, one)) in enumerate(zip(panels, result.contestants.items(), strict=False)):
        _draw(panel, one, result.windows[label], result.lr_range)
        panel.set_title(f"{label}: a factor of {factor(result.windows[label].factor)}")
        panel.set(xscale="log", yscale="log", xlim=result.lr_range, ylim=(low, high))
        last = place + columns >= len(result.contestants)
        for axis, subs, told in ((panel.xaxis, (1,), last), (panel.yaxis, parts, place % columns == 0)):
            axis.set_major_locator(LogLocator(subs=subs, numticks=5))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _, told=told: tick(value) if told else ""))
    for panel in panels[len(result.contestants) :]:
        panel.set_axis_off()
    figure.supxlabel("learning rate", fontsize=9)
    figure.supylabel(f"lowest {result.kind} loss", fontsize=9)
    figure.caption = result.advice
    return figure


def _draw(panel: Axes, one: Contestant, window: Window, lr_range: tuple[float, float]) -> None:
    grid, curves = curves_of(one.lrs, one.tuned, lr_range)
    panel.axvspan(window.low, window.high, color=colour(0), alpha=0.15, linewidth=0)
    panel.plot(one.lrs.ravel(), one.tuned.ravel(), ".", color=colour(0), alpha=0.3, markersize=2)
    panel.plot(np.exp(grid), np.exp(np.median(curves, axis=0)), color=colour(0))


def _limits(losses: Floats) -> tuple[float, float]:
    """From below the lowest loss to above where nearly all of them are: those that explode would hide the rest."""
    low, high = np.exp(np.quantile(logs(losses), (0, 0.95)))
    return float(low / 1.2), float(high * 1.2)
