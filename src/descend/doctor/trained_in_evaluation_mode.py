"""After the first validation the model is trained in evaluation mode, because `model.train()` is not called again.

Then dropout drops nothing, so that the regularisation that was asked for is absent, and batch norm neither uses nor
updates the statistics of its batches: its running mean and variance stay where they were at the first validation,
while the layers before it go on changing.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import counted, facts

FEWEST: Final = 4  # updates
SHARE: Final = 0.05  # of them; a loop with this bug and n epochs has 1 - 1/n, a healthy one 0


def look(chart: Chart) -> Finding | Unknown | None:
    seen = facts(chart, "modes")
    if not isinstance(seen, dict):
        return seen
    dropouts, norms = seen["stochastic_modules"], seen["normalisation_modules"]
    if not dropouts + norms:
        return None
    steps, in_evaluation = seen["train_steps"], seen["train_steps_in_eval"]
    if steps < FEWEST:
        return Unknown(f"{FEWEST} updates")
    if in_evaluation / steps < SHARE:
        return None
    asleep = [counted(number, noun) for number, noun in ((dropouts, "dropout layer"), (norms, "batch norm")) if number]
    says = f"{in_evaluation:,} of {steps:,} updates followed a forward pass in evaluation mode."
    return Finding(
        f"The model is trained in evaluation mode: {in_evaluation:,} of {steps:,} updates were made with its "
        f"{' and '.join(asleep)} switched off, as for judging.",
        (Evidence("facts/modes/train_steps_in_eval", in_evaluation / steps, SHARE, says),),
        sure=0.7 if in_evaluation == steps else 0.97,  # from the first step on it may be meant, to fine-tune
        remedies=(
            Remedy(
                "Call model.train() at the beginning of every epoch, since the validation has called model.eval().",
                diff={"for inputs, targets in loader:": "model.train()\nfor inputs, targets in loader:"},
            ),
        ),
    )


trained_in_evaluation_mode = Check(
    look,
    symptom="Dropout or batch norm seems to do nothing; the network overfits as if there were none.",
    sick=Example(
        fault="trained_in_evaluation_mode",
        data="digits",
        model="mlp",
        width=32,
        norm="batch",
        batch_size=64,
        lr=0.05,
        epochs=5,
    ),
    near_miss=Example(
        fault="frozen_batch_norm", data="digits", model="mlp", width=32, norm="batch", batch_size=64, lr=0.05, epochs=5
    ),
    look_alike="Batch norm kept in evaluation mode on purpose while the rest of the model is in training mode.",
    source="PyTorch notes, Autograd mechanics: evaluation mode",
    explains=frozenset({"overfitting", "running_statistics"}),
)
