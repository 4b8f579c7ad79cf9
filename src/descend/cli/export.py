"""descend export: a run in the formats of others."""

from __future__ import annotations

from pathlib import Path

import click

from descend.cli._command import Command, RunName, find_run, runs_flag

EXAMPLES = (
    "descend export moons-mlp-adam-001 --csv losses.csv",
    "descend export moons-mlp-adam-001 --parquet losses.parquet",
    "descend export moons-mlp-adam-001 --tensorboard events",
)


@click.command(cls=Command, examples=EXAMPLES, short_help="Write a run to CSV, Parquet or TensorBoard.")
@click.argument("run", type=RunName())
@click.option("--csv", metavar="FILE", type=click.Path(path_type=Path), help="A line a step.")
@click.option(
    "--parquet", metavar="FILE", type=click.Path(path_type=Path), help="A row a step; the recipe as metadata."
)
@click.option("--tensorboard", metavar="FOLDER", type=click.Path(path_type=Path), help="An event file.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
@runs_flag
def command(
    run: str, csv: Path | None, parquet: Path | None, tensorboard: Path | None, force: bool, runs: Path
) -> None:
    """Write every series of a run to a CSV, a Parquet file, or event files for TensorBoard."""
    found = find_run(run, runs)
    wanted = [
        (write, place)
        for write, place in ((found.to_csv, csv), (found.to_parquet, parquet), (found.to_tensorboard, tensorboard))
        if place
    ]
    if not wanted:
        raise click.UsageError("Say what to write: --csv FILE, --parquet FILE or --tensorboard FOLDER.")
    for write, place in wanted:
        write(place, overwrite=force)
        click.echo(f"Wrote {place}.")
