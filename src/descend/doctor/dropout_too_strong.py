"""Dropout keeps the network from fitting the rows that it is trained on.

Dropout sets a random share of the units to zero at each training step, so that no unit can rely on another. It is meant
to cost training loss and to gain validation loss. Too much of it, or too few units, and what is left cannot do the
task: the loss in training mode stays high because the function is another one at every step, and the loss in evaluation
mode, with all units in place, stays high too, because it is not what was trained.

The training loss in training mode alone is no witness: with dropout it is above the validation loss, and should be.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._probe import beside
from descend.doctor._signals import percent, remedy, two_digits
from descend.doctor._training import Course, Room, course, dropout_of, room

FEWEST: Final = 100  # steps

POOR: Final = 0.06
"""Of the way from chance to the neighbours, that is left in evaluation mode: with dropout of 0.7 to 0.95 0.08 to 1;
with 0.1 to 0.5 and a fitting width 0.02 at most, 0.06 in a small network with dropout of 0.5."""

LIFT: Final = 0.15
"""Of the first loss, by which dropout lifts the training loss: too strong 0.17 to 0.31, healthy 0.03 at most."""

STRONG: Final = 0.65
"""Units left out: where nothing is learned, there is no lift to be seen, but there is the setting itself."""

EXTREME: Final = 0.8
"""Units left out, where neighbours do no better (ten columns, noisy targets): no network is meant to keep a fifth."""

KEPT: Final = 0.2  # of the first loss, without dropout: 0.28 with dropout of 0.85, 0.02 to 0.09 with 0.5 and less


def look(chart: Chart) -> Finding | Unknown | None:
    share, layers = dropout_of(chart), chart.fact("network", "stochastic")
    if not share and not layers:
        return None
    seen, left, training = course(chart), room(chart), chart.series("loss/train_mode").y
    if seen is None or chart.steps < FEWEST:
        return Unknown(f"at least {FEWEST} steps")
    if not len(training):
        return Unknown("the loss on training rows with and without dropout")
    with_dropout = float(np.median(training[-max(1, len(training) // 4) :]))
    lift = (with_dropout - seen.level) / seen.start if seen.start > 0 else 0.0
    wrong = _wrong(left, seen, extreme=share >= EXTREME and lift >= LIFT)
    if wrong is None:
        return None if left else Unknown("what the nearest neighbours of training rows reach")
    plain = beside(chart, "plain")
    helps = plain is not None and plain < 0.7
    if lift < LIFT and share < STRONG and not helps:
        return None
    place = layers[0] if layers else "the network"
    high = Evidence(
        "loss/train_mode",
        lift,
        LIFT,
        f"Dropout leaves out {percent(share)} of the units of {place}. On the same training rows the loss is "
        f"{two_digits(with_dropout)} with it and {two_digits(seen.level)} without it.",
    )
    evidence = [high, wrong]
    if plain is not None and helps:
        says = f"A short fork without dropout and decay ended at {percent(plain)} of the unchanged fork's loss."
        evidence.append(Evidence("facts/probe/plain", plain, 0.7, says))
    return Finding(
        f"Dropout is too strong: the network does not fit its training rows, even without it. {high.says} {wrong.says}",
        tuple(evidence),
        0.85 if lift >= LIFT and share >= STRONG else 0.75,
        where=layers[0] if layers else None,
        remedies=(
            remedy(chart, "Lower it to 0.2.", "changes the result", {"Dropout(...)": "Dropout(0.2)"}, dropout=0.2),
            remedy(chart, "Take it out.", "changes the result", {"Dropout(...)": "Identity()"}, dropout=0.0),
            Remedy("Keep it, and widen the layers so that enough units are left."),
        ),
    )


def _wrong(left: Room | None, seen: Course, extreme: bool) -> Evidence | None:
    """That training rows are not fitted, even without dropout: neighbours fit them, or most of the loss is left."""
    if left is not None and left.share >= POOR and left.certain and seen.start > 0:
        return Evidence("facts/data/train/neighbours", left.wrong, left.neighbours, left.says)
    if extreme and seen.kept > KEPT:
        return Evidence(seen.series, seen.kept, KEPT, f"That is {percent(seen.kept)} of its first value.")
    return None


dropout_too_strong = Check(
    look,
    symptom="The training loss stays high; it is much lower on the same rows in evaluation mode, and still not good.",
    sick=Example(data="moons", model="mlp", width=16, dropout=0.8, optimizer="adam", lr=5e-3, epochs=40),
    near_miss=Example(data="moons", model="mlp", width=128, dropout=0.5, optimizer="adam", lr=5e-3, epochs=40),
    look_alike="A training loss above the validation loss: with dropout that is as it should be.",
    source="Srivastava et al. 2014, Dropout, sections 7.3 (rate and width)",
    explains=frozenset(
        {"chance_level", "loss_spikes", "lr_too_high", "lr_too_low", "noisy_batches", "plateau", "underfitting"}
    ),
)
