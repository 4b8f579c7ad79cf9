"""Accuracy or R², on each batch, on all training rows and on validation rows.

Several runs show one line each: validation rows where they were evaluated, else training rows, else batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from descend.plots._curves import curve, key, smooth, time_axis
from descend.plots._runs import course, ends, series, variants
from descend.plots._style import Axes, Figure, Line2D, blank, canvas, colour, legend, styled
from descend.run import Run

MEASURES: Final = {"accuracy": "accuracy", "r2": "R²"}
ROWS: Final = {"validation": "validation rows", "train": "training rows", "batch": "each batch"}


@styled
def metrics(runs: Sequence[Run], *, x: Literal["step", "examples", "seconds"] = "step") -> Figure:
    """`x` is the clock: updates made, examples seen or seconds of training."""
    measure = next((name for name in MEASURES if any(_best(run, name) for run in runs)), None)
    if measure is None:
        return blank("Neither accuracy nor R² has been recorded yet.")
    figure, (axes,) = canvas()
    legend(figure, _one(axes, runs[0], measure, x) if len(runs) == 1 else _several(axes, runs, measure, x))
    axes.set(ylabel=MEASURES[measure])
    time_axis(axes, x)
    low, high = axes.get_ylim()
    # An untrained network's R² is far below zero: drawn whole it would flatten all that follows.
    if axes.dataLim.y1 > 0:
        axes.set_ylim(max(low, 0), min(high, 1.02))
    figure.caption = _caption(runs, measure)
    return figure


def _one(axes: Axes, run: Run, measure: str, x: str) -> list[Line2D]:
    keys = []
    for index, row in enumerate(reversed(ROWS)):
        values = series(run, f"{measure}/{row}", x)
        if len(values.x):
            curve(axes, smooth(values) if row == "batch" else values, colour(index), alpha=0.6 if row == "batch" else 1)
            keys.append(key(ROWS[row], colour(index)))
    return keys


def _several(axes: Axes, runs: Sequence[Run], measure: str, x: str) -> list[Line2D]:
    groups = variants(runs)
    for index, members in enumerate(groups.values()):
        for run in members:
            curve(axes, smooth(series(run, _best(run, measure), x)), colour(index), linewidth=1)
    return [key(label, colour(index)) for index, label in enumerate(groups)]


def _best(run: Run, measure: str) -> str:
    """The series of a measure that says most about unseen rows; empty if there is none."""
    names = (f"{measure}/{row}" for row in ROWS)
    return next((name for name in names if len(series(run, name).x)), "")


def _caption(runs: Sequence[Run], measure: str) -> str:
    what = MEASURES[measure][0].upper() + MEASURES[measure][1:]
    if len(runs) == 1:
        name = _best(runs[0], measure)
        return course(f"{what} on {ROWS[name.partition('/')[2]]}", series(runs[0], name))
    return ends(what, runs, lambda run: _best(run, measure))
