"""descend resume: go on with a run that was killed or interrupted."""

from __future__ import annotations

from pathlib import Path

import click

from descend.cli._command import Command, RunName, find_run, json_flag, nproc_flag, quiet_flag, runs_flag
from descend.cli._runs import finish

EXAMPLES = ("descend resume stopped-001", "descend resume runs/stopped-002 --quiet")


@click.command(cls=Command, examples=EXAMPLES, short_help="Go on with a run that was interrupted or killed.")
@click.argument("run", type=RunName())
@nproc_flag
@runs_flag
@click.option("--curve/--no-curve", default=None, help="Draw the loss when done. [on a terminal]")
@quiet_flag
@json_flag
@click.pass_context
def command(
    ctx: click.Context, run: str, nproc: int | None, runs: Path, curve: bool | None, quiet: bool, as_json: bool
) -> None:
    """Go on with a run from its newest good checkpoint, as if it had never stopped.

    RUN is the name of a run, or the path of its folder.
    """
    folder = find_run(run, runs).folder
    if nproc is None:
        from descend.train.fit import resume

        gone_on = resume(folder, progress=not quiet, doctor=not quiet)
    else:
        from descend.train import parallel

        gone_on = parallel.resume(folder, nproc, progress=not quiet, doctor=not quiet)
    finish(ctx, gone_on, curve=curve, quiet=quiet, as_json=as_json)
