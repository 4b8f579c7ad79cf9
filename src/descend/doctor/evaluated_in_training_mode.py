"""The model is judged in training mode: dropout drops, and batch norm uses and learns from the rows that it judges by.

Without `model.eval()` the validation loss is that of a network with parts missing, and with batch norm every validation
batch moves the running statistics: what is measured depends on the batch size, and measuring changes the model.
`torch.no_grad()` is another matter: it only saves the record for the backward pass.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import counted, facts

DISCRETE: Final = ("cross_entropy", "nll", "bce", "bce_with_logits")


def look(chart: Chart) -> Finding | Unknown | None:
    if chart.fact("network", "repeatable") is False and chart.fact("graph", "loss") in DISCRETE:
        return _always_random()
    seen = facts(chart, "modes")
    if not isinstance(seen, dict):
        return seen
    if not seen["stochastic_modules"] + seen["normalisation_modules"]:
        return None
    forwards, in_training = seen["plain_forwards"], seen["plain_forwards_in_train"]
    if not forwards:
        return Unknown("a validation under torch.no_grad() in the loop")
    if in_training < forwards:  # some pass in training mode may be meant: statistics that are gathered anew
        return None
    parts = [
        f"{counted(seen[kind], noun)}"
        for kind, noun in (("stochastic_modules", "dropout layer"), ("normalisation_modules", "batch norm"))
        if seen[kind]
    ]
    says = f"{in_training:,} of {forwards:,} forward passes without gradients were made in training mode."
    return Finding(
        f"The model is judged in training mode: all {forwards:,} forward passes without gradients were made with its "
        f"{' and '.join(parts)} as in training, so that what they measured is not the trained network.",
        (Evidence("facts/modes/plain_forwards_in_train", in_training / forwards, 0.99, says),),
        sure=0.95,
        remedies=(
            Remedy(
                "Call model.eval() before the validation, and model.train() after it.",
                diff={"with torch.no_grad():": "model.eval()\nwith torch.no_grad():"},
            ),
        ),
    )


def _always_random() -> Finding:
    """The answers in evaluation mode change from call to call."""
    return Finding(
        "In evaluation mode the model gives the same rows 2 answers in 2 calls: something in forward() is "
        "random whatever the mode, such as nn.functional.dropout without training=self.training.",
        (Evidence("facts/network/repeatable", 1.0, 0.0, "2 calls in evaluation mode differ on the same rows."),),
        sure=0.75,  # noise may be meant: latent variables, or dropout as a measure of doubt
        remedies=(
            Remedy(
                "Let functional dropout know the mode, or use nn.Dropout.",
                diff={"nn.functional.dropout(x, 0.5)": "nn.functional.dropout(x, 0.5, training=self.training)"},
            ),
        ),
    )


evaluated_in_training_mode = Check(
    look,
    symptom="Validation is worse and noisier than it should be, and changes with its batch size.",
    sick=Example(
        fault="evaluated_in_training_mode", data="digits", model="mlp", width=32, dropout=0.5, lr=0.3, epochs=4
    ),
    near_miss=Example(fault="monte_carlo_dropout", data="digits", model="mlp", width=32, dropout=0.5, lr=0.3, epochs=4),
    look_alike="Dropout kept on purpose in a model in evaluation mode, to see how sure it is.",
    source="Srivastava et al. 2014; Ioffe & Szegedy 2015, algorithm 2",
    explains=frozenset({"overfitting", "running_statistics"}),
)
