"""What a watched run notes for certain: of its data and network at the start, of its graph, and of how it is run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from descend.facts import data, graph, network, optimizer, start
from descend.facts.rows import Rows
from descend.watching._forward import Modes, Seen
from descend.watching._gradients import Gradients
from descend.watching._record import Record

EARLY: Final = 3  # updates whose graphs are read
PERIODS: Final = ("T_max", "total_steps", "step_size", "T_0", "total_iters", "milestones")


def note_start(
    record: Record, models: Mapping[str, nn.Module], optimizers: Sequence[Optimizer], splits: Mapping[str, Rows]
) -> None:
    """Topics "optimizer" and "data"; and a note for a number in the data that is none."""
    facts: dict[str, Any] = {"optimizer": optimizer.of(models, optimizers)}
    if splits:
        facts["data"] = data.describe(dict(splits))
    record.facts(**facts)
    for name in splits:
        if bad := facts["data"][name].get("non_finite"):
            _note_bad_data(record, name, bad)


def _note_bad_data(record: Record, split: str, bad: Mapping[str, Any]) -> None:
    column = "" if bad["column"] is None else f", column {bad['column']}"
    place = f"row {bad['row']}{column} ({bad['count']} such values)"
    record.note(
        "non_finite",
        0,
        sentence=f"The {split} {bad['part']} hold {bad['value']} at {place}.",
        what=bad["part"].removesuffix("s"),
        where=f"{split} {bad['part']}",
        value=float(bad["value"]),
        row=bad["row"],
        column=bad["column"],
    )


def note_network(record: Record, model: nn.Module, seen: Seen | None) -> None:
    """Topic "network", from the first batch as the loop gives it to the model, where that is a single tensor."""
    inputs = seen.inputs if seen is not None and not seen.named else ()
    alone = len(inputs) == 1 and isinstance(inputs[0], Tensor)
    record.facts(network=network.of(model, inputs[0].detach() if alone else None))


class Graph:
    """Topic "graph", from the graphs of the losses of the first updates."""

    def __init__(self) -> None:
        self.reading = graph.Reading()  # the first that was understood
        self._direct = False  # whether the loss is given what the model puts out
        self._reached: set[int] | None = set()

    def read(self, root: Tensor, output: Tensor | None) -> graph.Reading:
        reading = graph.read(root, output, closely=self.reading.loss is None)
        if self.reading.loss is None:
            self.reading, self._direct = reading, output is not None and reading.output is output
        elif self._direct and output is not None:
            reading.output = output
        return reading

    def reach(self, roots: Sequence[Tensor]) -> None:
        """Remember which parameters these losses depend on."""
        reached = graph.reached(roots)
        self._reached = None if reached is None or self._reached is None else self._reached | reached

    def note(self, record: Record, parameters: Mapping[str, Tensor], loss: float | Tensor | None) -> None:
        """After the first update also topic "start": its loss beside what was to be expected."""
        reading = self.reading
        shape = reading.given.get("output_shape")
        topics: dict[str, Any] = {
            "graph": {
                "loss": reading.loss,
                "ops": reading.ops,
                "given": reading.given,
                "last_op": reading.last_op,
                "terms": reading.terms,
                "unreached": self._unreached(parameters),
            }
        }
        if record.step == 1 and loss is not None:
            classes = shape[1] if shape and len(shape) > 1 and reading.loss in ("cross_entropy", "nll") else None
            targets = torch.zeros(0) if reading.target is None else reading.target
            kind = None if reading.mixed else reading.loss
            topics["start"] = start.of(float(loss) * reading.share, kind, targets, classes)
        record.facts(**topics)
        if record.step >= EARLY:
            reading.output = reading.target = None  # a batch is not kept

    def _unreached(self, parameters: Mapping[str, Tensor]) -> list[str] | None:
        """Trainable parameters that no loss depends on; None where the graph does not show that."""
        if self._reached is None:
            return None
        return [
            name
            for name, parameter in parameters.items()
            if parameter.requires_grad and parameter.grad is None and id(parameter) not in self._reached
        ]


def of_modes(modes: Sequence[Modes]) -> dict[str, int]:
    """Topic "modes", of all models together."""
    each = [dataclasses.asdict(mode) for mode in modes]
    return {name: sum(mode[name] for mode in each) for name in each[0]}


def of_gradients(gradients: Sequence[Gradients], none: list[str], zero: list[str]) -> dict[str, Any]:
    """Topic "gradients", of all optimizers together."""
    each = [gradient.facts() for gradient in gradients]
    counts = {name: sum(facts[name] for facts in each) for name in ("steps", "stale", "lost")}
    return counts | {"backwards": max(facts["backwards"] for facts in each), "none": none, "zero": zero}


def of_schedule(scheduler: Any, updates: int, epochs: float | None) -> dict[str, Any]:
    """Topic "schedule": the number of the scheduler's own steps after which it has run its course, and those taken."""
    found = (getattr(scheduler, name, None) for name in PERIODS)
    period = next((value for value in found if value is not None), None)
    return {
        "kind": type(scheduler).__name__,
        "period": None if period is None else int(max(period)) if hasattr(period, "__iter__") else int(period),
        "taken": int(scheduler.last_epoch),
        "optimizer_steps": updates,
        "epochs": epochs,
    }
