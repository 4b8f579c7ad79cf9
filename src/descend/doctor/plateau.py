"""The loss stopped falling at a level that is not the bottom.

A flat curve is convergence or a plateau, and the curve does not tell which: the irreducible loss of noisy targets is
flat too. So a witness that better is possible is needed: nearest neighbours, who are right about training rows that a
large enough network still gets wrong (a small one underfits). Plateaus are where the gradient is small and the surface
bends: around saddle points, and between units that still do the same thing. Gradient descent leaves them, but it takes
its time (Saxe et al. 2014); momentum, Adam or a better start leave sooner. Or a schedule has taken the learning rate to
almost nothing long before the end, and training stands where it then was.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import percent, remedy, two_digits
from descend.doctor._training import STRAIGHT, Course, course, fall, falls, faster, number, room, small, thirds
from descend.run import Floats

FEWEST: Final = 200  # steps: shorter, and flat means little
EVALUATIONS: Final = 10

POOR: Final = 0.25
"""Of the way from chance to the neighbours, that is left: stuck runs 0.6 to 1; healthy flat ones 0.1 at most."""

SPENT: Final = 1e-2
"""The learning rate half-way, over its highest: schedules that end training early 3e-8 to 2e-3, others 0.1 to 1."""

POOR_AND_SPENT: Final = 0.12
"""POOR, where the learning rate was spent as well: 0.16; healthy runs with schedules 0.07 at most."""

GONE: Final = 1e-5
"""SPENT, of a learning rate that is as good as zero for half of training. No schedule is meant so, whatever is left of
the loss (which must be more than a part in fifty): what training time was given is not used."""

LEFT: Final = 0.02

FALLING: Final = 0.05
"""Of the loss, lost in the last third. Healthy runs that are this poor still fall by 0.15 and more."""


def look(chart: Chart) -> Finding | Unknown | None:
    seen, left = course(chart), room(chart)
    if seen is None or chart.steps < FEWEST or len(seen.values) < EVALUATIONS:
        return Unknown(f"at least {FEWEST} steps and {EVALUATIONS} evaluations")
    spent = _spent(chart)
    if spent is not None and spent.value < GONE and seen.kept > LEFT:
        return _over(chart, seen, spent)
    if left is None:
        return Unknown("what nearest neighbours reach on the training rows, and the accuracy or R2 there")
    poor = POOR if spent is None else POOR_AND_SPENT
    falling, (first, last) = fall(seen), thirds(seen)
    still = falling > FALLING or (falls(seen) and last > STRAIGHT * first)
    if left.share < poor or not left.certain or still or small(chart):
        return None
    since = int(seen.steps[_flat_since(seen.values)])
    flat = Evidence(
        seen.series,
        falling,
        FALLING,
        f"The training loss has stood at {two_digits(seen.level)} since step {since:,}; in the last third of training "
        f"it fell by {percent(falling)}.",
    )
    wrong = Evidence("facts/data/train/neighbours", left.wrong, left.neighbours, left.says)
    why = "" if spent is None else f" {spent.says}"
    return Finding(
        f"The loss is on a plateau, not at the bottom. {flat.says}{why} {left.says}",
        (flat, wrong) if spent is None else (flat, spent, wrong),
        0.75 if spent is None else 0.85,
        since=since,
        remedies=_remedies(chart) if spent is None else (_keep_the_rate(chart), *_remedies(chart)),
    )


def _over(chart: Chart, seen: Course, spent: Evidence) -> Finding:
    """For half of training or more nothing could change."""
    rates = chart.series("lr/0")
    last = int(rates.x[np.flatnonzero(rates.y > GONE * rates.y.max())[-1]])
    stands = f"Since step {last:,} of {chart.steps:,} the learning rate is as good as zero"
    says = f"{stands}, and the training loss stands at {two_digits(seen.level)}."
    return Finding(
        f"The loss is on a plateau because the learning rate is gone. {says}",
        (spent, Evidence("lr/0", last / chart.steps, 0.5, f"{stands}.")),
        0.9,
        since=last,
        remedies=(_keep_the_rate(chart), *_remedies(chart)),
    )


def _spent(chart: Chart) -> Evidence | None:
    """That the learning rate was as good as zero half-way."""
    rates = chart.series("lr/0").y
    if not len(rates) or not rates.max() > 0:
        return None
    share = float(rates[len(rates) // 2] / rates.max())
    says = f"Half-way through training the learning rate was {two_digits(share)} of its highest value."
    return Evidence("lr/0", share, SPENT, says) if share < SPENT else None


def _flat_since(values: Floats) -> int:
    """From which value on the curve stays within a tenth of where it ends."""
    level = np.median(values[-max(1, len(values) // 4) :])
    away = np.flatnonzero(np.abs(values - level) > 0.1 * abs(level))
    return int(min(away[-1] + 1, len(values) - 1)) if len(away) else 0


def _keep_the_rate(chart: Chart) -> Remedy:
    advice = "Let the learning rate fall more slowly, to the end of training (a cosine schedule over all steps)."
    return remedy(chart, advice, "safe", schedule="cosine")


def _remedies(chart: Chart) -> tuple[Remedy, ...]:
    lr = number(chart, "lr")
    adam = "Train with Adam, which takes long steps where gradients are small (learning rate 0.003)."
    return (
        remedy(chart, adam, "changes the result", optimizer="adam", lr=3e-3),
        remedy(chart, "Add momentum of 0.9.", "changes the result", optimizer="momentum", lr=lr),
        faster(chart, 10),
        Remedy("Try another initialisation or seed, or normalisation layers."),
    )


plateau = Check(
    look,
    symptom="The loss stops falling early, and stays at a level that is not good.",
    sick=Example(data="sines", model="mlp", width=32, activation="tanh", optimizer="sgd", lr=0.01, epochs=60),
    near_miss=Example(data="moons", noise=0.5, rows=1000, model="mlp", width=16, optimizer="adam", lr=2e-3, epochs=25),
    look_alike="Convergence: with noisy targets the loss levels off well above zero, where neighbours are no better.",
    source="Dauphin et al. 2014; Saxe et al. 2014, Exact solutions to the nonlinear dynamics of learning",
)
