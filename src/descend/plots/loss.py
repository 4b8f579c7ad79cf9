"""The loss while training: each batch, all training rows, validation rows.

One run shows its batch losses, faint, with their mean over stretches of the run. Several runs show one line each, in
the colour of their variant: the loss over all training rows, or the batch losses' mean where that was not recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from descend.plots._curves import curve, key, name_crosses, smooth, time_axis
from descend.plots._runs import course, ends, first_non_finite, series, variants
from descend.plots._style import INK, Axes, Figure, Line2D, blank, canvas, colour, legend, log_where_wide, styled
from descend.run import Run, Series

NAMES: Final = {"loss/batch": "Batch loss", "loss/train": "Training loss", "loss/validation": "Validation loss"}


@styled
def loss(runs: Sequence[Run], *, x: Literal["step", "examples", "seconds"] = "step") -> Figure:
    """`x` is the clock: updates made, examples seen or seconds of training. Log y where the loss spans a decade."""
    if not any(len(series(run, name).x) for run in runs for name in NAMES):
        return blank("No loss has been recorded yet.")
    figure, (axes,) = canvas()
    draw = _one if len(runs) == 1 else _several
    drawn, keys = draw(axes, runs, x)
    axes.set(ylabel="loss")
    time_axis(axes, x)
    log_where_wide(axes)
    name_crosses(axes, drawn)
    legend(figure, keys)
    figure.caption = _caption(runs)
    return figure


def _one(axes: Axes, runs: Sequence[Run], x: str) -> tuple[list[Series], list[Line2D]]:
    keys = []
    drawn = [series(runs[0], name, x) for name in NAMES]
    for index, (name, values) in enumerate(zip(NAMES, drawn, strict=True)):
        if not len(values.x):
            continue
        mean = smooth(values) if name == "loss/batch" else values
        if mean is not values:
            curve(axes, values, colour(index), alpha=0.25, linewidth=0.7)
        curve(axes, mean, colour(index))
        keys.append(key(NAMES[name] + (" and its mean" if mean is not values else ""), colour(index)))
    return drawn, keys


def _several(axes: Axes, runs: Sequence[Run], x: str) -> tuple[list[Series], list[Line2D]]:
    drawn, keys = [], []
    for index, (label, members) in enumerate(variants(runs).items()):
        keys.append(key(label, colour(index)))
        for run in members:
            training, validation = smooth(series(run, _training_name(run), x)), series(run, "loss/validation", x)
            curve(axes, training, colour(index), linewidth=1)
            curve(axes, validation, colour(index), linewidth=1, linestyle=":")
            drawn += [training, validation]
    if any(len(series(run, "loss/validation").x) for run in runs):
        keys += [key("training", INK), key("validation", INK, linestyle=":")]
    return drawn, keys


def _training_name(run: Run) -> str:
    return "loss/train" if len(series(run, "loss/train").x) > 1 else "loss/batch"


def _caption(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        recorded = {name: series(runs[0], name) for name in ("loss/train", "loss/batch", "loss/validation")}
        lost = first_non_finite(recorded["loss/batch"])  # training may end before the next evaluation sees it
        main = "loss/batch" if lost else max(recorded, key=lambda name: min(len(recorded[name].x), 2))
        return course(NAMES[main], recorded[main])
    return ends("Training loss", runs, _training_name)
