"""The units of a hidden layer begin alike, and so they stay: the layer has the power of a single unit.

If all units of a layer begin with the same weights, and those that lead on from them are the same too, they put out the
same and get the same gradient, at every step. Weights that are all zero are worse: with ReLU or tanh nothing but the
last bias ever gets a gradient. Random weights are there to break this symmetry; their exact distribution matters less.

A linear model may begin at zero, since its outputs differ by their targets. So may biases, a last layer, and the last
layer of a residual or low-rank branch, which then begins as if it were not there: they move with the first update,
because the layers around them are random.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import CERTAIN, Check, Evidence, Example, Finding, Unknown
from descend.doctor._signals import LEARNS_NOTHING, progress, remedy

MOSTLY: Final = 0.5
"""Of the weight matrices at zero: a residual network that begins each branch and the last layer at zero has half."""

LEFT: Final = (
    0.1  # of the loss of guessing: alike units cannot do better than one, and a network that did was not alike
)


def look(chart: Chart) -> Finding | Unknown | None:
    names, symmetric = chart.fact("network", "names"), chart.fact("network", "symmetric")
    if names is None or symmetric is None:
        return Unknown("the network before its first step")
    zero, frozen = set(chart.fact("network", "zero") or ()), set(chart.fact("network", "frozen") or ())
    weights = [name for name in names if name.rpartition(".")[-1].startswith("weight") and name not in frozen]
    gone = progress(chart)
    if len(weights) < 2 or (gone and gone.end < LEFT):
        return None
    hidden = [name for name in weights[:-1] if name in symmetric]
    at_zero = len(zero.intersection(weights)) > MOSTLY * len(weights)
    alike = hidden if at_zero else [name for name in hidden if name not in zero]
    if not alike:
        return None
    what = "all zero" if at_zero else "the same for every unit"
    count = f"{len(alike)} of {len(weights)} weight matrices were {what} before the first step"
    return Finding(
        f"The hidden units begin alike, and so they stay: {count}, {alike[0]} first{f'; {gone.says}' if gone else ''}.",
        (
            Evidence(
                "facts/network/zero" if at_zero else "facts/network/symmetric",
                len(alike) / len(weights),
                MOSTLY if at_zero else 0.0,
                f"Leaving out the last, {count}.",
            ),
        ),
        sure=CERTAIN,
        where=alike[0],
        since=0,
        remedies=(
            remedy(
                chart,
                "Draw the weights at random (PyTorch's default does); biases may be zero.",
                "safe",
                {"nn.init.constant_(layer.weight, 0.01)": "nn.init.kaiming_normal_(layer.weight)"},
                init="default",
            ),
        ),
    )


symmetric_init = Check(
    look,
    symptom="The loss stays at that of guessing, or learns no more than a network with one unit a layer could.",
    sick=Example(data="moons", model="mlp", width=32, init="zeros", optimizer="adam", lr=1e-2, steps=150),
    near_miss=Example(data="digits", model="linear", init="zeros", optimizer="adam", lr=5e-3, steps=150),
    look_alike="A linear model, biases, a last layer, or the last layer of a residual branch that begin at zero.",
    source="Goodfellow, Bengio & Courville 2016, Deep Learning, section 8.4: initial parameters must break symmetry",
    explains=LEARNS_NOTHING | {"dead_relus", "deaf_network", "lr_too_high", "vanishing_gradients"},
)
