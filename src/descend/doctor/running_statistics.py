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
from descend.run import Floats

FEWEST: Final = 3  # evaluations in both modes after the first
STEPS: Final = 50  # a momentum of 0.1 has then left 0.5 % of where the statistics began
SHARE: Final = 0.15
"""Of what was learned, lost in evaluation mode. At most 0.04 in 24 healthy runs (batches of 4 to 64, with dropout too);
0.26 to 0.81 with a momentum of 0.001 after 250 steps, where something was learned."""
LEARNED: Final = 0.1  # of the first loss: of less, the share is noise
EVALUATIONS: Final = 5  # from which a jump can be told from a course
UNSTEADY: Final = 0.2
"""Of what was learned, by which the loss in evaluation mode lies off a smooth curve: 0.27 and 0.5 with a momentum of 1
and 0.99 and batches of four; healthy runs 0.02, and 0.1 at the first five evaluations."""
TIMES: Final = 5.0  # what the loss in training mode does, or the weights are unsteady: such momenta 45 and more


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
    places = f" ({listed(norms)})" if norms else ""
    if np.min(shares) < SHARE:
        return _jumps(evaluation.y[here], training.y[there], learned, norms, places)
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


def _jumps(judged: Floats, trained: Floats, learned: float, norms: list[str] | None, places: str) -> Finding | None:
    """In evaluation mode the loss jumps about and in training mode it does not: the statistics are of few rows."""
    half = max(EVALUATIONS, len(judged) // 2)
    if len(judged) <= half:
        return None
    eval_mode, train_mode = (_unsteady(values[-half:]) / learned for values in (judged, trained))
    if eval_mode < UNSTEADY or eval_mode < TIMES * train_mode:
        return None
    says = (
        f"On the same training rows the loss goes up and down by {eval_mode:.0%} of what was learned in evaluation "
        f"mode, and by {train_mode:.1g} times what was learned in training mode."
    ).replace("%", " %")
    low, high = judged[-half:].min(), judged[-half:].max()
    return Finding(
        f"The running statistics of batch norm{places} jump about: on the same training rows the loss in evaluation "
        f"mode goes up and down between {low:.2g} and {high:.2g}, in training mode it is {trained[-1]:.2g} and steady.",
        (Evidence("loss/train", eval_mode, UNSTEADY, says),),
        sure=0.85,
        where=norms[0] if norms else None,
        remedies=(
            Remedy(
                "Leave batch norm's momentum at 0.1 (it is the share of the newest batch: near 1, the last few rows "
                "alone count), and take larger batches.",
                diff={"nn.BatchNorm1d(64, momentum=0.99)": "nn.BatchNorm1d(64)"},
            ),
        ),
    )


def _unsteady(values: Floats) -> float:
    """How far the values lie from a smooth curve, root mean square; see _statistics.jitter."""
    return float(np.sqrt(np.mean(np.diff(values, 2) ** 2) / 6))


running_statistics = Check(
    look,
    symptom="The validation loss is far above the training loss of the same kind of rows, or jumps about.",
    sick=Example(fault="running_statistics", data="digits", model="mlp", width=32, norm="batch", lr=0.3, epochs=4),
    near_miss=Example(fault="none", data="digits", model="mlp", width=32, norm="batch", lr=0.3, epochs=4),
    look_alike="Overfitting, where the training rows themselves are answered well in evaluation mode.",
    source="Ioffe & Szegedy 2015, algorithm 2; Li et al. 2019 for dropout before batch norm",
    explains=frozenset(
        {"chance_level", "first_loss", "overfitting", "plateau", "preprocessing_mismatch", "underfitting"}
    ),
)
