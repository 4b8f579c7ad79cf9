"""What a learning rate scheduler is set to, and how often it was stepped."""

from __future__ import annotations

from typing import Any, Final

PERIODS: Final = ("T_max", "total_steps", "step_size", "T_0", "total_iters", "milestones")


def schedule_facts(scheduler: Any) -> dict[str, Any]:
    """Its kind, the number of its own steps after which it has run its course, and how many it has taken."""
    return {"kind": type(scheduler).__name__, "period": _period(scheduler), "taken": int(scheduler.last_epoch)}


def _period(scheduler: Any) -> int | None:
    for name in PERIODS:
        value = getattr(scheduler, name, None)
        if value is not None:
            return int(max(value)) if name == "milestones" else int(value)
    return None
