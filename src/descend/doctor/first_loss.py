"""The first loss is far above that of a network that answers alike to everything: the first answers are sure and wrong.

A network that knows nothing should say so. With K classes all equally likely the cross-entropy is ln K (2.3 for ten),
with the mean as the answer the squared error is the variance of the targets. A first loss far above that means that the
outputs are far too large: the last layer's weights are, or the layers before it make its inputs so. The first part of
training then only takes this back, the curve looks like a hockey stick, and squashing units may have saturated by then.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._data import split

FAR: Final = 3.0  # times the expected loss; torch's default layers have 0.98 to 1.1, He's with wide logits up to 1.6


def look(chart: Chart) -> Finding | Unknown | None:
    first, expected = chart.fact("start", "loss"), _expected(chart)
    if first is None or not expected:
        return Unknown("the first loss, and a loss function whose value without knowledge is known")
    if not math.isfinite(first) or first < FAR * expected or first > 2 * _most(chart, expected):
        return None
    classes = chart.fact("start", "classes")
    known = f"ln {classes} = {expected:.2g}" if classes else f"{expected:.2g} (from the targets' size)"
    back = _back(chart, expected)
    evidence = [
        Evidence("facts/start/loss", first, FAR * expected, f"The first loss is {first:.2g}; {known} is expected.")
    ]
    return Finding(
        f"The first loss is {first:.2g}, where a network that knows nothing has {known}: {first / expected:.2g} times "
        f"as much, so its first answers are sure and wrong.{back}",
        tuple(evidence),
        sure=0.85,
        since=0,
        remedies=(
            Remedy(
                "Let the last layer begin with small weights and its bias with the mean answer; look at the size of "
                "its inputs too (scaled data, He or Xavier weights before it).",
                change=(lambda recipe: recipe.but(init="default")) if _own_init(chart) else None,
                safety="safe" if _own_init(chart) else "advice only",
                diff={"nn.init.normal_(head.weight)": "nn.init.normal_(head.weight, std=0.01)"},
            ),
        ),
    )


def _expected(chart: Chart) -> float | None:
    """What to expect of outputs about zero: for numbers their mean square, which is more than their variance.

    A batch's own variance says little: one of four rows had 0.04, and one of sorted rows 0.08, of targets with 1.
    """
    expected = chart.fact("start", "expected")
    if expected:
        expected = max(expected, chart.fact("start", "of_zero") or 0.0)
    mean, std = split(chart).get("target_mean"), split(chart).get("target_std")
    if expected and split(chart).get("task") == "regression" and mean is not None and std:
        largest = max(expected, _of_all(chart, std))
        return float(largest * (1 + (mean / std) ** 2))
    return None if expected is None else float(expected)


def _of_all(chart: Chart, std: float) -> float:
    """The loss of the mean of all training targets, where that follows from their deviation."""
    loss = str(chart.fact("graph", "loss") or chart.settings.get("loss"))
    return {"mse": std**2, "l1": 0.8 * std}.get(loss, 0.0)


def _most(chart: Chart, expected: float) -> float:
    """The largest loss that outputs and targets such as were seen can have; one far above it was scaled or summed."""
    given = chart.fact("graph", "given") or {}
    low, high = given.get("output_min"), given.get("output_max")
    if low is None or high is None:
        return math.inf
    loss = chart.fact("graph", "loss")
    if loss in ("cross_entropy", "nll"):
        return float(
            expected + high - low
        )  # all rows have the largest output for a wrong class, the smallest for the right
    if loss == "bce_with_logits":
        return float(expected + max(abs(low), abs(high)))
    least, greatest = given.get("target_min"), given.get("target_max")
    if loss in ("mse", "l1") and least is not None and greatest is not None:
        error = float(max(greatest - low, high - least))
        return error**2 if loss == "mse" else error
    return math.inf


def _back(chart: Chart, expected: float) -> str:
    """How long training took to take it back."""
    losses = chart.series("loss/batch")
    below = np.flatnonzero(losses.y < expected)
    if not len(losses.y):
        return ""
    if not len(below):
        return " It has not come down to that yet."
    return f" It took {losses.x[below[0]]:,.0f} of {chart.steps:,} steps to come down to that."


def _own_init(chart: Chart) -> bool:
    return chart.recipe is not None and chart.recipe.init != "default"


first_loss = Check(
    look,
    symptom="The loss begins far too high and falls steeply at first: a hockey stick.",
    sick=Example(fault="first_loss", data="digits", model="mlp", depth=1, width=128, optimizer="adam", epochs=3),
    near_miss=Example(data="digits", model="mlp", width=64, init="he_normal", optimizer="adam", epochs=3),
    look_alike="A pretrained network, whose first loss is below ln K, and wide outputs, which make it up to 1.6 ln K.",
    source="Karpathy 2019, A recipe for training neural networks (verify loss @ init)",
    explains=frozenset({"loss_spikes"}),
)
