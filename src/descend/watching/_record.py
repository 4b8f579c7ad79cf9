"""What a watched loop writes: rows and notes; and the promise that nothing of ours ends the training."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from descend.catalog import Value
from descend.doctor._live import Live
from descend.errors import DescendError
from descend.facts.non_finite import Problem
from descend.run import Recorder

BLOCK: Final = 20  # rows that wait for their losses to come from an accelerator, in one transfer
TABLES: Final = 50  # sets of series written together: a recurrent cell is called another number of times each step


class Record:
    """The writer of a watched run. `step` counts updates, `examples` rows trained on."""

    def __init__(self, folder: Path, settings: Mapping[str, Value]) -> None:
        self.recorder = Recorder(folder, settings)
        self.open = True
        self.step = 0
        self.examples = 0
        self.began = time.perf_counter()
        self.paused = 0.0  # seconds that were ours
        self._waiting: list[tuple[int, int, float, Any, dict[str, float]]] = []
        self._tables: dict[tuple[str, ...], int] = {}  # sets of names that were written together, and the last step
        self._lost = False  # whether a loss that waited was not finite
        self._off: set[str] = set()
        self._broken = False

    @property
    def seconds(self) -> float:
        """Of training, as far as it was not ours."""
        return time.perf_counter() - self.began - self.paused

    def update(self, loss: float | Tensor | None, lrs: list[float], *, now: bool) -> None:
        """The row of an update; unless `now`, a loss on an accelerator waits for others."""
        named = {f"lr/{number}": lr for number, lr in enumerate(lrs)}
        if not isinstance(loss, Tensor) and not self._waiting:
            self._write(self.step, self.examples, self.seconds, loss, named)
            return
        self._waiting.append((self.step, self.examples, self.seconds, loss, named))
        if now or len(self._waiting) >= BLOCK:
            self.flush()

    def row(self, values: Mapping[str, float], step: int | None = None) -> None:
        """What was measured besides: of two rows of the same names at a step the first stands.

        Names that vary from row to row do not make a table each time.
        """
        names = tuple(values)
        if names not in self._tables and len(self._tables) >= TABLES:
            known = [table for table in self._tables if set(table) <= set(names)]
            names = max(known, key=len, default=())
        step = self.step if step is None else step
        if names and self._tables.get(names, -1) < step:
            self._tables[names] = step
            row = {name: values[name] for name in names}
            self._put(self.recorder.log, step, self.examples, self.seconds, row)

    def flush(self) -> None:
        """Write the rows that wait. The first loss among them that is not finite is noted: nobody saw it before."""
        waiting, self._waiting = self._waiting, []
        tensors = [loss for *_, loss, _ in waiting if isinstance(loss, Tensor)]
        read = iter(torch.stack(tensors).tolist() if tensors else [])
        for step, examples, seconds, loss, lrs in waiting:
            value = next(read) if isinstance(loss, Tensor) else loss
            self._write(step, examples, seconds, value, lrs)
            if isinstance(loss, Tensor) and not math.isfinite(value) and not self._lost:
                self._lost = True
                problem = Problem("loss", "the batch", value)
                self.note("non_finite", step, sentence=f"At step {step:,} {problem.sentence}", **problem.fields())

    def _write(self, step: int, examples: int, seconds: float, loss: float | None, lrs: dict[str, float]) -> None:
        self._put(self.recorder.log, step, examples, seconds, lrs if loss is None else {"loss/batch": loss, **lrs})

    def note(self, kind: str, step: int, **details: Any) -> None:
        self._put(self.recorder.note, kind, step, **details)

    def facts(self, **topics: Mapping[str, Any]) -> None:
        """Note what is known for certain, by topic."""
        self.note("facts", self.step, **topics)

    def end(self, why: str, details: Mapping[str, Any], live: Live | None = None) -> None:
        """The last note, and a look of the doctor at the whole record."""
        self.note("ended", self.step, why=why, **details)
        if live is not None:
            live.end(self.step)
        self.release()

    def release(self) -> None:
        """Give the run back."""
        self.open = False
        with contextlib.suppress(OSError, DescendError):  # what could be written has been
            self.recorder.close()

    # --- nothing of ours may end the training -------------------------------------------------------------------------

    def guard(self, part: str, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function`; if it raises, report that once and do without that part from then on."""
        if part in self._off or self._broken:
            return
        try:
            function(*arguments)
        except Exception as error:  # whatever it is, it must not end the training
            self._off.add(part)
            self.report(
                f"Watching the {part} failed at step {self.step + 1} and is switched off: "
                f"{type(error).__name__}: {error}"
            )

    def report(self, sentence: str) -> None:
        """Say what went wrong with watching, in the record and as a warning."""
        self.note("monitor", self.step, sentence=sentence)
        self._warn(sentence)

    def _put(self, write: Callable[..., None], *arguments: Any, **details: Any) -> None:
        """Write; where that fails, as on a full disk, what was recorded stays, and the rest is not recorded."""
        if self._broken:
            return
        try:
            write(*arguments, **details)
        except (OSError, DescendError) as error:
            self._broken = True
            self._warn(f"Watching ends at step {self.step + 1}, training goes on: {type(error).__name__}: {error}")

    def _warn(self, sentence: str) -> None:
        with contextlib.suppress(Warning):  # where warnings are errors, this one must not end the training either
            warnings.warn(sentence, stacklevel=2)
