"""Layers follow each other with no activation between them, so that the whole network is one linear map.

A linear map of a linear map is a linear map: with nothing curved between them, ten layers can say no more than one.
Usually an activation was forgotten in `forward`, or stands in the constructor and is not called.

Whether the network is linear is measured: of a linear network (plus bias) the output halfway between two inputs lies
halfway between their outputs, and far beyond them it goes on in the same direction. A single linear layer is a linear
model, which may be wanted. So may several, where the data ask for no more; whether they do is told by the nearest
neighbours of each row, which know nothing of weights.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import CERTAIN, Check, Evidence, Example, Finding, Unknown
from descend.doctor._signals import LEARNS_NOTHING, progress, remedy
from descend.doctor._training import room

ROOM: Final = 0.1
"""How much of what the neighbours know a linear network misses: moons 0.22, circles and curves 0.8; digits, which one
line for each class tells apart, and data with a linear truth none."""

LEFT: Final = 0.02  # of the loss of guessing: with less, a linear map is all that is needed


def look(chart: Chart) -> Finding | Unknown | None:
    affine, layers = chart.fact("network", "affine"), chart.fact("network", "hidden_linear")
    if affine is None or layers is None:
        return Unknown("rows of numbers to show to the network")
    if not affine or layers < 1 or chart.fact("network", "zero"):  # branches that begin at zero join in later
        return None
    gone, gap = progress(chart), room(chart)
    evidence = [
        Evidence(
            "facts/network/affine",
            layers + 1,
            1,
            f"Far beyond the data the outputs of {layers + 1} weighted layers go on in a straight line.",
        )
    ]
    if gap and gap.certain and gap.share > ROOM:
        sure, but = CERTAIN, ", and the data ask for more than a linear map"
        evidence.append(Evidence("facts/data/train/neighbours", gap.share, ROOM, gap.says))
    elif gone is None:
        sure, but = 0.75, ""
    elif gone.end > LEFT and chart.fact("start", "classes"):
        sure, but = 0.6, ""  # classes that a straight line tells apart well may be all that is wanted
    else:
        return None
    outcome = f"; {gone.says}" if gone else ""
    return Finding(
        f"The network is one linear map: no activation stands between its {layers + 1} weighted layers, so that they "
        f"can say no more than a single one{but}{outcome}.",
        tuple(evidence),
        sure=sure,
        remedies=(
            remedy(
                chart,
                "Put an activation after every layer but the last, and call it in forward().",
                "changes the result",
                {"x = self.hidden(x)": "x = torch.relu(self.hidden(x))"},
                activation="relu",
            ),
        ),
    )


missing_nonlinearity = Check(
    look,
    symptom="The loss stops high, however wide and deep the network is; a linear model does as well.",
    sick=Example(data="circles", model="mlp", activation="identity", optimizer="adam", lr=3e-3, steps=200),
    near_miss=Example(
        data="employee_bonus",
        scale="standard",
        model="mlp",
        width=16,
        activation="identity",
        optimizer="adam",
        lr=1e-2,
        steps=500,
    ),
    look_alike="A linear model of one layer; a deep linear network on data that a linear map fits.",
    source="Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.1; Saxe et al. 2014 for deep linear networks",
    explains=LEARNS_NOTHING,
)
