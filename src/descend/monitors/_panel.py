"""Panel: a run's monitors, when each is due, and what happens if one fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from descend.monitors._monitor import Monitor, Need, Step
from descend.monitors._sample import some_rows


class Panel:
    """Measures with `monitors` at updates 1, 1 + every, 1 + 2 every, ...; a dear monitor at every few of these.

    Which monitors are due depends on the update's number alone, so a resumed run measures where the uncut one does.
    A monitor that raises is switched off for the rest of the run and `report`ed, once, in one sentence: training
    never ends because of what watches it.
    """

    def __init__(
        self,
        monitors: Mapping[str, Monitor],
        every: int = 1,
        report: Callable[[str], object] = warnings.warn,
        rows_of: Callable[[Tensor], Tensor] = some_rows,
    ) -> None:
        """`rows_of` picks what is kept of a parameter from before to after the update."""
        self._monitors = dict(monitors)
        self._every = every
        self._report = report
        self._rows_of = rows_of
        self._before: list[Tensor] = []  # rows of the parameters before the update

    def due(self, number: int) -> dict[str, Monitor]:
        """The monitors to measure with at update `number`, counted from 1."""
        turn, rest = divmod(number - 1, self._every)
        return {} if rest else {name: it for name, it in self._monitors.items() if turn % it.every == 0}

    def needs(self, number: int) -> frozenset[Need]:
        """What they look at beyond a plain Step."""
        return frozenset[Need]().union(*(monitor.needs for monitor in self.due(number).values()))

    @torch.no_grad()
    def measure(
        self, step: Step, when: Literal["before", "after"], missing: frozenset[Need] = frozenset()
    ) -> dict[str, Tensor]:
        """What is due at `step`: before the update, and then (the monitors that need `updates`) after it.

        `step.parameters` must be the parameters themselves, so that the update shows in them: the panel fills in
        `step.updates`. The trainer fills in `step.activations` where they are among the `needs`. Monitors that need
        what is `missing` at this step are passed over.
        """
        if "updates" in self.needs(step.number):
            rows = [self._rows_of(parameter) for parameter in step.parameters.values()]
            if when == "before":
                self._before = [each.clone() for each in rows]
            else:
                step.updates = dict(zip(step.parameters, torch._foreach_sub(rows, self._before), strict=True))
        values: dict[str, Tensor] = {}
        for name, monitor in self.due(step.number).items():
            if ("updates" in monitor.needs) == (when == "after") and not monitor.needs & missing:
                try:
                    values |= monitor.measure(step)
                except Exception as error:  # whatever it is, it is reported and must not end the training
                    del self._monitors[name]
                    self._report(
                        f"Monitor '{name}' failed at step {step.number} and is switched off: "
                        f"{type(error).__name__}: {error}"
                    )
        return values


def read(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalar tensors as floats, with one transfer from the device."""
    if not values:
        return {}
    return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))
