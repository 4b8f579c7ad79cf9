"""The figures of chapter 4."""

from __future__ import annotations

import numpy as np
import torch

from book.claims.optimizers import HALF_DECADES, RECORDED, bonus, moves, shrinkage, small_sweep, walk
from book.figures import figure
from descend.plots._style import (
    INK,
    Axes,
    Figure,
    FuncFormatter,
    Line2D,
    LogLocator,
    NullLocator,
    canvas,
    colour,
    legend,
    log_where_wide,
    styled,
    tick,
)


def key(label: str, index: int, **style: object) -> Line2D:
    return Line2D([], [], color=colour(index), label=label, **style)


def logarithmic(axes: Axes, which: str = "xy") -> None:
    for one in which:
        log_where_wide(axes, one)  # type: ignore[arg-type]


@figure
@styled
def valley() -> Figure:
    """Paths over two standardised, nearly collinear weights of the bonus data, the others at their optimum."""
    hessian = bonus("standard")[0][1:3, 1:3]
    start = torch.tensor([-9.0, 3.0], dtype=torch.float64)
    curvatures, axes_of = np.linalg.eigh(hessian.numpy())
    circle = np.stack([np.cos(angles := np.linspace(0, 2 * np.pi, 61)), np.sin(angles)])
    paths = (
        ("gradient descent", "sgd", {"lr": 0.4}, 40),
        ("heavy ball", "momentum", {"lr": 0.4, "momentum": 0.6}, 40),
        ("RMSprop", "rmsprop", {"lr": 0.1}, 160),
        ("Adam", "adam", {"lr": 1.0}, 160),
    )
    drawing, panels = canvas(2, 2, height=2.3)
    for index, (axes, (label, name, hyper, steps)) in enumerate(zip(panels, paths, strict=True)):
        for level in (0.5, 3.0, 10.0, 25.0, 60.0):
            across, up = axes_of @ (circle * np.sqrt(2 * level / curvatures)[:, None])
            axes.plot(across, up, color=INK, linewidth=0.5, alpha=0.35)
        path = walk(name, start, lambda at, _: hessian @ at, steps, **hyper).numpy()
        axes.plot(
            path[:, 0], path[:, 1], color=colour(index), marker=".", markersize=3, linewidth=0.9, markevery=slice(0, 30)
        )
        axes.plot([0], [0], color=INK, marker="+", markersize=8, linestyle="none")
        axes.set(title=f"{label}, {steps} steps", xlim=(-11, 6), ylim=(-5, 11))
    for axes in panels[2:]:
        axes.set_xlabel("error of the weight of years")
    for axes in panels[::2]:
        axes.set_ylabel("error of that of projects")
    drawing.caption = "Four optimizers in the valley that two nearly collinear features make."
    return drawing


@figure
@styled
def first_steps() -> Figure:
    """Length of the first step over the size of the gradient."""
    sizes = 10.0 ** np.linspace(-11, 2, 53)
    rules = (
        ("SGD, momentum", "sgd", {}),
        ("RMSprop", "rmsprop", {}),
        ("Adam", "adam", {}),
        ("Adam, eps 0.00001", "adam", {"eps": 1e-5}),
        ("Lion", "lion", {}),
    )
    drawing, (axes,) = canvas(height=2.7)
    for index, (_, name, hyper) in enumerate(rules):
        steps = [moves(name, [size], lr=1.0, **hyper)[0] for size in sizes]
        axes.plot(sizes, steps, color=colour(index), linestyle="--" if name == "lion" else "-")
    axes.set(xlabel="size of the gradient", ylabel="first step, in units of lr")
    logarithmic(axes)
    legend(
        drawing,
        [key(label, index, linestyle="--" if name == "lion" else "-") for index, (label, name, _) in enumerate(rules)],
    )
    drawing.caption = "SGD's first step is as long as the gradient; Adam's is lr until eps takes over."
    return drawing


@figure
@styled
def responses() -> Figure:
    """Steps of four rules under a constant gradient, a spike after silence, and a gradient that stops."""
    cases = (
        ("constant gradient", np.ones(60), 0, 0),
        ("a spike after silence", np.repeat([0.0, 1.0, 0.0], [10, 1, 49]), 10_000, 0),
        ("gradient stops", np.repeat([1.0, 0.0], [1000, 40]), 0, 980),
    )
    rules = (
        ("SGD", "sgd", {}),
        ("momentum", "momentum", {"momentum": 0.9}),
        ("RMSprop", "rmsprop", {}),
        ("Adam", "adam", {}),
    )
    drawing, panels = canvas(3, 1, height=1.6)
    for axes, (title, gradients, silence, begin) in zip(panels, cases, strict=True):
        for index, (_, name, hyper) in enumerate(rules):
            steps = moves(name, gradients.tolist(), after=silence, lr=1.0, **hyper)[begin:]
            axes.plot(
                np.arange(1, len(steps) + 1), steps, color=colour(index), linestyle="--" if name == "adam" else "-"
            )
        axes.set(title=title, ylabel="step / lr")
    panels[-1].set_xlabel("step")

    legend(
        drawing,
        [key(label, index, linestyle="--" if name == "adam" else "-") for index, (label, name, _) in enumerate(rules)],
    )
    drawing.caption = "Under a constant gradient only momentum speeds up; Adam takes steps of exactly lr."
    return drawing


@figure
@styled
def decay_of_steps() -> Figure:
    """Steps under a constant gradient on log axes: AdaGrad, RMSprop, Adam."""
    rules = (("AdaGrad", "adagrad"), ("RMSprop", "rmsprop"), ("Adam", "adam"))
    drawing, (axes,) = canvas(height=2.4)
    shown = np.unique(np.geomspace(1, 10_000, 80).astype(int))
    for index, (_, name) in enumerate(rules):
        steps = moves(name, [1.0] * 10_000, lr=1.0)
        axes.plot(shown, steps[shown - 1], color=colour(index))
    axes.set(xlabel="step", ylabel="step in units of lr")
    logarithmic(axes)
    legend(drawing, [key(label, index) for index, (label, _) in enumerate(rules)])
    drawing.caption = "AdaGrad's steps fall like one over the root of t; RMSprop begins ten times too long."
    return drawing


@figure
@styled
def weight_decay() -> Figure:
    """Mean weight under noise and decay: AdamW, and Adam with L2 under quiet and loud noise."""
    drawing, (axes,) = canvas(height=2.5)
    lines = (
        ("AdamW, any noise", "adamw", 0.1),
        ("Adam + L2, noise 0.1", "adam", 0.1),
        ("Adam + L2, noise 1", "adam", 1.0),
        ("Adam + L2, noise 10", "adam", 10.0),
    )
    for index, (_, name, noise) in enumerate(lines):
        kept = shrinkage(name, noise)[::20]
        axes.plot(20 * np.arange(len(kept)), kept, color=colour(index))
    axes.set(xlabel="step", ylabel="mean of the weights", ylim=(-0.05, 1.05))
    legend(drawing, [key(label, index) for index, (label, _, _) in enumerate(lines)])
    drawing.caption = "AdamW shrinks all weights alike; Adam with L2 shrinks the quiet ones first."
    return drawing


@figure
@styled
def good_rates() -> Figure:
    """Validation error of the digits MLP over the learning rate, four optimizers, one seed."""
    drawing, (axes,) = canvas(height=2.7)
    sweep = small_sweep()
    rates = HALF_DECADES[2:9]
    for index, errors in enumerate(sweep.values()):
        axes.plot(rates, np.minimum(errors, 100), color=colour(index), marker="o", markersize=3)
    axes.axhline(10, color=INK, linestyle="--", linewidth=0.9)
    axes.set(xlabel="learning rate", ylabel="validation rows wrong, in %", ylim=(0, 95))
    log_where_wide(axes, "x")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    names = {"sgd": "SGD", "momentum": "momentum", "rmsprop": "RMSprop", "adam": "Adam"}
    legend(drawing, [key(names[name], index) for index, name in enumerate(sweep)])
    drawing.caption = "The window of good learning rates is a factor of ten or more wide for Adam, and narrow for SGD."
    return drawing


@figure
@styled
def low_and_wide() -> Figure:
    """Loss over the window's factor, both with their intervals, for the optimizers of four tasks."""
    titles = {
        "mlp": "MLP, digits",
        "cnn": "CNN, digits",
        "rnn": "LSTM, adding",
        "transformer": "transformer, characters",
    }
    drawing, panels = canvas(2, 2, height=2.5)
    for panel, (task, found) in zip(panels, RECORDED.items(), strict=True):
        places = {
            name: (one["reaching"]["high"] / one["reaching"]["low"], one["loss"]["mean"])
            for name, one in found["contestants"].items()
        }
        for name, one in found["contestants"].items():
            factor, loss = places[name]
            style = {"color": colour(1 if name in ("adam", "adamw") else 0), "linewidth": 0.9}
            panel.plot([factor, factor], [one["loss"]["low"], one["loss"]["high"]], **style)
            panel.plot(one["reaching"]["interval"], [loss, loss], **style)
            panel.plot([factor], [loss], marker=".", **style)
            others = [place for other, place in places.items() if other != name]
            above = any(1 / 1.5 < wide / factor < 1.5 and high > loss for wide, high in others)
            beside = any(1.5 < wide / factor < 10 and 1 / 1.1 < high / loss < 1.1 for wide, high in others)
            crowded = above and beside  # then the name goes over the interval
            panel.annotate(
                name,
                (factor, one["loss"]["high"] if crowded else loss),
                (-3 if beside and not crowded else 3, -3 if above and not crowded else 3),
                textcoords="offset points",
                ha="right" if beside and not crowded else "left",
                va="top" if above and not crowded else "bottom",
                fontsize=7,
            )
        least, most = min(wide for wide, _ in places.values()), max(wide for wide, _ in places.values())
        panel.set(xscale="log", yscale="log", xlim=(least / 1.7, most * 3), title=titles[task])
        for axis in (panel.xaxis, panel.yaxis):
            low, high = axis.get_view_interval()
            parts = (1, 1.5, 2, 3, 5) if high < 10 * low else (1, 2, 5) if high < 100 * low else (1,)
            axis.set_major_locator(LogLocator(subs=parts, numticks=6))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    drawing.supxlabel("factor between the lowest and the highest rate that come to the target", fontsize=9)
    drawing.supylabel("validation loss", fontsize=9)
    drawing.caption = "Low is good, and so is far to the right: Adam and AdamW have the widest windows."
    return drawing
