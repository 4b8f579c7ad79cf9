"""The loss is no better than that of guessing: the same answer for every row would do as well.

For K classes guessing costs ln K (0.69 for 2, 2.30 for 10), for squared errors the variance of the targets. A network
gets there without looking at the inputs at all, by its last bias. If it gets no further, nothing of the inputs reaches
the outputs, nothing of the loss reaches the weights, the steps are too short or too long, or there is nothing to learn.

So this is where a diagnosis begins, and other checks say why. Some runs sit there for hundreds of steps and then learn
(sequences with one important position, classes that only a curved line tells apart): let them go on before you judge.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import GUESSING, percent, progress, remedy

STEPS: Final = 200

LEFT: Final = 0.98
"""Of the loss of guessing, at best: runs that learned nothing have 0.99 to 1; healthy ones with heavy noise 0.86."""


def look(chart: Chart) -> Finding | Unknown | None:
    gone = progress(chart)
    if gone is None or gone.steps < STEPS or gone.whole != GUESSING:
        return Unknown(f"at least {STEPS} steps and the loss of guessing")
    if gone.best < LEFT or not gone.end >= LEFT:
        return None
    return Finding(
        f"Nothing has been learned: {gone.says}, and at best it was {percent(gone.best)}. The same answer for every "
        "row would do as well.",
        (Evidence(gone.series, gone.best, LEFT, f"The best loss so far is {percent(gone.best)} of that of guessing."),),
        sure=0.7,
        since=0,
        remedies=_remedies(chart),
    )


def _remedies(chart: Chart) -> tuple[Remedy, ...]:
    search = Remedy(
        "Find out where it is lost: let the model learn one batch by heart (descend.preflight), and try short forks "
        "with other learning rates and permuted labels (descend doctor --probe)."
    )
    if chart.recipe is None or chart.recipe.model != "linear":
        return (search,)
    hidden = remedy(
        chart,
        "Take a network with hidden layers: a linear model sees nothing where only a curve tells the classes apart.",
        "changes the result",
        {"nn.Linear(2, 2)": "nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 2))"},
        model="mlp",
    )
    return (hidden, search)


chance_level = Check(
    look,
    symptom="The loss stays at ln K (0.69 for 2 classes, 2.3 for 10), or R2 stays at 0.",
    sick=Example(data="circles", model="linear", optimizer="sgd", lr=0.1, steps=250),
    near_miss=Example(
        data="employee_bonus",
        rows=500,
        noise=100.0,
        validation=0.2,
        scale="standard",
        model="linear",
        optimizer="sgd",
        lr=0.02,
        steps=250,
    ),
    look_alike="Data with much noise, of which 14 % can be explained and no more; a run that has just begun.",
    source="Karpathy 2019, A Recipe for Training Neural Networks: verify the loss at initialisation",
    explains=frozenset({"minority_never_predicted", "plateau", "underfitting"}),
)
