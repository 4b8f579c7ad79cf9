"""The learning rate that each update used, and the limit beyond which gradient descent diverges, where it is known."""

from __future__ import annotations

from collections.abc import Sequence

from descend.plots._curves import curve, key, time_axis
from descend.plots._runs import number, places, series, variants
from descend.plots._style import INK, Figure, blank, canvas, colour, legend, styled
from descend.run import Run


@styled
def learning_rate(runs: Sequence[Run]) -> Figure:
    """The first run of each variant; a line for each parameter group. The limit is dashed."""
    groups = variants(runs) if runs else {}
    if not any(len(series(run, "lr/0").x) for run in runs):
        return blank("No learning rate has been recorded yet.")
    figure, (axes,) = canvas(height=2.4)
    for index, members in enumerate(groups.values()):
        for group in places(members[:1], "lr"):
            curve(axes, series(members[0], f"lr/{group}"), colour(index), drawstyle="steps-pre")
    limits = sorted({note.details["limit"] for run in runs for note in run.notes("limit")})
    for limit in limits:
        axes.axhline(limit, color=INK, linestyle="--", linewidth=0.9)
    axes.set(ylabel="learning rate")
    time_axis(axes, "step")
    axes.set_ylim(bottom=0)
    keys = [key(label, colour(index)) for index, label in enumerate(groups)] if len(groups) > 1 else []
    if limits:
        keys.append(key(f"limit {' and '.join(number(limit) for limit in limits[:2])}", linestyle="--"))
    legend(figure, keys)
    figure.caption = _caption(runs, limits)
    return figure


def _caption(runs: Sequence[Run], limits: Sequence[float]) -> str:
    used = [values.y for run in runs for values in [series(run, "lr/0")] if len(values.y)]
    least, greatest = min(float(rates.min()) for rates in used), max(float(rates.max()) for rates in used)
    rates = number(least) if least == greatest else f"between {number(least)} and {number(greatest)}"
    beyond = f"; the limit for this data is {number(limits[0])}" if len(limits) == 1 else ""
    return f"The learning rate is {rates}{beyond}."
