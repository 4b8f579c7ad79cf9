"""The group of commands: whatever goes wrong in one of them becomes one line and an exit code."""

from __future__ import annotations

import importlib
import io
import keyword
import sys
from typing import Any, Final, NoReturn

import click

from descend.cli._command import INTERRUPTED, Command, examples, version
from descend.errors import DescendError, did_you_mean

COMMANDS: Final = (
    *("train", "doctor", "cure", "break", "compare", "sweep", "recommend", "lr-range", "map", "resume"),
    *("learn", "data", "list", "runs", "export", "report"),
)

WRONG: Final = 2

EXAMPLES: Final = (
    "descend compare",
    "descend train moons --model mlp --width 32 --optimizer adam --lr 3e-3 --epochs 20",
    "descend train houses.csv --target price",
    "descend doctor moons-mlp-adam-001",
    "descend report moons-mlp-adam-001",
)

COMPLETION: Final = {
    "bash": 'eval "$(_DESCEND_COMPLETE=bash_source descend)"',
    "zsh": 'eval "$(_DESCEND_COMPLETE=zsh_source descend)"',
    "fish": "_DESCEND_COMPLETE=fish_source descend | source",
}


class _Commands(click.Group):
    """The commands of this folder, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_")  # descend break, descend lr-range
        command: Command = importlib.import_module(f"descend.cli.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise click.UsageError(f"There is no command '{args[0]}'. {did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(
                f"There is no flag {error.option_name} before a command. Flags come after it: descend train --lr 0.1."
            ) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        examples(formatter, EXAMPLES)
        self.format_commands(ctx, formatter)
        with formatter.section("Options"):
            formatter.write_dl([("--version", "Show the version."), ("-h, --help", "Show this; also after a command.")])
        with formatter.section(
            "Completion of commands, flags and names: put the line of your shell into its start-up file"
        ):
            formatter.write_dl([(shell, line) for shell, line in COMPLETION.items()])

    def main(self, *args: Any, **settings: Any) -> NoReturn:
        """Run a command and leave with its exit code."""
        try:
            code = super().main(*args, **settings | {"standalone_mode": False})
        except click.Abort:
            _complain("Interrupted.")
            code = INTERRUPTED
        except click.ClickException as error:
            _complain(error.format_message())
            code = WRONG
        except DescendError as error:
            _complain(str(error))
            code = WRONG
        except OSError as error:
            if error.filename is None:
                raise
            _complain(f"{error.filename}: {error.strerror}.")
            code = WRONG
        sys.exit(code)


def _complain(sentence: str) -> None:
    click.echo(f"Error: {' '.join(sentence.splitlines())}", err=True)


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=version)
@click.pass_context
def descend(ctx: click.Context) -> None:
    """Train neural networks, and see what happens and why: a recipe goes in, a run comes out."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> NoReturn:
    """What the console script and `python -m descend` call."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows '?' and never a traceback
    descend.main()
