"""The figures of chapter 2."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from book.claims.gradient_descent import (
    ZOOMS,
    ball_map,
    bonus_range,
    bonus_run,
    edge_run,
    errors,
    fitted,
    heavy_ball_of,
    net_maps,
    rate_of,
    raw_limit,
    valley,
    walk,
)
from book.figures import figure
from descend.plots._style import (
    INK,
    Axes,
    Figure,
    Line2D,
    ListedColormap,
    LogNorm,
    NullLocator,
    canvas,
    colormaps,
    colour,
    legend,
    log_where_wide,
    styled,
    tick,
)

Floats = NDArray[np.float64]


def _line(axes: Axes, index: int, label: str, x: Any, y: Any, **style: Any) -> Any:
    (line,) = axes.plot(x, y, color=colour(index), label=label, **style)
    return line


def _thinned(values: Floats, points: int = 160) -> tuple[Floats, Floats]:
    """About `points` places, evenly spread on a log scale, counted from 1, and the values there."""
    places = np.unique(np.geomspace(1, len(values), points).astype(int)) - 1
    return (places + 1).astype(float), values[places]


@figure
@styled
def three_regimes() -> Figure:
    drawing, panels = canvas(1, 3, height=1.9)
    for index, (rate, title) in enumerate(((0.5, "0.5"), (1.5, "1.5"), (2.1, "2.1"))):
        error = walk("sgd", lambda e: e, torch.ones(1).double(), 10, lr=rate)[:, 0]
        panels[index].axhline(0, color=INK, linewidth=0.6)
        panels[index].plot(range(11), error, color=colour(index), marker="o", markersize=3)
        panels[index].set(title=f"ηλ = {title}", ylim=(-2.9, 2.9), xlabel="step")
    panels[0].set_ylabel("error")
    return drawing


@figure
@styled
def stability_limit() -> Figure:
    drawing, (axes,) = canvas(height=2.6)
    limit, lines = raw_limit(), []
    for index, (lr, label) in enumerate(
        (
            (0.5 * limit, "half the limit"),
            (0.99 * limit, "0.99 × limit"),
            (1.01 * limit, "1.01 × limit"),
            (0.01, "0.01 = 1.27 × limit"),
        )
    ):
        loss = bonus_run(lr, 300)["loss/batch"].y
        loss = loss[np.isfinite(loss)]
        places = np.unique(np.linspace(0, len(loss) - 1, 60).astype(int))
        lines.append(_line(axes, index, label, places, loss[places]))
    axes.set(xlabel="step", ylabel="loss", yscale="log", ylim=(1e0, 1e16))
    axes.set_yticks([1, 1e4, 1e8, 1e12, 1e16], ["1", "10⁴", "10⁸", "10¹²", "10¹⁶"])
    axes.minorticks_off()
    legend(drawing, lines)
    return drawing


@figure
@styled
def raw_or_standardised() -> Figure:
    drawing, (axes,) = canvas(height=2.8)
    lines = []
    for index, (label, scale, steps, momentum) in enumerate(
        (
            ("raw", "none", 16_000, False),
            ("raw, momentum", "none", 700, True),
            ("standardised", "standard", 400, False),
            ("standardised, momentum", "standard", 120, True),
        )
    ):
        hyper = heavy_ball_of(scale) if momentum else {"lr": rate_of(scale)[0]}
        shares = errors("momentum" if momentum else "sgd", scale, steps, **hyper)
        x, y = _thinned(shares[1:])
        lines.append(_line(axes, index, label, x, y))
    axes.axhline(1e-6, color=INK, linestyle="--", linewidth=0.9)
    axes.set(xlabel="step", ylabel="error, share of the first")
    log_where_wide(axes)
    log_where_wide(axes, "x")
    axes.set_ylim(1e-8, 20)
    legend(drawing, lines)
    return drawing


@figure
@styled
def spectral_filter() -> Figure:
    drawing, (axes,) = canvas(height=2.4)
    gone, lines = fitted(5000), []
    for index, mode in enumerate((3, 2, 1, 0)):
        x, y = _thinned(gone[1:, mode], 90)
        lines.append(_line(axes, index, f"λ = {('0.113', '1.04', '24.4', '254')[mode]}", x, y))
    axes.set(xlabel="step", ylabel="fitted, %", ylim=(-5, 160))
    axes.set_yticks([0.0, 50.0, 100.0, 150.0])
    log_where_wide(axes, "x")
    legend(drawing, lines)
    return drawing


@figure
@styled
def saddle() -> Figure:
    drawing, (left, right) = canvas(1, 2, height=2.6)
    t = np.linspace(-1.3, 1.3, 41)
    lines = [
        _line(left, 0, "along x: curves up", t, t**2 / 2),
        _line(left, 1, "along y: curves down", t, t**4 / 4 - t**2 / 2),
    ]
    left.plot([0], [0], color=INK, marker="o", markersize=4)
    left.set(xlabel="distance from the saddle", ylabel="loss")
    x, y = np.meshgrid(np.linspace(-1.2, 1.2, 31), np.linspace(-1.4, 1.4, 31))
    right.contour(x, y, x**2 / 2 - y**2 / 2 + y**4 / 4, levels=9, colors=[INK], linewidths=0.5, linestyles="solid")
    path = walk("sgd", valley, torch.tensor([1.1, 1e-3]).double(), 60, lr=0.2).numpy()
    lines.append(_line(right, 2, "gradient descent", *path.T, marker="o", markersize=2.5, linewidth=1))
    right.plot([0], [0], color=INK, marker="o", markersize=4)
    right.set(xlabel="x", ylabel="y")
    right.grid(visible=False)
    legend(drawing, lines)
    return drawing


@figure
@styled
def edge_of_stability() -> Figure:
    drawing, (above, below) = canvas(2, 1, height=1.9)
    lines = []
    for index, (lr, steps) in enumerate(((0.12, 2000), (0.07, 2400))):
        run = edge_run(lr, steps)
        sharp, loss = run["sharpness/hessian"], run["loss/batch"].downsample(240)
        above.plot(loss.x, loss.y, color=colour(index), linewidth=0.9)
        lines.append(_line(below, index, f"learning rate {lr:g}", sharp.x, sharp.y))
        below.axhline(2 / lr, color=colour(index), linestyle="--", linewidth=0.9)
    above.set(ylabel="loss", ylim=(0, 0.25))
    below.set(ylabel="sharpness", xlabel="step", ylim=(0, 39))
    for panel in (above, below):
        panel.set_xlim(0, 2400)
    legend(drawing, lines)
    return drawing


@figure
def heavy_ball_map() -> Figure:
    return ball_map().draw()


@figure
@styled
def network_map() -> Figure:
    drawing, panels = canvas(1, 3, height=1.95)
    norm, grey = LogNorm(0.02, 0.5), "#b0b0b0"
    maps = net_maps()
    for axes, drawn, factor in zip(panels, maps, ZOOMS, strict=True):
        look: dict[str, Any] = {"origin": "lower", "aspect": "auto", "interpolation": "none"}
        axes.imshow(np.where(drawn.diverged, np.nan, drawn.loss), norm=norm, cmap=colormaps["viridis"], **look)
        axes.imshow(np.where(drawn.diverged, 1.0, np.nan), cmap=ListedColormap([grey]), **look)
        axes.grid(visible=False)
        for axis, which in ((drawn.x, "x"), (drawn.y, "y")):
            ends = [tick(float(f"{value:.3g}")) for value in (axis.values[0], axis.values[-1])]
            getattr(axes, f"set_{which}ticks")([0, len(axis) - 1], labels=ends)
            getattr(axes, f"{which}axis").set_minor_locator(NullLocator())
        axes.set(title="the whole" if factor == 1 else f"× {factor}", xlabel="hidden layer's rate")
    panels[0].set_ylabel("head's rate")
    for axes, drawn, part in zip(panels, maps, maps[1:], strict=False):
        x, y = (
            np.interp([of.values[0], of.values[-1]], whole.values, np.arange(len(whole)))
            for of, whole in ((part.x, drawn.x), (part.y, drawn.y))
        )
        axes.plot(x[[0, 1, 1, 0, 0]], y[[0, 0, 1, 1, 0]], color="white", linewidth=2.2)
        axes.plot(x[[0, 1, 1, 0, 0]], y[[0, 0, 1, 1, 0]], color=colour(1), linewidth=1.2)
    viridis = colormaps["viridis"]
    keys = ((viridis(0.0), "loss 0.02"), (viridis(0.5), "0.1"), (viridis(1.0), "0.5"), (grey, "diverged"))
    legend(drawing, [Line2D([], [], color=c, label=t, linestyle="none", marker="s", markersize=8) for c, t in keys])
    return drawing


@figure
@styled
def range_test() -> Figure:
    drawing = bonus_range().figure()
    (axes,) = drawing.axes
    axes.axvline(raw_limit(), color=colour(3), linewidth=1.2)
    where = {"rotation": 90, "ha": "right", "va": "top", "transform": axes.get_xaxis_transform()}
    axes.text(raw_limit(), 0.98, "2/λmax", color=colour(3), **where)
    return drawing
