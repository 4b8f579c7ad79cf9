"""The progress bar: on a terminal, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

REDRAW_SECONDS: Final = 0.1


Bar = Callable[[int, float | None, float], object]
"""What the trainer calls at every step: bar(step, loss, now), with a clock in seconds. Many runs have no one loss."""


@contextmanager
def progress_bar(title: str, steps: int, *, shown: bool) -> Iterator[Bar]:
    """A bar on standard error if `shown` and standard error is a terminal, else one that does nothing."""
    if not (shown and sys.stderr.isatty()):
        yield lambda step, loss, now: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
    )
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as progress:
        task = progress.add_task(title, total=steps, told="")
        drawn = 0.0

        def draw(step: int, loss: float | None, now: float) -> None:
            nonlocal drawn
            if now - drawn >= REDRAW_SECONDS:
                drawn = now
                progress.update(task, completed=step, told="" if loss is None else f"loss {loss:.4g}", refresh=True)

        yield draw
