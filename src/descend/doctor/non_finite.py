"""A number became NaN or infinite, and from then on everything that it reaches is NaN.

NaN is not the same as exploding. Four ways lead there. The data hold a NaN, and the first batch with that row brings it
in. An operation is undefined where it was used: the logarithm of 0, 0 / 0, the mean of an empty mask, and backwards the
square root at 0 (its slope is infinite; times a zero that is NaN). Numbers overflow: float32 ends at 3.4e38, its exp(x)
beyond x = 88.7, float16 ends at 65,504. Or training diverges, and the numbers grow step by step until they overflow.

What counts is the first one. A NaN spreads to everything behind it, so that the loss says nothing about the place: the
forward pass is looked through from the inputs to the loss, and the backward pass from the loss to the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from descend.doctor._chart import Chart
from descend.doctor._check import CERTAIN, Check, Evidence, Example, Finding, Remedy
from descend.doctor._signals import slower, two_digits, typical

GREW: Final = 10.0
"""Times its first values, that the loss had grown before: runs that diverged 1e4 and more; a NaN in the data or the
logarithm of a zero 2 at most."""

GOES_ON: Final = (
    20  # finite losses after it: a gradient scaler (mixed precision) skips steps that overflow, and goes on
)

ADVICE: Final[Mapping[str, tuple[str, str, str]]] = {
    "log": (
        "Take logarithms where they are defined: log_softmax and nn.CrossEntropyLoss instead of the log of a softmax, "
        "logsigmoid instead of the log of a sigmoid, log(x + 1e-8) elsewhere.",
        "torch.log(torch.softmax(x, -1))",
        "torch.log_softmax(x, -1)",
    ),
    "exp": (
        "Subtract the largest value before exp(), or let logsumexp, softmax or softplus do it.",
        "x.exp().sum(-1).log()",
        "x.logsumexp(-1)",
    ),
    "sqrt": (
        "Add a small number under the root: its slope is infinite at 0.",
        "x.sqrt()",
        "(x + 1e-8).sqrt()",
    ),
    "norm": (
        "Add a small number under the root: a norm has no slope at 0.",
        "x.norm(dim=-1)",
        "(x.square().sum(-1) + 1e-8).sqrt()",
    ),
    "div": ("Add a small number to what is divided by, or leave such rows out.", "x / n", "x / (n + 1e-8)"),
    "mean": (
        "Leave out what is empty: a mean of no values is 0 / 0.",
        "x[mask].mean()",
        "x[mask].sum() / mask.sum().clamp(min=1)",
    ),
    "pow": ("Keep the base of a power away from 0 and above it.", "x ** 0.5", "x.clamp(min=1e-8) ** 0.5"),
}
"""What to do, by a part of the operation's name: advice, what may stand there, what to write instead."""


def look(chart: Chart) -> Finding | None:
    losses = chart.series("loss/batch")
    notes = [note for note in chart.notes if note.kind == "non_finite"]
    bad = losses.x[~np.isfinite(losses.y)]
    if not notes and not len(bad):
        return None
    step, about = (notes[0].step, notes[0].details) if notes else (int(bad[0]), {})
    if about.get("what") == "gradient" and np.isfinite(losses.y[losses.x > step]).sum() >= GOES_ON:
        return None
    said = str(about.get("sentence", f"At step {step:,} the loss was not a finite number."))
    value = float("nan") if about.get("value") is None else float(about["value"])
    evidence = [Evidence("loss/batch", value, float("inf"), said)]
    before = losses.y[losses.x < step]
    grown = float(np.max(before[-3:]) / typical(before[:5])) if len(before) > 1 else 0.0
    if grown > GREW:
        since = since_rising(losses.x[losses.x < step], before)
        said = (
            f"Training diverged until the numbers overflowed: from step {since:,} on the loss grew "
            f"{two_digits(grown)}-fold. {said}"
        )
        evidence.append(Evidence("loss/batch", grown, GREW, f"Before, the loss had grown {two_digits(grown)}-fold."))
    elif len(before):
        said = f"{said} Before, the loss was {two_digits(typical(before[-3:]))}: it did not grow towards it."
    return Finding(
        said,
        tuple(evidence),
        sure=CERTAIN + 0.03,
        where=about.get("layer") or about.get("where"),
        since=step,
        remedies=_remedies(chart, about, diverged=grown > GREW),
    )


def since_rising(steps: np.ndarray, losses: np.ndarray) -> int:
    """The step of the last value that is no larger than the typical first ones."""
    low = np.flatnonzero(losses <= typical(losses[:5]))
    return int(steps[low[-1] if len(low) else 0])


def _remedies(chart: Chart, about: Mapping[str, Any], diverged: bool) -> tuple[Remedy, ...]:
    if diverged or about.get("what") == "weight":
        return (slower(chart, 10.0),)
    if about.get("what") in ("input", "target"):
        return (
            Remedy(
                "Repair or drop the rows that are not finite, before training.",
                diff={"table = pd.read_csv(file)": "table = pd.read_csv(file).dropna()"},
            ),
        )
    operation = str(about.get("operation") or "")
    for part, (advice, wrong, right) in ADVICE.items():
        if part in operation:
            return (Remedy(advice, diff={wrong: right}),)
    place = f"what goes into {operation} in {about.get('layer')}" if operation else "the loss and what leads to it"
    return (
        Remedy(f"Keep {place} where it is defined and does not overflow: no logarithm, root or division of 0."),
        slower(chart, 10.0),
    )


non_finite = Check(
    look,
    symptom="The loss is NaN or inf, all at once, and stays so.",
    sick=Example(fault="log_of_zero", data="digits", model="linear", optimizer="sgd", lr=12.0, epochs=2),
    near_miss=Example(data="employee_bonus", model="linear", optimizer="sgd", lr=0.005, batch_size="all", steps=100),
    look_alike="A loss in the thousands on data with large targets, which is finite and falls.",
    source="Goldberg 1991, What every computer scientist should know about floating-point arithmetic",
    explains=frozenset({"chance_level", "loss_spikes", "plateau", "underfitting", "update_ratio"}),
)
