"""The losses of a learning-rate range test over the rate."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float64

from descend.plots._curves import key
from descend.plots._runs import number
from descend.plots._style import INK, Figure, blank, canvas, colour, legend, log_where_wide, styled

ABOVE: Final = 2.0  # times the greatest loss at the start is the top of the panel: what explodes leaves it


class Marks(NamedTuple):
    """Learning rates to mark, where they are known."""

    suggested: float | None
    turn: float | None
    exploded: float | None


@styled
def range_test(
    rates: Float64[np.ndarray, " points"],
    losses: Float64[np.ndarray, "repeats points"],
    smoothed: Float64[np.ndarray, " shown"],
    marks: Marks,
    caption: str,
) -> Figure:
    """Each repeat faint, their smoothed mean in full; the suggestion solid, turn and explosion dashed."""
    if not len(smoothed):
        return blank("The loss was not finite at any learning rate.")
    figure, (axes,) = canvas()
    begun = losses[:, : max(1, len(smoothed) // 10)]
    top = ABOVE * float(begun.max())
    for repeat in losses:
        axes.plot(rates, np.minimum(repeat, 2 * top), color=colour(0), alpha=0.3, linewidth=0.6)
    axes.plot(rates[: len(smoothed)], np.minimum(smoothed, 2 * top), color=colour(0), linewidth=1.8)
    for which in ("x", "y"):
        log_where_wide(axes, which)
    axes.set_ylim(top=top)
    keys = [key("batch loss, and smoothed", colour(0))]
    for rate, what, ink, style in (
        (marks.suggested, "suggested", colour(2), "-"),
        (marks.turn, "turns", INK, ":"),
        (marks.exploded, "explodes", colour(1), "--"),
    ):
        if rate is not None:
            axes.axvline(rate, color=ink, linestyle=style, linewidth=1.2)
            keys.append(key(f"{what} {number(rate)}", ink, linestyle=style))
    axes.set(xlabel="learning rate", ylabel="loss")
    legend(figure, keys)
    figure.caption = caption
    return figure
