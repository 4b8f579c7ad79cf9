"""What happens in a step of a watched loop: forward passes, backward passes, then the update."""

from __future__ import annotations

import functools
import math
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from descend.doctor._live import Live
from descend.facts import graph, non_finite
from descend.facts.network import unwrapped
from descend.facts.optimizer import named_in
from descend.facts.rows import Rows
from descend.monitors._monitor import Monitor
from descend.watching import _backward
from descend.watching._evaluate import Evaluation, Shapes
from descend.watching._facts import EARLY, Graph, note_network, note_start, of_gradients, of_modes, of_schedule
from descend.watching._forward import Forwards, Seen, first_tensor
from descend.watching._optimizer import Updates
from descend.watching._record import Record

CHECKED: Final = 8  # updates, the first ones, before which it is seen whether `.grad` is zero; later the measured ones
HUNTS: Final = 3  # times that the source of a NaN is looked for: it costs some steps, and the first one matters


class Loop:
    """Follows one loop by the hooks that it sets, and writes what they see to `record`.

    A step is an update of the first optimizer. Of the others only the parameters are measured.
    """

    def __init__(
        self,
        record: Record,
        models: Mapping[str, nn.Module],
        optimizers: Sequence[Optimizer],
        monitors: Mapping[str, Monitor],
        every: int,
        loss: Callable[..., Any] | None,
        splits: Mapping[str, Rows],
        scheduler: Any,
        evaluate_every: int | None,
        live: Live | None,
    ) -> None:
        self.record, self.live = record, live
        self.given_loss: float | None = None  # of the coming update, from the user
        self._models, self._loss, self._scheduler = models, loss, scheduler
        self._train = splits.get("train")
        self._graph = Graph()
        self._reading: graph.Reading | None = None  # of this step
        self._value: Any = None  # the loss of the backward pass under way
        self._factor, self._scales, self._summed = 1.0, list[Tensor](), False
        self._target: Tensor | None = None
        self._share: float | None = None  # what a loop that accumulates gradients multiplies its losses by
        self._batch, self._axis, self._one_by_one = (
            0,
            0,
            False,
        )  # rows, where the inputs show them and where they do not
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self._processes = torch.distributed.get_world_size() if distributed else 1  # each with as many rows
        self._hunts = HUNTS
        self._begun = False  # whether an update has been made
        self.evaluation: Evaluation | None = None
        if loss is not None or any(rows.named for rows in splits.values()):
            model = unwrapped(next(iter(models.values())))
            self.evaluation = Evaluation(model, loss, splits, evaluate_every)
        self._forwards: list[Forwards] = []
        self._updates: list[Updates] = []
        try:
            self._attach(optimizers, monitors, every, splits)
        except BaseException:
            self.detach()
            raise

    def _attach(
        self, optimizers: Sequence[Optimizer], monitors: Mapping[str, Monitor], every: int, splits: Mapping[str, Rows]
    ) -> None:
        guard = self.record.guard
        guard("data and the network", note_start, self.record, self._models, optimizers, splits)
        self._forwards = [Forwards(model, guard) for model in self._models.values()]
        for optimizer in optimizers:
            others = [other for other in optimizers if other is not optimizer]
            update = Updates(optimizer, others, self._models, monitors, every, self.record, first=not self._updates)
            update.hook(self.record, self._before_update, self._after_update)
            self._updates.append(update)
        _backward.listen(self)
        self._begin_step()
        self.record.began = time.perf_counter()

    def detach(self) -> None:
        """Leave no hook behind, and keep no batch."""
        self._reading = self._target = self._value = None
        _backward.leave(self)
        for forward in self._forwards:
            forward.remove()
        for update in self._updates:
            update.remove()

    def end(self, *, finished: bool) -> None:
        """What is to be said of the whole."""
        if not self._begun and finished:
            self._first_look()
        elif finished:
            self.record.guard("evaluations", self._evaluate)
        self.record.guard("steps", self._note_counts)
        self.record.guard("steps", self.record.flush)

    def __del__(self) -> None:
        """Whoever forgot to close it, and has dropped model and optimizer: the record is whole, but for its end."""
        self.evaluation = None  # the model may be gone in part
        if self.record.open:
            self.detach()
            self.end(finished=False)
            self.record.end("finished", {})

    # --- a step -------------------------------------------------------------------------------------------------------

    def _begin_step(self) -> None:
        """Say what the forward passes of the coming step are to show."""
        number = self.record.step + 1
        for update in self._updates:
            update.expect(number)
        self._due = self._updates[0].due
        self._look = self._due or number <= CHECKED
        self._reading = self.given_loss = None
        activations = self._due and self._updates[0].needs_activations(number)
        for forward in self._forwards:
            forward.show("activations" if activations else "output" if self._due or number <= EARLY else "nothing")

    def before_backward(self, roots: Sequence[Tensor]) -> None:
        """Called with the losses that a backward pass begins at."""
        self.record.guard("backward passes", self._before_backward, roots)

    def after_backward(self) -> None:
        """Called when the gradients are there."""
        self.record.guard("backward passes", self._after_backward)

    def _before_backward(self, roots: Sequence[Tensor]) -> None:
        node, self._factor, self._scales = graph.unscaled(roots[0].grad_fn if len(roots) == 1 else None)
        self._target = graph.saved(node, "_saved_target")
        self._summed = self._factor != 1 and getattr(node, "_saved_reduction", None) == graph.SUM
        if self.record.step == 0:
            for forward in self._forwards:
                if forward.latest is None and not forward.modes.train_steps and not graph.compiled(roots[0]):
                    forward.look_inside()
        self._value = value = self._read_loss(roots)
        if self._reading is None and (self._due or self.record.step < EARLY):
            self.record.guard("graph", self._read, roots)
        if self._hunts and isinstance(value, float) and not math.isfinite(value):
            self.record.guard("search for NaN", self._hunt)
        for forward in self._forwards:
            forward.end_capture()
        for update in self._updates:
            update.gradients.before_backward(look=self._look)

    def _read_loss(self, roots: Sequence[Tensor]) -> float | Tensor | None:
        """The loss, not scaled for mixed precision: on an accelerator a tensor, so that nothing waits for it."""
        total = _sum(roots)
        if total is None:
            return None
        for scale in self._scales:
            total = total / scale
        return total.item() if total.is_cpu or self._look else total

    def _read(self, roots: Sequence[Tensor]) -> None:
        """Look at the graph of the loss."""
        shown = [seen for each in self._forwards if (seen := each.shown) is not None]
        output = next((seen.output for seen in shown), None)
        self._reading = self._graph.read(roots[0], output)
        if self.record.step < EARLY:
            self._graph.reach(roots)
        if self._reading.target is not None:
            self._learn_rows(len(self._reading.target), next((s.first for s in shown if s.first is not None), None))

    def _learn_rows(self, targets: int, first: Tensor | None) -> None:
        """Where the examples of a batch are counted: a sequence may come before the rows, or one example at a time."""
        assert self._reading is not None
        self._batch, self._one_by_one = targets * self._reading.terms, self._reading.terms > 1
        sequence_first = first is not None and first.dim() > 2 and first.shape[0] != targets == first.shape[1]
        self._axis = 1 if sequence_first else 0

    def _after_backward(self) -> None:
        self.record.examples += self._rows() * self._processes
        for update in self._updates:
            update.gradients.after_backward(self._value, self._factor, self._summed)
            if self._due and not update.searches:
                update.after_backward(self._scales)
        for forward in self._forwards:
            forward.after_backward()

    def _rows(self) -> int:
        """The number of examples of the backward pass just made; 0 where it went through an older forward pass."""
        firsts = [seen.first for each in self._forwards if (seen := each.latest) is not None]
        if not firsts:
            return 0 if any(each.modes.train_steps for each in self._forwards) else self._batch
        if self._one_by_one:
            return self._batch
        return max([self._batch if first is None else first.shape[self._axis] for first in firsts])

    def _before_update(self, update: Updates) -> None:
        """The gradients are there, and the parameters are still those that they were taken at."""
        if not self._begun:
            self._first_look()
        if self._hunts and not self._scales and update.gradients.spoiled():
            self.record.guard("search for NaN", self._hunt)
        if update.due and not update.measured_before:
            self.record.guard("monitors", self._measure, update)

    def _measure(self, update: Updates) -> None:
        """Show the monitors the step before its update."""
        shown = next((each.shown for each in self._forwards if each.shown is not None), None)
        loss = self._loss_of(update)
        update.measure_before(loss, shown, self._reading, self.evaluation)

    def _loss_of(self, update: Updates) -> float | Tensor | None:
        """The mean loss of the batch of this update, not scaled for accumulation."""
        if self.given_loss is not None:
            return self.given_loss
        passes = update.passes()
        if len(passes) == 1 and self._share is None:
            return passes[0].loss
        losses = [each.loss for each in passes if each.loss is not None]
        if not losses:
            return None
        total: float | Tensor = functools.reduce(operator.add, losses)
        if all(each.summed for each in passes):
            return total
        share = passes[0].factor
        if len(passes) > 1 and abs(len(passes) * share - 1) < 1e-6:
            self._share = share
        # a last batch may have fewer parts than the number by which each of them is divided
        return total / len(losses) / (share if share == self._share else 1)

    def _after_update(self, update: Updates) -> None:
        loss = self._loss_of(update) if update.first else None
        if update.measured_before:
            self.record.guard("monitors", self._measured, update)
        update.gradients.updated(judge=self._look and not update.searches)
        update.end()
        if not update.first:
            return
        self.record.step += 1
        step, live = self.record.step, self.live
        lrs = [lr for each in self._updates for lr in each.lrs]
        self.record.update(loss, lrs, now=self._due)
        if step in (1, EARLY):
            self.record.guard("graph", self._graph.note, self.record, dict(named_in(self._models)), loss)
        self._begin_step()
        if step >= CHECKED and step & (step - 1) == 0:
            self.record.guard("steps", self._note_counts)
        if self.evaluation is not None and self.evaluation.due(step, self.record.examples):
            self.record.guard("evaluations", self._evaluate)
        if live is not None:
            live.look(step, self.record.seconds)

    def _measured(self, update: Updates) -> None:
        """Show them the step after it, and write what they saw."""
        self.record.row(update.measure_after(), self.record.step + 1)

    # --- now and then -------------------------------------------------------------------------------------------------

    def _note_counts(self) -> None:
        """What has been counted so far."""
        none = [name for update in self._updates for name in update.never_given()]
        zero = [name for update in self._updates for name in update.always_zero()]
        topics = {
            "modes": of_modes([each.modes for each in self._forwards]),
            "gradients": of_gradients([each.gradients for each in self._updates], none, zero),
        }
        if self._scheduler is not None:
            epochs = self.record.examples / self._train.total if self._train else None
            topics["schedule"] = of_schedule(self._scheduler, self.record.step, epochs)
        self.record.facts(**topics)

    def _first_look(self) -> None:
        """Before the first update, when the loop has shown what it makes of a batch."""
        self._begun = True
        first = self._forwards[0]
        seen = first.latest or first.passed
        buffers, first.buffers = first.buffers or [], []
        with first.unseen():
            for buffer, before in buffers:  # the first forward pass has changed the statistics of batch norm already
                buffer.data.copy_(before)
            self.record.guard("network", note_network, self.record, first.model, seen)
            if first.whole is None or not self._judges_all(first.shown):
                self.evaluation = None
            elif self.evaluation is not None:
                self.evaluation.model = first.whole
                self.evaluation.shapes = Shapes.of(seen.first if seen else None, self._graph.reading)
                self.record.guard("evaluations", self._evaluate)

    def _judges_all(self, shown: Seen | None) -> bool:
        """Whether the loss is given all that the model puts out: what else the loop does to it nobody else can do."""
        given = self._graph.reading.given.get("output_shape")
        return given is None or shown is None or shown.output is None or shown.output.numel() == math.prod(given)

    def _evaluate(self) -> None:
        if self.evaluation is None or self.evaluation.at == self.record.step:
            return
        began = time.perf_counter()
        with self._forwards[0].unseen():
            values, topics = self.evaluation.measure(self.record.step)
        self.record.paused += time.perf_counter() - began
        self.record.row(values)
        self.record.facts(**topics)

    def _hunt(self) -> None:
        """Say where the first number that is not finite comes from, before the update takes it in."""
        self._hunts -= 1
        for forward in self._forwards:
            seen = forward.latest or forward.passed
            if seen is not None and forward.whole is not None:
                loss = self._value if isinstance(self._value, float) else 0.0
                run = functools.partial(forward.again, seen)
                with forward.unseen():
                    problem = non_finite.locate(loss, forward.model, seen.first, run, self._judge(), self._target)
                step = self.record.step + 1
                sentence = f"At step {step:,} {problem.sentence}"
                self.record.note("non_finite", step, sentence=sentence, **problem.fields())
                return

    def _judge(self) -> Callable[[Any], Tensor] | None:
        """The loss of what the model returns, where it is known."""
        loss, target = self._loss, self._target
        if loss is None or target is None:
            return None
        shapes = self.evaluation.shapes if self.evaluation else Shapes()

        def judge(outputs: Any) -> Tensor:
            first = first_tensor(outputs)
            assert first is not None, "the model puts out no tensor"
            value: Tensor = loss(*shapes.as_judged(first, target))
            return value

        return judge


def _sum(roots: Sequence[Tensor]) -> Tensor | None:
    """The loss that backward passes from several losses have in common: their sum."""
    if len(roots) == 1 and roots[0].dim() == 0:
        return roots[0].detach()
    losses = [root.detach().flatten()[0] for root in roots if root.numel() == 1]
    return None if not losses else losses[0] if len(losses) == 1 else torch.stack(losses).sum()
