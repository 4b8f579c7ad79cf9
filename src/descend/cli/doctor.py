"""descend doctor: what is wrong with a run, on what evidence, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from descend.catalog import CHECKS
from descend.cli._command import Command, RunName, find_runs, json_flag, runs_flag
from descend.cli._print import print_json, print_table, text_width

if TYPE_CHECKING:
    import descend.doctor._judge
    import descend.run

EXAMPLES = (
    "descend doctor moons-mlp-adam-001",
    "descend doctor moons-mlp-adam-001 --all",
    "descend doctor moons-mlp-adam-001 moons-mlp-sgd-001 --markdown",
    "descend doctor runs --fail-on certain --json",
)

LEVELS: Final = {"certain": ("certain",), "likely": ("certain", "likely"), "any": ("certain", "likely", "possible")}
"""What --fail-on takes, and which certainties it then fails on."""

FOUND: Final = 1  # the exit code of --fail-on


class CheckName(click.ParamType[str]):
    """A check of the doctor."""

    name = "check"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in CHECKS if name.startswith(incomplete)]


@click.command(cls=Command, examples=EXAMPLES, short_help="What is wrong with a run, on what evidence, and what to do.")
@click.argument("names", metavar="RUN...", type=RunName(), nargs=-1, required=True)
@click.option("--all", "everything", is_flag=True, help="Tell everything: what is in order, and what lacked evidence.")
@click.option("--check", "checks", metavar="NAME", type=CheckName(), multiple=True, help="Look for this; give several.")
@click.option("--probe", is_flag=True, help="Let short trainings decide between causes with the same symptom.")
@click.option(
    "--fail-on",
    type=click.Choice(list(LEVELS)),
    help="Exit with code 1 on a problem that is certain, at least likely, or any. [always 0]",
)
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@json_flag
@runs_flag
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    everything: bool,
    checks: tuple[str, ...],
    probe: bool,
    fail_on: str | None,
    markdown: bool,
    as_json: bool,
    runs: Path,
) -> None:
    """Look for what is wrong with runs, show the evidence, and say what to do.

    RUN is the name of a run or of a folder of runs, or its path. At most three problems are told first, causes before
    what they cause. The exit code is 0 whatever is found, unless --fail-on says otherwise. `descend list checks` shows
    what is looked for.
    """
    if markdown and as_json:
        raise click.UsageError("Give --json or --markdown, but not both.")
    for name in checks:
        CHECKS.require(name)
    found = {run: _diagnosis(run, checks or None, probe=probe) for run in find_runs(names, runs)}
    if as_json:
        print_json([_fields(run, diagnosis) for run, diagnosis in found.items()])
    else:
        if len(found) > 1:
            _print_overview({run.name: _verdict(diagnosis) for run, diagnosis in found.items()}, markdown)
        for run, diagnosis in found.items():
            if len(found) == 1 or everything or not diagnosis.healthy:
                (_print_markdown if markdown else _print)(run, diagnosis, everything)
        unsure = [run for run, diagnosis in found.items() if not run.watched and _open(diagnosis)]
        if unsure and not probe and not markdown:
            click.echo(f"Let short trainings decide where it is not certain: descend doctor {unsure[0].folder} --probe")
    if fail_on and any(_reaches(diagnosis, fail_on) for diagnosis in found.values()):
        ctx.exit(FOUND)


def _diagnosis(run: descend.run.Run, checks: tuple[str, ...] | None, *, probe: bool) -> descend.doctor._judge.Diagnosis:
    from descend.doctor._chart import Chart
    from descend.doctor._judge import judge

    if not probe:
        return judge(Chart(run), checks)
    from descend.probing import probe as forked  # it trains, so it imports torch

    click.echo(f"Training short forks of {run.name}.", err=True)
    return judge(Chart(run, forked(run)), checks)


def _fields(run: descend.run.Run, diagnosis: descend.doctor._judge.Diagnosis) -> dict[str, Any]:
    about = {"run": run.name, "folder": str(run.folder), "status": run.status, "steps": run.steps}
    return about | diagnosis.fields() | {"next": _next(run, diagnosis)}


def _print_overview(verdicts: Mapping[str, str], markdown: bool) -> None:
    """One line a run."""
    if markdown:
        click.echo("".join(f"- `{name}`: {verdict}\n" for name, verdict in verdicts.items()))
    else:
        print_table(("run", "verdict"), verdicts.items())


def _verdict(diagnosis: descend.doctor._judge.Diagnosis) -> str:
    """A diagnosis in a cell of a table."""
    problems = [f"{finding.check} ({finding.certainty})" for finding in diagnosis.findings]
    return ", ".join(problems) or diagnosis.sentence


def _print(run: descend.run.Run, diagnosis: descend.doctor._judge.Diagnosis, everything: bool) -> None:
    from descend.doctor._report import in_terminal

    click.secho(_head(run), bold=True)
    click.echo(in_terminal(diagnosis, text_width(), everything=everything))
    if not everything and (hidden := _hidden(diagnosis)):
        click.echo(f"\n{hidden}: add --all.")
    if next_ := _next(run, diagnosis):
        click.echo(f"\nNext: {next_}")


def _print_markdown(run: descend.run.Run, diagnosis: descend.doctor._judge.Diagnosis, everything: bool) -> None:
    from descend.doctor._report import as_markdown

    click.echo(f"## {_head(run)}\n\n{as_markdown(diagnosis, everything=everything)}")
    if next_ := _next(run, diagnosis):
        click.echo(f"Next: `{next_}`\n")


def _hidden(diagnosis: descend.doctor._judge.Diagnosis) -> str:
    """What only --all tells, where it is worth a line."""
    more = len(diagnosis.findings) - len(diagnosis.first)
    parts = [f"{more} more problem{'s' * (more > 1)}"] if more else []
    parts += ["what each check needs"] if not diagnosis.checked else []
    parts += [f"{len(diagnosis.failed)} checks that failed to look"] if diagnosis.failed else []
    return " and ".join(parts).capitalize()


def _head(run: descend.run.Run) -> str:
    return f"{run.name}: {run.status}, {run.steps:,} step{'' if run.steps == 1 else 's'}"


def _next(run: descend.run.Run, diagnosis: descend.doctor._judge.Diagnosis) -> str | None:
    """The command to go on with."""
    return None if diagnosis.healthy or run.watched else f"descend cure {run.folder}"


def _open(diagnosis: descend.doctor._judge.Diagnosis) -> bool:
    """Whether anything told first is less than certain."""
    return any(finding.certainty != "certain" for finding in diagnosis.first)


def _reaches(diagnosis: descend.doctor._judge.Diagnosis, level: str) -> bool:
    """Whether anything is found that is at least this sure."""
    every = (each for finding in diagnosis.findings for each in (finding, *finding.symptoms))
    return any(each.certainty in LEVELS[level] for each in every)
