"""The loss spikes: it jumps far above its course for some steps, again and again, and comes back.

A spike is an update that went too far, seen for as long as the next ones need to repair it. Adam makes them late in
training: where gradients have become small for long, its second moment is small too, and the first larger gradient is
divided by far too little. Exploding gradients of recurrent networks, a rare batch of outliers, and a learning rate at
the edge of stability make them too. If training ends in one, its result is worthless.

A batch with a high loss is no spike by itself: the loss of small batches scatters, and the next batch is ordinary
again. So spikes are looked for in the mean losses of whole epochs, which all see the same rows (of ten batches, where
there are few epochs), and against the scatter of these means in the same run. Single batches count only where they
stand out beyond all scatter, above even the first loss: then some rows are not like the others, and each time one of
them comes by, its update throws the weights.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import remedy, slower, two_digits
from descend.doctor._statistics import moving_median, spread
from descend.doctor._training import (
    ADAPTIVE,
    batch_losses,
    batch_size,
    course,
    optimizer,
    outliers,
    rows_of,
    steps_an_epoch,
)
from descend.run import Floats, Series

FEWEST: Final = 200  # steps
WINDOWS: Final = 20
LEAST: Final = 5  # steps of a window of whole epochs
OTHERWISE: Final = 10  # steps of a window, where there are too few epochs
AROUND: Final = 5  # windows before, and as many after, make the course
FLOOR: Final = 1e-3  # of the first loss: what happens below it is of no account

TIMES: Final = 2.0
"""Over the course on either side: spiking runs 6 to 90; a healthy run at the edge of stability reached 2.5 once."""

SCATTER: Final = 6.0
"""The same in logarithms, over the scatter of the means: spiking runs 9 to 4e4."""

SPIKES: Final = 3  # spiking runs 3 to 14; of 260 healthy runs 5 had one, and none had two

HIGH: Final = 0.05
"""Of the first loss, at the top: spiking runs 0.2 to 0.9."""

MANY: Final = 0.25  # of the batches: then they are no exceptions

SMALL_BATCH: Final = 8  # rows: in the epochs of smaller batches the weights wander anyway


def look(chart: Chart) -> Finding | Unknown | None:
    losses, seen, size = batch_losses(chart), course(chart), batch_size(chart)
    if seen is None or len(losses.y) < FEWEST:
        return Unknown(f"at least {FEWEST} steps")
    if seen.start <= 0 or (size is not None and size <= SMALL_BATCH and size != rows_of(chart)):
        return None
    return _jumps(chart, losses, seen.start) or _outlying(chart, losses, seen.start)


def _jumps(chart: Chart, losses: Series, start: float) -> Finding | None:
    """The loss stands far above its course for a while, several times."""
    width = _width(len(losses.y), steps_an_epoch(chart))
    means, above, scatter = _above_course(moving_median(losses.y, 3) / start, width)  # of what lasts
    starts = losses.x[: len(means) * width : width]
    high = (above > max(np.log(TIMES), SCATTER * scatter)) & (np.exp(means) > HIGH) & ~_restarts(chart, starts, width)
    begins = np.flatnonzero(np.diff(np.concatenate([[0], high])) == 1)
    if len(begins) < SPIKES:
        return None
    top = int(np.where(high, above, -np.inf).argmax())
    first = int(starts[begins[0]])
    times, scatters = float(np.exp(above[top])), float(above[top] / max(scatter, 1e-9))
    says = (
        f"After step {int(starts[top]):,} it stands for {width} steps at {two_digits(times)} times its level before "
        f"and after, which is {two_digits(float(np.exp(means[top])))} times its first value."
    )
    unusual = f"That is {two_digits(scatters)} times its usual scatter in this run."
    return Finding(
        f"The loss spikes {len(begins)} times, first at step {first:,}. {says}",
        (Evidence("loss/batch", times, TIMES, says), Evidence("loss/batch", scatters, SCATTER, unusual)),
        0.75,
        since=first,
        remedies=_remedies(chart),
    )


def _outlying(chart: Chart, losses: Series, start: float) -> Finding | None:
    """Single batches have a loss far beyond all others."""
    early = len(losses.y) // 4
    places = outliers(losses.y, start)
    places = places[places >= early]
    if not SPIKES <= len(places) < MANY * len(losses.y):
        return None
    median = float(np.median(losses.y))
    top = int(places[losses.y[places].argmax()])
    times = float(losses.y[top] / median)
    says = (
        f"The batch of step {int(losses.x[top]):,} has {two_digits(times)} times the median loss, and the next one an "
        "ordinary loss again."
    )
    often = (
        f"Of {len(losses.y) - early:,} batches {len(places)} are above the first loss and above 25 times the median."
    )
    rows = Remedy("Look at the rows of these batches: targets in another unit, a lost decimal point, a missing value.")
    huber = remedy(chart, "Take a loss that bears outliers (Huber's).", "changes the result", loss="huber")
    return Finding(
        f"The loss spikes in {len(places)} single batches. {says}",
        (Evidence("loss/batch", times, 25.0, says), Evidence("loss/batch", len(places), SPIKES, often)),
        0.75,
        since=int(losses.x[places[0]]),
        remedies=(rows, *_remedies(chart), huber),
    )


def _width(steps: int, epoch: int | None) -> int:
    """Steps of a window: whole epochs, of which each sees the same rows, where there are enough."""
    epochs = epoch * -(-LEAST // epoch) if epoch else steps
    return epochs if steps // epochs >= WINDOWS else OTHERWISE


def _above_course(losses: Floats, width: int) -> tuple[Floats, Floats, float]:
    """The logarithms of the windows' mean losses, how far each is above those before and after, and their scatter."""
    count = len(losses) // width
    means = np.log(np.maximum(losses[: count * width], 0).reshape(count, width).mean(axis=1) + FLOOR)
    above = np.full(count, -np.inf)
    if count > 2 * AROUND:
        around = moving_median(means, AROUND)
        above[AROUND:-AROUND] = means[AROUND:-AROUND] - np.maximum(around[: -AROUND - 1], around[AROUND + 1 :])
    return means, above, spread(np.diff(means)) / 2**0.5


def _restarts(chart: Chart, starts: Floats, width: int) -> NDArray[np.bool_]:
    """Which windows begin near a rise of the learning rate by half or more: a restart of its schedule."""
    rates = chart.series("lr/0")
    rises = rates.x[1:][rates.y[1:] > 1.5 * rates.y[:-1]]
    after = starts[:, None] - rises
    near: NDArray[np.bool_] = np.any((after >= -width - 1) & (after < max(50, 2 * width)), axis=1)
    return near


def _remedies(chart: Chart) -> tuple[Remedy, ...]:
    norms = chart.series("grad_norm/all").y
    norms = norms[np.isfinite(norms)]
    usual = float(f"{np.median(norms):.2g}") if len(norms) else 1.0
    advice = f"Clip the gradients to a norm of {two_digits(usual)}, their median."
    diff = {"optimizer.step()": f"nn.utils.clip_grad_norm_(model.parameters(), {two_digits(usual)})\noptimizer.step()"}
    adaptive = optimizer(chart) in ADAPTIVE  # they hardly feel a clip
    clip = Remedy(advice, diff=diff) if adaptive else remedy(chart, advice, "changes the result", diff, clip_norm=usual)
    end = Remedy("End with small steps (a cosine schedule), so that training does not stop in a spike.")
    return slower(chart, 10), clip, end


loss_spikes = Check(
    look,
    symptom="Now and then the loss jumps up many times over, and needs some steps to come back.",
    sick=Example(
        data="moons",
        rows=200,
        noise=0.25,
        model="mlp",
        depth=3,
        optimizer="rmsprop",
        alpha=0.98,
        lr=0.01,
        batch_size="all",
        steps=1200,
        seed=2,
    ),
    near_miss=Example(data="moons", model="mlp", width=16, optimizer="adam", lr=3e-3, batch_size=2, steps=800),
    look_alike="The losses of small batches, which scatter by themselves; the rise after a schedule's restart.",
    source="Molybog et al. 2023, A theory on Adam instability; Chowdhery et al. 2022, PaLM, section 5.1",
    explains=frozenset({"plateau", "underfitting"}),
)
