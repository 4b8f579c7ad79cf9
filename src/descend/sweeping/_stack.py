"""Stack: many runs under way, step for step together. Two lanes have one: `together` and `compiled`."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int64, Shaped
from torch import Tensor


class Losses(NamedTuple):
    """What some steps showed; from the step that a run died in, its values are NaN (of that step, the loss stands)."""

    losses: Float[Tensor, "steps runs"]  # of the batch, as in loss/batch
    norms: Float[Tensor, "steps runs"] | None  # of all gradients before clipping, where any run clips


@runtime_checkable
class Stack(Protocol):
    """Runs of one cohort in training, every tensor [runs, ...]: after k steps each is where `fit` would be after k.

    A run whose loss, gradients or weights are not all finite at a step has died there: the step is not taken, its
    weights stay as they were, and the runs beside it go on as if it were not there.
    """

    step: int  # updates made
    died: Int64[Tensor, " runs"]  # the step (from 1) that a run could not take; 0 while it is well

    @property
    def parameters(self) -> dict[str, Shaped[Tensor, "runs ..."]]:
        """The weights as they are now, by name and in torch's shapes; not to be written to."""

    @property
    def buffers(self) -> dict[str, Shaped[Tensor, "runs ..."]]:
        """The running statistics of batch norm, by name; empty where there are none."""

    def advance(self, steps: int) -> Losses:
        """Train for `steps` more steps."""

    def keep(self, runs: Int64[Tensor, " kept"]) -> None:
        """Go on with these runs alone, in this order: the others have ended."""
