"""descend list: what a recipe can be made of, and what the doctor looks for."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from descend.catalog import (
    CHECKS,
    DATA,
    INITS,
    LOSSES,
    MODELS,
    MONITORS,
    OPTIMIZERS,
    REQUIRED,
    SCHEDULES,
    Catalog,
    allowed,
)
from descend.cli._command import Command, flag, json_flag
from descend.cli._print import print_json, print_table, text_width
from descend.errors import RecipeError, did_you_mean
from descend.recipe import PARTS

if TYPE_CHECKING:
    import descend.doctor._check

EXAMPLES = (
    "descend list",
    "descend list optimizers",
    "descend list optimizers adam",
    "descend list moons --json",
    "descend list checks vanishing_gradients",
)

CATALOGS: Final[Mapping[str, Catalog]] = {
    "data": DATA,
    "models": MODELS,
    "inits": INITS,
    "losses": LOSSES,
    "optimizers": OPTIMIZERS,
    "schedules": SCHEDULES,
    "monitors": MONITORS,
    "checks": CHECKS,
}


class Word(click.ParamType[str]):
    """A catalog, or an entry of one."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        typed = ctx.params.get("names") or ()
        words = _entries(*typed) if len(typed) == 1 else {"": _everything()}
        return [CompletionItem(word) for names in words.values() for word in names if word.startswith(incomplete)]


@click.command(
    cls=Command,
    examples=EXAMPLES,
    short_help="Data sets, models, optimizers, ..., their options, and checks.",
)
@click.argument("names", metavar="[CATALOG] [NAME]", type=Word(), nargs=-1)
@click.option("--markdown", is_flag=True, help="Print the reference of all checks: list checks --markdown.")
@click.option("--examples", is_flag=True, help="With --markdown: show what is found in a sick run of each check.")
@json_flag
def command(names: tuple[str, ...], markdown: bool, examples: bool, as_json: bool) -> None:
    """Show the catalogs, the entries of one, or the options of an entry.

    Every option is a flag of `descend train`. Of a check of the doctor it explains the problem.
    """
    if len(names) > 2:
        raise click.UsageError(f"Name a catalog, or an entry, or both, but not {len(names)} things.")
    found = _entries(*names)
    if markdown:
        _print_reference(names, examples=examples)
    elif as_json:
        print_json({name: [_about(name, entry) for entry in entries] for name, entries in found.items()})
    elif not names:
        print_table(("catalog", "entries"), [(name, ", ".join(entries)) for name, entries in found.items()])
        click.echo("The entries of one: descend list optimizers. The options of one: descend list optimizers adam.")
    elif len(names) == 1 and _catalog(names[0]):
        _print_entries(*found)
    else:
        for name, entries in found.items():
            _print_problem(entries[0]) if name == "checks" else _print_options(name, entries[0])


def _entries(first: str | None = None, second: str | None = None) -> dict[str, list[str]]:
    """The entries that are meant, by catalog. Raises RecipeError for an unknown name."""
    if first is None:
        return {name: list(catalog) for name, catalog in CATALOGS.items()}
    name = _catalog(first)
    if name:
        if second:
            CATALOGS[name].require(second)
        return {name: [second] if second else list(CATALOGS[name])}
    if second:
        raise RecipeError(f"There is no catalog '{first}'. {did_you_mean(first, CATALOGS)}")
    if first not in (known := _everything()):
        raise RecipeError(f"Nothing is called '{first}'. {did_you_mean(first, known)}")
    return {name: [first] for name, catalog in CATALOGS.items() if first in catalog}


def _catalog(word: str) -> str | None:
    """The catalog that a word means: "optimizers", and "optimizer" as well."""
    return next((name for name, of in CATALOGS.items() if word in (name, of.what) or PARTS.get(word) is of), None)


def _everything() -> list[str]:
    return sorted({*CATALOGS, *(entry for catalog in CATALOGS.values() for entry in catalog)})


def _about(name: str, entry: str) -> dict[str, Any]:
    catalog = CATALOGS[name]
    options = [
        {"name": option.name, "allowed": allowed(option.kind), "required": option.default is REQUIRED}
        | ({} if option.default is REQUIRED else {"default": option.default})
        for option in catalog.options(entry).values()
    ]
    about = {"name": entry, "summary": catalog.summary(entry), "options": options}
    return about | ({"explanation": catalog.documentation(entry)} if name == "checks" else {})


def _print_entries(name: str) -> None:
    catalog = CATALOGS[name]
    rows = [
        (entry, catalog.summary(entry), ", ".join(flag(option) for option in catalog.options(entry)))
        for entry in catalog
    ]
    if name == "checks":
        print_table((catalog.what, "what it looks for"), [row[:2] for row in rows])
        click.echo("One explained: descend list checks vanishing_gradients. To look for them: descend doctor RUN.")
    else:
        print_table((catalog.what, "what it is", "options"), rows)


def _print_problem(name: str) -> None:
    """The page of a check, in lines that fit the terminal."""
    from descend.doctor._reference import page

    _, summary, paragraphs, facts = page(name)
    for text in (f"{name}: {summary}", *paragraphs, *(f"{title}: {fact}" for title, fact in facts.items())):
        as_it_is = text.startswith((" ", "- ", "|"))
        click.echo(text if as_it_is else textwrap.fill(" ".join(text.split()), text_width(), break_on_hyphens=False))
        click.echo()


def _print_reference(names: tuple[str, ...], *, examples: bool) -> None:
    if names != ("checks",):
        raise click.UsageError("Only the checks are written as Markdown: descend list checks --markdown.")
    from descend.doctor._reference import in_markdown

    click.echo(in_markdown(_examples() if examples else {}), nl=False)


def _examples() -> dict[str, descend.doctor._check.Finding]:
    """What each check finds in its sick run."""
    from descend.doctor._judge import diagnose
    from descend.faults import show

    with tempfile.TemporaryDirectory() as runs:
        found = {name: diagnose(show(name, runs=runs).sick, checks=[name]).findings for name in CHECKS}
    return {name: findings[0] for name, findings in found.items() if findings}


def _print_options(name: str, entry: str) -> None:
    catalog = CATALOGS[name]
    click.echo(f"{entry} ({catalog.what}): {catalog.summary(entry)}")
    options = catalog.options(entry).values()
    if options:
        rows = [(flag(option.name), allowed(option.kind), _text(option.default)) for option in options]
        print_table(("option", "is", "if not given"), rows)


def _text(default: object) -> str:
    return {"": "nothing", "None": "none", "True": "true", "False": "false"}.get(str(default), str(default))
