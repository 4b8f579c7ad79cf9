"""The learning rate is too high: the loss grows, never falls, is lost again, or swings without getting lower.

An update goes too far where the loss is curved. On a quadratic of curvature c gradient descent multiplies the error by
1 - lr c: below lr = 1 / c it shrinks, up to 2 / c it changes sign at every step and shrinks, beyond it changes sign and
grows. A loss of several directions diverges in its steepest one. On a network three things can follow. The loss grows
by the same factor step after step until it is not a number any more (diverging). The first updates throw the weights so
far that units die or saturate, and nothing is learned afterwards (thrown). Or the loss falls and then swings about a
level that smaller steps would leave below them (oscillating).

A loss that falls non-monotonically is no witness. Full-batch training of networks hovers at the edge of stability, with
the curvature just above 2 / lr, and learns (Cohen et al. 2021); so does momentum that oscillates and converges.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._probe import beside
from descend.doctor._signals import percent, remedy, slower, two_digits
from descend.doctor._statistics import moving_median, spread
from descend.doctor._training import (
    Course,
    batch_losses,
    batch_size,
    course,
    limit_of,
    outliers,
    room,
    rows_of,
    steady_rate,
    update_ratios,
)
from descend.run import Floats

FEWEST: Final = 20  # steps, unless the loss is not finite before
EVALUATIONS: Final = 8  # from which a swing can be told from a course

GREW: Final = 10.0
"""Times its start, before a loss was not finite: runs that diverged 1e16 or more; a NaN in the data 1.1 at most."""

ABOVE: Final = 1.3
"""Times its start, in the last quarter: 180 healthy runs 1.01 at most, diverging ones that stayed finite 3 to 1e3."""

WILD: Final = 100.0
"""Times what it should be, of the first loss: of raw regression targets 14; of initial weights drawn too large 8e4."""

THROWN: Final = 1.3
"""Times its start, at the peak of the first quarter (medians of 3 batches). Thrown runs have 1.4 to 1e24; a tenth of
the healthy ones have 1.3 to 1.6 too (full batches at the edge of stability), and they go on to lose 90 % of the
loss."""

KEPT: Final = 0.4
"""Of the first loss, that a thrown run keeps: 0.45 and more; healthy runs with a peak keep 0.14 at most."""

UPDATE: Final = 0.03
"""Length of the longest update (after the first), of the weights' length: runs that lost what they had learned 0.05 to
0.5, strong weight decay, which lifts the loss slowly, 0.02; usual is 1e-3 to 1e-2 (Stanford CS231n)."""

STUCK: Final = 0.1
"""The same for a run that never learns: those thrown at once have 0.2 to 0.4. Of healthy runs one has 0.19 and one 0.25
(edge of stability, momentum), and they learn."""

LITTLE: Final = 0.1  # of the first loss: a run that never lost as much has not learned

POOR: Final = 0.2
"""Of the way from chance to the nearest neighbours, that is left to a run that never learns: 0.9 and more. A linear
model of classes that overlap, whose weights began well, has nothing left and long updates (0.04 of their length)."""

LOST: Final = 0.3
"""Of the progress, that is lost again and stays lost: sick runs 0.22 to 1, healthy ones 0.1 at most."""

UPS: Final = 0.35  # of the last evaluations, that are worse than the one before: swinging runs 0.43 to 0.64

LOW: Final = 0.05  # of the first loss: below it swings do little harm

SWING: Final = 0.2
"""Change of the training loss's logarithm from one evaluation to the next, root mean square: swinging runs 0.25 to 1.1.
Healthy runs that are still above 5 % of their first loss reach 0.15, or 0.26 at the edge of stability."""

NO_BETTER: Final = 0.88
"""The lowest loss of the last half over that of the first: swinging runs 0.91 and more, healthy ones with such swings
0.67 at most. This tells oscillation that converges from oscillation that does not."""

SMALL_BATCH: Final = 8  # rows: swings are then the noise of small batches, which has a check of its own

FASTEST: Final = 100.0  # growth a step that is still that of a quadratic; networks explode 1e2 to 1e7 times a step

FORK: Final = 0.7  # of the unchanged fork's loss

TINY: Final = 1e-300


class Case(NamedTuple):
    """One way to be too high: what is seen, and since when."""

    sentence: str
    evidence: tuple[Evidence, ...]
    sure: float
    since: int | None
    factor: float  # by which to divide the learning rate


def look(chart: Chart) -> Finding | Unknown | None:
    losses, seen = batch_losses(chart), course(chart)
    not_finite = len(losses.y) < len(chart.series("loss/batch").y)
    if seen is None or (len(losses.y) < FEWEST and not not_finite):
        return Unknown(f"at least {FEWEST} steps")
    ways = (_diverged, _thrown, _lost, _swings) if len(losses.y) >= FEWEST and not _by_outliers(chart) else (_diverged,)
    case = next((case for way in ways if (case := way(chart, seen))), None)
    if case is None:
        return None
    limit = limit_of(chart)
    evidence, sure = case.evidence, case.sure
    better = beside(chart, "lr_down")
    if better is not None and better < FORK:
        says = f"A short fork with a lower learning rate ended at {percent(better)} of the unchanged fork's loss."
        evidence += (Evidence("facts/probe/lr_down", better, FORK, says),)
        sure = 0.94
    beyond = limit if limit and limit["beyond"] else None
    if beyond is not None:
        lr, most = two_digits(beyond["lr"]), two_digits(beyond["limit"])
        says = f"The learning rate is {lr}; these data allow {most} at most ({beyond['formula']})."
        evidence += (Evidence("limit", beyond["lr"], beyond["limit"], says),)
        sure = 0.97
    return Finding(
        f"The learning rate is too high: {case.sentence}",
        evidence,
        sure,
        since=case.since,
        remedies=_remedies(chart, case.factor, beyond),
    )


# --- four ways to be too high -----------------------------------------------------------------------------------------


def _diverged(chart: Chart, seen: Course) -> Case | None:
    """The loss grew by far, to infinity or to a level above its start."""
    losses = chart.series("loss/batch")
    bad = np.flatnonzero(~np.isfinite(losses.y))
    expected = chart.fact("start", "expected")
    if seen.start <= 0 or (expected and seen.start > WILD * expected):  # initial weights are to blame, not steps
        return None
    start = max(seen.start, expected or 0.0)  # to come back to what guessing costs is no divergence: two adversaries do
    if len(bad):
        finite, threshold = losses.y[: bad[0]], GREW
        if len(finite) < 2 or (grown := float(finite[-3:].max() / start)) < GREW:
            return None
        outcome = f"and is not a finite number at step {int(losses.x[bad[0]]):,}"
    else:
        finite, threshold = losses.y, ABOVE
        grown = float(np.median(finite[-max(5, len(finite) // 4) :]) / start)
        if grown < ABOVE or seen.level < ABOVE * start:
            return None
        outcome = "and stays there"
    begin, rate = _growth(finite)
    steady = 1 < rate < FASTEST
    pace = f", {rate:.3g}-fold at each step" if steady else ""
    says = f"The loss grew {two_digits(grown)} times from {two_digits(start)}."
    # growth by one factor is what steps beyond the limit do: lr c = 1 + sqrt(factor), and lr c = 1 does not overshoot
    return Case(
        f"the loss diverges. It begins at {two_digits(seen.start)}, grows {two_digits(grown)} times{pace}, {outcome}.",
        (Evidence("loss/batch", grown, threshold, says),),
        0.9 if rate else 0.8,
        int(losses.x[begin]),
        1 + math.sqrt(rate) if steady else 10.0,
    )


def _growth(losses: Floats) -> tuple[int, float]:
    """Where the greatest rise begins, and by how much it goes at each step if it takes three steps or more, else 0."""
    falls = np.flatnonzero(np.diff(losses) <= 0)
    begins, ends = np.concatenate([[0], falls + 1]), np.concatenate([falls, [len(losses) - 1]])
    rises = losses[ends] / np.maximum(losses[begins], TINY)
    most = int(rises.argmax())
    begin, end = int(begins[most]), int(ends[most])
    return begin, float(rises[most] ** (1 / (end - begin))) if end - begin >= 3 else 0.0


def _thrown(chart: Chart, seen: Course) -> Case | None:
    """The loss shot up in the first steps, and little was learned afterwards."""
    losses = batch_losses(chart)
    middles = moving_median(losses.y, 3)
    early, later = middles[: max(1, len(middles) // 4)], middles[len(middles) // 2 :]
    peak = float(early.max())
    start = max([seen.start, *chart.series("loss/train_mode").y[:1]])  # dropout alone may lift it ninefold
    # the null: by how much such medians differ anyway, late in the same run
    least = max(THROWN * start, start + 5 * spread(later))
    ratios = chart.series("update_ratio/all").y
    gentle = len(ratios) > 0 and np.nanmax(ratios, initial=0.0) < UPDATE
    if _noisy(chart) or start <= 0 or peak < least or seen.kept < KEPT or gentle:
        return None
    step = int(losses.x[early.argmax()])
    rose = f"the loss of the batches rises from {two_digits(start)} to {two_digits(peak)} by step {step:,}"
    left = f"in the last quarter of training the loss has {percent(seen.kept)} of its first value"
    return Case(
        f"the first updates throw the weights too far. There {rose}, and {left}.",
        (
            Evidence("loss/batch", peak / start, THROWN, f"{rose}.".capitalize()),
            Evidence(seen.series, seen.kept, KEPT, f"{left}.".capitalize()),
        ),
        0.85,
        1,
        10.0,
    )


def _lost(chart: Chart, seen: Course) -> Case | None:
    """What was learned is lost again, or nothing is learned, while updates are as long as in no run that learns."""
    progress, ratios = seen.start - seen.best, update_ratios(chart)
    if _noisy(chart) or len(seen.values) < EVALUATIONS or not len(ratios.y) or ratios.y.max() < UPDATE:
        return None
    longest, step = float(ratios.y.max()), int(ratios.x[ratios.y.argmax()])
    update = Evidence(
        "update_ratio/all",
        longest,
        UPDATE,
        f"The update of step {step:,} has {percent(longest)} of the length of the weights; 0.1 % to 1 % is usual.",
    )
    if progress < LITTLE * seen.start:
        left = room(chart)
        thrashes = longest > STUCK or (
            left is not None and float(np.median(ratios.y[len(ratios.y) // 2 :])) > UPDATE / 2
        )
        done = left is not None and left.share < POOR  # noisy data, and weights that began where they should be
        if not thrashes or done or not _weights_live(chart):
            return None
        says = f"the loss still has {percent(seen.kept)} of its first value"
        evidence = (Evidence(seen.series, seen.kept, 1 - LITTLE, f"{says}.".capitalize()), update)
        return Case(f"updates have up to {percent(longest)} of the weights' length, and {says}.", evidence, 0.75, 1, 10)
    lost = (seen.level - seen.best) / progress
    if lost < LOST or seen.level < KEPT * seen.start:
        return None
    fell = (
        f"The training loss falls from {two_digits(seen.start)} to {two_digits(seen.best)} at step {seen.best_step:,}"
    )
    says = f"{fell}, and {percent(lost)} of that is lost again."
    return Case(
        f"what was learned is lost again. {fell}, but stands at {two_digits(seen.level)} in the end.",
        (Evidence(seen.series, lost, LOST, says), update),
        0.8,
        seen.best_step,
        10.0,
    )


def _swings(chart: Chart, seen: Course) -> Case | None:
    """The training loss goes up and down by much more than it falls, though batches are large."""
    half = seen.last(2)
    first = seen.values[: -len(half)]
    if _noisy(chart) or not steady_rate(chart) or seen.series != "loss/train" or seen.best <= 0:
        return None
    if len(seen.values) < EVALUATIONS or seen.kept < LOW:
        return None
    changes = np.diff(np.log(half))
    swing, newest = float(np.sqrt(np.mean(changes**2))), float(half.min() / first.min())
    if float((changes > 0).mean()) < UPS or swing < SWING or newest < NO_BETTER:
        return None
    by = percent(math.expm1(swing))
    best = (
        f"Its lowest value is {two_digits(first.min())} in the first half and {two_digits(half.min())} in the second."
    )
    return Case(
        f"the training loss swings by {by} from one evaluation to the next and gets no lower. {best}",
        (
            Evidence(
                seen.series, swing, SWING, f"In the last half the training loss changes by {by} (root mean square)."
            ),
            Evidence(seen.series, newest, NO_BETTER, best),
        ),
        0.7,
        int(seen.steps[len(first)]),
        10.0,
    )


def _noisy(chart: Chart) -> bool:
    """Whether batches are so small that their noise may do all this; see noisy_batches."""
    size = batch_size(chart)
    return size is not None and size <= SMALL_BATCH and size != rows_of(chart)


def _by_outliers(chart: Chart) -> bool:
    """Whether single batches stood out from the first steps on: rows that are not like the others; see loss_spikes."""
    losses, seen = batch_losses(chart).y, course(chart)
    alone = outliers(losses, seen.start) if seen else losses
    return len(alone) >= 3 and bool(alone[0] < max(FEWEST, len(losses) // 20))


def _weights_live(chart: Chart) -> bool:
    """Whether the weights have kept their size; against weights that decay to nothing, every update is long."""
    norms = chart.series("weight_norm/all").y
    return bool(len(norms) == 0 or norms[-1] > 0.5 * norms[0])


def _remedies(chart: Chart, factor: float, beyond: dict[str, Any] | None) -> tuple[Remedy, ...]:
    if beyond is not None:
        factor = 2 * beyond["lr"] / beyond["limit"]  # half the limit is 1 / curvature: no overshoot
    steps = chart.steps // 10 or 1
    return (
        slower(chart, float(f"{factor:.2g}")),
        slower(chart, 100.0),
        remedy(
            chart,
            f"Keep it, but begin with small steps (a warm-up of {steps:,}) and end with small ones (cosine schedule).",
            "changes the result",
            schedule="cosine",
            warmup=steps,
        ),
    )


lr_too_high = Check(
    look,
    symptom="The loss rises, jumps about, becomes NaN, or never leaves its first value.",
    sick=Example(data="moons", model="mlp", width=32, optimizer="sgd", lr=3.0, epochs=20),
    near_miss=Example(
        data="sines", model="mlp", width=64, activation="tanh", optimizer="sgd", lr=0.1, batch_size="all", steps=500
    ),
    look_alike="Training at the edge of stability and momentum swing too, but get lower; so do warm restarts.",
    source="LeCun et al. 1998, Efficient BackProp, section 4.2; Cohen et al. 2021; Stanford CS231n, Neural Networks 3",
    explains=frozenset(
        {
            "chance_level",
            "clipping_always",
            "dead_relus",
            "deaf_network",
            "exploding_gradients",
            "loss_spikes",
            "minority_never_predicted",
            "noisy_batches",
            "non_finite",
            "plateau",
            "saturated_units",
            "underfitting",
            "update_ratio",
        }
    ),
)
