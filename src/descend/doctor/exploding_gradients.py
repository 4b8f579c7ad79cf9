"""The signal grows from layer to layer, or from time step to time step, so that gradients are huge or useless.

What goes through a layer is multiplied by its weights, forwards and backwards. If each layer makes it twice as large,
ten layers make it a thousand times as large: with ReLUs the outputs, the loss and every gradient with them; with tanhs,
whose outputs are bounded, the gradient on its way back. A recurrent network multiplies by the same matrix at every
position, so that a sequence of fifty positions has the depth of fifty layers. Then no learning rate suits all layers.

A large gradient is no sign of it. A gradient's norm has the unit of the loss by that of a weight: it was 3,019 at the
start of a healthy run on salaries, and would be a thousand times that if the loss were counted in thousandths. What
tells is growth: through the layers at the first step, before any update, or over the steps of the run; and that the
loss is no better than guessing in the end.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from descend.doctor._at_start import Growth, explosion
from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import LEARNS_NOTHING, progress, remedy, slower, two_digits

OVER_TIME: Final = 1e3
"""How much the gradient's norm has grown since the first step: runs that diverged 1e4 and more; in runs that learned it
grew 250-fold at most, while they left a plateau."""

LEFT: Final = 0.9  # of the loss of guessing: what learns in spite of it is left alone


def look(chart: Chart) -> Finding | Unknown | None:
    losses = chart.series("loss/batch")
    broken = len(losses.y) > 0 and not np.isfinite(losses.y[-1])
    gone = progress(chart)
    if gone is None and not broken:
        return Unknown("at least 20 steps")
    if gone is not None and not broken and gone.end < LEFT:
        return None
    worse = broken or (gone is not None and gone.end > max(1.0, gone.first))
    found = explosion(chart) or (_over_time(chart) if worse else None)
    if found is None:
        return None
    outcome = "the loss is not a finite number any more" if broken or gone is None else gone.says
    return Finding(
        f"{found.says}, and {outcome}.",
        (Evidence(found.series, found.factor, found.threshold, f"{found.says}."),),
        sure=0.9 if found.where else 0.8,
        where=found.where,
        since=found.since,
        remedies=_remedies(chart, found),
    )


def _over_time(chart: Chart) -> Growth | None:
    """From step to step."""
    norms = chart.series("grad_norm/all")
    known = np.flatnonzero(np.isfinite(norms.y) & (norms.y > 0))
    if len(known) < 2:
        return None
    first, last = float(norms.y[known[0]]), float(norms.y[known[-1]])
    if last < OVER_TIME * first:
        return None
    since = int(norms.x[known[norms.y[known] <= first][-1]])
    says = (
        f"The gradient explodes: since step {since:,} its norm has grown from {two_digits(first)} to "
        f"{two_digits(last)}, {two_digits(last / first)}-fold"
    )
    return Growth("grad_norm/all", last / first, OVER_TIME, None, since, says)


def _remedies(chart: Chart, found: Growth) -> tuple[Remedy, ...]:
    if found.where is None:
        clip = remedy(
            chart,
            "Clip the gradient's norm, so that no update can throw the weights away.",
            "changes the result",
            {"optimizer.step()": "nn.utils.clip_grad_norm_(model.parameters(), 1.0)\noptimizer.step()"},
            clip_norm=1.0,
        )
        return (slower(chart, 10.0), clip)
    # Glorot's weights let the signal of ten ReLU layers shrink to a 30th, and 100 steps of SGD then learn nothing
    bounded = chart.settings.get("activation") in ("tanh", "sigmoid", "identity")
    smaller = remedy(
        chart,
        "Begin with weights that keep the size of a signal: He's initialisation for ReLU, Glorot's for tanh.",
        "changes the result",
        {"nn.init.normal_(layer.weight)": "nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')"},
        init="xavier_normal" if bounded else "he_normal",
    )
    norm = remedy(
        chart,
        "Put a norm before each activation: it brings every layer's signal back to size one.",
        "changes the result",
        {"nn.Linear(64, 64), nn.ReLU()": "nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU()"},
        norm="layer",
    )
    return (smaller, norm)


exploding_gradients = Check(
    look,
    symptom="The loss begins far too high, jumps, or is NaN after a few steps, at any ordinary learning rate.",
    sick=Example(
        data="digits", model="mlp", depth=10, init="normal", init_std=0.6, optimizer="sgd", lr=0.01, steps=100
    ),
    near_miss=Example(data="digits", model="mlp", depth=10, init="he_normal", optimizer="adam", lr=1e-3, steps=150),
    look_alike=(
        "A gradient whose norm is in the thousands because the targets are; a deep network with He's initialisation; "
        "gradients that grow while a plateau is left."
    ),
    source="Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks",
    explains=(LEARNS_NOTHING - {"lr_too_low"})
    | {"clipping_always", "dead_relus", "first_loss", "loss_spikes", "non_finite", "saturated_units"},
)
