"""descend lr-range: which learning rate to train with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from descend.cli._command import flag, json_flag
from descend.cli._fields import RecipeCommand, Source, fields_of, given
from descend.cli._print import number, print_json, print_table
from descend.recipe import Recipe

if TYPE_CHECKING:
    import descend.range_test._result

EXAMPLES = (
    "descend lr-range",
    "descend lr-range moons --model mlp --optimizer adam --out rates.svg",
    "descend lr-range houses.csv --target price --repeats 1",
)


@click.command(cls=RecipeCommand, examples=EXAMPLES, short_help="Find the learning rate to train with.")
@click.argument("source", type=Source(), required=False)
@click.option("--recipe", metavar="FILE", type=click.Path(path_type=Path), help="A recipe; flags change it.")
@click.option("--low", type=float, default=1e-6, help="The learning rate to begin with. [1e-6]")
@click.option("--high", type=float, default=10.0, help="Where to end; it goes on while nothing has exploded. [10]")
@click.option("--per-decade", type=int, default=50, help="Steps while the rate rises by a factor of ten. [50]")
@click.option("--repeats", type=int, default=3, help="With as many seeds, from --seed on. [3]")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Draw the curve: .svg, .png or .pdf.")
@json_flag
@click.pass_context
def command(
    ctx: click.Context,
    source: str | None,
    recipe: Path | None,
    low: float,
    high: float,
    per_decade: int,
    repeats: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Raise the learning rate at every step, and see where the loss falls, turns and explodes.

    Nothing is recorded. SOURCE is the name of a data set (`descend list data`) or a CSV or Parquet file of your own,
    whose column to predict is --target. Schedule and warm-up are left out.
    """
    if out and out.suffix not in (".svg", ".png", ".pdf"):
        raise click.UsageError(f"--out draws .svg, .png or .pdf, and {out.name} is none of these.")
    fields = fields_of(source) | given(ctx)
    wanted = Recipe.load(recipe).but(**fields) if recipe else Recipe(**fields)
    from descend.range_test._lr_range import lr_range

    test = lr_range(wanted, low=low, high=high, per_decade=per_decade, repeats=repeats)
    if out:
        test.figure().save(out)
    if as_json:
        print_json(_values(test) | {"recipe": wanted.fields(), "figure": out and str(out)})
        return
    print_table(("", "learning rate", "smoothed loss"), _rows(test))
    click.echo("\n".join(test.sentences))
    if out:
        click.echo(f"The curve is in {out}.")
    if test.lr is not None:
        click.echo(f"Next: {_next(source, recipe, given(ctx), test.lr)}")


def _values(test: descend.range_test._result.RangeTest) -> dict[str, Any]:
    named = ("lr", "interval", "fastest", "turn", "exploded", "halvings", "trial", "shares", "asked", "sentences")
    return {name: getattr(test, name) for name in named} | {
        "rates": test.rates.tolist(),
        "losses": test.losses.tolist(),
        "smoothed": test.smoothed.tolist(),
    }


def _rows(test: descend.range_test._result.RangeTest) -> Iterator[tuple[str, str, str]]:
    """The places on the curve, in the order of their rates."""
    import numpy as np

    places = (
        ("begins", float(test.rates[0])),
        ("falls fastest", test.fastest),
        ("suggested", test.lr),
        ("turns", test.turn),
        ("explodes", test.exploded),
    )
    for name, rate in sorted(((name, rate) for name, rate in places if rate is not None), key=lambda place: place[1]):
        point = int(np.abs(np.log(test.rates / rate)).argmin())
        yield name, f"{rate:.2g}", number(float(test.smoothed[point])) if point < len(test.smoothed) else "-"


def _next(source: str | None, recipe: Path | None, fields: Mapping[str, str], lr: float) -> str:
    """The command that trains with the suggestion, from what was typed."""
    words = [*([source] if source else []), *(["--recipe", str(recipe)] if recipe else [])]
    flags = [word for name, value in (dict(fields) | {"lr": f"{lr:g}"}).items() for word in (flag(name), value)]
    return f"descend train {shlex.join([*words, *flags])}"
