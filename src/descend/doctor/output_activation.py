"""The last activation cannot give the answers that are asked for.

A ReLU never answers below zero, a sigmoid only between 0 and 1, a tanh only between -1 and 1. Targets beyond that
cannot be fitted, however long one trains; a ReLU at the end also dies where it answers zero to every row. Logits are
wanted unbounded too: a ReLU or a tanh before the cross-entropy takes away half of what they could say.
"""

from __future__ import annotations

import math
from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, facts, names

RANGES: Final = {
    "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "log_sigmoid": (-math.inf, 0.0),
    "log_softmax": (-math.inf, 0.0),
    "elu": (-1.0, math.inf),
    "gelu": (-0.17, math.inf),
    "silu": (-0.28, math.inf),
}

MODULES: Final = {
    "relu": "ReLU",
    "log_sigmoid": "LogSigmoid",
    "log_softmax": "LogSoftmax",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
}

BEYOND: Final = 0.05  # of the targets' span; noise on counts or shares is less, targets with mean 0 are beyond by 0.5
NUMBERS: Final = ("mse", "l1", "huber")
LOGITS: Final = ("cross_entropy", "bce_with_logits")


def look(chart: Chart) -> Finding | Unknown | None:
    seen = facts(chart, "graph")
    if not isinstance(seen, dict):
        return seen
    last, loss = seen.get("last_op"), seen.get("loss")
    if loss in LOGITS and last in ("relu", "tanh"):
        return _bounded_logits(loss, last)
    if last not in RANGES or loss not in NUMBERS:
        return None
    if last == "relu" and _dead(chart):
        return _zero_for_all()
    low, high = RANGES[last]
    least, most = _targets(chart)
    if least is None or most is None or not most > least:
        return Unknown("the range of the targets")
    beyond = max(low - least, most - high) / (most - least)
    if beyond <= BEYOND:
        return None
    can = f"between {low:g} and {high:g}"
    can = f"not below {low:g}" if high == math.inf else f"not above {high:g}" if low == -math.inf else can
    says = f"The targets go from {least:.2g} to {most:.2g}: {beyond:.0%} of that lies beyond the answers of a {last}."
    return Finding(
        f"The model ends in a {last}, whose answers are {can}, but the targets go from {least:.2g} to {most:.2g}: what "
        "lies beyond can never be fitted.",
        (Evidence("facts/graph/last_op", beyond, BEYOND, says.replace("%", " %")),),
        sure=0.97,
        remedies=(
            Remedy(
                f"Let the model end in its last linear layer, or scale the targets into what a {last} can answer.",
                diff={f"nn.Linear(64, 1), nn.{MODULES.get(last, last.title())}()": "nn.Linear(64, 1)"},
            ),
        ),
    )


def _targets(chart: Chart) -> tuple[float | None, float | None]:
    """The least and the largest target: of the training rows, or else of the batch that the loss was given."""
    for place in (("data", "train"), ("graph", "given")):
        least, most = chart.fact(*place, "target_min"), chart.fact(*place, "target_max")
        if least is not None and most is not None:
            return least, most
    return None, None


def _dead(chart: Chart) -> bool:
    """Whether no parameter ever got a gradient that was not zero."""
    trained = {*names(chart, "network", "names")} - {*names(chart, "network", "frozen")}
    return bool(trained) and trained <= {*names(chart, "gradients", "zero")}


def _zero_for_all() -> Finding:
    return Finding(
        "The model ends in a relu that answers 0 to every row, and a relu that is at 0 passes no gradient back: the "
        "gradient of all parameters was exactly zero at every checked step.",
        (Evidence("facts/gradients/zero", 0.0, 0.0, "The gradient of every parameter was 0 at every checked step."),),
        sure=0.95,
        remedies=(
            Remedy(
                "Let the model end in its last linear layer; where answers must not be negative, take a softplus.",
                diff={"nn.Linear(64, 1), nn.ReLU()": "nn.Linear(64, 1)"},
            ),
        ),
    )


def _bounded_logits(loss: str, last: str) -> Finding:
    what = "never below 0" if last == "relu" else "between -1 and 1"
    return Finding(
        f"The model ends in a {last}, so that its logits are {what}: {loss} wants any numbers, and cannot become as "
        "sure of an answer as the data allow.",
        (Evidence("facts/graph/last_op", 1.0, 0.0, f"The loss {loss} was given the result of 1 {last}."),),
        sure=0.9,
        remedies=(
            Remedy(
                f"Take the {last} out: let the model end in its last linear layer.",
                diff={f"nn.Linear(64, 10), nn.{'ReLU' if last == 'relu' else 'Tanh'}()": "nn.Linear(64, 10)"},
            ),
        ),
    )


output_activation = Check(
    look,
    symptom="A regression never answers below zero (or beyond some other bound), and its loss stays high.",
    sick=Example(fault="output_activation", data="sines", model="mlp", width=32, optimizer="adam", lr=0.01, epochs=30),
    near_miss=Example(
        fault="relu_of_amounts", data="sines", model="mlp", width=32, optimizer="adam", lr=0.01, epochs=30
    ),
    look_alike="A ReLU for amounts that are never negative, a sigmoid for shares between 0 and 1.",
    source="Goodfellow, Bengio & Courville 2016, section 6.2.2: output units",
    explains=LEARNS_NOTHING | {"dead_relus", "no_gradient", "saturated_units"},
)
