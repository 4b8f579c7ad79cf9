"""descend train: a recipe goes in, a run comes out."""

from __future__ import annotations

from pathlib import Path

import click

from descend.cli._command import json_flag, nproc_flag, quiet_flag, runs_flag
from descend.cli._fields import RecipeCommand, Source, fields_of, given
from descend.cli._runs import finish
from descend.recipe import Recipe

EXAMPLES = (
    "descend train",
    "descend train moons --model mlp --width 32 --optimizer adam --lr 3e-3 --epochs 20",
    "descend train houses.csv --target price",
    "descend train digits --model cnn --residual --steps 20 --name first-cnn",
    "descend train --recipe runs/first-cnn/recipe.toml --lr 0.01 --quiet",
)


@click.command(cls=RecipeCommand, examples=EXAMPLES, short_help="Train a model; everything about it is a flag.")
@click.argument("source", type=Source(), required=False)
@click.option(
    "--recipe", metavar="FILE", type=click.Path(path_type=Path), help="A recipe (TOML or JSON); flags change it."
)
@click.option("--name", help="The run's name. [DATA-MODEL-OPTIMIZER-001, -002, ...]")
@nproc_flag
@runs_flag
@click.option("--curve/--no-curve", default=None, help="Draw the loss when done. [on a terminal]")
@quiet_flag
@json_flag
@click.pass_context
def command(
    ctx: click.Context,
    source: str | None,
    recipe: Path | None,
    name: str | None,
    nproc: int | None,
    runs: Path,
    curve: bool | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train what the flags describe, and record it as a run.

    SOURCE is the name of a data set (`descend list data`) or a CSV or Parquet file of your own, whose column to
    predict is --target.
    """
    fields = given(ctx)
    if source and "data" in fields:
        raise click.UsageError(
            f"The data set is given twice, as {source} and as --data {fields['data']}: leave one out."
        )
    fields = fields_of(source) | fields
    wanted = Recipe.load(recipe).but(**fields) if recipe else Recipe(**fields)
    if nproc is None:
        from descend.train.fit import fit

        run = fit(wanted, runs=runs, name=name, progress=not quiet, doctor=not quiet)
    else:
        from descend.train import parallel

        run = parallel.fit(wanted, nproc, runs=runs, name=name, progress=not quiet, doctor=not quiet)
    finish(ctx, run, curve=curve, quiet=quiet, as_json=as_json)
