"""Outputs and targets have different shapes, so that every output is compared with every target.

Outputs of shape [n, 1] and targets of shape [n] do not fail: [n, 1] - [n] is broadcast to [n, n], all pairs. The mean
of these squares is least where every output is the mean of all targets, and that is what the model learns: the same
answer for every row, and a loss that stops at the variance of the targets.
"""

from __future__ import annotations

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, facts


def look(chart: Chart) -> Finding | Unknown | None:
    seen = facts(chart, "graph")
    if not isinstance(seen, dict):
        return seen
    given = seen.get("given") or {}
    if not given.get("broadcast"):
        return None
    output, target = given.get("output_shape") or [], given.get("target_shape") or []
    rows = max([*output, *target], default=0)
    shapes = f"outputs of shape {output} with targets of {f'shape {target}' if target else 'another shape'}"
    pairs = 1 in output[1:] or 1 in target[1:]  # a column against a flat vector: all pairs
    what = (
        f"broadcast to [{rows}, {rows}], so that every output is held against every target, and the best answer is "
        "their mean for every row"
        if pairs
        else "broadcast against each other in silence"
    )
    return Finding(
        f"The loss compares {shapes}: they are {what}.",
        (Evidence("facts/graph/given", float(rows), 1.0, f"The loss was given {shapes}."),),
        sure=0.99 if pairs else 0.8,
        remedies=(
            Remedy(
                "Bring outputs and targets to the same shape before the loss.",
                diff={"loss = criterion(model(x), y)": "loss = criterion(model(x).squeeze(-1), y)"},
            ),
        ),
    )


broadcast_loss = Check(
    look,
    symptom="A regression learns nothing: it gives every row the mean, and the loss stops at the targets' variance.",
    sick=Example(fault="broadcast_loss", data="sines", model="mlp", width=32, optimizer="adam", lr=0.01, epochs=20),
    near_miss=Example(fault="none", data="sines", model="mlp", width=32, optimizer="adam", lr=0.01, epochs=20),
    look_alike="Data with much noise, where the mean is nearly the best answer there is.",
    source="PyTorch, nn.functional.mse_loss, which warns of it; a subtraction written by hand does not",
    explains=LEARNS_NOTHING | {"deaf_network"},
)
