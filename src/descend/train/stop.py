"""When to stop: early, with the weights that were best, or because somebody asks."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from torch import Tensor, nn


@dataclass
class EarlyStopping:
    """Stops after `patience` evaluations in a row without a loss lower than the best by more than `min_delta`.

    Keeps a real copy of the best weights (and buffers). NaN is never better. Without patience it only watches.
    """

    patience: int | None = None
    min_delta: float = 0.0
    best_loss: float = math.inf
    best_step: int = 0
    evaluations_since: int = 0
    best_weights: dict[str, Tensor] | None = None

    def see(self, loss: float, step: int, model: nn.Module) -> None:
        """Take note of one evaluation."""
        if loss < self.best_loss - self.min_delta:
            self.best_loss, self.best_step, self.evaluations_since = loss, step, 0
            if self.patience is not None:
                self.best_weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        else:
            self.evaluations_since += 1

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.evaluations_since >= self.patience

    def restore(self, model: nn.Module) -> None:
        """Give the model its best weights back, where they were kept."""
        if self.best_weights is not None:
            model.load_state_dict(self.best_weights)


@contextlib.contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets. A second Ctrl-C interrupts at once. Only the main thread gets signals."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
