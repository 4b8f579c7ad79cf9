"""What a learning-rate range test found: in numbers, in sentences and as a figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from descend.run import Floats

if TYPE_CHECKING:
    import descend.plots._style

TURN: Final = 0.5  # of the turn is suggested: on a quadratic that is 1 / lambda_max
UNCLEAR: Final = 2.0  # repeats that differ by more than this factor are told


@dataclass(frozen=True)
class RangeTest:
    """What a learning-rate range test found. `figure()` draws it, `sentences` say it.

    `lr` is the learning rate to train with: half the turn, halved again until it held in a trial; of several parameter
    groups it is the first one's, and `shares` are the rates of all in proportion to it. None where the loss never fell
    clearly, or no trial held. `interval` is the range of what all repeats and each alone put at half the turn.
    """

    lr: float | None
    interval: tuple[float, float] | None
    fastest: float | None  # where the smoothed loss falls fastest, log against log where it is positive
    turn: float | None  # where it is lowest: the largest rate before it rises
    exploded: float | None  # where all that was gained was lost again, or the loss was not finite; None: nowhere
    halvings: int  # how many trials did not hold
    trial: int  # steps of a trial
    shares: tuple[float, ...]
    asked: tuple[float, float]  # the range that was asked for, which may have been widened
    rates: Floats  # [points], a geometric series
    losses: Floats  # [repeats, points], of the batches; NaN after a repeat has stopped
    smoothed: Floats  # [at most points], the mean of the repeats while all were alive

    def figure(self) -> descend.plots._style.Figure:
        """The losses over the learning rate, with suggestion, turn and explosion marked."""
        from descend.plots._range_test import Marks, range_test

        marks = Marks(self.lr, self.turn, self.exploded)
        return range_test(self.rates, self.losses, self.smoothed, marks, " ".join(self.sentences))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What to do, what it rests on, and what was unclear or widened."""
        return (*self._suggestion(), *self._course())

    def _repr_svg_(self) -> str:
        return self.figure().svg()

    def _suggestion(self) -> Iterator[str]:
        if self.turn is None:
            yield (
                f"No suggestion: from {self.rates[0]:.2g} to {self.rates[-1]:.2g} the loss never fell clearly below "
                "where it began. Either the model is trained already, or it cannot learn this: try a single batch."
            )
            return
        first = TURN * self.turn
        if self.lr is None:
            yield (
                f"No suggestion: the loss turned at {self.turn:.2g}, but {self.trial} steps at constant rates from "
                f"{first:.2g} down to {first / 2 ** (self.halvings - 1):.2g} did not hold. Warm the rate up instead."
            )
            return
        part = f"1/{2 ** (self.halvings + 1)} of the rate" if self.halvings else "half the rate"
        yield (
            f"Train with a learning rate of about {self.lr:.2g}: {part} at which the loss turned ({self.turn:.2g}), "
            f"and {self.trial} steps at it held."
        )
        if self.halvings:
            yield f"At {first:.2g} they did not: a constant rate lacks the warm-up that raising it is."
        if self.interval and self.interval[1] > UNCLEAR * self.interval[0]:
            low, high = self.interval
            yield f"Unclear: the repeats alone suggest {low:.2g} to {high:.2g}, so what is between is worth a try."
        if len(set(self.shares)) > 1:
            every = ", ".join(f"{self.lr * share:.2g}" for share in self.shares)
            yield f"That is the first parameter group's; the rates of all, in proportion: {every}."

    def _course(self) -> Iterator[str]:
        low, high = self.asked
        if self.exploded is None:
            yield f"The loss never exploded, up to {self.rates[-1]:.2g}."
        elif self.exploded > high:
            yield f"The loss exploded at {self.exploded:.2g}; the range was widened upwards for that."
        else:
            yield f"The loss exploded at {self.exploded:.2g}."
        if self.rates[0] < low:
            yield f"The range was begun at {self.rates[0]:.2g}: from {low:.2g} on there was no rest before the turn."
