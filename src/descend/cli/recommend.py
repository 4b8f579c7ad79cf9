"""descend recommend: which optimizer, and with which learning rate?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from descend.catalog import MODELS, OPTIMIZERS
from descend.cli._command import json_flag, quiet_flag
from descend.cli._fields import RecipeCommand, Source, fields_of, given
from descend.cli._print import print_json, print_table
from descend.errors import RecipeError
from descend.recipe import CORE, Recipe

if TYPE_CHECKING:
    from descend.recommending._recommendation import Recommendation

PICTURES: Final = (".svg", ".png", ".pdf")

EXAMPLES = (
    "descend recommend moons mlp --epochs 2 --repeats 3",
    "descend recommend digits mlp --optimizer sgd,adam --lr 1e-3..1 --steps 9 --configurations 4 --repeats 2 --fresh 1",
    "descend recommend moons mlp --optimizer adam,lion --beta1 0.8 --steps 20 --repeats 3 --untimed --out rates.svg",
    "descend recommend houses.csv linear --target price --optimizer sgd,adam --steps 20 --repeats 3 --target-loss 0.5",
)


@click.command(cls=RecipeCommand, examples=EXAMPLES, short_help="Which optimizer? All with the same budget of tuning.")
@click.argument("source", type=Source(), required=False)
@click.argument("network", type=click.Choice(MODELS.names()), required=False, metavar="[MODEL]")
@click.option("--configurations", type=int, default=16, help="Learning rates that an optimizer tries in a repeat. [16]")
@click.option("--repeats", type=int, default=10, help="How often each is tuned, with seeds of its own. [10]")
@click.option(
    "--fresh", type=int, default=3, help="Runs of the best configuration with seeds it was not chosen by. [3]"
)
@click.option("--tolerance", type=float, default=0.25, help="By what share a good rate's loss may be higher. [0.25]")
@click.option("--timed/--untimed", default=True, help="Measure the seconds of an update, in runs of their own. [timed]")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="The figure: .svg, .png or .pdf.")
@quiet_flag
@json_flag
@click.pass_context
def command(
    ctx: click.Context,
    source: str | None,
    network: str | None,
    configurations: int,
    repeats: int,
    fresh: int,
    tolerance: float,
    timed: bool,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Tune every optimizer with the same budget, and say which is ahead of which beyond chance.

    SOURCE and MODEL are what to train, as for train; the other flags hold for every optimizer that has them.
    --optimizer names some, with commas, and --lr is where learning rates are drawn (1e-5..10). Each optimizer is tuned
    anew in every repeat, and judged with seeds that it was not tuned on. The report says how low the loss gets, how
    wide the window of good learning rates is, and what it costs to come down to --target-loss, or to a loss that all
    of them reach.
    """
    fields = dict(given(ctx))
    for name, value in {"data": source, "model": network}.items():
        if value and name in fields:
            raise click.UsageError(f"{name} is given twice, as {value} and as --{name} {fields[name]}: leave one out.")
    lr_range = _range(fields.pop("lr", "1e-5..10"))
    if out and out.suffix not in PICTURES:
        raise click.UsageError(f"--out is {out}, but a figure ends in {', '.join(PICTURES)}.")
    recipes = contestants(fields_of(source) | ({"model": network} if network else {}) | fields)
    from descend.recommending._recommend import recommend

    if not quiet:
        runs = len(recipes) * repeats * (configurations + fresh)
        click.echo(f"Training {runs:,} runs of {', '.join(recipes)}.", err=True)
    result = recommend(
        recipes,
        configurations=configurations,
        repeats=repeats,
        fresh=fresh,
        lr_range=lr_range,
        tolerance=tolerance,
        timed=timed,
        progress=not quiet,
    )
    _show(result, out, quiet=quiet, as_json=as_json)


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition("..")
    try:
        return float(low), float(high)
    except ValueError:
        raise click.UsageError(
            f"--lr is {text}, but learning rates are drawn from a range: --lr 1e-5..10, from the least to the greatest."
        ) from None


def contestants(fields: Mapping[str, str]) -> dict[str, Recipe]:
    """A recipe for every optimizer, by its name; options of optimizers go to those that have them.

    Raises RecipeError where none of them has one.
    """
    names = fields["optimizer"].split(",") if "optimizer" in fields else OPTIMIZERS.names()
    for name in names:
        OPTIMIZERS.require(name)
    owned = {option for name in OPTIMIZERS for option in OPTIMIZERS.options(name)} - set(CORE)
    shared = {name: value for name, value in fields.items() if name not in owned and name != "optimizer"}
    options = {name: value for name, value in fields.items() if name in owned}
    for option in options:
        if not any(option in OPTIMIZERS.options(name) for name in names):
            raise RecipeError(f"None of {', '.join(names)} has an option '{option}'. {_who_has(option)}")
    return {
        name: Recipe(
            **shared,
            optimizer=name,
            **{option: value for option, value in options.items() if option in OPTIMIZERS.options(name)},
        )
        for name in names
    }


def _who_has(option: str) -> str:
    return f"It belongs to {', '.join(name for name in OPTIMIZERS if option in OPTIMIZERS.options(name))}."


def _show(result: Recommendation, out: Path | None, *, quiet: bool, as_json: bool) -> None:
    """Print what each came to and the verdict, and draw the figure."""
    written = result.figure().save(out) if out else None
    if as_json:
        print_json(result.facts | {"figure": written and str(written)})
        return
    if quiet:
        return
    for table in result.tables:
        print_table(table.columns, table.rows, table.title)
    click.echo("\n".join(result.sentences))
    if written:
        click.echo(f"The figure is in {written}.")
