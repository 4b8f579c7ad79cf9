"""What short forks of a run say (`descend doctor --probe`): a check asks where its statistics leave two causes open."""

from __future__ import annotations

import math
from typing import Final

from descend.doctor._chart import Chart

BESIDE: Final = {"scaled": "fresh", "permuted": "fresh"}
"""The unchanged fork that began where a fork did; of all others `baseline`."""


def beside(chart: Chart, fork: str) -> float | None:
    """The training loss that a fork ends at, as a share of the unchanged fork's; None where it was not trained.

    Below 1 the change helps. 0 where the unchanged fork diverged and this one did not.
    """
    changed, unchanged = _end(chart, fork), _end(chart, BESIDE.get(fork, "baseline"))
    if changed is None or unchanged is None:
        return None
    if not math.isfinite(unchanged):
        return 0.0 if math.isfinite(changed) else 1.0
    return changed / unchanged if unchanged > 0 else 1.0 if changed == 0 else math.inf


def lost(chart: Chart, fork: str) -> float | None:
    """The share of its first training loss that a fork lost: below 0 where the loss rose, -inf if it diverged."""
    start, end = chart.fact("probe", fork, "loss_start"), _end(chart, fork)
    if start is None or end is None:
        return None
    return 1 - end / start if 0 < start < math.inf else 0.0


def further(chart: Chart, fork: str) -> float | None:
    """How many times as much of the loss a fork lost as the unchanged one; None where that one lost nothing."""
    changed, unchanged = lost(chart, fork), lost(chart, BESIDE.get(fork, "baseline"))
    return changed / unchanged if changed is not None and unchanged is not None and unchanged > 0 else None


def _end(chart: Chart, fork: str) -> float | None:
    value = chart.fact("probe", fork, "loss_train")
    return None if value is None else float(value)
