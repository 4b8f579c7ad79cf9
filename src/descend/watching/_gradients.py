"""Whether gradients are zeroed where they should be: what `.grad` was before each backward pass of an optimizer.

A backward pass adds to `.grad`. One that begins with no gradient (None, or zero) is a clean start. Between two updates
there should be exactly one: none means that an older gradient was still there, several that earlier ones were lost.
Passes that do not touch the optimizer's parameters do not count, so the losses of a GAN do not disturb each other.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

SAMPLED: Final = 3  # parameters of an optimizer that are looked at
MOST: Final = 1000  # backward passes between two updates that are remembered
SEARCHES: Final = 64  # backward passes after which no more is looked for parameters that get a gradient

Token = tuple[int, int] | None  # which tensor, and how often it was written to


@dataclass(slots=True)
class Pass:
    """One backward pass. `clean` says whether it was a clean start; None where nobody looked."""

    loss: float | Tensor | None
    factor: float  # the plain numbers that the loss was multiplied by
    summed: bool  # whether it is a sum over rows divided by a number, so that the losses of a batch's parts add up
    clean: bool | None


@dataclass
class Counts:
    """Steps that were checked, and what was wrong with them."""

    steps: int = 0
    stale: int = 0
    lost: int = 0
    backwards: list[int] = field(default_factory=list)  # of the newest checked steps


class Gradients:
    """The gradients of one optimizer's parameters, from update to update."""

    def __init__(self, parameters: list[Tensor], *, alone: bool) -> None:
        """Of a single optimizer (`alone`) it is enough, where nobody looks, that a pass has touched a gradient."""
        self.parameters = parameters
        self._alone = alone
        self.passes: list[Pass] = []  # since the last update
        self.counts = Counts()
        self._updates = 0
        self._canary: Tensor | None = None
        self._sample: list[Tensor] = []
        self._searches = 0
        self._before: list[Token] = []
        self._after: list[Token] = []
        self._clean: bool | None = None
        self._plain = False  # whether nobody looks at the pass under way
        self._mark: Token = None

    def before_backward(self, *, look: bool) -> None:
        """Take note of the gradients; `look` says whether to spend a few microseconds on whether they are zero."""
        self._plain = self._alone and not look and bool(self._sample)
        if self._plain:
            self._mark = _token(self._sample[0])
            return
        if not self._sample:
            self._clean = all(parameter.grad is None for parameter in self.parameters) or None
            return
        self._before = [_token(each) for each in self._sample]
        if not any(self._before):
            self._clean = True
        elif self._before == self._after:
            self._clean = False  # nothing has written to them since the last pass
        else:
            self._clean = all(_is_zero(parameter) for parameter in self._sample) if look else None

    def after_backward(self, loss: float | Tensor | None, factor: float, summed: bool) -> None:
        """Add the pass to `passes` if it has touched the gradients."""
        if self._plain:
            if _token(self._sample[0]) != self._mark and len(self.passes) < MOST:
                self.passes.append(Pass(loss, factor, summed, None))
            return
        if not self._sample:
            self._search()
        self._after = [_token(each) for each in self._sample]
        if self._after != self._before and len(self.passes) < MOST:
            self.passes.append(Pass(loss, factor, summed, self._clean))

    def _search(self) -> None:
        """Choose parameters to look at, evenly spaced among those that have a gradient now."""
        if self._searches < SEARCHES:
            self._searches += 1
            have = [each for each in self.parameters if each.grad is not None and not each.grad.is_sparse]
            self._sample = have[:: -(-len(have) // SAMPLED) or 1]
            self._before = []
            self._canary = min(have[:4], key=Tensor.numel, default=None)

    def counted(self) -> list[Pass]:
        """The passes whose sum the gradient is: those from the last clean start on."""
        if len(self.passes) < 2:
            return self.passes
        starts = [number for number, each in enumerate(self.passes) if each.clean]
        return self.passes[starts[-1] if starts else 0 :]

    def rewritten(self) -> bool:
        """Whether something has written to the gradients since the last backward pass, as clipping does."""
        return self._after != [_token(each) for each in self._sample]

    def spoiled(self) -> bool:
        """Whether NaN or an infinity has come all the way back to a small parameter near the input.

        Costs 4 microseconds; NaN spreads to all units of a layer in one product. On an accelerator, to look would be
        to wait, and the answer is no.
        """
        gradient = self._canary.grad if self._canary is not None else None
        return gradient is not None and gradient.is_cpu and not math.isfinite(gradient.sum().item())

    def updated(self, *, judge: bool) -> None:
        """The optimizer has made an update: judge the passes before it, where all were looked at."""
        if judge and self.passes and all(each.clean is not None for each in self.passes):
            clean = sum(bool(each.clean) for each in self.passes)
            self.counts.steps += 1
            self.counts.stale += clean == 0 and self._updates > 0
            self.counts.lost += clean > 1
            self.counts.backwards = [*self.counts.backwards, len(self.passes)][-100:]
        self._updates += 1
        self.passes = []

    def facts(self) -> dict[str, Any]:
        counts = self.counts
        return {
            "steps": counts.steps,
            "stale": counts.stale,
            "lost": counts.lost,
            "backwards": statistics.median(counts.backwards) if counts.backwards else 0,
        }


def _token(parameter: Tensor) -> Token:
    gradient = parameter.grad
    return None if gradient is None else (id(gradient), gradient._version)


def _is_zero(parameter: Tensor) -> bool:
    return parameter.grad is None or not bool(torch.any(parameter.grad))
