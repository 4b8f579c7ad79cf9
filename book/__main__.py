"""`python -m book claims`, `python -m book figures`: measure what the book says, draw what it shows."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection

import click
import torch
from rich.console import Console

from book import CHAPTERS, ROOT
from book.figures import FOLDER, figures, save
from book.ledger import experiments
from book.page import PAGE, page
from book.text import documents, rewrite, stale
from descend.errors import nearest


@click.group()
def main() -> None:
    """What stands behind the book."""


@main.command()
@click.argument("names", nargs=-1)
@click.option("--slow/--no-slow", default=False, help="Measure those too that take long.")
@click.option(
    "--write",
    is_flag=True,
    help="Put measured values and quoted code into the texts; without NAMES renew docs/claims.md too.",
)
def claims(names: tuple[str, ...], slow: bool, write: bool) -> None:
    """Measure the claims (all, or those whose name begins with one of NAMES), and compare with what the book says."""
    torch.set_num_threads(1)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)  # a line a claim, in a log
    begin, failures = time.monotonic(), []
    values: dict[str, float] = {}
    known = experiments()
    _require(names, [one.name for one in known])
    entered = [one for one in known if not names or one.name.startswith(names)]
    chosen = [one for one in entered if slow or not one.slow]
    for experiment in chosen:
        started = time.monotonic()
        measured = experiment.run()
        console.print(f"[bold]{experiment.name}[/] {time.monotonic() - started:.1f} s; seeds: {experiment.seeds}")
        for name, band in experiment.claims.items():
            good = measured[name] in band
            failures += [] if good else [name]
            verdict = "[green]within[/]" if good else "[red]OUTSIDE[/]"
            console.print(f"  {name}: claimed {band.words}, measured {measured[name]:.6g}: {verdict}", soft_wrap=True)
            values[name] = measured[name]
    bands = {name: band for one in chosen for name, band in one.claims.items()}
    if write:
        to_show = {name: bands[name].to_show(value) for name, value in values.items()}
        for chapter, path in documents():
            if rewrite(path, chapter, to_show):
                console.print(f"renewed {path.relative_to(ROOT)}")
        if not names:
            PAGE.write_text(page(), encoding="utf-8")
    wrong = stale(values, bands)
    for sentence in wrong:
        console.print(f"[red]{sentence}[/]", soft_wrap=True)
    left = sum(len(one.bands) for one in entered if one not in chosen)
    console.print(
        f"{len(values)} claims measured in {time.monotonic() - begin:.0f} s, {len(failures)} outside their bands, "
        f"{len(wrong)} shown wrongly; {left} slow ones left to --slow."
    )
    sys.exit(bool(failures or wrong))


def _require(names: tuple[str, ...], known: Collection[str]) -> None:
    for name in names:
        if not any(one.startswith(name) for one in known):
            near = nearest(name, [*CHAPTERS, *known])
            hint = f"Did you mean {near!r}?" if near else f"Chapters: {', '.join(CHAPTERS)}."
            raise click.UsageError(f"Nothing in the book begins with {name!r}. {hint}")


@main.command(name="figures")
@click.argument("names", nargs=-1)
def draw(names: tuple[str, ...]) -> None:
    """Draw the figures (all, or those whose name begins with one of NAMES) into docs/figures."""
    torch.set_num_threads(1)
    _require(names, figures())
    FOLDER.mkdir(exist_ok=True)
    for name in figures():
        if not names or name.startswith(names):
            click.echo(save(name).relative_to(ROOT))


if __name__ == "__main__":
    main()
