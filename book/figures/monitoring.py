"""The figures of chapter 5."""

from __future__ import annotations

import numpy as np

from book.claims import monitoring as measured
from book.figures import figure
from descend.plots._curves import key
from descend.plots._style import INK, Figure, canvas, colour, legend, log_where_wide, styled


@figure
@styled
def overfitting() -> Figure:
    """Both losses of `descend break overfitting`, and where early stopping goes back to."""
    run = measured.broken("overfitting")
    best = measured.trained(measured.OVERFITS.but(patience=5)).notes("ended")[-1].details
    figure, (axes,) = canvas()
    for index, split in enumerate(("train", "validation")):
        values = run.series(f"loss/{split}")
        axes.plot(values.x, values.y, color=colour(index))
    stopped = measured.trained(measured.OVERFITS.but(patience=5)).steps
    axes.axvline(stopped, color=INK, linestyle=":", linewidth=0.9)
    axes.annotate("patience ends here", (stopped, 1.22), xytext=(5, 0), textcoords="offset points", va="center")
    axes.plot([best["best_step"]], [best["best_loss"]], "o", color=colour(1), markersize=6)
    axes.annotate(
        "weights that are kept",
        (best["best_step"], best["best_loss"]),
        xytext=(-34, 52),
        textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.6},
    )
    axes.set(xlabel="updates", ylabel="loss", ylim=(0, None))
    legend(figure, [key("Training loss", colour(0)), key("Validation loss", colour(1))])
    figure.caption = "The validation loss turns at step 50; the training loss goes on falling."
    return figure


@figure
@styled
def gradient_norm() -> Figure:
    """The gradient norm of a healthy run, over the bands of a popular table."""
    norms, _ = measured.bonus_norms()
    steps = np.unique(np.geomspace(1, len(norms), 120).astype(int))
    figure, (axes,) = canvas()
    axes.plot(steps, norms[steps - 1], color=colour(0))
    axes.set(xlabel="updates", ylabel="gradient norm", xscale="log", xlim=(1, len(norms)))
    log_where_wide(axes)
    low, _ = axes.get_ylim()
    for limit in (1e-3, 100.0):
        axes.axhline(limit, color=INK, linestyle=":", linewidth=0.9)
    for place, word in ((350.0, '"exploding"'), (1.0, "between"), (2.2 * low, '"vanishing"')):
        axes.annotate(word, (1.25, place), va="center")
    axes.set_xlim(1, len(norms))
    axes.set_xticks([1, 10, 100, 1000, 10_000], ["1", "10", "100", "1,000", "10,000"])
    axes.minorticks_off()
    legend(figure, [key("gradient descent on the bonus data, healthy throughout", colour(0))])
    figure.caption = "One healthy run passes through all three bands of the popular table."
    return figure


def _gradients(problem: str) -> tuple[list[float], list[float]]:
    """Gradient norm times weight norm of each weight matrix, at the first measured step: the sick run, the cured."""
    found = []
    for run in (measured.broken(problem), measured.first_remedy(problem)):
        names = [name.removeprefix("grad_norm/") for name in run.names() if name.startswith("grad_norm/")]
        layers = [name for name in names if name.endswith("weight")]
        found.append(
            [
                float(measured.series(run, f"grad_norm/{name}")[0] * measured.series(run, f"weight_norm/{name}")[0])
                for name in layers
            ]
        )
    return found[0], found[1]


def _spreads(problem: str) -> tuple[list[float], list[float]]:
    """The standard deviation of each layer's activations at the first measured step."""
    found = []
    for run in (measured.broken(problem), measured.first_remedy(problem)):
        names = [name for name in run.names() if name.startswith("activation_std/activations")]
        found.append([float(measured.series(run, name)[0]) for name in names])
    return found[0], found[1]


@figure
@styled
def layers() -> Figure:
    """Two sick networks and their cures, layer by layer."""
    figure, (left, right) = canvas(1, 2, width=6.4, height=2.7)
    pairs = ((left, _gradients("vanishing_gradients")), (right, _spreads("exploding_gradients")))
    for axes, both in pairs:
        for index, values in zip((1, 0), both, strict=True):
            axes.plot(range(1, len(values) + 1), values, "o-", markersize=3.5, color=colour(index))
        axes.set_yscale("log")
        axes.set_xlabel("layer, from input to output")
        log_where_wide(axes)
    left.set(ylabel="gradient times weight", title="Vanishing: 8 sigmoid layers")
    right.set(ylabel="spread of activations", title="Exploding: 10 ReLU layers")
    legend(figure, [key("sick", colour(1)), key("cured", colour(0))])
    figure.caption = "What tells is not a size, but a slope over the layers."
    return figure


RISING = {
    "rate": "learning rate too high",
    "schedule": "schedule beyond the limit",
    "sign": "sign error",
    "zero_grad": "no zero_grad",
    "order": "sorted rows",
}


@figure
@styled
def rising() -> Figure:
    """Five losses that rise, over the first one, for five reasons."""
    figure, (axes,) = canvas()
    for index, (cause, words) in enumerate(RISING.items()):
        losses = np.array(measured.rising(cause)["losses"])[:81]
        axes.plot(losses / losses[0], color=colour(index), linewidth=1.2, label=words)
    axes.set(xlabel="updates", ylabel="loss over its first value", yscale="log", ylim=(0.01, 30))
    axes.set_yticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
    axes.minorticks_off()
    legend(figure, [key(words, colour(index)) for index, words in enumerate(RISING.values())])
    figure.caption = "A rising loss has at least five causes; the curves alone do not tell them apart for sure."
    return figure


@figure
@styled
def patience() -> Figure:
    """One noisy learning curve, and where three patiences end it."""
    truth = measured.learning_curve(20.0, 100)
    noisy = truth + np.random.default_rng(3).normal(0, 0.03, len(truth))
    figure, (axes,) = canvas()
    axes.plot(noisy, color=colour(1), linewidth=1.0)
    axes.plot(truth, color=INK, linewidth=0.9, linestyle="--")
    for count, height in ((1, 0.88), (5, 0.78), (20, 0.68)):
        end = measured.stops(noisy, count)
        axes.plot([end - 1, end - 1], [0.28, height], color=colour(0), linewidth=0.9, linestyle=":")
        axes.annotate(f"patience {count}", (end - 1, height), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set(xlabel="evaluations", ylabel="validation loss", ylim=(0.2, 0.95))
    legend(figure, [key("measured, with noise", colour(1)), key("without noise", INK, linestyle="--")])
    figure.caption = "Patience below the noise stops long before the curve has levelled off."
    return figure


@figure
@styled
def four() -> Figure:
    """The four problems before the cure and after it."""
    figure, panels = canvas(2, 2, width=6.4, height=2.2)
    for axes, problem in zip(panels, measured.FOUR, strict=True):
        for index, run in ((1, measured.broken(problem)), (0, measured.first_remedy(problem))):
            for split, style in (("train", "-"), ("validation", ":")):
                values = run.series(f"loss/{split}")
                lone = len(values.x) == 1
                axes.plot(values.x, values.y, style, color=colour(index), marker="x" if lone else None, linewidth=1.1)
        axes.set(title=problem.replace("_", " ").capitalize(), xlabel="updates", ylabel="loss")
        log_where_wide(axes)
    legend(
        figure,
        [
            key("sick", colour(1)),
            key("with the doctor's first remedy", colour(0)),
            key("training", INK),
            key("validation", INK, linestyle=":"),
        ],
    )
    figure.caption = "The first remedy of the doctor, with the same seed."
    return figure
