"""Data-parallel training: one recipe in several processes, equal to the run in one up to rounding.

torchrun's launcher starts this file in each process; see `descend.train.team` for what they do. Each takes its rows of
every batch, so a batch is the recipe's whatever the number of processes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure, get_error_handler
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from descend.errors import RunError
from descend.recipe import Recipe
from descend.run import Run
from descend.train.build import build
from descend.train.fit import free_folder, require_resumable, torch_to_ourselves, train
from descend.train.stop import asked_to_stop
from descend.train.team import LOST, Team, require_shareable

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # which the launcher takes
LOOPBACK: Final = ("lo", "lo0")  # of Linux, of macOS: all processes are on this machine


def fit(
    recipe: Recipe,
    processes: int,
    *,
    runs: str | Path = "runs",
    name: str | None = None,
    progress: bool = False,
    doctor: bool = False,
) -> Run:
    """Train as `descend.train.fit.fit` does, in several processes: one for each GPU, or some on the CPU.

    Raises RecipeError, before anything is written, for batch norm, dropout and what else would not be the same run;
    RunError where a process died, naming it and how to go on.
    """
    _require(recipe, processes)
    folder = free_folder(recipe, runs, name)
    return _launch(recipe, folder, processes, {"progress": progress, "doctor": doctor})


def resume(folder: str | Path, processes: int, *, progress: bool = False, doctor: bool = False) -> Run:
    """Go on with a run, in as many processes as you like. Raises as `fit` and `descend.train.fit.resume` do."""
    run = Run(folder)
    require_resumable(run)
    _require(run.recipe, processes)
    return _launch(run.recipe, run.folder, processes, {"progress": progress, "doctor": doctor, "resuming": True})


def _require(recipe: Recipe, processes: int) -> None:
    with torch_to_ourselves(recipe.seed):
        require_shareable(build(recipe), processes)


def _launch(recipe: Recipe, folder: Path, processes: int, how: Mapping[str, bool]) -> Run:
    """Start the processes, and wait for the last."""
    order = json.dumps({"recipe": recipe.to_json(), "folder": str(folder.absolute()), **how})
    with tempfile.TemporaryDirectory() as logs, _signals_and_logs():
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(logs),
        )
        try:
            elastic_launch(config, sys.executable)("-m", __name__, order)
        except ChildFailedError as error:
            raise RunError(_sentence(error.failures, folder, processes)) from None
        except SignalException:
            pass  # passed on to the processes, which have saved: the run says that it was interrupted
    return Run(folder)


def _sentence(failures: Mapping[int, ProcessFailure], folder: Path, processes: int) -> str:
    """Which process failed first, how, what is kept and how to go on."""

    def later(failure: ProcessFailure) -> tuple[bool, bool]:
        """Those that were killed come first, and last those that only missed another."""
        return failure.exitcode >= 0, LOST in str(failure.message)

    rank, failure = min(failures.items(), key=lambda each: later(each[1]))
    if failure.exitcode < 0:
        what = f"Process {rank + 1} of {processes} was killed ({failure.signal_name()})"
    else:
        told: Any = failure.message  # text, or what the process recorded
        told = told["message"] if isinstance(told, Mapping) else told
        what = f"Process {rank + 1} of {processes} failed ({' '.join(told.split()).rstrip('.')})"
    if not any((folder / "checkpoints").glob("*")):
        kept = "nothing had been checkpointed yet, so it begins anew"
    else:
        kept = "everything up to the last checkpoint is kept"
    at = f" after step {Run(folder).steps:,}" if (folder / "recipe.toml").exists() else ""
    return f"{what}{at}; {kept}. Go on: descend resume {folder} --nproc {processes}"


@contextlib.contextmanager
def _signals_and_logs() -> Iterator[None]:
    """The launcher takes the signals and logs what it does; afterwards they are the caller's again."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        with contextlib.suppress(ValueError):  # only the main thread gets signals, and the launcher took none elsewhere
            for number, handler in handlers.items():
                signal.signal(number, handler)


# --- in each process --------------------------------------------------------------------------------------------------


def _work(recipe: Recipe, folder: Path, how: dict[str, Any]) -> None:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if rank > 0:  # the first one speaks for all
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, sys.stdout.fileno())
        os.dup2(silence, sys.stderr.fileno())
    for _, name in socket.if_nameindex():
        if name in LOOPBACK:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    if torch.cuda.is_available() and rank < torch.cuda.device_count():
        torch.cuda.set_device(rank)
    with torch_to_ourselves(recipe.seed), asked_to_stop() as asked:
        parts = build(recipe)
        torch.set_num_threads(max(1, parts.threads // size))
        dist.init_process_group("nccl" if parts.device.type == "cuda" else "gloo")
        try:
            team = Team(parts.model, asked)
            train(parts, folder, how.pop("progress"), how.pop("doctor"), team=team, **how)
        finally:
            dist.destroy_process_group()


def _main(order: dict[str, Any]) -> None:
    try:
        _work(Recipe.from_json(order.pop("recipe")), Path(order.pop("folder")), order)
    except Exception as error:
        get_error_handler().record_exception(error)  # for the launcher, which hands it to whoever started this
        sys.exit(1)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
