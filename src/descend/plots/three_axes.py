"""The same loss over updates, over examples and over seconds: who is ahead depends on what is counted.

The line is the median over the seeds of a variant, the band reaches from the least to the greatest. A run that ended
keeps its last loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from descend.plots._curves import curve, key, middle, name_crosses, smooth, time_axis
from descend.plots._runs import ends, series, variants
from descend.plots._style import WIDE, WIDTH, Axes, Figure, blank, canvas, colour, legend, log_where_wide, styled
from descend.run import CLOCKS, Run, Series


@styled
def three_axes(runs: Sequence[Run], *, stacked: bool = False) -> Figure:
    """Training loss, or the batch losses' mean where not every run evaluated it. `stacked`: one below the other."""
    name = "loss/train" if all(len(series(run, "loss/train").x) > 1 for run in runs) else "loss/batch"
    what = "training loss" if name == "loss/train" else "batch loss"
    recorded = [run for run in runs if len(series(run, name).x)]
    if not recorded:
        return blank("No loss has been recorded yet.")
    groups = variants(recorded)
    figure, panels = canvas(3, 1, height=2.2) if stacked else canvas(1, 3, width=2 * WIDTH)
    for axes, clock in zip(panels, CLOCKS, strict=True):
        _panel(axes, [[smooth(series(run, name, clock)) for run in members] for members in groups.values()])
        axes.set(ylabel=what if stacked or axes is panels[0] else "")
        time_axis(axes, clock)
    legend(figure, [key(label, colour(index)) for index, label in enumerate(groups)])
    figure.caption = ends(what.capitalize(), recorded, lambda _: name)
    return figure


def _panel(axes: Axes, groups: Sequence[Sequence[Series]]) -> None:
    lengths = [float(member.x[-1]) for members in groups for member in members]
    wide = min(lengths) > 0 and max(lengths) > WIDE * min(lengths)  # the shorter runs would be a stroke at the left
    if wide:  # a logarithmic axis has no place for zero
        groups = [[Series(x[x > 0], y[x > 0]) for x, y in members] for members in groups]
    lines = []
    for index, members in enumerate(groups):
        x, (median, least, greatest) = middle(members)
        lines.append(Series(x, median))
        curve(axes, lines[-1], colour(index))
        band = np.where(np.isfinite(greatest), [least, greatest], np.nan)
        axes.fill_between(x, *band, color=colour(index), alpha=0.18, linewidth=0)
    log_where_wide(axes)
    if wide:
        log_where_wide(axes, "x")
        axes.set_xlim(left=max(axes.get_xlim()[0], min(lengths) / 100))
    name_crosses(axes, lines)
