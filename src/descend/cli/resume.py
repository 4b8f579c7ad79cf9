"""descend resume: go on with a run that was killed or interrupted."""

from __future__ import annotations

from pathlib import Path

import click

from descend.cli._command import Command, RunName, find_run, json_flag, quiet_flag, runs_flag
from descend.cli._runs import finish

EXAMPLES = ("descend resume stopped-001", "descend resume runs/stopped-002 --quiet")


@click.command(cls=Command, examples=EXAMPLES, short_help="Go on with a run that was interrupted or killed.")
@click.argument("run", type=RunName())
@runs_flag
@click.option("--curve/--no-curve", default=None, help="Draw the loss when done. [on a terminal]")
@quiet_flag
@json_flag
@click.pass_context
def command(ctx: click.Context, run: str, runs: Path, curve: bool | None, quiet: bool, as_json: bool) -> None:
    """Go on with a run from its newest good checkpoint, as if it had never stopped.

    RUN is the name of a run, or the path of its folder.
    """
    folder = find_run(run, runs).folder
    from descend.train.fit import resume

    finish(ctx, resume(folder, progress=not quiet, doctor=not quiet), curve=curve, quiet=quiet, as_json=as_json)
