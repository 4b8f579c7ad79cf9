"""The figures of chapter 3. What is simulated is what the claims measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from book.claims import gd_variants as measured
from book.figures import figure
from descend.plots._curves import middle
from descend.plots._style import (
    INK,
    Axes,
    Figure,
    Line2D,
    canvas,
    colour,
    legend,
    log_where_wide,
    styled,
)
from descend.run import Series

POINT = {"linestyle": "none", "marker": "o", "markersize": 5}


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], number: int, **look: object) -> None:
    axes.plot(x, y, color=colour(number), **look)  # type: ignore[arg-type]


def _key(label: str, number: int, **look: object) -> Line2D:
    return Line2D([], [], color=colour(number), label=label, **look)  # type: ignore[arg-type]


@figure
@styled
def floor() -> Figure:
    """Excess loss against the learning rate, with and without replacement, batches of 4."""
    drawn, (axes,) = canvas(height=3.0)
    fine = np.geomspace(0.002, 0.025, 20).tolist()
    _line(axes, fine, [measured.floor_exact(lr, 4) for lr in fine], 0)
    _line(axes, fine, [measured.floor_reshuffled(lr, 4) for lr in fine], 1)
    rates = measured.RATES
    _line(axes, rates, [measured.floor_with_replacement(lr, 4) for lr in rates], 0, **POINT)
    _line(axes, rates, [measured.floor_over_epochs(lr, 4)[0] for lr in rates], 1, **POINT)
    axes.set(xlabel="learning rate", ylabel="excess loss")
    log_where_wide(axes)
    log_where_wide(axes, "x")
    legend(
        drawn,
        [
            _key("with replacement: predicted", 0),
            _key("measured", 0, **POINT),
            _key("ends of shuffled epochs: predicted", 1),
            _key("measured", 1, **POINT),
        ],
    )
    return drawn


@figure
@styled
def last_batch() -> Figure:
    """Excess loss at the ends of epochs against the batch size, by what is done with the last batch."""
    drawn, (axes,) = canvas(height=3.0)
    sizes = [25, 26, 29, 32, 33, 34, 35, 38, 41, 44, 47, 49, 50]
    for number, last in enumerate(("unweighted", "weighted", "dropped")):
        floors = [measured.floor_over_epochs(0.05, size, last, 24, 50, 60)[0] for size in sizes]
        _line(axes, sizes, floors, number, marker="o", markersize=3)
    axes.set(xlabel="batch size (of 100 rows)", ylabel="excess loss at the end of an epoch")
    log_where_wide(axes)
    names = ("unweighted", "weighted by its rows", "dropped")
    legend(drawn, [_key(f"last batch {name}", number) for number, name in enumerate(names)])
    return drawn


@figure
@styled
def scaling() -> Figure:
    """Left: the floor where the rate goes with the batch. Right: updates to a target at the best rate."""
    drawn, (left, right) = canvas(1, 2, width=7.6, height=3.0)
    end = 2 / np.linalg.eigvalsh(measured.problem().H)[-1] / measured.PER_ROW
    fine = np.unique(np.round(np.geomspace(1, 190, 60))).astype(int).tolist()
    _line(left, fine, [measured.floor_exact(measured.PER_ROW * B, B) for B in fine], 0)
    _line(left, measured.SCALED, [measured.scaled_floor(B) for B in measured.SCALED], 0, **POINT)
    left.axhline(measured.floor_simple(measured.PER_ROW, 1), color=INK, linewidth=0.8, linestyle=":")
    left.axvline(end, color=colour(1), linewidth=1.0, linestyle="--")
    left.set(xlabel="batch size, learning rate in proportion", ylabel="excess loss", ylim=(0, 1.5))
    log_where_wide(left, "x")
    sizes = measured.SWEPT
    updates = [measured.fastest(B)[0] for B in sizes]
    _line(right, sizes, updates, 0, marker="o", markersize=4)
    right.plot(sizes[:9], [updates[0] / B for B in sizes[:9]], color=INK, linewidth=0.8, linestyle=":")
    right.set(xlabel="batch size, best learning rate", ylabel="updates to an excess loss of 0.2")
    log_where_wide(right)
    log_where_wide(right, "x")
    legend(
        drawn,
        [
            _key("predicted", 0),
            _key("measured", 0, **POINT),
            _key("learning rate = 2 / λmax", 1, linestyle="--"),
            Line2D([], [], color=INK, label="perfect scaling", linewidth=0.8, linestyle=":"),
        ],
    )
    return drawn


@figure
@styled
def noise_scale() -> Figure:
    """The noise scale and the excess loss during batch gradient descent."""
    drawn, (axes,) = canvas(height=3.0)
    path = measured.gd_path()
    p = measured.problem()
    updates = range(0, len(path), 4)
    _line(axes, updates, [measured.noise_scale(path[k])[0] for k in updates], 0)
    _line(axes, updates, [measured.noise_scale(path[k])[1] for k in updates], 2, linestyle="--")
    _line(axes, updates, [float(measured.excess(p, path[k][None])[0]) for k in updates], 1)
    axes.set(xlabel="updates of batch gradient descent", ylabel="rows; or loss")
    log_where_wide(axes)
    labels = ("noise scale tr Σ / |G|², rows", "excess loss", "tr HΣ / G'HG, rows")
    legend(drawn, [_key(labels[n], n, linestyle="--" if n == 2 else "-") for n in (0, 2, 1)])
    return drawn


@figure
@styled
def three_axes() -> Figure:
    """The loss of the three ways over updates, examples and modelled time; bands over five seeds."""
    drawn, panels = canvas(1, 3, width=9.0, height=2.7)
    clocks = ("updates", "examples", "time: 1 an update, 0.01 a row")
    for number, runs in enumerate(measured.race().variants.values()):
        losses = [run.series("loss/train", "step") for run in runs]
        rows = [run.series("loss/train", "examples").x for run in runs]
        axes = ([one.x for one in losses], rows, [one.x + 0.01 * e for one, e in zip(losses, rows, strict=True)])
        for panel, xs in zip(panels, axes, strict=True):
            x, (median, least, greatest) = middle([Series(x, one.y) for x, one in zip(xs, losses, strict=True)])
            some = slice(1, None, max(1, len(x) // 40))
            panel.plot(x[some], median[some], color=colour(number))
            panel.fill_between(x[some], least[some], greatest[some], color=colour(number), alpha=0.18, linewidth=0)
    for panel, clock in zip(panels, clocks, strict=True):
        panel.set(xlabel=clock, xscale="log")
        log_where_wide(panel)
        log_where_wide(panel, "x")
    panels[0].set(ylabel="loss over all rows")
    labels = (f"{name}, learning rate {lr}" for name, (_, lr) in measured.WAYS.items())
    legend(drawn, [_key(label, number) for number, label in enumerate(labels)])
    return drawn


@figure
@styled
def double_well() -> Figure:
    """Steps to the barrier of a double well against 1 / lr, simulated and by Kramers' formula."""
    drawn, (axes,) = canvas(height=3.0)
    rates = np.linspace(0.05, 0.22, 30).tolist()
    crossed = measured.WELL[:4]
    _line(axes, [1 / lr for lr in rates], [measured.kramers(lr) for lr in rates], 0)
    _line(axes, [1 / lr for lr in crossed], [measured.escapes(lr, 1000)[0] for lr in crossed], 1, **POINT)
    axes.set(xlabel="1 / learning rate", ylabel="steps from the minimum to the barrier")
    log_where_wide(axes)
    legend(drawn, [_key("Kramers 1940", 0), _key("measured", 1, **POINT)])
    return drawn
