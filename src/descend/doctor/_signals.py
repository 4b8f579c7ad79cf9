"""What the checks of a network's signals share: whether it has learned anything, and how a measure changes with depth.

Series may be empty, short, sparse or not finite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from descend.catalog import Value
from descend.doctor._chart import Chart
from descend.doctor._check import Remedy, Safety
from descend.errors import RecipeError
from descend.run import Floats, Series

FEWEST: Final = 20  # losses of single batches that stand in for evaluations
PARTS: Final = 10  # of a curve: the last one is its end

GUESSING: Final = "what guessing costs"
"""That is, of the loss of the best answer that is the same for every row."""

LEARNS_NOTHING: Final = frozenset(
    {
        "cannot_overfit_one_batch",
        "chance_level",
        "lr_too_low",
        "minority_never_predicted",
        "plateau",
        "underfitting",
        "update_ratio",
    }
)
"""What a run shows through whose network no signal gets, forwards or backwards."""


def typical(values: Floats) -> float:
    """The median of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else math.nan


def late(series: Series) -> float:
    """The typical value of the last quarter, and of 3 values at least."""
    return typical(series.y[-max(3, len(series.y) // 4) :])


def since_below(series: Series, level: float) -> int:
    """The first step of the last stretch in which every value is below a level."""
    above = np.flatnonzero(~(series.y < level))
    return int(series.x[min(above[-1] + 1, len(series.x) - 1) if len(above) else 0])


def two_digits(value: float) -> str:
    """A number with two significant digits: "0.012", "45,000", "3.4e+09"."""
    return f"{float(f'{value:.2g}'):,.6g}"


def percent(share: float) -> str:
    """ "99 %", "0.12 %", "35 times" (3,500 %)."""
    return f"{two_digits(share)} times" if share >= 10 else f"{two_digits(100 * share)} %"


# --- has it learned? --------------------------------------------------------------------------------------------------


class Progress(NamedTuple):
    """What is left of the loss at first, at best and in the end, as a share of `whole`.

    `whole` is the loss of guessing, that is of the best answer that is the same for every row (ln K for K classes, the
    variance of the targets for squared errors), or, where nobody knows that, the first loss. `end` is infinite where
    the loss was not finite in the end.
    """

    series: str
    whole: str
    first: float
    best: float
    end: float
    steps: int

    @property
    def stands(self) -> str:
        """ "the loss is still 99 % of what guessing costs"."""
        if math.isinf(self.end):
            return "the loss is not a finite number"
        share = percent(self.end)
        return f"the loss is {'still ' * (self.end < 1.5)}{share}{' of' * share.endswith('%')} {self.whole}"

    @property
    def says(self) -> str:
        return f"after {self.steps:,} steps {self.stands}"


def progress(chart: Chart) -> Progress | None:
    """How far training has come, by the evaluations of the training rows or else by the losses of the batches.

    None where the record is too short: fewer than 2 evaluations and 20 batches.
    """
    for split, fewest in (("train", 2), ("batch", FEWEST)):
        loss, r2 = chart.series(f"loss/{split}"), chart.series(f"r2/{split}")
        if len(loss.y) < fewest:
            continue
        if len(r2.y) > 1:
            return _progress(f"r2/{split}", GUESSING, r2.x, 1 - r2.y)
        expected = chart.fact("start", "expected")
        if chart.fact("start", "classes") and expected:
            return _progress(f"loss/{split}", GUESSING, loss.x, loss.y / expected)
        first = typical(loss.y[: fewest // 2])
        if first > 0:
            return _progress(f"loss/{split}", "what it was at first", loss.x, loss.y / first)
    return None


def _progress(series: str, whole: str, steps: Floats, left: Floats) -> Progress | None:
    parts = np.array_split(left, min(PARTS, len(left)))
    means = np.array([typical(part) for part in parts])
    if not np.isfinite(means).any():
        return None
    end = means[-1] if np.isfinite(left[-1]) else math.inf
    return Progress(series, whole, float(means[0]), float(np.nanmin(means)), float(end), int(steps[-1]))


# --- how a measure changes with depth ---------------------------------------------------------------------------------


def weights(chart: Chart, measure: str) -> dict[str, Series]:
    """The series of a measure for the weight matrices (weight, weight_ih_l0, ...), in network order."""
    layers = {place: series for place, series in chart.layers(measure).items() if len(series.y)}
    known = set(chart.fact("network", "matrices") or ()) & layers.keys()
    return {
        place: series
        for place, series in layers.items()
        if (place in known if known else place.rpartition(".")[-1].startswith("weight"))
    }


def sensitivities(chart: Chart) -> dict[str, Series]:
    """Norm of the gradient times norm of the weights, for the weights of each layer, in the unit of the loss.

    To first order, changing a layer's weights by 1 % changes the loss by at most 1 % of this. Unlike a gradient's norm
    it does not depend on how large the weights are: in a network of ReLUs, weights twice as large in one layer and half
    as large in the next change both gradients, but not this.
    """
    norms = chart.layers("weight_norm")
    return {
        place: Series(gradients.x, gradients.y * norms[place].y)
        for place, gradients in weights(chart, "grad_norm").items()
        if place in norms and np.array_equal(gradients.x, norms[place].x)
    }


class Depth(NamedTuple):
    """How a positive measure changes from the layers at the input to those at the output."""

    ratio: float  # of the first third of the layers to the last third, geometric means
    order: float  # rank correlation of the measure with depth: 1 where it grows from layer to layer


ROUNDING: Final = 1e6  # of the largest: what is smaller than this part of it is rounding, in no order
LAYERS: Final = 4  # with fewer, a change from layer to layer is no trend


def by_depth(values: Floats) -> Depth | None:
    """The change over layers in network order; None where fewer than 4 of the values are positive."""
    logs = np.log(values[np.isfinite(values) & (values > 0)])
    if len(logs) < LAYERS:
        return None
    third = len(logs) // 3
    known = np.maximum(logs, logs.max() - math.log(ROUNDING))  # below float32's rounding there is no order
    order = max(_order(logs), _order(known), key=abs)
    return Depth(float(np.exp(logs[:third].mean() - logs[-third:].mean())), order)


def _order(values: Floats) -> float:
    """The rank correlation with the place; equal values share their ranks."""
    ranks = np.mean([np.searchsorted(np.sort(values), values, side) for side in ("left", "right")], axis=0)
    return float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1]) if np.ptp(ranks) else 0.0


SHARE: Final = 1e-3
"""Of an activation, that differs between inputs, in the last quarter: deaf networks 1e-4 and less; trained ones 0.2 and
more, and one of 8 ReLU layers 1e-3 at its first step."""


def deaf(chart: Chart) -> bool:
    """Whether the outputs are nearly the same for every input, and what the last hidden layer puts out is too."""
    layers = list(chart.layers("input_variance").items())
    output = next((late(series) for place, series in layers if place == "output"), math.nan)
    hidden = [late(series) for place, series in layers if place != "output"][-1:]
    # both, since an output far from zero (a price, a temperature) hardly differs either
    return output < SHARE and all(share < SHARE for share in hidden)


RELUS: Final = frozenset({"relu", "relu6"})


def relus(chart: Chart) -> dict[str, Series]:
    """|mean| + standard deviation of each ReLU layer's output: exactly zero only where all of it is zero."""
    kinds = set(chart.fact("network", "nonlinear_kinds") or ())
    only = bool(kinds) and kinds <= RELUS
    known = chart.layers("dead_units")
    means = chart.layers("activation_mean")
    return {
        place: Series(stds.x, np.abs(means[place].y) + stds.y)
        for place, stds in chart.layers("activation_std").items()
        if (only or place in known) and place in means and len(means[place].y) == len(stds.y)
    }


SATURATED: Final = 0.6
"""Of a layer's outputs at their bounds, in the last quarter: networks that could not learn 0.73 to 1; others that did
0.4 at most, but for one layer of small ones on unscaled inputs (0.66)."""

BORN: Final = 0.4  # the same at the first step: weights drawn too large 0.5 to 0.9; healthy networks 0.14 at most


def saturated(chart: Chart) -> dict[str, float]:
    """The layers whose outputs are mostly at their bounds, with the share in the last quarter."""
    layers = {place: series for place, series in chart.layers("saturation").items() if len(series.y)}
    return {
        place: late(series)
        for place, series in layers.items()
        if late(series) > SATURATED or (series.y[0] > BORN and late(series) > BORN)
    }


def squashing(chart: Chart) -> bool:
    """Whether the hidden layers are sigmoids or tanhs, whose slope is below 1 and falls to 0 at both ends."""
    return bool(chart.layers("saturation"))


# --- remedies ---------------------------------------------------------------------------------------------------------


def remedy(
    chart: Chart, advice: str, safety: Safety, diff: Mapping[str, str] | None = None, /, **changes: Value
) -> Remedy:
    """Advice, with the change of the recipe where one was trained, its parts have such options, and it is a change."""
    recipe = chart.recipe
    try:
        changed = recipe and recipe.but(**changes)
    except RecipeError:  # its parts have no such options
        changed = recipe
    if changed == recipe:
        return Remedy(advice, diff=diff or {})
    return Remedy(advice, lambda sick: sick.but(**changes), safety, diff or {})


def slower(chart: Chart, factor: float) -> Remedy:
    """A learning rate `factor` times lower."""
    lr = chart.recipe and chart.recipe["lr"]
    lower = {"lr": float(lr) / factor} if isinstance(lr, (int, float)) else {}
    return remedy(
        chart, f"Lower the learning rate {factor:g} times.", "safe", {"lr=...": f"lr=... / {factor:g}"}, **lower
    )


def let_through(chart: Chart) -> tuple[Remedy, ...]:
    """What lets a signal through many layers: activations and weights that keep its size, norms, residuals."""
    kept = "He's initialisation, which keeps the size of a signal from ReLU layer to ReLU layer"
    if squashing(chart):
        activation = remedy(
            chart,
            f"Take ReLU in place of the sigmoid or tanh, and {kept}.",
            "changes the result",
            {"nn.Sigmoid()": "nn.ReLU()"},
            activation="relu",
            init="he_normal",
        )
    else:
        line = 'nn.init.kaiming_normal_(layer.weight, nonlinearity="relu"); nn.init.zeros_(layer.bias)'
        activation = remedy(
            chart,
            f"Take {kept}.",
            "changes the result",
            {"# after the model is made": f"for layer in layers: {line}"},
            init="he_normal",
        )
    return (
        activation,
        remedy(
            chart,
            "Put a batch norm before each activation: it makes every unit differ between inputs again.",
            "changes the result",
            {"nn.Linear(64, 64), nn.ReLU()": "nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()"},
            norm="batch",
        ),
        remedy(
            chart,
            "Add each layer's input to its output (residual connections, with norms), or take fewer layers.",
            "changes the result",
            {"x = layer(x)": "x = x + layer(norm(x))"},
            residual=True,
            norm="layer",
        ),
    )
