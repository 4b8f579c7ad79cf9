"""Contestant: what one way to train came to, repeat by repeat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from descend.recipe import Recipe
from descend.run import Floats


@dataclass(frozen=True)
class Contestant:
    """What one way to train came to, repeat by repeat. Losses are the lowest that a run has evaluated."""

    recipe: Recipe
    lrs: Float64[np.ndarray, "repeats configurations"]
    tuned: Float64[np.ndarray, "repeats configurations"]  # the loss with each of these learning rates
    chosen: Float64[np.ndarray, " repeats"]  # the learning rate with the lowest of them
    losses: Float64[np.ndarray, "repeats fresh"]  # of the chosen one with other seeds
    updates: Float64[np.ndarray, "repeats fresh"]  # until the target; infinite where it was not reached
    scores: Float64[np.ndarray, "repeats fresh"]  # accuracy or R2 where the loss was lowest
    paces: Float64[np.ndarray, " repeats"]  # seconds of an update in a run alone; NaN where not timed
    died: int  # fresh runs that diverged

    @property
    def lr(self) -> float:
        """The learning rate to take: the median of those that were chosen."""
        return float(np.median(self.chosen))

    @property
    def cost(self) -> Float64[np.ndarray, " repeats"]:
        """Updates until the target: the median over the fresh runs of each repeat."""
        # a median that is one of the values: between two of them, infinity would make NaN
        median: Floats = np.quantile(self.updates, 0.5, axis=1, method="inverted_cdf")
        return median

    @property
    def loss(self) -> Float64[np.ndarray, " repeats"]:
        """The loss of each repeat: the geometric mean of its fresh runs."""
        mean: Floats = np.exp(logs(self.losses).mean(1))
        return mean


def logs(losses: Floats) -> Floats:
    """Logarithms that are finite: a loss of nothing counts as the least there can be, an infinite one as the most."""
    limits = np.finfo(np.float64)
    logs: Floats = np.log(np.clip(losses, limits.tiny, limits.max))
    return logs
