"""In evaluation mode the answer for a row depends on the other rows of its batch.

A trained model is a function of one example. Where it standardises its inputs by their own mean, takes a softmax over
the wrong axis, or rearranges a batch with `view` where a transpose was meant, rows get into each other's answers: they
change with the batch size and the order of the rows, and one row alone is answered at random.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, facts

DIFFERENCE: Final = 1e-2  # of the outputs' spread; rounding leaves 1e-6, and what the rows do to each other is about 1

ROUNDING: Final = 1e-4  # of the outputs' size; float32 rounds to 1e-7, times what a network amplifies


def look(chart: Chart) -> Finding | Unknown | None:
    seen = facts(chart, "network")
    if not isinstance(seen, dict):
        return seen
    if "batch_invariant" not in seen:
        return Unknown("some rows to show to the model")
    difference, spread = seen["batch_difference"], seen.get("output_variation", 1.0)
    if seen["batch_invariant"] or not seen.get("repeatable", True) or difference < DIFFERENCE:
        return None
    if spread * difference < ROUNDING:  # answers that hardly differ differ in their rounding
        return None
    says = f"The same rows in another order, or two of them alone: answers differ by {difference:.2g} of their spread."
    return Finding(
        "In evaluation mode an answer depends on the rows beside it: shown in another order, or two at a time, the "
        f"same rows get answers that differ by {difference:.2g} times the spread of all answers.",
        (Evidence("facts/network/batch_difference", difference, DIFFERENCE, says),),
        sure=0.97,
        remedies=(
            Remedy(
                "Look in forward() for what goes over axis 0: a mean or a softmax over the batch, a view or reshape "
                "that moves rows; batch norm without running statistics. Use statistics of the training rows, kept as "
                "buffers.",
                diff={"x = (x - x.mean(0)) / x.std(0)": "x = (x - self.mean) / self.std"},
            ),
        ),
    )


batch_dependence = Check(
    look,
    symptom="Validation changes with its batch size, and single rows are answered badly in use.",
    sick=Example(fault="mixed_rows", data="moons", model="mlp", width=32, lr=0.1, batch_size=16, epochs=15),
    near_miss=Example(
        fault="none",
        data="moons",
        model="mlp",
        width=32,
        norm="batch",
        lr=0.1,
        batch_size=16,
        epochs=15,
        last_batch="dropped",
    ),
    look_alike="Batch norm, which in evaluation mode uses running statistics, and layer norm, which has one row only.",
    source="Karpathy 2019, A recipe for training neural networks: use backprop to chart dependencies",
    explains=LEARNS_NOTHING | {"overfitting", "preprocessing_mismatch", "running_statistics"},
)
