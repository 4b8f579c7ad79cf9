"""Batch norm's running statistics do not fit the network, so that it is worse in evaluation mode than in training.

In training batch norm takes the mean and variance of its batch, in evaluation running averages of them. Where those
have not arrived (a momentum far below 0.1, few steps), are of the newest batch only (a momentum near 1), or come from
tiny or different batches, the same rows that are answered well in training mode are answered badly in evaluation mode.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import listed

FEWEST: Final = 3  # evaluations in both modes after the first
STEPS: Final = 50  # a momentum of 0.1 has then left 0.5 % of where the statistics began
SHARE: Final = 0.15
"""Of what was learned, lost in evaluation mode. At most 0.04 in 24 healthy runs (batches of 4 to 64, with dropout too);
0.26 to 0.81 with a momentum of 0.001 after 250 steps, where something was learned."""
LEARNED: Final = 0.1  # of the first loss: of less, the share is noise


def look(chart: Chart) -> Finding | Unknown | None:
    norms = chart.fact("network", "normalisation")
    if norms == [] or (norms is None and "loss/train_mode" not in chart.names):
        return None
    evaluation, training = chart.series("loss/train"), chart.series("loss/train_mode")
    steps, here, there = np.intersect1d(evaluation.x, training.x, return_indices=True)
    if len(steps) < FEWEST + 1 or chart.steps < STEPS:
        return Unknown(f"{STEPS} steps and {FEWEST} evaluations of a model with batch norm")
    judged, trained = evaluation.y[here][-FEWEST:], training.y[there][-FEWEST:]
    first = float(training.y[0])
    learned = first - float(np.median(trained))
    if not np.isfinite([*judged, *trained]).all() or learned < LEARNED * first:
        return None
    shares = (judged - trained) / learned
    share = float(np.median(shares))
    if np.min(shares) < SHARE:
        return None
    places = f" ({listed(norms)})" if norms else ""
    now, then = judged[-1], trained[-1]
    says = (
        f"On the same training rows the loss is {now:.2g} in evaluation mode and {then:.2g} in training mode: "
        f"{share:.0%} of what was learned is lost (median of the last {FEWEST} evaluations)."
    )
    return Finding(
        f"The running statistics of batch norm{places} do not fit: on the same training rows the loss is {now:.2g} in "
        f"evaluation mode but {then:.2g} in training mode, from {first:.2g} at the start.",
        (Evidence("loss/train", share, SHARE, says.replace("%", " %")),),
        sure=0.9,
        where=norms[0] if norms else None,
        since=int(steps[-FEWEST]),
        remedies=(
            Remedy(
                "Leave batch norm's momentum at 0.1 (it is the share of the newest batch), train on batches of the "
                "size and kind that come later, or take layer norm; then train a little before you judge.",
                diff={"nn.BatchNorm1d(64, momentum=0.001)": "nn.BatchNorm1d(64)"},
            ),
        ),
    )


running_statistics = Check(
    look,
    symptom="The validation loss is far above the training loss of the same kind of rows, or jumps about.",
    sick=Example(fault="running_statistics", data="digits", model="mlp", width=32, norm="batch", lr=0.3, epochs=4),
    near_miss=Example(fault="none", data="digits", model="mlp", width=32, norm="batch", lr=0.3, epochs=4),
    look_alike="Overfitting, where the training rows themselves are answered well in evaluation mode.",
    source="Ioffe & Szegedy 2015, algorithm 2; Li et al. 2019 for dropout before batch norm",
    explains=frozenset({"chance_level", "overfitting", "plateau", "preprocessing_mismatch", "underfitting"}),
)
