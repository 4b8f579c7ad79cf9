"""descend runs: what has been trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from descend.cli._command import Command, RunName, find_run, folders_of_runs, json_flag, runs_flag
from descend.cli._print import number, print_json, print_table
from descend.cli._runs import details, loss, overview, print_run, what
from descend.errors import DescendError

if TYPE_CHECKING:
    import descend.run

EXAMPLES = ("descend runs", "descend runs moons-mlp-adam-001", "descend runs --json")


@click.command(cls=Command, examples=EXAMPLES, short_help="What has been trained, and how it went.")
@click.argument("run", type=RunName(), required=False)
@runs_flag
@click.option("--curve/--no-curve", default=None, help="Draw the loss of RUN. [on a terminal]")
@json_flag
def command(run: str | None, runs: Path, curve: bool | None, as_json: bool) -> None:
    """Show all runs, oldest first, or one of them with its last values and what happened.

    RUN is the name of a run, the path of its folder, or the name of a folder of runs, such as a comparison.
    """
    if run is None or run in folders_of_runs(runs):
        _all(runs / (run or ""), as_json=as_json)
    else:
        _one(run, runs, curve=curve, as_json=as_json)


def _all(folder: Path, *, as_json: bool) -> None:
    from descend.run import list_runs

    found, inside = list_runs(folder), folders_of_runs(folder)
    if as_json:
        print_json([_overview(run) for run in found])
        return
    if inside:
        click.echo(f"Folders of runs (descend runs {inside[0]}): {', '.join(inside)}")
    if found:
        print_table(("run", "what", "status", "steps", "loss", "seconds"), map(_row, found))
    elif not inside:
        click.echo(f"There are no runs in {folder} yet. Make one: descend train")


def _overview(run: descend.run.Run) -> dict[str, Any]:
    """A run in a few plain values; of one that cannot be read, why."""
    try:
        return overview(run)
    except DescendError as error:
        return {"name": run.name, "folder": str(run.folder), "status": "unreadable", "error": str(error)}


def _row(run: descend.run.Run) -> tuple[str, ...]:
    try:
        return (run.name, what(run), run.status, f"{run.steps:,}", number(loss(run)), number(run.seconds))
    except DescendError as error:
        return (run.name, str(error), "unreadable", "", "", "")


def _one(name: str, folder: Path, *, curve: bool | None, as_json: bool) -> None:
    run = find_run(name, folder)
    if as_json:
        print_json(details(run))
        return
    click.echo(f"{what(run)}, in {run.folder}")
    print_run(run, curve=curve)
    print_table(("series", "last value"), [(series, number(run.last(series))) for series in run.names()])
    rows = [
        (note.kind, f"{note.step:,}", ", ".join(f"{name}={value}" for name, value in note.details.items()))
        for note in run.notes()
        if note.kind != "facts"  # pages of them: `descend doctor` reads them
    ]
    print_table(("note", "step", "details"), rows)
