"""What the checks of a loop's code share."""

from __future__ import annotations

from typing import Any, Final

from descend.doctor._chart import Chart
from descend.doctor._check import Unknown

LEARNS_NOTHING: Final = frozenset(
    {
        "cannot_overfit_one_batch",
        "chance_level",
        "lr_too_low",
        "minority_never_predicted",
        "plateau",
        "underfitting",
        "vanishing_gradients",
    }
)
"""What a run shows whose updates do not do what they should."""

STEPS_TOO_LONG: Final = frozenset(
    {
        "clipping_always",
        "dead_relus",
        "deaf_network",
        "exploding_gradients",
        "loss_spikes",
        "lr_too_high",
        "non_finite",
        "saturated_units",
        "update_ratio",
    }
)
"""What a run shows whose updates are larger than its learning rate says."""


def facts(chart: Chart, topic: str) -> dict[str, Any] | Unknown | None:
    """The facts of a topic about the user's own loop. A loop of ours (`fit`) has none of these bugs: None."""
    found = chart.fact(topic)
    if found:
        return dict(found)
    return None if chart.recipe is not None else Unknown("a loop that `descend.watch` saw")


def names(chart: Chart, topic: str, field: str) -> list[str]:
    """A fact that is a list of names; empty where it is not known."""
    return list(chart.fact(topic, field) or ())


def counted(number: int, noun: str) -> str:
    """ "1 step", "3,000 steps"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(found: list[str], most: int = 3) -> str:
    """ "a, b, c and 4 more"."""
    return ", ".join(found[:most]) + (f" and {len(found) - most:,} more" if len(found) > most else "")
