"""The reference pages of the site: Python names from their docstrings, catalogs from their entries, the commands.

Written into docs/reference/ when the site is built, and not kept in git: nothing can go stale.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import click
from sphinx.application import Sphinx

from book import ROOT
from descend import catalog
from descend.catalog import REQUIRED, Catalog, Option, allowed
from descend.cli._main import descend as commands
from descend.plots import PLOTS

MODULES: Final = ("descend", "descend.optim", "descend.plots", "descend.watching.lightning",
                  "descend.watching.transformers", "descend.faults", "descend.backprop", "descend.learn")  # fmt: skip
"""What has public names to import."""

CATALOGS: Final = {
    "data": ("Data sets", catalog.DATA, "`descend train {name}`, or `Recipe(data=\"{name}\")`."),
    "models": ("Models", catalog.MODELS, "`--model {name}`, or `Recipe(model=\"{name}\")`."),
    "inits": ("Initialisations", catalog.INITS, "`--init {name}`, or `Recipe(init=\"{name}\")`."),
    "losses": ("Losses", catalog.LOSSES, "`--loss {name}`, or `Recipe(loss=\"{name}\")`."),
    "optimizers": ("Optimizers", catalog.OPTIMIZERS, "`--optimizer {name}`, or `Recipe(optimizer=\"{name}\")`."),
    "schedules": ("Schedules", catalog.SCHEDULES, "`--schedule {name}`, or `Recipe(schedule=\"{name}\")`."),
    "monitors": ("Monitors", catalog.MONITORS, "`--monitors {name}`, or `Recipe(monitors=\"{name}\")`."),
    "figures": ("Figures", PLOTS, "`descend.plots.PLOTS[\"{name}\"]([run]).save(\"{name}.svg\")`."),
    "faults": ("Faults", catalog.FAULTS, "`descend.faults.run(recipe, \"{name}\")`."),
}  # fmt: skip


def write(folder: Path) -> None:
    """Write every page that changed, and take away those that are not made any more."""
    pages = dict(_pages())
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _pages() -> Iterator[tuple[str, str]]:
    yield "command-line.md", _command_line()
    for name in MODULES:
        yield f"{name}.rst", _python(importlib.import_module(name))
    for key, (title, entries, use) in CATALOGS.items():
        yield f"{key}.md", _catalog(title, entries, use)


# --- the catalogs -----------------------------------------------------------------------------------------------------


def _catalog(title: str, entries: Catalog, use: str) -> str:
    rows = [(f"[{name}](#{name})", _prose(entries.summary(name))) for name in entries]
    parts = [f"# {title}", _table(("name", "what it is"), rows), *(_entry(entries, name, use) for name in entries)]
    return "\n\n".join(parts) + "\n"


def _entry(entries: Catalog, name: str, use: str) -> str:
    options = [
        (f"`{option.name}`", _prose(allowed(option.kind)), _default(option))
        for option in entries.options(name).values()
    ]
    file = Path(entries._source(name)).relative_to(ROOT).as_posix()
    facts = [("To use it", use.format(name=name)), *_facts(entries, name), ("File", f"[{file}](../../{file})")]
    parts = [
        f"## {name}",
        *map(_paragraph, entries.documentation(name).split("\n\n")),
        _table(("option", "is", "if not given"), options) if options else "",
        "\n".join(f"- **{title}.** {text}" for title, text in facts),
    ]
    return "\n\n".join(part for part in parts if part)


def _default(option: Option) -> str:
    return "it must be given" if option.default is REQUIRED else f"`{option.default!r}`"


def _facts(entries: Catalog, name: str) -> Iterator[tuple[str, str]]:
    if entries is catalog.OPTIMIZERS:
        yield "Source", _prose(entries[name].source)
    if entries is catalog.MONITORS:
        monitor = entries[name]
        yield "Unit", _prose(monitor.unit)
        often = f"every {monitor.every} measured steps" if monitor.every > 1 else "at every measured step"
        yield "Measured", f"{often}, {'unless switched off' if monitor.default else 'if asked for'}"


def _paragraph(text: str) -> str:
    """A paragraph of a docstring as Markdown; what is laid out in lines stays so."""
    if text.startswith("    "):
        return text
    if re.match(r"(wrong|right): ", text):
        return f"```text\n{text}\n```"
    return _prose(text)


def _prose(text: str) -> str:
    """Plain words as Markdown: what is not in backticks means itself."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else re.sub(r"([*_<$|\[\]])", r"\\\1", piece) for piece in pieces)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(" ".join(cell.split()) for cell in line) + " |" for line in lines)


# --- the command line -------------------------------------------------------------------------------------------------


def _command_line() -> str:
    parts = ["# The command line", "`descend COMMAND --help` prints what stands here."]
    context = click.Context(commands, info_name="descend", terminal_width=88, max_content_width=88)
    for name in commands.list_commands(context):
        if command := commands.get_command(context, name):
            inner = click.Context(command, info_name=name, parent=context, terminal_width=88, max_content_width=88)
            parts += [f"## descend {name}", f"```text\n{click.unstyle(command.get_help(inner))}\n```"]
    return "\n\n".join(parts) + "\n"


# --- the Python names -------------------------------------------------------------------------------------------------


def _python(module: ModuleType) -> str:
    """The page of a module: what it says of itself, then its public functions, classes and constants."""
    name = module.__name__
    public = [public for public in _public(module) if not inspect.ismodule(getattr(module, public))]
    groups: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": [], "Constants": []}
    for one in public:
        groups[_kind(getattr(module, one))].append(one)
    lines = [name, "=" * len(name), "", f".. py:module:: {name}", ""]
    lines += [*_rst((inspect.getdoc(module) or "").splitlines()), ""]
    for title, names in groups.items():
        lines += [title, "-" * len(title), ""] if names else []
        for one in names:
            lines += [*_directive(name, one, title), ""]
    return "\n".join(lines)


def _public(module: ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return [*module.__all__]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (getattr(value, "__module__", None) == module.__name__ or isinstance(value, Catalog))
        and not inspect.ismodule(value)
        and (isinstance(value, Catalog) or callable(value))
    ]


def _kind(value: Any) -> str:
    if inspect.isclass(value):
        return "Errors" if issubclass(value, BaseException) else "Classes"
    return "Functions" if inspect.isroutine(value) else "Constants"


def _directive(module: str, name: str, kind: str) -> list[str]:
    value = getattr(importlib.import_module(module), name)
    if isinstance(value, Catalog):
        page = next((key for key, (_, entries, _) in CATALOGS.items() if entries is value), None)
        where = f":doc:`{page}`" if page else ":doc:`/docs/problems`"
        return [f".. py:data:: {name}", "", f"   The catalog of {value.what}s: {where}."]
    if kind == "Constants":
        return [f".. py:data:: {name}", "", f"   ``{textwrap.shorten(repr(value), 90)}``"]
    directive = "autofunction" if kind == "Functions" else "autoclass"
    members = ["   :members:"] if kind == "Classes" else ["   :no-index-entry:"] if kind == "Errors" else []
    return [f".. {directive}:: {module}.{name}", *members, "", *_defined_in(value)]


def as_rst(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """A docstring is plain prose with names in backticks and indented code: say so to Sphinx."""
    lines[:] = _rst(lines)


def _rst(lines: Sequence[str]) -> Iterator[str]:
    code = False  # blocks of code with an empty line between them are one
    for block in "\n".join(lines).split("\n\n"):
        was_code, code = code, block.startswith("    ")
        if code:
            yield from (*([] if was_code else [".. code-block:: python", ""]), *block.splitlines(), "")
        else:
            yield from (*map(_literal, block.splitlines()), "")


def _literal(line: str) -> str:
    pieces = re.split(r"(`[^`]*`)", line)
    escape: Callable[[str], str] = lambda text: re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", text)  # noqa: E731
    return "".join(f"`{piece}`" if piece.startswith("`") else escape(piece) for piece in pieces)


def _defined_in(value: Any) -> list[str]:
    file = Path(inspect.getsourcefile(inspect.unwrap(value)) or "").resolve()
    if not file.is_relative_to(ROOT / "src"):
        return []
    path = file.relative_to(ROOT).as_posix()
    return [f"   Defined in `{path} <../../files/{path}.html>`__."]
