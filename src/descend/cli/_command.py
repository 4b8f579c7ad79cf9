"""What all commands share: examples in the help, wrong flags in one helpful sentence, and where runs are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from descend.errors import RunError, nearest

if TYPE_CHECKING:
    import descend.run

F = TypeVar("F", bound=Callable[..., Any])

SYNONYMS: Final = {
    "--dataset": "--data",
    "--iterations": "--steps",
    "--layers": "--depth",
    "--learning-rate": "--lr",
    "--units": "--width",
}
"""What people type who come from elsewhere."""

INTERRUPTED: Final = 130  # what shells say of Ctrl-C: 128 + SIGINT

RECIPE_FILE: Final = "recipe.toml"
HEADS: Final = (RECIPE_FILE, "watched.toml")
"""The files that make a folder a run, as in descend.run, which would bring NumPy."""


class Command(click.Command):
    """A command whose help begins with examples that work as they stand."""

    def __init__(self, *args: Any, examples: Sequence[str], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with refused(self, ctx, args):
            return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        examples(formatter, self.examples)
        super().format_options(ctx, formatter)


def examples(formatter: click.HelpFormatter, lines: Sequence[str]) -> None:
    with formatter.section("Examples"):
        for line in lines:
            formatter.write(f"{' ' * formatter.current_indent}{line}\n")


@contextlib.contextmanager
def refused(command: click.Command, ctx: click.Context, args: Sequence[str]) -> Iterator[None]:
    """Say what is wrong with a flag, and which one may have been meant."""
    typed = list(args)  # the parser takes them out of the list
    parameters = {flag: parameter for parameter in command.get_params(ctx) for flag in parameter.opts}
    try:
        yield
    except click.NoSuchOption as error:
        wrong = next((arg for arg in typed if arg.startswith(error.option_name)), error.option_name).partition("=")[0]
        name = f"--{wrong.lstrip('-')}"
        near = SYNONYMS.get(name) or nearest(name, [flag for flag in parameters if flag.startswith("--")])
        hint = f"Did you mean {near}? " if near in parameters else ""
        raise click.UsageError(f"There is no flag {wrong}. {hint}See `{ctx.command_path} --help`.") from None
    except click.BadOptionUsage as error:
        kind = parameters[error.option_name].type
        raise click.UsageError(f"{error.option_name} needs a value: {getattr(kind, 'allowed', kind.name)}.") from None


def flag(field: str) -> str:
    """The flag of a field of a recipe."""
    return f"--{field.replace('_', '-')}"


def version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"descend {version('descend')}")
        ctx.exit()


# --- flags that several commands have ---------------------------------------------------------------------------------


def runs_flag(function: F) -> F:
    return click.option(
        "--runs", metavar="FOLDER", type=click.Path(path_type=Path), default=Path("runs"), help="Where runs are. [runs]"
    )(function)


def json_flag(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")(function)


def quiet_flag(function: F) -> F:
    return click.option("--quiet", is_flag=True, help="Print nothing but errors.")(function)


def nproc_flag(function: F) -> F:
    return click.option(
        "--nproc", metavar="N", type=int, help="Train in N processes, each with its share of every batch; or GPUs."
    )(function)


def folders_of_runs(runs: Path) -> list[str]:
    """The folders in `runs` that are no run but hold some, as a comparison does."""
    return sorted({run.parent.name for run in _run_folders(runs, "*/*")})


def _run_folders(runs: Path, depth: str) -> list[Path]:
    return [head.parent for name in HEADS for head in runs.glob(f"{depth}/{name}")]


class RunName(click.ParamType[str]):
    """The name of a run in the runs folder, or the path of its own folder."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        runs = Path(ctx.params.get("runs") or "runs")
        names = sorted([*(run.name for run in _run_folders(runs, "*")), *folders_of_runs(runs)])
        found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="dir")]

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return "`descend runs` lists them."


def find_run(name: str, runs: Path) -> descend.run.Run:
    """The run called `name` in `runs`, or in the folder `name`. Raises RunError, naming what may have been meant."""
    from descend.run import Run

    path = Path(name)
    if any((path / head).is_file() for head in HEADS):
        return Run(path)
    if not runs.is_dir():
        raise RunError(f"There is no run '{name}', and no folder {runs} either. Name the folder of runs with --runs.")
    return Run(runs / name)


def find_runs(names: Sequence[str], runs: Path) -> list[descend.run.Run]:
    """The runs of these names; the name of a folder of runs, such as a comparison, stands for all in it."""
    from descend.run import list_runs

    found: list[descend.run.Run] = []
    for name in names:
        found += list_runs(runs / name) or list_runs(name) or [find_run(name, runs)]
    return found
