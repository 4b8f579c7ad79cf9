"""descend sweep: many recipes at once, each recorded as a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from descend.cli._command import INTERRUPTED, flag, json_flag, quiet_flag, runs_flag
from descend.cli._fields import RecipeCommand, Source, fields_of, given
from descend.cli._print import number, print_json, print_table
from descend.cli.compare import values_of, variants
from descend.recipe import PARTS, Recipe

if TYPE_CHECKING:
    from descend.sweeping._pool import Trained
    from descend.sweeping._sweep import Standing, Sweep

EXAMPLES = (
    "descend sweep --lr 1e-4..0.01:16 --seeds 4",
    "descend sweep moons --model mlp --optimizer sgd,momentum,adam --lr 1e-3..1:10 --epochs 5 --name which-lr",
    "descend sweep digits --model mlp --random 20 --optimizer adam --lr 1e-4..0.1 --weight-decay 1e-6..0.01 --epochs 2",
)

SHOWN: Final = 12  # configurations that are printed; --json has all
RANGE: Final = re.compile(r"(?P<low>[^,:]+?)\.\.(?P<high>[^,:]+?)(:(?P<count>\d+))?")


@click.command(cls=RecipeCommand, examples=EXAMPLES, short_help="Train many recipes at once: a grid, or at random.")
@click.argument("source", type=Source(), required=False)
@click.option(
    "--recipe", metavar="FILE", type=click.Path(path_type=Path), help="A recipe (TOML or JSON); flags change it."
)
@click.option("--seeds", type=click.IntRange(min=1), default=1, help="Runs of each configuration, seeds 0, 1, ... [1]")
@click.option("--random", "trials", type=click.IntRange(min=1), help="So many configurations at random, not a grid.")
@click.option("--random-seed", type=click.IntRange(min=0), default=0, help="Of the choice of configurations. [0]")
@click.option("--name", help="The folder of the runs in --runs; one that exists is gone on with. [sweep-001, ...]")
@click.option("--on", type=click.Choice(["here", "ray"]), default="here", help="This machine, or a Ray cluster. [here]")
@click.option("--workers", type=click.IntRange(min=1), help="Threads, or workers of Ray. [one for each core]")
@runs_flag
@quiet_flag
@json_flag
@click.pass_context
def command(
    ctx: click.Context,
    source: str | None,
    recipe: Path | None,
    seeds: int,
    trials: int | None,
    random_seed: int,
    name: str | None,
    on: Any,
    workers: int | None,
    runs: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train every combination of some values, many at once, and say which did best.

    Values with commas are tried one by one; 1e-4..1:16 are 16 values from 1e-4 to 1, evenly spaced on the scale that
    suits the field. With --random, 1e-4..1 is drawn from and of values with commas one is chosen. SOURCE is the name of
    a data set or a CSV or Parquet file of your own, as for train.
    """
    fields = given(ctx)
    if source and "data" in fields:
        raise click.UsageError(f"The data set is given twice, as {source} and as --data {fields['data']}.")
    if "seed" in fields and seeds > 1:
        raise click.UsageError("Give --seeds for the seeds 0, 1, ..., or one or more values of --seed, but not both.")
    fields = (fields_of(source) if source else {}) | fields
    base = Recipe.load(recipe) if recipe else Recipe()
    configurations = at_random(fields, base, trials, random_seed) if trials else on_grid(fields, base)
    recipes = [each.but(seed=seed) for each in configurations for seed in range(seeds)] if seeds > 1 else configurations

    from descend.sweeping._sweep import sweep

    result = sweep(recipes, runs=runs, name=name, on=on, progress=not quiet, workers=workers)
    _show(result, quiet=quiet, as_json=as_json)
    if result.interrupted:
        ctx.exit(INTERRUPTED)


def on_grid(fields: Mapping[str, str], base: Recipe) -> list[Recipe]:
    """Every combination of the values; an option counts for the variants that have it."""
    from descend.sweeping._space import spaced

    typed: dict[str, str] = {}
    for name, text in fields.items():
        found = RANGE.fullmatch(text)
        if not found:
            typed[name] = text
            continue
        if not found["count"]:
            raise click.UsageError(
                f"{flag(name)} is {text}: say how many values, as in {text}:16, or draw some with --random."
            )
        if not int(found["count"]):
            raise click.UsageError(f"{flag(name)} is {text}: a range has at least one value.")
        low, high = _bounds(name, found)
        typed[name] = ",".join(map(str, spaced(_owner(name, fields, base), name, low, high, int(found["count"]))))
    return list(variants(typed, {"": base}, {}).values())


def at_random(fields: Mapping[str, str], base: Recipe, trials: int, seed: int) -> list[Recipe]:
    """Configurations drawn from the ranges and choices, each of them once."""
    from descend.sweeping._space import sample

    ranges: dict[str, Sequence[object]] = {}
    for name, text in fields.items():
        found = RANGE.fullmatch(text)
        if found and found["count"]:
            raise click.UsageError(f"{flag(name)} is {text}, but --random draws from {text.rpartition(':')[0]}.")
        ranges[name] = _bounds(name, found) if found else values_of(name, text)
    return list(dict.fromkeys(sample(base, trials, seed=seed, **ranges)))


def _bounds(name: str, found: re.Match[str]) -> tuple[float, float]:
    try:
        return float(found["low"]), float(found["high"])
    except ValueError:
        raise click.UsageError(f"{flag(name)} is {found[0]}: a range has two numbers, as in 1e-4..1:16.") from None


def _owner(name: str, fields: Mapping[str, str], base: Recipe) -> Recipe:
    """A recipe that has a field: the first of the variants that does."""
    fixed = {
        field: text if field in PARTS else values_of(field, text)[0]
        for field, text in fields.items()
        if not RANGE.fullmatch(text)
    }
    found = on_grid(fixed, base)
    return next((each for each in found if name in each.fields()), found[0])


def _show(result: Sweep, *, quiet: bool, as_json: bool) -> None:
    """Print how it went: who did best, by configuration, and how the runs were trained."""
    standings = result.standings
    if as_json:
        facts = {"folder": str(result.folder), "seconds": result.trained.seconds, "interrupted": result.interrupted}
        lanes = [{"lane": lane, "why": why, "runs": count} for lane, why, count in result.trained.lanes]
        print_json(facts | {"lanes": lanes, "standings": [_values(standing) for standing in standings]})
        return
    if quiet:
        return
    columns, rows = _table(result, standings)
    if standings:
        print_table(columns, rows[:SHOWN], f"{_counted(len(standings), 'configuration')}, best first")
    if len(rows) > SHOWN:
        click.echo(f"... and {len(rows) - SHOWN} more.")
    if len({standing.recipe.optimizer for standing in standings}) > 1:
        first = {standing.recipe.optimizer: row for standing, row in reversed(list(zip(standings, rows, strict=True)))}
        print_table(columns, [row for row in rows if row in first.values()], "The best of each optimizer")
    click.echo("\n".join(_sentences(result)))


def _values(standing: Standing) -> dict[str, Any]:
    """A configuration in plain values: those of its measures are one for each run, that is for each seed."""
    return {
        "recipe": {name: value for name, value in standing.recipe.fields().items() if name != "seed"},
        "runs": [run.name for run in standing.runs],
        "seeds": [run.recipe.seed for run in standing.runs],
        "values": {name: values.tolist() for name, values in standing.values.items()},
        "diverged": standing.died,
    }


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _table(result: Sweep, standings: Sequence[Standing]) -> tuple[list[str], list[tuple[object, ...]]]:
    from descend.sweeping._sweep import differing

    varied = [name for name in differing(result.recipes) if name != "seed"]
    measures = list(standings[0].values) if standings else []
    seeds = max((len(standing.runs) for standing in standings), default=1)
    rows: list[tuple[object, ...]] = []
    for standing in standings:
        fields = standing.recipe.fields()
        cells = [_spread(standing.values[name]) if seeds > 1 else number(standing.values[name][0]) for name in measures]
        ended = f"{standing.died} of {len(standing.runs)} diverged" if standing.died else "well"
        rows.append((*(_cell(fields.get(name, "")) for name in varied), *cells, ended))
    return [*varied, *measures, "ended"], rows


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _spread(values: Any) -> str:
    """The median over seeds, and the least and the greatest."""
    import numpy as np

    return f"{number(float(np.median(values)))} ({number(float(values.min()))} to {number(float(values.max()))})"


def _sentences(result: Sweep) -> list[str]:
    """How many runs there are, how they were trained, and where they are."""
    trained: Trained = result.trained
    left = len(result) - len(result.runs) if result.interrupted else 0
    count = sum(runs for _, _, runs in trained.lanes) - left
    told = [f"Trained {_counted(count, 'run')} in {trained.seconds:.1f} s."]
    words = {"compiled": "by a compiled loop", "together": "at once, vectorised", "alone": "one by one"}
    if result.interrupted:
        goes_on = f"the same command with --name {result.folder.name} goes on."
        told.append(f"Interrupted, with {_counted(left, 'run')} left: {goes_on}")
    elif trained.lanes:
        told += [f"  {runs:,} {words[lane]}{f': {why}' if why else '.'}" for lane, why, runs in trained.lanes]
    else:
        told = ["All runs had ended: nothing to train."]
    if len(result.standings) > SHOWN:  # curves that nobody can tell apart
        best = result.standings[0].runs[0].folder
        told.append(f"The runs are in {result.folder}: `descend report {best}` shows the best.")
    elif result.runs:
        told.append(f"The runs are in {result.folder}: `descend report {result.folder.name}` shows them.")
    return told
