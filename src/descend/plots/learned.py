"""The learned parameters on their way to the true ones, which are dashed, for data whose truth is known.

One run shows all parameters in one panel; several runs have a panel for each parameter and a colour for each variant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from descend.plots._curves import curve, key, time_axis
from descend.plots._runs import last, number, places, series, truth, variants
from descend.plots._style import INK, Axes, Figure, blank, canvas, colour, legend, styled
from descend.run import Run

MOST: Final = 8  # parameters in one figure
_GAP: Final = 0.07  # between two names, in parts of the panel's height


@styled
def learned(runs: Sequence[Run]) -> Figure:
    """The first eight parameters, over the updates."""
    features = places(runs, "learned")
    shown = features[:MOST]
    if not shown:
        return blank("No learned parameters were recorded: the truth of this data set is not known.")
    true = truth(runs)
    figure = _one(runs[0], shown, true) if len(runs) == 1 else _several(runs, shown, true)
    figure.caption = _caption(runs, features, true)
    return figure


def _one(run: Run, features: Sequence[str], true: dict[str, float]) -> Figure:
    figure, (axes,) = canvas()
    ends = {}
    for index, feature in enumerate(features):
        values = series(run, f"learned/{feature}")
        curve(axes, values, colour(index), linestyle="-" if index < 6 else "-.")
        _dash(axes, feature, true, colour(index))
        ends[feature] = float(values.y[-1]) if len(values.y) else np.nan
    _frame(axes, [true[feature] for feature in features if feature in true])
    _name_ends(axes, ends)
    axes.set(ylabel="parameter")
    time_axis(axes, "step")
    legend(figure, [key("learned"), key("true", linestyle="--", linewidth=0.9)] if true else [])
    return figure


def _several(runs: Sequence[Run], features: Sequence[str], true: dict[str, float]) -> Figure:
    columns = 2 if len(features) > 1 else 1
    figure, panels = canvas(-(-len(features) // columns), columns, height=1.8)
    groups = variants(runs)
    for axes, feature in zip(panels, features, strict=False):
        for index, members in enumerate(groups.values()):
            for run in members:
                curve(axes, series(run, f"learned/{feature}"), colour(index), linewidth=0.9)
        _dash(axes, feature, true, INK)
        _frame(axes, [true[feature]] if feature in true else [])
        axes.set_title(feature[:28])
    for axes in panels[len(features) :]:
        axes.remove()
    for axes in panels[len(features) - columns : len(features)]:
        time_axis(axes, "step")
    keys = [key(label, colour(index)) for index, label in enumerate(groups)]
    legend(figure, [*keys, key("true", linestyle="--", linewidth=0.9)] if true else keys)
    return figure


def _dash(axes: Axes, feature: str, true: dict[str, float], ink: str) -> None:
    if feature in true:
        axes.axhline(true[feature], color=ink, linestyle="--", linewidth=0.9)


def _frame(axes: Axes, true: Sequence[float]) -> None:
    """Keep the true values legible when a parameter diverges: lines may then leave the panel."""
    reach = 2 * max((abs(value) for value in true), default=0.0)
    low, high = axes.get_ylim()
    if reach:
        axes.set_ylim(max(low, -reach), min(high, reach))


def _name_ends(axes: Axes, ends: dict[str, float]) -> None:
    """Each line's name and last value right of the panel, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    heights = {
        name: (np.clip(value, low, high) - low) / (high - low) for name, value in ends.items() if np.isfinite(value)
    }
    order = sorted(heights, key=heights.__getitem__)
    at = [heights[name] for name in order]
    for index in range(1, len(at)):
        at[index] = max(at[index], at[index - 1] + _GAP)
    for index in range(len(at)):  # from the top down, so that the whole pile stays beside the panel
        at[-1 - index] = min(at[-1 - index], 1 - index * _GAP)
    for name, height in zip(order, at, strict=True):
        axes.annotate(
            f"{name[:22]} {number(ends[name], 4)}",
            (1, height),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            color=colour(list(ends).index(name)),
            va="center",
            fontsize=8.5,
        )


def _caption(runs: Sequence[Run], features: Sequence[str], true: dict[str, float]) -> str:
    hidden = f" The first {MOST} of {len(features)} parameters are drawn." if len(features) > MOST else ""
    errors = {}
    for label, members in variants(runs).items():
        each = [_error(run, true) for run in members]
        errors[label] = max(each, default=np.nan)
    if not true:
        return f"{len(features)} learned parameters; the true ones are not known.{hidden}"
    if np.isinf(max(errors.values())) and len(errors) == 1:
        return f"The run diverged before it came near the true parameters.{hidden}"
    if len(errors) == 1:
        return f"The learned parameters end within {number(next(iter(errors.values())))} of the true ones.{hidden}"
    parts = "; ".join(f"{number(error)} ({label})" for label, error in errors.items())
    return f"Greatest distance from a true parameter at the end: {parts}.{hidden}"


def _error(run: Run, true: dict[str, float]) -> float:
    """The greatest distance of a learned parameter from its true value at the end of a run; infinite if it diverged."""
    names = [name for name in places([run], "learned") if name in true]
    return max((abs(last(run, f"learned/{name}") - true[name]) for name in names), default=np.nan)
