"""The same recipes on a Ray cluster: Ray schedules, carries and retries, and nothing of that is written here.

Recipes are cut into the chunks that a machine with as many cores would cut them into, and runs that train alone into
one each. Such a job is one Ray task on one CPU, and does what a sweep does here. It trains in a temporary folder of its
worker, so the machines of a cluster need not share a disk, and its run folders come back through Ray's object store as
the contents of their files. They are brought to the disk of the sweep and only then moved to where they belong, a run
whole or not at all, while other jobs still train.

- The runs are those of a sweep here: rows (the clock apart) and weights are equal bit for bit where the machines have
  the same kind of processor and the same versions of descend and torch, and chunks are cut alike.
- A job whose worker or machine was lost is begun anew elsewhere, up to RETRIES times, which is told in a line
  once it has ended. What other jobs have finished is not touched. If its workers are lost each time, the others are
  trained to their end, and a RunError then names the runs that are missing.
- An error of a job's own (a data set that the worker does not have) ends the sweep and is raised as it is.
- Whatever ends the sweep early, Ctrl-C too, keeps every job that has ended by then and cancels the others.

RAY_ADDRESS names the cluster; a session of Ray that the caller has begun is used as it is. Otherwise one is begun on
this machine and ended with the sweep: it listens on the loopback interface alone, asks for a secret token, reports
nothing to anybody and leaves no file behind. On a cluster descend must be installed on every machine, and a recipe that
names a file finds it under the same path there. A worker killed there leaves its folder to its machine's /tmp.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from descend.errors import RunError, optional
from descend.files import naming, sync_folder
from descend.recipe import Recipe
from descend.sweeping._cohort import cohorts
from descend.sweeping._drive import lane_of
from descend.sweeping._pool import Trained, size_of
from descend.sweeping._sweep import train_here
from descend.train.fit import torch_to_ourselves
from descend.train.progress import progress_bar
from descend.train.stop import asked_to_stop

RETRIES: Final = 3  # Ray's own default: a job that kills every worker (it needs more memory than there is) must end

SHOWN: Final = 10  # names in one message

ADDRESS: Final = "RAY_ADDRESS"

ON_THIS_MACHINE: Final = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # there Ray listens on the loopback interface alone; so it does here then
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # or Ray writes one to ~/.ray
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Set for a session that is begun here, where the environment does not say otherwise."""

ON_A_CLUSTER: Final = {"RAY_NUM_REDIS_GET_RETRIES": "1"}
"""Set for a cluster, likewise: an attempt to connect to one that is not there takes 40 s, and Ray makes 20 of them."""


class _Job(NamedTuple):
    """What one task trains."""

    recipes: tuple[str, ...]  # as JSON
    names: tuple[str, ...]  # of the folders of their runs
    run_steps: int


class _Answer(NamedTuple):
    """What a task sends back."""

    files: dict[str, bytes]  # of all its runs, by their paths from the folder of the sweep
    trained: Trained
    lost: int  # workers that were lost over it before


def train_on_ray(
    recipes: Sequence[Recipe], folders: Sequence[Path], *, progress: bool = False, workers: int | None = None
) -> Trained:
    """Train recipes on Ray, each recorded in the folder of its own; all are in one folder, and none exists yet.

    `workers` is how many CPUs a session that is begun here uses, all there are where not given.

    Raises MissingExtraError without Ray, and RunError where no cluster answers at RAY_ADDRESS or, once all others have
    ended, where runs were lost for good.
    """
    started = time.perf_counter()
    lanes: Counter[Any] = Counter()
    missing: list[str] = []
    with torch_to_ourselves(0), asked_to_stop() as asked, _session(workers) as (ray, scratch):
        jobs = _jobs(recipes, folders, cpus=int(ray.cluster_resources().get("CPU", 1)))
        train = ray.remote(num_cpus=1, max_retries=RETRIES)(_train)
        tasks = {train.remote(train_here, job, scratch): job for job in jobs}
        interrupted = False
        done = 0
        with progress_bar("training on Ray", sum(job.run_steps for job in jobs), shown=progress) as bar:
            for job, answer in _as_they_end(ray, tasks, asked):
                if answer is None:
                    missing.extend(job.names)
                    continue
                _keep(answer.files, folders[0].parent)
                lanes.update({(lane, why): runs for lane, why, runs in answer.trained.lanes})
                interrupted |= answer.trained.interrupted
                done += job.run_steps
                bar(done, float("nan"), time.perf_counter())
                if answer.lost and progress:
                    print(_begun_again(answer.lost, f"{len(job.names)} of {len(recipes)} runs"), file=sys.stderr)
    if missing:
        raise RunError(
            f"{len(missing)} of {len(recipes)} runs are missing: all {1 + RETRIES} workers that began them were "
            f"lost: {', '.join(missing[:SHOWN])}{', ...' if len(missing) > SHOWN else ''}. The others are complete. "
            "Workers end so where a machine has too little memory: give it fewer CPUs, and go on with the sweep by its "
            "name."
        )
    counts = tuple((lane, why, runs) for (lane, why), runs in lanes.items())
    return Trained(time.perf_counter() - started, counts, interrupted or bool(tasks))


def _jobs(recipes: Sequence[Recipe], folders: Sequence[Path], cpus: int) -> list[_Job]:
    """The recipes in chunks, each with what it takes to train it on one CPU."""
    groups = cohorts(recipes, lane_of)
    chunks = [chunk for group in groups for chunk in group.chunks(1 if group.lane == "alone" else size_of(group, cpus))]
    return [
        _Job(
            tuple(recipe.to_json() for recipe in chunk.recipes),
            tuple(folders[place].name for place in chunk.places),
            len(chunk) * chunk.parts.steps,
        )
        for chunk in chunks
    ]


def _train(work: Callable[..., Trained], job: _Job, scratch: str | None) -> _Answer:
    """On a worker: train a job in a folder that lives no longer than it."""
    import ray

    with tempfile.TemporaryDirectory(prefix="descend-", dir=scratch) as place:
        recipes = [Recipe.from_json(text) for text in job.recipes]
        trained = work(recipes, [Path(place, name) for name in job.names], workers=1)
        files = [file for file in Path(place).rglob("*") if file.is_file()]
        contents = {file.relative_to(place).as_posix(): file.read_bytes() for file in files}
    attempt: int = ray.get_runtime_context().worker.core_worker.get_current_task_attempt_number()
    return _Answer(contents, trained, attempt)


def _as_they_end(ray: Any, tasks: dict[Any, _Job], asked: threading.Event) -> Iterator[tuple[_Job, _Answer | None]]:
    """Every job that ends, with None where its workers were lost for good, taken out of `tasks`; the rest is cancelled.

    Raises the first error that a job has raised, after the jobs that had ended by then.
    """
    failures: list[Exception] = []
    stopping = False
    try:
        while tasks and not stopping:
            stopping = asked.is_set()
            ended, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=0.2)
            for task in ended:
                job = tasks.pop(task)
                try:
                    answer = ray.get(task)
                except ray.exceptions.RayTaskError as error:
                    failures.append(error.cause)
                    continue
                except ray.exceptions.RayError:
                    answer = None
                yield job, answer
            if failures:
                raise failures[0]
    finally:
        for task in tasks:
            ray.cancel(task)


def _keep(files: dict[str, bytes], into: Path) -> None:
    """Bring the files of some runs to the disk, then move each run to its place."""
    with naming(into), tempfile.TemporaryDirectory(prefix=".arriving-", dir=into) as place:
        for name, content in files.items():
            file = Path(place, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        os.sync()  # once for all: a run has some 10 files, and to bring each there by itself takes 5 ms
        for run in Path(place).iterdir():
            run.rename(into / run.name)
        sync_folder(into)


def _begun_again(lost: int, runs: str) -> str:
    who = "A worker was lost" if lost == 1 else f"{lost} workers were lost"
    return f"{who}, so {runs} were begun again elsewhere and have ended now. Nothing that had finished was lost."


@contextmanager
def _session(workers: int | None) -> Iterator[tuple[Any, str | None]]:
    """Ray, connected, and where its workers put temporary folders: None for each machine's own place."""
    address = os.environ.get(ADDRESS)
    for name, value in (ON_A_CLUSTER if address else ON_THIS_MACHINE).items():
        os.environ.setdefault(name, value)  # some are read when Ray is imported, and its processes inherit them
    ray: Any = optional("ray", "ray", "A sweep on a Ray cluster")
    if ray.is_initialized():
        yield ray, None
        return
    with ExitStack() as undo:
        place = None
        if not address:
            # in /tmp, because the names of its sockets may have 107 letters, of which TMPDIR takes 50 on macOS
            place = undo.enter_context(tempfile.TemporaryDirectory(prefix="descend-", dir="/tmp"))
        undo.callback(ray.shutdown)
        with _own_signals():
            _begin(ray, address, workers, place)
        yield ray, place


def _begin(ray: Any, address: str | None, workers: int | None, place: str | None) -> None:
    quietly = {"log_to_driver": False, "logging_level": "ERROR"}
    if not address:
        ray.init("local", num_cpus=workers, include_dashboard=False, _temp_dir=place, **quietly)
        return
    try:
        ray.init(address, **quietly)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip().rstrip(".")
        raise RunError(
            f"No Ray cluster answers at {ADDRESS}={address} ({reason}). Start one there with `ray start --head`, set "
            f"RAY_AUTH_MODE=token if it asks for one, or unset {ADDRESS} to use this machine alone."
        ) from None


@contextmanager
def _own_signals() -> Iterator[None]:
    """Give back the handler of SIGTERM, which Ray replaces for good."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
