"""Pool: the chunks of all cohorts over the cores; one place that knows of threads, progress and Ctrl-C."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple, TypeVar

import torch

from descend.recipe import Recipe
from descend.sweeping._cohort import Cohort, Lane, cohorts
from descend.sweeping._drive import Witness, chunk_size, drive, lane_of
from descend.train.build import cores
from descend.train.fit import torch_to_ourselves
from descend.train.progress import progress_bar
from descend.train.stop import asked_to_stop

Tick = Callable[[int], object]
"""What a witness calls with the run-steps that were made, for the progress bar."""


class Trained(NamedTuple):
    """How the work was done: `lanes` says how many runs each lane trained, and why no faster one did."""

    seconds: float
    lanes: tuple[tuple[Lane, str, int], ...]
    interrupted: bool


def train_all(
    recipes: Sequence[Recipe],
    witness: Callable[[Cohort, Tick], Witness],
    alone: Callable[[Cohort, threading.Event], None],
    *,
    progress: bool = False,
    workers: int | None = None,
    at_once: int | None = None,
) -> Trained:
    """Train every recipe in the fastest lane that takes it: chunks over threads, then run by run what is left.

    `witness(chunk, tick)` makes the one who is told of a chunk; `alone(cohort, asked)` trains the runs of a cohort that
    none of the lanes takes. Torch's own threads are set to one, since every core has a chunk of its own. Of the runs of
    chunks no more than `at_once` are in training at a time, or one for each worker.
    """
    started = time.perf_counter()
    workers = workers or cores()
    with torch_to_ourselves(0), asked_to_stop() as asked:
        groups = cohorts(recipes, lane_of)
        total = sum(len(group) * group.parts.steps for group in groups)
        torch.set_num_threads(1)
        most = max(1, at_once // workers) if at_once else len(recipes)
        chunks = [
            chunk
            for group in groups
            if group.lane != "alone"
            for chunk in group.chunks(min(most, size_of(group, workers)))
        ]
        with progress_bar("training", total, shown=progress) as bar:
            done = 0
            counting = threading.Lock()

            def tick(run_steps: int) -> None:
                nonlocal done
                with counting:
                    done += run_steps
                    bar(done, None, time.perf_counter())

            def one(chunk: Cohort) -> None:
                torch.set_num_threads(1)
                if not asked.is_set():
                    with witness(chunk, tick) as told:
                        drive(chunk, told, asked)

            _over_threads(one, chunks, workers, asked)
            for group in groups:
                if group.lane == "alone" and not asked.is_set():
                    alone(group, asked)
    return Trained(time.perf_counter() - started, _lanes(groups), asked.is_set())


def size_of(group: Cohort, workers: int) -> int:
    """Runs of a chunk: what suits the lane, or fewer where there would not be a chunk for every worker."""
    return min(chunk_size(group), -(-len(group) // workers))


T = TypeVar("T")


def _over_threads(work: Callable[[T], None], items: Sequence[T], workers: int, asked: threading.Event) -> None:
    """Call `work` with every item, on some threads; the first error ends all, once the others have come to a stop."""
    with ThreadPoolExecutor(min(workers, max(1, len(items)))) as pool:
        waiting: set[Future[None]] = {pool.submit(work, item) for item in items}
        try:
            while waiting:
                # a wait without end would not let the signal of a Ctrl-C through
                finished, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
        except BaseException:
            asked.set()
            raise
        finally:
            for future in waiting:
                future.cancel()


def _lanes(groups: Sequence[Cohort]) -> tuple[tuple[Lane, str, int], ...]:
    counts: dict[tuple[Lane, str], int] = {}
    for group in groups:
        counts[group.lane, group.why] = counts.get((group.lane, group.why), 0) + len(group)
    return tuple((lane, why, count) for (lane, why), count in counts.items())
