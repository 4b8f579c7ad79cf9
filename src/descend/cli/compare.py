"""descend compare: which of several ways to train is ahead, and is it more than chance?"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from descend.catalog import DATA
from descend.cli._command import RECIPE_FILE, RunName, find_runs, json_flag, quiet_flag, runs_flag
from descend.cli._fields import RecipeCommand, every_option, fields_of, given
from descend.cli._print import print_json, print_table
from descend.cli._runs import overview
from descend.errors import MissingExtraError
from descend.recipe import CORE, PARTS, LayerRates, Recipe, options_of

if TYPE_CHECKING:
    import descend.comparison

EXAMPLES = (
    "descend compare",
    "descend compare --data moons --model mlp --optimizer sgd,momentum,adam --epochs 3 --seeds 2",
    "descend compare --data digits --batch-size 32,256 --lr 0.01,0.1 --steps 30 --seeds 2 --name batch-or-lr",
    "descend compare moons-mlp-adam-001 moons-mlp-sgd-001 --out moons.html",
)


@click.command(
    cls=RecipeCommand,
    examples=EXAMPLES,
    short_help="Train several variants: which is ahead, and is it more than chance?",
)
@click.argument("names", metavar="[SOURCE | RUN...]", type=RunName(), nargs=-1)
@click.option(
    "--recipe", "files", metavar="FILE", type=click.Path(path_type=Path), multiple=True, help="A recipe; give several."
)
@click.option("--seeds", type=click.IntRange(min=1), default=5, help="Runs of each variant, with seeds 0, 1, ... [5]")
@click.option("--name", help="The folder of the runs in --runs. [compare-001, -002, ...]")
@click.option("--out", metavar="FILE.html", type=click.Path(path_type=Path), help="The report. [beside the runs]")
@runs_flag
@quiet_flag
@json_flag
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    files: tuple[Path, ...],
    seeds: int,
    name: str | None,
    out: Path | None,
    runs: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train variants with several seeds and say which is ahead by updates, examples and seconds.

    Values with commas make the variants, one for every combination; an option counts for the variants that have it.
    Without such a value the variants are batch, mini-batch and stochastic gradient descent on the employee-bonus
    data, changed by the flags. SOURCE is the name of a data set or a CSV or Parquet file of your own, as for train.
    With RUNs nothing is trained: those runs are compared.
    """
    fields = given(ctx)
    if len(names) == 1 and (names[0] in DATA or Path(names[0]).is_file()):
        fields, names = fields_of(names[0]) | fields, ()
    if names and (fields or files):
        raise click.UsageError("Give runs to compare, or flags to train with, but not both.")
    if "seed" in fields:
        raise click.UsageError("A comparison takes the seeds 0, 1, ...: say how many with --seeds, without --seed.")
    from descend import comparison

    if names:
        result = comparison.Comparison.of(find_runs(names, runs))
        out = out or result.runs[0].folder / "comparison.html"
    else:
        recipes = variants(fields, {_label(file): Recipe.load(file) for file in files}, comparison.BATCH_SIZES)
        if len(recipes) < 2:
            raise click.UsageError("A comparison needs two variants: give values with commas, such as --lr 0.01,0.1.")
        if not quiet:
            click.echo(f"Training {' | '.join(recipes)}, with {seeds} seed{'s' * (seeds > 1)} each.", err=True)
        result = comparison.compare(recipes, seeds=seeds, runs=runs, name=name, progress=not quiet)
        out = out or result.runs[0].folder.parent / "report.html"
    _show(result, out, quiet=quiet, as_json=as_json)


def _label(file: Path) -> str:
    """What a recipe's file is called; the recipe of a run like the run."""
    return file.absolute().parent.name if file.name == RECIPE_FILE else file.stem


def variants(
    fields: Mapping[str, str], bases: Mapping[str, Recipe], default: Mapping[str, Recipe]
) -> Mapping[str, Recipe]:
    """Every combination of the values with commas, on every base, by what sets it apart."""
    values = {name: values_of(name, text) for name, text in fields.items()}
    varied = [name for name in values if len(values[name]) > 1]
    bases = bases or ({"": Recipe()} if varied else default)
    made: dict[str, Recipe] = {}
    for label, base in bases.items():
        somewhere = _somewhere(base, values)
        for chosen in itertools.product(*values.values()):
            owned = _owned(dict(zip(values, chosen, strict=True)), base, somewhere)
            words = [owned[name] if name in PARTS else f"{name}={owned[name]}" for name in varied if name in owned]
            words = [label, *words] if len(bases) > 1 else words
            made.setdefault(", ".join(words) or label, base.but(**owned))
    return made


def values_of(name: str, text: str) -> list[str]:
    """The values of a flag: those between its commas, but for a flag whose value is a text that may have commas."""
    whole = any(option.name == name and option.kind in (str, LayerRates) for option in every_option())
    return [text] if whole and name not in PARTS else text.split(",")


def _somewhere(base: Recipe, values: Mapping[str, Sequence[str]]) -> Collection[str]:
    """The options that some combination of the parts among `values` has."""
    parts = {name: words for name, words in values.items() if name in PARTS}
    chosen = (dict(zip(parts, words, strict=True)) for words in itertools.product(*parts.values()))
    return {option for words in chosen for option in _options(base, words)}


def _owned(fields: Mapping[str, str], base: Recipe, somewhere: Collection[str]) -> dict[str, str]:
    """The fields that a variant has; one that no variant has stays, for the recipe to refuse."""
    has = _options(base, fields)
    return {name: value for name, value in fields.items() if name in CORE or name in has or name not in somewhere}


def _options(base: Recipe, fields: Mapping[str, str]) -> Collection[str]:
    return options_of({part: fields.get(part, base[part]) for part in PARTS})


def _show(result: descend.comparison.Comparison, out: Path, *, quiet: bool, as_json: bool) -> None:
    """Print the verdict and what it rests on, and write the report."""
    if not quiet and not as_json:
        for table in result.tables:
            print_table(table.columns, table.rows, table.title)
        click.echo("\n".join(result.sentences))
    written = _report(result, out)
    if as_json:
        tables = [{"title": table.title, "columns": table.columns, "rows": table.rows} for table in result.tables]
        facts = {"sentences": result.sentences, "tables": tables, "report": written and str(written)}
        print_json(facts | {"runs": [overview(run) for run in result.runs]})
    elif written and not quiet:
        click.echo(f"The report is in {written}. Open it in a browser.")


def _report(result: descend.comparison.Comparison, out: Path) -> Path | None:
    """Write the report; where its packages are missing, say so: the comparison itself is worth as much without."""
    try:
        return result.report(out)
    except MissingExtraError as error:
        click.echo(f"No report: {error}", err=True)
        return None
