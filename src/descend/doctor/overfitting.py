"""The network learns the training rows by heart: their loss goes on falling while the validation loss rises.

The best network was the one at the lowest validation loss; what was learned afterwards holds for the training rows
only. Both losses must be measured the same way, in evaluation mode: a running mean over an epoch with dropout says
little of the training rows. A gap alone is no overfitting: every network fits the rows that it has seen better, and as
long as the validation loss does not rise, it loses nothing. Nor is a rise that the validation loss's own noise
explains, or that a handful of rows makes: what counts is a rise far beyond the scatter from one evaluation to the next,
and a difference between training and validation that their numbers of rows do not make by chance.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import percent, remedy, two_digits
from descend.doctor._statistics import jitter
from descend.doctor._training import number, optimizer, steps_an_epoch
from descend.run import Floats

EVALUATIONS: Final = 8

RISE: Final = 0.15
"""Over the lowest validation loss: overfitted runs 0.23 to 20. The next two tell them from converged runs whose tiny
validation loss grew by as much."""

OF_START: Final = 0.04
"""The rise, over the first validation loss: overfitted runs 0.09 to 23; in 180 healthy ones 0.03 at most, but 0.04 to
0.1 where two of 100 validation rows are lost (full-batch Adam on overlapping clouds): the gap below must be certain
too."""

FAR: Final = 0.15
"""The same where the rise speaks for itself, however few the validation rows are: healthy runs 0.12 at most."""

ROWS: Final = 20  # of validation, for that: of eight, a single one that is wrong for certain made a rise of 180 %

NOISE: Final = 3.0
"""The rise, over its scatter from one evaluation to the next (overfitted runs 2 to 113; noise alone 1)."""

FELL: Final = 0.9
"""The training loss at the end over that at the validation loss's lowest: overfitted runs 0.1 to 0.86; where both got
worse, 0.95 and more."""

ABOVE: Final = 0.8
"""Of the evaluations after the lowest, that lie above it: overfitted runs 0.83 to 1; a dip and a recovery about a
half."""

STANDARD_ERRORS: Final = 2.5
"""By which the rows that are wrong differ between training and validation: overfitted runs 2.6 to 30."""


class Gap(NamedTuple):
    """How much worse the validation rows are judged than the training rows, in standard errors."""

    series: str
    train: float
    validation: float
    errors: float


def look(chart: Chart) -> Finding | Unknown | None:
    validation, train = chart.series("loss/validation"), chart.series("loss/train")
    common = np.intersect1d(validation.x, train.x)
    if not len(validation.y):
        return Unknown("a validation set")
    if len(common) < EVALUATIONS:
        return Unknown(f"{EVALUATIONS} evaluations on training and validation rows")
    if chart.status == "early stopped":  # and the best weights were restored
        return None
    held, fitted = (series.y[np.isin(series.x, common)] for series in (validation, train))
    if not (np.isfinite(held).all() and np.isfinite(fitted).all()):
        return None
    calm, trained = _medians_of_three(held), _medians_of_three(fitted)
    lowest = int(calm.argmin())
    rise = float(calm[-1] - calm[lowest])
    after = held[lowest + 1 :]
    if calm[lowest] <= 0 or len(after) < 3 or trained[lowest] <= 0:
        return None
    relative, of_start = rise / float(calm[lowest]), rise / float(held[0])
    fell = float(trained[-1] / trained[lowest])
    above = float((after > calm[lowest]).mean())
    if relative < RISE or of_start < OF_START or fell > FELL or above < ABOVE or rise < NOISE * jitter(after):
        return None
    if calm[-1] < trained[-1]:
        return None
    gap = _gap(chart)
    apart = gap is not None and gap.errors > STANDARD_ERRORS
    if not apart and (of_start < FAR or _answers(chart, "validation") < ROWS):
        return None
    since = int(common[lowest])
    epoch = steps_an_epoch(chart)
    when = f"step {since:,}" + (f" (epoch {two_digits(since / epoch)})" if epoch else "")
    lowest_loss, last_loss = two_digits(calm[lowest]), two_digits(calm[-1])
    rose = Evidence(
        "loss/validation",
        relative,
        RISE,
        f"The validation loss was lowest there ({lowest_loss}) and has risen by {percent(relative)}, to {last_loss}.",
    )
    falling = Evidence(
        "loss/train",
        fell,
        FELL,
        f"In the same time the training loss fell from {two_digits(trained[lowest])} to {two_digits(trained[-1])}.",
    )
    evidence = [rose, falling]
    if gap is not None and apart:
        says = (
            f"The {gap.series.partition('/')[0]} is {two_digits(gap.train)} on training and "
            f"{two_digits(gap.validation)} on validation rows, {gap.errors:.1f} standard errors apart."
        )
        evidence.append(Evidence(gap.series, gap.errors, STANDARD_ERRORS, says))
    return Finding(
        f"The network overfits since {when}. {rose.says} {falling.says}",
        tuple(evidence),
        0.9 if apart and of_start > FAR else 0.8,
        since=since,
        remedies=_remedies(chart),
    )


def _medians_of_three(values: Floats) -> Floats:
    """Each value's median with its neighbours, so that no single evaluation decides."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    medians: Floats = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    return medians


def _answers(chart: Chart, split: str) -> int:
    """Rows of a split that are evaluated; of sequences with a target at each position, positions."""
    rows = chart.fact("evaluation", f"rows_{split}") or chart.fact("data", split, "rows") or 0
    positions = chart.fact("data", split, "target_shape") or ()
    return int(rows * (positions[0] if positions and chart.fact("data", split, "task") == "sequence" else 1))


def _gap(chart: Chart) -> Gap | None:
    """Accuracy or R2 on training against validation rows, at the end."""
    rows, trained = _answers(chart, "validation"), _answers(chart, "train")
    if not rows or not trained:
        return None
    for measure in ("accuracy", "r2"):
        ends = [chart.series(f"{measure}/{split}").y[-3:] for split in ("train", "validation")]
        if not all(len(end) and np.isfinite(end).all() for end in ends):
            continue
        train, held = (float(np.median(end)) for end in ends)
        if measure == "accuracy":
            # a share p of n rows has the variance p (1 - p) / n; add one success and one failure, lest it be 0
            shares = [((p * n + 1) / (n + 2), n) for p, n in ((train, trained), (held, rows))]
            error = math.sqrt(sum(p * (1 - p) / n for p, n in shares))
            return Gap("accuracy/validation", train, held, (train - held) / error)
        if train < 1 and held < 1:
            # the logarithm of a mean of n squares of normal numbers has the variance 2 / n
            error = math.sqrt(2 / rows + 2 / trained)
            return Gap("r2/validation", train, held, math.log((1 - held) / (1 - train)) / error)
    return None


def _remedies(chart: Chart) -> tuple[Remedy, ...]:
    width = max(4, int(number(chart, "width")) // 10)
    lr = number(chart, "lr") if optimizer(chart) in ("adam", "adamw") else 3e-3
    return (
        remedy(chart, "Stop early, and keep the weights of the lowest validation loss.", "safe", patience=5),
        remedy(chart, "Put in dropout of 0.5.", "changes the result", dropout=0.5),
        remedy(
            chart,
            "Decay the weights (AdamW with a weight decay of 3).",
            "changes the result",
            optimizer="adamw",
            lr=lr,
            weight_decay=3.0,
        ),
        remedy(chart, f"Make the network a tenth as wide ({width} units a layer).", "changes the result", width=width),
        Remedy("Train on more rows, or on varied copies of them (noise, shifts, flips)."),
    )


overfitting = Check(
    look,
    symptom="The training loss goes on falling while the validation loss rises.",
    sick=Example(
        data="moons",
        noise=0.4,
        rows=300,
        validation=0.5,
        model="mlp",
        depth=3,
        width=128,
        optimizer="adam",
        lr=3e-3,
        epochs=80,
    ),
    near_miss=Example(
        data="moons", noise=0.3, rows=600, model="mlp", width=64, dropout=0.3, optimizer="adam", lr=2e-3, epochs=40
    ),
    look_alike="A gap that does not grow; a few validation rows that jump about; early stopping in time.",
    source="Prechelt 1998, Early stopping - but when?; Goodfellow et al. 2016, Deep Learning, section 7.8",
)
