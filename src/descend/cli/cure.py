"""descend cure: train the remedies of what is wrong with a run, and keep what helps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from descend.cli._command import INTERRUPTED, Command, RunName, find_run, json_flag, quiet_flag, runs_flag
from descend.cli._print import print_json, print_table
from descend.files import write_atomically
from descend.recipe import Recipe

if TYPE_CHECKING:
    import descend.curing._cure

EXAMPLES = (
    "descend cure moons-mlp-sgd-001",
    "descend cure moons-mlp-sgd-001 --seeds 5 --write cured.toml",
    "descend cure --recipe moons.toml --json",
)

NOTHING_HELPED = 1  # the exit code where the problem is still there


@click.command(cls=Command, examples=EXAMPLES, short_help="Train the remedies of what is wrong, and keep what helps.")
@click.argument("name", metavar="[RUN]", type=RunName(), required=False)
@click.option("--recipe", metavar="FILE", type=click.Path(path_type=Path), help="Cure a recipe (TOML or JSON) instead.")
@click.option("--seeds", type=click.IntRange(min=2), default=3, help="Paired runs of every arm. [3]")
@click.option("--steps", type=click.IntRange(min=1), help="Cut every arm to that many updates. [the recipe's]")
@click.option("--write", metavar="FILE", type=click.Path(path_type=Path), help="Write the cured recipe as TOML.")
@runs_flag
@quiet_flag
@json_flag
@click.pass_context
def command(
    ctx: click.Context,
    name: str | None,
    recipe: Path | None,
    seeds: int,
    steps: int | None,
    write: Path | None,
    runs: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Find what is wrong with RUN, train the remedies beside the untreated recipe, and keep what helps.

    Every arm trains with the same seeds, batches and data split, in the folder cures of --runs; what helps is decided
    on validation rows, and the test rows are never looked at. The code of a watched run is not touched: its cure is
    the change to make. The exit code is 0 where nothing is wrong any more, and 1 where it is.
    """
    if (name is None) == (recipe is None):
        raise click.UsageError("Give a run to cure, or a --recipe.")
    patient = find_run(name, runs) if name else Recipe.load(str(recipe))
    from descend.curing._cure import cure

    result = cure(patient, seeds=seeds, steps=steps, runs=runs / "cures", progress=not quiet)
    if as_json:
        print_json(result.fields())
    elif not quiet:
        _print(result)
    if write:
        _write(result, write)
    ctx.exit(INTERRUPTED if result.interrupted else 0 if result.before.healthy or result.cured else NOTHING_HELPED)


def _print(result: descend.curing._cure.Cure) -> None:
    for trial in result.trials:
        table = trial.table
        print_table(table.columns, table.rows, table.title)
        click.echo("\n".join([*trial.sentences, ""]))
    click.secho(result.verdict, bold=True)
    if not result.after.healthy:
        click.echo(f"\n{result.advice}")


def _write(result: descend.curing._cure.Cure, file: Path) -> None:
    if result.recipe is None:
        raise click.UsageError(f"--write: a watched loop has no recipe, so {file} is not written.")
    write_atomically(file, result.recipe.to_toml().encode())
    click.echo(f"The cured recipe is in {file}. Train it: descend train --recipe {file}", err=True)
