"""The model cannot learn a few rows by heart, though it has more than enough weights for them.

Whoever can learn a data set can learn 16 rows of it. If training on one batch, over and over, does not bring the loss
down, the reason is neither the data's difficulty nor regularisation, but something that does not work between inputs
and loss: rows and targets mixed up, gradients that do not arrive, dead or equal units, the wrong loss. So this is tried
before a long training (`descend.preflight`), and a run on a handful of rows is such a try too.

A model with fewer weights than there are rows need not be able to, and a loss with label smoothing never gets to zero.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import percent, progress, remedy

ROWS: Final = 64  # in a training set that is one batch
STEPS: Final = 100

LEFT: Final = 0.5
"""Of the first loss: label smoothing of 0.1 leaves 0.29, a softmax before the cross-entropy 0.45 to 0.9, what does not
learn at all 1; models that work get below 0.05, where the try ends."""

WEIGHTS: Final = 4  # times the rows: with so many, a model can put them apart


def look(chart: Chart) -> Finding | Unknown | None:
    parameters, tried, gone = chart.fact("network", "parameters"), chart.fact("one_batch"), progress(chart)
    if tried:
        rows, steps, left = tried["rows"], tried["steps"], tried["loss_last"] / tried["loss_first"]
        series, stands = "facts/one_batch/loss_last", f"the loss is still {percent(left)} of what it was"
    else:
        rows = chart.fact("data", "train", "rows")
        if rows is None or gone is None or gone.steps < STEPS:
            return Unknown("a try to learn one batch by heart (descend.preflight makes one)")
        steps, left, series, stands = gone.steps, gone.end, gone.series, gone.stands
    if rows > ROWS or left < LEFT or (parameters is not None and parameters < WEIGHTS * rows):
        return None
    weights = f", though it has {parameters:,} weights" if parameters else ""
    return Finding(
        f"The model cannot learn {rows} rows by heart{weights}: after {steps:,} steps on nothing else {stands}.",
        (Evidence(series, left, LEFT, f"After {steps:,} steps on the same {rows} rows {stands}."),),
        sure=0.75,
        since=0,
        remedies=_remedies(chart),
    )


def _remedies(chart: Chart) -> tuple[Remedy, ...]:
    return (
        Remedy(
            "Look for what lies between inputs and loss before you train on more: do gradients reach every layer, do "
            "inputs and targets belong together, is it the right loss? Other findings say which."
        ),
        remedy(chart, "Begin with PyTorch's default initialisation.", "changes the result", init="default"),
    )


cannot_overfit_one_batch = Check(
    look,
    symptom="Even on a handful of rows the loss does not go down.",
    sick=Example(data="moons", rows=20, model="mlp", width=32, init="zeros", optimizer="adam", lr=1e-2, steps=150),
    near_miss=Example(data="moons", rows=20, model="linear", optimizer="sgd", lr=0.02, steps=150),
    look_alike="A model with fewer weights than rows; label smoothing, which keeps the loss from falling to 0.",
    source="Karpathy 2019, A Recipe for Training Neural Networks: overfit a single batch",
    explains=frozenset({"chance_level", "plateau", "underfitting"}),
)
