"""How a run is shown: in a few values, in sentences, and when its training has ended."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from descend.cli._command import INTERRUPTED
from descend.cli._print import console, number, print_json, print_table

if TYPE_CHECKING:
    import descend.run

LOSSES: Final = ("loss/validation", "loss/train", "loss/batch")
TOLD: Final = 3  # notes of a kind that are told; hundreds of skipped batches need no more
JUDGED: Final = ("loss", "accuracy", "r2")

EXIT_CODES: Final = {"non-finite": 1, "interrupted": INTERRUPTED}
"""Of endings that are not good; every other one is 0."""


def overview(run: descend.run.Run) -> dict[str, Any]:
    """A run in a few plain values."""
    return {
        "name": run.name,
        "folder": str(run.folder),
        "status": run.status,
        "steps": run.steps,
        "seconds": run.seconds,
        "loss": loss(run),
    } | ({"settings": run.settings} if run.watched else {"recipe": run.recipe.fields()})


def details(run: descend.run.Run) -> dict[str, Any]:
    """A run in plain values: the last value of every series, and its notes."""
    notes = [{"kind": note.kind, "step": note.step, **note.details} for note in run.notes()]
    return overview(run) | {"last": {name: run.last(name) for name in run.names()}, "notes": notes}


def what(run: descend.run.Run) -> str:
    """What a run trains, in short: "moons, mlp, adam, lr=0.01"; of a watched loop, what is known of it."""
    if run.watched:
        return ", ".join(["watched", *(f"{name}={value}" for name, value in run.settings.items())])
    recipe = run.recipe
    parts = [recipe.data, recipe.model, recipe.optimizer]
    rest = (f"{name}={value}" for name, value in recipe.chosen().items() if value not in (*parts, "default", "auto"))
    return ", ".join([*parts, *(field for field in rest if field != "schedule=constant")])


def loss(run: descend.run.Run) -> float | None:
    """The last value of the first of LOSSES that was recorded; of a run that ended badly, that of its last batch."""
    known = run.names()
    order = reversed(LOSSES) if run.status == "non-finite" else LOSSES
    return next((run.last(name) for name in order if name in known), None)


def sentences(run: descend.run.Run) -> list[str]:
    """How a run went: how it ended, what was noted on the way, and its last losses."""
    at = f"{run.steps:,} step{'' if run.steps == 1 else 's'}, {number(run.seconds)} s of training"
    judged = [name for name in run.names() if name.split("/")[0] in JUDGED]
    whole = [name for name in judged if not name.endswith("/batch")]
    shown = whole if whole and run.status != "non-finite" else ["loss/batch"] if judged else []
    last = [", ".join(f"{name} {number(run.last(name))}" for name in shown)] if shown else []
    return [f"{run.name}: {run.status} after {at}.", *_happened(run.notes()), *last]


def _happened(notes: Sequence[descend.run.Note]) -> list[str]:
    """Sentences for the notes that a user should know of."""
    lines = []
    for number_of_kind, (kind, _, about) in _numbered(notes):
        if number_of_kind > TOLD or kind == "found":  # the doctor has said it already, and may have changed its mind
            continue
        if "sentence" in about:
            lines.append(str(about["sentence"]))
        elif kind == "ended" and about.get("why") == "early stopped":
            lines.append(
                f"The best loss was {number(about['best_loss'])} at step {about['best_step']:,}; its weights are kept."
            )
        elif kind == "ended" and "error" in about:
            lines.append(str(about["error"]))
    return list(dict.fromkeys(lines))


def _numbered(notes: Sequence[descend.run.Note]) -> Iterator[tuple[int, descend.run.Note]]:
    """Each note with how many of its kind there were up to it."""
    seen: Counter[str] = Counter()
    for note in notes:
        seen[note.kind] += 1
        yield seen[note.kind], note


def print_run(run: descend.run.Run, *, curve: bool | None = None) -> None:
    """Say how a run went: sentences, learned parameters beside the true ones, and its loss as a curve.

    `curve`: None draws it where standard output is a terminal.
    """
    from descend.plots._runs import truth

    for line in sentences(run):
        click.echo(line)
    known = run.names()
    learned = [(name, f"learned/{name}", value) for name, value in truth([run]).items()]
    rows = [(name, f"{run.last(series):.6g}", f"{value:g}") for name, series, value in learned if series in known]
    if rows:
        print_table(("parameter", "learned", "true"), rows)
    if sys.stdout.isatty() if curve is None else curve:
        from descend.cli._curve import draw_loss

        out = console()
        click.echo(draw_loss(run, out.width, ascii_only=not out.encoding.startswith("utf")))


def finish(ctx: click.Context, run: descend.run.Run, *, curve: bool | None, quiet: bool, as_json: bool) -> None:
    """Show how a training went and what to do next; leave with the exit code that says whether it went well."""
    if as_json:
        print_json(details(run))
    elif not quiet:
        print_run(run, curve=curve)
    if not (quiet or as_json) or run.status in EXIT_CODES:
        click.echo(_next(run), err=run.status in EXIT_CODES)
    ctx.exit(EXIT_CODES.get(run.status, 0))


def _next(run: descend.run.Run) -> str:
    """What to do now."""
    if run.status == "interrupted":
        return f"Interrupted, with everything saved. Go on: descend resume {run.folder}"
    if run.notes("found"):
        return f"What is wrong, and what to do: descend doctor {run.folder}"
    if run.status == "non-finite" or any(note.details["beyond"] for note in run.notes("limit")):
        return f"Try a smaller --lr. See what happened: descend report {run.folder}"
    return f"Next: descend report {run.folder}"
