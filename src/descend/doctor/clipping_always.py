"""Gradients are clipped at nearly every step, so that the clip, not the gradient, sets the length of the steps.

Clipping by norm is meant for the rare gradient that is far too long. One that cuts every gradient is a normalisation:
each step has the length lr times the clip, however steep or flat the loss is. With plain gradient descent or momentum
that is a lower learning rate under another name, and training crawls; where more than half of all steps are clipped,
one should lower the learning rate instead (Deep Learning Tuning Playbook).

Always clipping is healthy where it does no harm. Adam and its kin divide by the gradient's own size, so that a constant
factor on it changes nothing; and recurrent language models are trained well with every step clipped. Here the loss must
still fall in a straight line when training ends: steps of a constant length that are too short.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Unknown
from descend.doctor._signals import percent, remedy, two_digits
from descend.doctor._training import (
    ADAPTIVE,
    STRAIGHT,
    Course,
    course,
    falls,
    number,
    optimizer,
    room,
    thirds,
    update_ratios,
)

FEWEST: Final = 3  # measured gradients in the last half

SHARE: Final = 0.9
"""Of the steps of the last half: a clip far too low 1; healthy runs with a clip near the usual norm 0 to 0.4."""

CUT: Final = 2.0
"""How many times a gradient is too long, at the median: harmful clips 6 to 3e3; 1.2 where the clip just touches it."""

FAR: Final = 0.3
"""Of the first loss, that is left: 0.33 to 1 where clipping slows training down (1e-3 to 0.03 of the usual norm)."""

SHORT: Final = 1e-3
"""Of the weights' length, that 95 % of the updates do not reach: slowed runs 1e-5 to 8e-4. A run whose gradients were
all cut ninefold had 1.5e-3, as many healthy ones have, and learned."""

FAR_CUT: Final = 15.0
"""CUT, from which on no such witness is needed: with momentum a clip of 0.005 leaves updates of 1.8e-3 and cuts
80-fold. Recurrent language models, trained with every gradient clipped, cut two- to fourfold."""


def look(chart: Chart) -> Finding | Unknown | None:
    before = chart.series("clip/norm_before")
    if not len(before.y) or optimizer(chart) in ADAPTIVE:
        return None
    seen, clip = course(chart), _clip(chart)
    half = chart.steps / 2
    late = before.y[(before.x > half) & np.isfinite(before.y)]
    measured = chart.series("lr/0" if chart.recipe else "grad_norm/all")  # a watched loop tells of what it measures
    steps = int((measured.x > half).sum())
    if seen is None or clip is None or len(late) < FEWEST:
        return Unknown(f"{FEWEST} gradients that were measured in the last half of training")
    clipped = float((late > clip).sum() / steps) if chart.recipe else len(late) / max(steps, 1)
    cut = float(np.median(late) / clip)
    if clipped < SHARE or cut < CUT:
        return None
    slow = _slow(chart, seen, short=cut > FAR_CUT)
    if slow is None:
        return None
    usual = float(f"{np.quantile(late, 0.9):.2g}")
    often = Evidence(
        "clip/norm_before",
        clipped,
        SHARE,
        f"In the last half of training {percent(clipped)} of the gradients were clipped; their median norm was "
        f"{two_digits(float(np.median(late)))}, {two_digits(cut)} times what is left of it ({two_digits(clip)}).",
    )
    return Finding(
        f"Clipping is always active and slows training down. {often.says} {slow.says}",
        (often, slow),
        0.85,
        since=1,
        remedies=(
            remedy(
                chart,
                f"Clip only the longest tenth of the gradients: raise the clip to {two_digits(usual)}.",
                "safe",
                {"clip_grad_norm_(parameters, ...)": f"clip_grad_norm_(parameters, {two_digits(usual)})"},
                clip_norm=usual,
            ),
            remedy(chart, "Do not clip, and watch for spikes.", "changes the result", clip_norm=None),
        ),
    )


def _clip(chart: Chart) -> float | None:
    """The norm that clipping leaves: the recipe's, or what was measured after it."""
    after = chart.series("clip/norm_after").y
    after = after[np.isfinite(after) & (after > 0)]
    return number(chart, "clip_norm") or (float(np.median(after)) if len(after) else None)


def _slow(chart: Chart, seen: Course, short: bool) -> Evidence | None:
    """The loss still falls steadily, and is far from where it could be; and updates are short."""
    left, ratios = room(chart), update_ratios(chart).y
    short = short or not len(ratios) or bool(np.quantile(ratios, 0.95) < SHORT)
    if seen.kept < FAR or not short:
        return None
    first, last = thirds(seen)
    if not falls(seen) or not (last > STRAIGHT * first or (left and left.certain and left.share > FAR)):
        return None
    says = f"The loss still has {percent(seen.kept)} of its first value, and falls in a straight line."
    return Evidence(seen.series, seen.kept, FAR, says)


clipping_always = Check(
    look,
    symptom="The loss falls slowly and in a straight line, whatever the gradients do.",
    sick=Example(data="moons", model="mlp", width=32, optimizer="sgd", lr=0.1, clip_norm=0.003, epochs=40),
    near_miss=Example(data="moons", model="mlp", width=32, optimizer="adam", lr=3e-3, clip_norm=0.003, epochs=40),
    look_alike="Adam with every gradient clipped: it divides by the gradient's size, so the factor cancels.",
    source="Pascanu et al. 2013; Godbole et al. 2023, Deep Learning Tuning Playbook, on gradient clipping",
    explains=frozenset({"lr_too_low", "underfitting", "plateau", "chance_level", "update_ratio"}),
)
