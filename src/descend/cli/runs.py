"""descend runs: what has been trained."""

from __future__ import annotations

from pathlib import Path

import click

from descend.cli._command import Command, RunName, find_run, json_flag, runs_flag
from descend.cli._print import number, print_json, print_table
from descend.cli._runs import details, loss, overview, print_run, seconds, what

EXAMPLES = ("descend runs", "descend runs moons-mlp-adam-001", "descend runs --json")


@click.command(cls=Command, examples=EXAMPLES, short_help="What has been trained, and how it went.")
@click.argument("run", type=RunName(), required=False)
@runs_flag
@click.option("--curve/--no-curve", default=None, help="Draw the loss of RUN. [on a terminal]")
@json_flag
def command(run: str | None, runs: Path, curve: bool | None, as_json: bool) -> None:
    """Show all runs, oldest first, or one of them with its last values and what happened."""
    if run:
        _one(run, runs, curve=curve, as_json=as_json)
    else:
        _all(runs, as_json=as_json)


def _all(folder: Path, *, as_json: bool) -> None:
    from descend.run import list_runs

    found = list_runs(folder)
    if as_json:
        print_json([overview(run) for run in found])
    elif not found:
        click.echo(f"There are no runs in {folder} yet. Make one: descend train")
    else:
        print_table(
            ("run", "what", "status", "steps", "loss", "seconds"),
            [
                (run.name, what(run), run.status, f"{run.steps:,}", number(loss(run)), number(seconds(run)))
                for run in found
            ],
        )


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
    ]
    print_table(("note", "step", "details"), rows)
