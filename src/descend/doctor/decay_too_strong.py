"""Weight decay pulls the weights back as fast as the data push them.

Every step shrinks each weight by lr times the decay. What a weight can become is where this pull equals the push of the
gradient. With a decay that is too strong, that is near zero: the weights shrink below where they began, the network's
answers go to a constant, and the training loss stays high or rises again after an early minimum.

The balance of pull and push alone is no witness: a run that has converged has it too, with whatever decay. It must be
harmful as well: training rows that neighbours get right and the network wrong, or a training loss that rose again.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Unknown
from descend.doctor._probe import beside
from descend.doctor._signals import percent, remedy, two_digits
from descend.doctor._training import Course, course, number, optimizer, room, update_ratios

FEWEST: Final = 50  # steps: after 90 a decay of 20 had taken two thirds of the weights' length

SHRUNK: Final = 0.9
"""The weights' norm at the end over that at the start: too strong 1e-14 to 0.8; healthy runs with decay 1.03 to 4."""

PULL: Final = 0.3
"""Of an update's length, that is decay (lr times decay over the update ratio), late in training. Too strong 0.3 to 6
where weights did not shrink; healthy converged runs reach 0.7 too, and fit."""

POOR: Final = 0.12
"""Of the way from chance to the neighbours, that is left: too strong 0.17 to 1; healthy runs with decay 0.1 (muon on a
regression) at most, most of them fit better than their neighbours."""

ROSE: Final = 1.1
"""The training loss over its lowest value: healthy runs with decay 1.0 when they still keep a fifth of the first
loss."""

COUPLED: Final = frozenset({"sgd", "momentum", "nesterov"})
"""Optimizers that add decay to the gradient, before momentum."""

KEPT: Final = 0.2
"""Of the first loss: too strong 0.2 to 1."""


def look(chart: Chart) -> Finding | Unknown | None:
    decay = number(chart, "weight_decay")
    if decay <= 0:
        return None
    seen = course(chart)
    if seen is None or chart.steps < FEWEST:
        return Unknown(f"at least {FEWEST} steps")
    pull, shrunk = _pull(chart, decay), _shrunk(chart)
    if pull is None and shrunk is None:
        return Unknown("the norms of the weights (monitor weight_norm) or of the updates (monitor update_ratio)")
    harm = _harm(chart, seen)
    plain = beside(chart, "plain")
    helps = plain is not None and plain < 0.7
    gone = shrunk is not None and shrunk.value < SHRUNK
    strong = pull is not None and pull.value > PULL
    if harm is None or not (gone or strong or helps):
        return None
    evidence = [piece for piece in (shrunk if gone else None, pull if strong else None, harm) if piece is not None]
    if plain is not None and helps:
        says = f"A short fork without decay and dropout ended at {percent(plain)} of the unchanged fork's loss."
        evidence.append(Evidence("facts/probe/plain", plain, 0.7, says))
    collapsed = shrunk is not None and shrunk.value < 0.1
    return Finding(
        f"Weight decay of {two_digits(decay)} is too strong. {evidence[0].says} {harm.says}",
        tuple(evidence),
        0.95 if collapsed and seen.kept > KEPT else 0.85 if gone else 0.75,
        remedies=(
            remedy(
                chart,
                "Lower weight decay 100 times.",
                "changes the result",
                {"weight_decay=...": "weight_decay=... / 100"},
                weight_decay=decay / 100,
            ),
            remedy(
                chart, "Take it out.", "changes the result", {"weight_decay=...": "weight_decay=0"}, weight_decay=0.0
            ),
        ),
    )


def _shrunk(chart: Chart) -> Evidence | None:
    """The norm of the weight matrices at the end over that at the start."""
    norms = [
        series.y for name, series in chart.layers("weight_norm").items() if name.endswith("weight") and len(series.y)
    ]
    if not norms or len({len(each) for each in norms}) > 1 or len(norms[0]) < 4:
        return None
    total = np.sqrt(np.square(np.stack(norms)).sum(0))
    if not np.isfinite(total).all() or total[0] <= 0:
        return None
    ratio = float(np.median(total[-max(1, len(total) // 4) :]) / total[0])
    says = f"The weights have shrunk to {percent(ratio)} of the length that they began with."
    return Evidence("weight_norm/all", ratio, SHRUNK, says)


def _pull(chart: Chart, decay: float) -> Evidence | None:
    """The part of an update that is decay, in the last quarter of training."""
    ratios, rates = update_ratios(chart).y, chart.series("lr/0").y
    if len(ratios) < 4 or not len(rates):
        return None
    late = float(np.median(ratios[-max(1, len(ratios) // 4) :]))
    if late <= 0:
        return None
    coupled = optimizer(chart) in COUPLED  # there the pull goes through the velocity, and adds up over its steps
    momentum = min(max(number(chart, "momentum"), 0.0), 0.999) if coupled else 0.0
    share = float(np.median(rates[-max(1, len(rates) // 4) :])) * decay / (1 - momentum) / late
    says = f"Decay is {percent(share)} of the length of an update: what gradients build, it takes away."
    return Evidence("update_ratio/all", share, PULL, says)


def _harm(chart: Chart, seen: Course) -> Evidence | None:
    """The training loss rose again, or training rows are not fitted that neighbours fit."""
    left = room(chart)
    if left is not None and left.share > POOR and left.certain:
        return Evidence("facts/data/train/neighbours", left.wrong, left.neighbours, left.says)
    rose = seen.level / seen.best if seen.best > 0 else 1.0
    if rose > ROSE and seen.kept > KEPT:
        best = f"{two_digits(seen.best)} at step {seen.best_step:,}"
        says = f"The training loss was {best} and has risen to {two_digits(seen.level)}."
        return Evidence(seen.series, rose, ROSE, says)
    return None


decay_too_strong = Check(
    look,
    symptom="The training loss stays high or rises again, and the weights get smaller and smaller.",
    sick=Example(data="moons", model="mlp", width=32, optimizer="adamw", lr=3e-3, weight_decay=20.0, epochs=40),
    near_miss=Example(data="moons", model="mlp", width=32, optimizer="adamw", lr=3e-3, weight_decay=0.1, epochs=40),
    look_alike="Weights that stopped growing because training has converged: pull and push are equal there too.",
    source="Krogh & Hertz 1991; Loshchilov & Hutter 2019, Decoupled weight decay regularization",
    explains=frozenset(
        {
            "underfitting",
            "plateau",
            "chance_level",
            "dead_relus",
            "lr_too_low",
            "lr_too_high",
            "update_ratio",
            "vanishing_gradients",
            "deaf_network",
            "minority_never_predicted",
        }
    ),
)
