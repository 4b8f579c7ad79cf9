"""descend map: where in a plane of two hyperparameters training works, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from descend.cli._command import json_flag, quiet_flag
from descend.cli._fields import RecipeCommand, Source, fields_of, given
from descend.cli._print import print_json
from descend.errors import MissingExtraError
from descend.recipe import Recipe

if TYPE_CHECKING:
    import descend.mapping._map

EXAMPLES = (
    "descend map --x lr=1e-3..0.02:16 --y momentum=0..0.99:16 --optimizer momentum --batch-size all --steps 100",
    "descend map moons --model mlp --width 4 --x lr=0.01..10:4 --y batch-size=8..128:4 --steps 20 --out moons.png",
    "descend map map.npz --zoom 4 --show outcome --out boundary.png",
)


PICTURES: Final = (".png", ".svg", ".pdf")


@click.command(
    cls=RecipeCommand,
    examples=EXAMPLES,
    short_help="Draw where in a plane of two hyperparameters training works.",
)
@click.argument("source", metavar="[SOURCE]", type=Source(), required=False)
@click.option("--x", metavar="AXIS", help="FIELD=LOW..HIGH:COUNT, such as lr=1e-4..0.02:256.")
@click.option("--y", metavar="AXIS", help="The same, upwards.")
@click.option(
    "--show",
    type=click.Choice(["loss", "steps", "outcome"]),
    default="loss",
    help="The loss at the end, the updates to --target-loss, or trained, oscillated and diverged. [loss]",
)
@click.option(
    "--zoom",
    metavar="FACTOR",
    type=click.FloatRange(min=1, min_open=True),
    help="Draw a part as well, FACTOR times shorter on each side.",
)
@click.option("--around", metavar="X,Y", help="The middle of that part. [where the boundary is most intricate]")
@click.option(
    "--times", metavar="N", type=click.IntRange(min=1), default=1, help="Zoom N times, each into the last. [1]"
)
@click.option(
    "--recipe", "file", metavar="FILE", type=click.Path(path_type=Path), help="A recipe that the flags change."
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=Path("map.png"),
    help="The picture: .png, .svg or .pdf. [map.png]",
)
@quiet_flag
@json_flag
@click.pass_context
def command(
    ctx: click.Context,
    source: str | None,
    x: str | None,
    y: str | None,
    show: str,
    zoom: float | None,
    around: str | None,
    times: int,
    file: Path | None,
    out: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a run in every cell of a plane of two hyperparameters, and draw what came of it.

    An axis is any field of numbers: lr, momentum, batch-size, depth, ...; lr@hidden.0 is the learning rate of one
    layer. An axis has 64 values where no COUNT is given; log or linear after the COUNT chooses the scale. Where theory
    knows up to which learning rate training converges, the picture has its line.

    SOURCE is a data set or a table, as for train; or the .npz file of a map, which is written beside its picture: to
    draw the map differently, to zoom into it, or to train it again with the flags changed. Of several pictures the
    second is called like FILE with -2 after its name, and so on. Pictures that are there are overwritten, but for that
    of the map that is zoomed into.
    """
    if around and zoom is None:
        raise click.UsageError("--around says where to zoom: say how far, with --zoom 4.")
    if out.suffix not in PICTURES:
        raise click.UsageError(f"--out is a picture, so its name ends in {', '.join(PICTURES)}, unlike {out.name}.")
    middle = _point(around) if around else None
    from descend.mapping._map import Map, require_shown, survey

    fields = given(ctx)
    old = Map.load(source) if source and source.endswith(".npz") else None
    recipe = old.recipe if old else Recipe.load(file) if file else Recipe()
    recipe = recipe.but(**({} if old else fields_of(source)) | fields)
    require_shown(show, recipe)
    across, up = (text or (old and side) for text, side in ((x, old and old.x), (y, old and old.y)))
    if not (across and up):
        raise click.UsageError("A map needs two axes, such as --x lr=1e-4..0.02:256 --y momentum=0..0.99:256.")
    kept = old if not (x or y or fields) else None
    drawn = kept or survey(recipe, across, up, progress=not quiet)
    told = [] if kept and zoom else [_keep(drawn, show, out)]
    spared = int(
        kept is not None and source is not None and out.with_suffix(".npz").absolute() == Path(source).absolute()
    )
    for factor in [zoom] * times if zoom else []:
        drawn = drawn.zoom(factor, middle, progress=not quiet)
        number = spared + len(told) + 1
        told.append(_keep(drawn, show, out.with_stem(f"{out.stem}-{number}") if number > 1 else out))
    if as_json:
        print_json(told if len(told) > 1 else told[0])
    elif not quiet:
        for facts in told:
            click.echo("\n".join(facts["sentences"]))
            click.echo(f"Drawn in {facts['picture']}; its numbers are in {facts['numbers']}.")


def _point(text: str) -> tuple[float, float]:
    """Two numbers with a comma between them."""
    try:
        x, y = (float(number) for number in text.split(","))
    except ValueError:
        raise click.UsageError(f"--around is '{text}', but must be two numbers, such as 0.01,0.9.") from None
    return x, y


def _keep(drawn: descend.mapping._map.Map, show: Any, out: Path) -> dict[str, Any]:
    """Write the numbers of a map and, where matplotlib is there, its picture; what there is to tell of it."""
    from descend.mapping._map import OUTCOMES

    numbers = drawn.save(out.with_suffix(".npz"))
    picture = None
    try:
        picture = drawn.draw(show).save(out)
    except MissingExtraError as error:
        click.echo(f"No picture: {error}", err=True)
    deviation = drawn.deviation
    return {
        "sentences": drawn.sentences,
        "picture": picture and str(picture),
        "numbers": str(numbers),
        "seconds": drawn.seconds,
        "recipe": drawn.recipe.fields(),
        "axes": {name: {"field": axis.field, "scale": axis.scale} for name, axis in (("x", drawn.x), ("y", drawn.y))},
        "measure": drawn.measure,
        "outcomes": OUTCOMES,
        "outcome": drawn.outcome.tolist(),
        "deviation": deviation and deviation._asdict(),
        **{name: values.tolist() for name, values in drawn.arrays().items()},
    }
