"""The figures of chapter 1."""

from __future__ import annotations

import numpy as np

from book.claims.backpropagation import STEPS, amplitudes, depths, difference_errors, small_graph
from book.figures import figure
from descend.backprop.graph import graph_svg
from descend.plots._style import INK, Figure, Line2D, canvas, colour, legend, log_where_wide, styled

INITS = (
    ("He", "he_normal", False),
    ("std 1/√n", "narrow", False),
    ("PyTorch's default, no bias", "default", False),
    ("PyTorch's default with its bias", "default", True),
)


@figure
def graph() -> str:
    """The graph of (w x - y)^2 + 0.1 w^2, with values and gradients."""
    loss, _ = small_graph()
    loss.backward()
    return graph_svg(loss, title="The graph of L = (w x - y)^2 + 0.1 w^2")


@figure
@styled
def gradient_check() -> Figure:
    """The error of differences against their step."""
    figure, (axes,) = canvas(height=3.1)
    keys = []
    for index, (kind, precision) in enumerate(
        [("forward", "float64"), ("central", "float64"), ("forward", "float32"), ("central", "float32")]
    ):
        style = {"color": colour(index % 2), "linestyle": "-" if precision == "float64" else "--"}
        axes.plot(STEPS, difference_errors(precision, kind), marker=".", **style)
        keys.append(Line2D([], [], label=f"{kind}, {precision}", **style))
    axes.set(xlabel="step h", ylabel="relative error")
    log_where_wide(axes, "x")
    log_where_wide(axes, "y")
    for slope, h, error, side in ((1, 5e-6, 2e-5, "right"), (2, 2e-3, 1e-7, "left")):
        axes.annotate(f"slope {slope}", (h, error), fontsize=8.5, ha=side)
    legend(figure, keys)
    return figure


@figure
@styled
def depth() -> Figure:
    """Rms of activations, and how much of it differs between inputs, against depth."""
    figure, panels = canvas(2, 1, height=2.2)
    layers = np.arange(1, 51)
    for index, (_, init, bias) in enumerate(INITS):
        for panel, values in zip(panels, depths(init, bias), strict=True):
            typical = np.exp(np.log(values).mean(axis=0))
            kept = typical > (1e-14 if panel is panels[1] else 0)  # less is rounding, and differs between processors
            panel.plot(layers[kept], typical[kept], color=colour(index))
    panels[0].set(ylabel="rms of activations")
    panels[1].set(ylabel="across inputs / rms")
    for panel in panels:
        panel.set(xlabel="layers")
        log_where_wide(panel)
    legend(figure, [Line2D([], [], color=colour(i), label=label) for i, (label, *_) in enumerate(INITS)])
    return figure


@figure
@styled
def missing_zero_grad() -> Figure:
    """The weight step by step without zero_grad, on the curve of the theory, and with it."""
    figure, (axes,) = canvas(height=2.6)
    steps = np.arange(1, 251)
    angle = np.arccos(1 - 0.01 / 2)
    theory = np.cos((steps + 0.5) * angle) / np.cos(angle / 2)
    axes.plot(steps, theory, color=INK, linewidth=0.9)
    axes.plot(steps[::4], amplitudes(250)[::4], "o", color=colour(1), markersize=3)
    axes.plot(steps, 0.99**steps, color=colour(0))
    axes.set(xlabel="step", ylabel="weight (minimum at 0)")
    legend(
        figure,
        [
            Line2D([], [], color=colour(1), marker="o", markersize=3, linestyle="", label="no zero_grad, measured"),
            Line2D([], [], color=INK, linewidth=0.9, label="heavy ball with β = 1, theory"),
            Line2D([], [], color=colour(0), label="with zero_grad"),
        ],
    )
    return figure
