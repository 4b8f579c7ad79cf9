"""Five plain rules on the loss curves, as a yardstick: what anybody would say who sees nothing else."""

from __future__ import annotations

import math

import numpy as np

import descend


def rules(run: descend.Run) -> list[str]:
    """The first rule that holds names the cause; an empty list is "healthy"."""
    names = run.names()
    if "loss/batch" not in names:
        return []
    batch = run.series("loss/batch").y
    train = run.series("loss/train").y if "loss/train" in names else batch
    if not np.isfinite(batch).all():
        return ["non_finite"]
    tenth = max(len(batch) // 10, 1)
    first, last = float(train[0] if train is not batch else batch[:tenth].mean()), float(batch[-tenth:].mean())
    if last > first:
        return ["lr_too_high"]
    if last > 0.9 * first:
        return ["lr_too_low"]
    validation = run.series("loss/validation").y if "loss/validation" in names else np.array([math.inf])
    if validation[-1] > 1.2 * validation.min():
        return ["overfitting"]
    if last > 0.5 * first:
        return ["underfitting"]
    return []
