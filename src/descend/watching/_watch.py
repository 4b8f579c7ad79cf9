"""watch: a Run from a training loop that knows nothing of descend."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from descend.catalog import MONITORS, Value
from descend.errors import DescendError, RunError
from descend.monitors._monitor import chosen
from descend.run import Recorder, Run, new_folder, run_folder
from descend.watching import _backward, _graph
from descend.watching._evaluate import OFTEN, SHARE, Evaluation, Shapes
from descend.watching._forward import Forwards
from descend.watching._gradients import Pass
from descend.watching._optimizer import Updates
from descend.watching._schedule import schedule_facts

EARLY: Final = 3  # updates whose graphs are read
CHECKED: Final = 8  # updates, the first ones, before which `.grad` is looked at; later those that are measured
EVERY: Final = 25  # steps between evaluations, at least
BLOCK: Final = 20  # rows that wait for their losses to come from an accelerator

Data = Any  # a DataLoader, a Dataset or an (inputs, targets) pair


def watch(
    model: nn.Module | Mapping[str, nn.Module],
    optimizer: Optimizer | Sequence[Optimizer],
    *,
    loss: Callable[..., Any] | None = None,
    train: Data = None,
    validation: Data = None,
    scheduler: Any = None,
    runs: str | Path = "runs",
    name: str | None = None,
    every: int = 20,
    monitors: str = "default",
    evaluate_every: int | None = None,
    settings: Mapping[str, Value] | None = None,
) -> Watch:
    """Record a Run from your own training loop, without a line changed in it.

        with descend.watch(model, optimizer, loss=criterion, train=loader, validation=others) as watched:
            for inputs, targets in loader:
                optimizer.zero_grad()
                criterion(model(inputs), targets).backward()
                optimizer.step()
        descend.diagnose(watched.run)

    Or in two lines: `watched = descend.watch(...)` before the loop and `watched.close()` after it.

    The loss is taken from the backward pass. `loss`, `train` and `validation` serve to evaluate the model on 512
    fixed rows of each split and to look at the data. Every update's loss and learning rate are recorded, and every
    `every` updates what the `monitors` see ("default", "all", "none", or names). With several optimizers, a step is an
    update of the first. Training is not changed: weights and random numbers are bit for bit those of the loop alone.

    In a distributed run rank 0 records, and the loss is that of its own rows. Inside a module that `torch.compile`
    runs activations cannot be seen.

    Raises RunError if a run called `name` exists, RecipeError for an unknown monitor.
    """
    return Watch(
        model if isinstance(model, Mapping) else {"model": model},
        [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer),
        loss=loss,
        train=train,
        validation=validation,
        scheduler=scheduler,
        runs=runs,
        name=name,
        every=every,
        monitors=monitors,
        evaluate_every=evaluate_every,
        settings=settings or {},
    )


class Watch:
    """A loop that is being watched: what `watch` returns. `run` is its record, None where another rank records."""

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        optimizers: Sequence[Optimizer],
        *,
        loss: Callable[..., Any] | None,
        train: Data,
        validation: Data,
        scheduler: Any,
        runs: str | Path,
        name: str | None,
        every: int,
        monitors: str,
        evaluate_every: int | None,
        settings: Mapping[str, Value],
    ) -> None:
        for wanted in set(monitors.split(",")) - {"default", "all", "none"}:
            MONITORS.require(wanted)
        self.run: Run | None = None
        self._open = False
        if _rank():
            return
        self._models, self._loss, self._scheduler = dict(models), loss, scheduler
        self._every, self._evaluate_every = every, evaluate_every
        about = {
            "model": ", ".join(type(model).__name__ for model in models.values()),
            "optimizer": ", ".join(type(optimizer).__name__ for optimizer in optimizers),
            "lr": float(optimizers[0].param_groups[0]["lr"]),
            "every": every,
            "monitors": monitors,
        }
        if loss is not None:
            about["loss"] = getattr(loss, "__name__", type(loss).__name__)
        self._recorder = Recorder(_folder(runs, name, models, optimizers), about | _plain(settings))
        self.run = Run(self._recorder.folder)
        self._open, self._process = True, os.getpid()
        self._off: set[str] = set()
        self._step = 0  # updates of the first optimizer
        self._examples = 0
        self._pending: list[tuple[int, int, float, Any, dict[str, float]]] = []
        self._tables: list[tuple[str, ...]] = []
        self._given_loss: float | None = None
        self._root: tuple[Any, float, list[Tensor]] | None = None
        self._rows = 0
        self._share: float | None = None  # what a loop that accumulates gradients multiplies its losses by
        self._reading: _graph.Reading | None = None
        self._facts_of_graph: _graph.Reading | None = None
        self._reached: set[int] = set()
        self._graph_is_known = True
        self._train_steps, self._train_rows = 0, 0
        self._evaluation: Evaluation | None = None
        self._evaluated, self._evaluations = -1, 0
        self._interval = evaluate_every or EVERY
        self._forwards: list[Forwards] = []
        self._updates: list[Updates] = []
        self._began = time.perf_counter()
        self._paused = 0.0  # seconds that were ours
        try:
            self._begin(list(optimizers), train, validation, chosen(monitors))
        except BaseException:
            self._detach()
            self._recorder.close()
            raise
        _OPEN.add(self)

    # --- what the user calls ------------------------------------------------------------------------------------------

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, GeneratorExit):
            self.close()
        else:
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self._close(why, error=f"{type(error).__name__}: {error}")

    def loss(self, value: float | Tensor) -> None:
        """The loss of the coming update, where the backward pass does not show it."""
        if self._open:
            self._given_loss = float(value)

    def log(self, values: Mapping[str, float | Tensor]) -> None:
        """Add series of your own, at the current step."""
        if self._open:
            self._row({name: float(value) for name, value in values.items()})

    def close(self) -> None:
        """End the record, and leave no hook behind. May be called twice."""
        self._close("finished")

    def __del__(self) -> None:
        if getattr(self, "_open", False) and not sys.is_finalizing():
            self._evaluation = None  # the model may be gone in part
            self._close("finished")

    # --- opening and closing ------------------------------------------------------------------------------------------

    def _begin(self, optimizers: list[Optimizer], train: Data, validation: Data, monitors: Mapping[str, Any]) -> None:
        parameters = sum(p.numel() for m in self._models.values() for p in m.parameters() if not _lazy(p))
        self._recorder.note(
            "started",
            0,
            parameters=parameters,
            versions={"descend": version("descend"), "torch": torch.__version__},
        )
        self._guard("facts", self._note_facts, optimizers, train, validation)
        self._forwards = [Forwards(model, self._guard) for model in self._models.values()]
        for number, optimizer in enumerate(optimizers):
            before = lambda *hook, number=number: self._guard("update", self._before_update, number, hook)  # noqa: E731
            after = lambda *hook, number=number: self._guard("update", self._after_update, number)  # noqa: E731
            self._updates.append(
                Updates(number, optimizer, self._models, optimizers, monitors, self._every, self._report, before, after)
            )
        _backward.listen(self)
        self._arm()
        self._began = time.perf_counter()

    def _note_facts(self, optimizers: list[Optimizer], train: Data, validation: Data) -> None:
        """What is known before the first update."""
        from descend.facts import data, network, optimizer, rows

        splits = {name: rows.read(given) for name, given in (("train", train), ("validation", validation))}
        known = {name: each for name, each in splits.items() if each is not None}
        model = next(iter(self._models.values()))
        facts: dict[str, Any] = {"optimizer": optimizer.of(self._models, optimizers)}
        if known:
            facts["data"] = data.describe(known)
        inputs = known["train"].inputs if "train" in known else None
        self._recorder.note("facts", 0, **facts)
        for name in known:
            if bad := facts["data"][name].get("non_finite"):
                self._note_bad_data(name, bad)
        if self._loss is not None and known:
            self._evaluation = Evaluation(network.unwrapped(model), self._loss, known)
        if "train" in known:
            self._train_rows, self._train_steps = known["train"].total, known["train"].batches or 0
            self._interval = self._evaluate_every or max(EVERY, self._train_steps)
        if not any(_lazy(parameter) for parameter in model.parameters()):
            self._recorder.note("facts", 0, network=network.of(model, inputs))

    def _note_bad_data(self, split: str, bad: Mapping[str, Any]) -> None:
        column = "" if bad["column"] is None else f", column {bad['column']}"
        self._recorder.note(
            "non_finite",
            0,
            sentence=f"The {split} {bad['part']} hold {bad['value']} at row {bad['row']}{column} "
            f"({bad['count']} such values).",
            what="input" if bad["part"] == "inputs" else "target",
            where=f"{split} {bad['part']}",
            value=bad["value"],
            row=bad["row"],
            column=bad["column"],
        )

    def _close(self, why: str, **details: Any) -> None:
        if not self._open:
            return
        if self._process != os.getpid():  # a copy in a forked process: the record is the parent's
            self._open = False
            return
        self._detach()
        if why == "finished":
            self._guard("evaluate", self._evaluate)
        self._guard("facts", self._note_counts)
        self._guard("record", self._flush)
        self._open = False
        _OPEN.discard(self)
        with contextlib.suppress(OSError, DescendError):  # on a full disk even this cannot be written
            self._recorder.note("ended", self._step, why=why, **details)
        with contextlib.suppress(OSError, DescendError):
            self._recorder.close()

    def _detach(self) -> None:
        _backward.leave(self)
        for each in (*self._forwards, *self._updates):
            each.remove()

    # --- nothing of ours may end the training -------------------------------------------------------------------------

    def _guard(self, part: str, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function`; if it raises, report that once and do without it from then on."""
        if part in self._off or not self._open:
            return
        try:
            function(*arguments)
        except Exception as error:
            self._off.add(part)
            self._report(
                f"Watching the {_PARTS[part]} failed at step {self._step + 1} and is switched off: "
                f"{type(error).__name__}: {error}"
            )

    def _report(self, sentence: str) -> None:
        with contextlib.suppress(OSError, DescendError):
            self._recorder.note("monitor", self._step, sentence=sentence)
        with contextlib.suppress(Warning):  # where warnings are errors, this one must not end the training either
            warnings.warn(sentence, stacklevel=2)

    # --- a step -------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Say what the forward passes of the coming step are to show."""
        number = self._step + 1
        self._due = any(update.due(number) for update in self._updates)
        self._look = self._due or number <= CHECKED
        self._rows = 0
        for forward in self._forwards:
            forward.capturing = self._due or number <= EARLY
            forward.activations = self._updates[0].wants_activations(number)

    def before_backward(self, roots: Sequence[Tensor]) -> None:
        """Called with the losses that a backward pass begins at."""
        self._guard("backward", self._before_backward, roots)

    def after_backward(self) -> None:
        """Called when the gradients are there."""
        self._guard("backward", self._after_backward)

    def _before_backward(self, roots: Sequence[Tensor]) -> None:
        losses = [root.detach() for root in roots if root.numel() == 1]
        factor: float = 1.0
        scales: list[Tensor] = []
        if len(roots) == 1 and roots[0].grad_fn is not None:
            _, factor, scales = _graph.unscaled(roots[0].grad_fn)
        value: Any = None
        if losses:
            total = losses[0].flatten()[0] if len(losses) == 1 else torch.stack([x.flatten()[0] for x in losses]).sum()
            for scale in scales:
                total = total / scale
            value = total.item() if total.device.type == "cpu" else total.float()
        self._root = (value, factor, scales)
        seen = [forward.latest for forward in self._forwards if forward.latest is not None]
        firsts = [first for each in seen if (first := each.first) is not None]
        self._rows = max((len(first) for first in firsts), default=0)
        if (self._due or self._step < EARLY) and self._reading is None:
            self._guard("graph", self._read, roots, seen)
        for update in self._updates:
            update.gradients.before_backward(look=self._look)

    def _read(self, roots: Sequence[Tensor], seen: Sequence[Any]) -> None:
        """Look at the graph of the loss."""
        output = next((each.output for each in seen if each.output is not None), None)
        reading = _graph.read(roots[0], output)
        self._reading = reading
        if self._step < EARLY:
            reached = _graph.reached(roots)
            self._graph_is_known &= reached is not None
            self._reached |= reached or set()
            if self._facts_of_graph is None or self._facts_of_graph.loss is None:
                self._facts_of_graph = reading

    def _after_backward(self) -> None:
        value, factor, scales = self._root or (None, 1.0, [])
        self._root = None
        for update in self._updates:
            update.gradients.after_backward(value, factor, self._rows)
            if self._due:
                update.after_backward(scales, self._step + 1)
        self._examples += self._rows
        for forward in self._forwards:
            modes = forward.modes
            if forward.latest is not None:
                modes.train_steps += 1
                modes.train_steps_in_eval += not forward.latest.training
        for update in self._updates:
            if update.in_closure:
                self._guard("monitors", self._measure, update)

    def _before_update(self, number: int, hook: Sequence[Any]) -> None:
        update = self._updates[number]
        if self._evaluated < 0:
            self._guard("evaluate", self._evaluate_first)
        _, arguments, named = hook
        update.in_closure = any(callable(each) for each in (*arguments, *named.values()))
        update.lrs = [float(group["lr"]) for group in update.optimizer.param_groups]
        if not update.in_closure:
            self._guard("monitors", self._measure, update)

    def _measure(self, update: Updates) -> None:
        """What the monitors see before the update."""
        if not update.due(self._step + 1) or update.step is not None:
            return
        counted = update.gradients.counted()
        seen = next((forward.latest for forward in self._forwards if forward.latest is not None), None)
        loss = self._loss_of(counted)
        update.measure_before(self._step + 1, loss, seen, self._reading, self._evaluation)

    def _loss_of(self, passes: Sequence[Pass]) -> Any:
        """The mean loss of the batch whose passes these are, not scaled for accumulation."""
        if self._given_loss is not None:
            return self._given_loss
        passes = [each for each in passes if each.loss is not None]
        if not passes:
            return None
        factor = passes[0].factor
        parts = round(1 / factor) if factor else 0
        if 2 <= len(passes) <= parts and abs(parts * factor - 1) < 1e-6:
            self._share = factor
        losses = [each.loss / factor if factor == self._share == each.factor else each.loss for each in passes]
        return losses[0] if len(losses) == 1 else sum(losses) / len(losses)

    def _after_update(self, number: int) -> None:
        update = self._updates[number]
        first = number == 0
        passes = update.gradients.counted()
        loss = self._loss_of(passes) if first else None
        if update.step is not None:
            self._guard("monitors", self._measured, update)
        update.in_closure = False
        update.gradients.updated(look=self._look)
        if not first:
            return
        self._step += 1
        self._given_loss = None
        lrs = [lr for each in self._updates for lr in each.lrs or each.current_lrs()]
        self._pending.append(
            (self._step, self._examples, self._seconds(), loss, {f"lr/{i}": lr for i, lr in enumerate(lrs)})
        )
        waits = isinstance(loss, Tensor) and not self._due
        if not waits or len(self._pending) >= BLOCK:
            self._guard("record", self._flush)
        if self._step <= EARLY:
            self._guard("graph", self._note_graph, loss)
        self._reading = None
        for forward in self._forwards:
            forward.forget()
        if self._step >= CHECKED and self._step & (self._step - 1) == 0:
            self._guard("facts", self._note_counts)
        self._arm()
        if self._step - max(self._evaluated, 0) >= self._interval:
            self._guard("evaluate", self._evaluate)

    def _measured(self, update: Updates) -> None:
        """What the monitors see after the update, and the row of all they saw."""
        values = update.measure_after()
        if values:
            self._row(values, self._step + 1)

    # --- what is recorded ---------------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        return time.perf_counter() - self._began - self._paused

    def _flush(self) -> None:
        """Write the rows that wait, with their losses in one transfer."""
        pending, self._pending = self._pending, []
        tensors = [loss for _, _, _, loss, _ in pending if isinstance(loss, Tensor)]
        read = iter(torch.stack(tensors).tolist() if tensors else [])
        for step, examples, seconds, loss, lrs in pending:
            value = next(read) if isinstance(loss, Tensor) else loss
            self._recorder.log(step, examples, seconds, ({} if value is None else {"loss/batch": value}) | lrs)

    def _row(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Write a row; names that vary from row to row do not make a new table each time."""
        names = tuple(values)
        if names not in self._tables:
            if len(self._tables) >= TABLES:
                known = [table for table in self._tables if set(table) <= set(names)]
                names = max(known, key=len, default=())
            else:
                self._tables.append(names)
        if names:
            row = {name: values[name] for name in names}
            self._recorder.log(self._step if step is None else step, self._examples, self._seconds(), row)

    def _note_graph(self, loss: Any) -> None:
        """What the graphs of the first steps told."""
        from descend.facts import start

        reading = self._facts_of_graph
        if reading is None:
            return
        classes = None
        shape = reading.given.get("output_shape")
        if reading.loss in ("cross_entropy", "nll") and shape and len(shape) > 1:
            classes = int(shape[1])
        unreached = None
        if self._graph_is_known:
            unreached = [
                name
                for update in self._updates[:1]
                for name, p in update.named_in_models().items()
                if p.requires_grad and id(p) not in self._reached and p.grad is None
            ]
        graph = {
            "loss": reading.loss,
            "ops": reading.ops,
            "given": reading.given,
            "last_op": reading.last_op,
            "unreached": unreached,
        }
        topics: dict[str, Any] = {"graph": graph}
        if self._step == 1 and loss is not None:
            targets = reading.target if reading.target is not None else torch.zeros(0)
            topics["start"] = start.of(float(loss), reading.loss, targets, classes)
        if self._step in (1, EARLY):
            self._recorder.note("facts", self._step, **topics)

    def _note_counts(self) -> None:
        """What has been counted so far."""
        modes = [dataclasses.asdict(forward.modes) for forward in self._forwards]
        summed = {name: sum(each[name] for each in modes) for name in modes[0]}
        gradients = [update.gradients.facts() for update in self._updates]
        facts: dict[str, Any] = {
            "modes": summed,
            "gradients": {
                "steps": sum(each["steps"] for each in gradients),
                "stale": sum(each["stale"] for each in gradients),
                "lost": sum(each["lost"] for each in gradients),
                "backwards": max(each["backwards"] for each in gradients),
                "none": [name for update in self._updates for name in update.never_given],
                "zero": [name for update in self._updates for name in update.always_zero],
            },
        }
        if self._scheduler is not None:
            epochs = self._examples / self._train_rows if self._train_rows else None
            facts["schedule"] = schedule_facts(self._scheduler) | {
                "optimizer_steps": self._step,
                "epochs": epochs,
            }
        self._recorder.note("facts", self._step, **facts)

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def _evaluate_first(self) -> None:
        """Before the first update, when the loop has shown what it makes of a batch."""
        if self._evaluation is not None and self._facts_of_graph is not None:
            seen = self._forwards[0].latest
            self._evaluation.shapes = Shapes.of(seen.first if seen else None, self._facts_of_graph)
        statistics = self._forwards[0].first or []
        now = [buffer.clone() for buffer, _ in statistics]
        for buffer, before in statistics:  # the first forward pass has changed those of batch norm already
            buffer.data.copy_(before)
        try:
            self._evaluate()
        finally:
            for (buffer, _), changed in zip(statistics, now, strict=True):
                buffer.data.copy_(changed)
            self._forwards[0].first = []

    def _evaluate(self) -> None:
        if self._evaluation is None or self._evaluated == self._step:
            return
        start = time.perf_counter()
        self._evaluated = self._step
        for forward in self._forwards:
            forward.ours = True
        try:
            values, predictions = self._evaluation.measure()
        finally:
            for forward in self._forwards:
                forward.ours = False
        self._paused += time.perf_counter() - start
        self._row(values)
        if predictions:
            rows = {f"rows_{name}": len(inputs) for name, (inputs, _) in self._evaluation.rows.items()}
            self._recorder.note("facts", self._step, predictions=predictions, evaluation=rows)
        self._evaluations += 1
        if self._evaluations == OFTEN and self._evaluate_every is None and self._examples:
            rows_a_step = self._examples / max(1, self._step)
            self._interval = max(self._interval, int(self._evaluation.cost / SHARE / rows_a_step))


TABLES: Final = (
    50  # sets of series that are written together: a recurrent cell is called another number of times each step
)

_PARTS: Final = {
    "facts": "facts",
    "forward": "forward passes",
    "backward": "backward passes",
    "graph": "graph of the loss",
    "monitors": "monitors",
    "update": "updates",
    "evaluate": "evaluations",
    "record": "record",
}

_OPEN: Final[weakref.WeakSet[Watch]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what a script has left open."""
    for watched in list(_OPEN):
        error = getattr(sys, "last_value", None)
        watched.__exit__(type(error) if error else None, error, None)


def _rank() -> int:
    """The number of this process in a distributed run; 0 where there is only one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    return int(os.environ.get("RANK", "0"))


def _lazy(parameter: Tensor) -> bool:
    return isinstance(parameter, nn.parameter.UninitializedParameter)


def _plain(settings: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in settings.items() if value is not None}


def _folder(
    runs: str | Path, name: str | None, models: Mapping[str, nn.Module], optimizers: Sequence[Optimizer]
) -> Path:
    """A new folder: the one called `name`, or the next one called after model and optimizer."""
    if name is None:
        kinds = [type(next(iter(models.values()))).__name__, type(optimizers[0]).__name__]
        return new_folder(runs, "-".join(kinds).lower().strip("_"))
    folder = run_folder(runs, name)
    if folder.exists():
        raise RunError(f"{folder} exists already. Choose another name.")
    return folder
