"""descend break: see a training problem for yourself, and which command finds and cures it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from descend.catalog import CHECKS
from descend.cli._command import Command, json_flag, quiet_flag, runs_flag
from descend.cli._print import number, print_json, print_table
from descend.cli._runs import overview, print_run
from descend.cli.doctor import CheckName

if TYPE_CHECKING:
    import descend.faults
    import descend.run

EXAMPLES = (
    "descend break",
    "descend break missing_zero_grad",
    "descend break missing_zero_grad --fixed",
)


CODE = "change the code as the doctor says; --fixed shows what that is worth"


@click.command(cls=Command, examples=EXAMPLES, short_help="See a training problem, and what finds and cures it.")
@click.argument("problem", type=CheckName(), required=False)
@click.option("--fixed", is_flag=True, help="Train the same with the bug taken out, too.")
@click.option("--name", help="The run's name. [broken-PROBLEM-001, -002, ...]")
@runs_flag
@click.option("--curve/--no-curve", default=None, help="Draw the loss when done. [on a terminal]")
@quiet_flag
@json_flag
def command(
    problem: str | None, fixed: bool, name: str | None, runs: Path, curve: bool | None, quiet: bool, as_json: bool
) -> None:
    """Train a run that has PROBLEM, in about a second, and show what it looks like.

    Without PROBLEM, list what can be shown. Nothing in the record of the run says what is wrong with it: let
    `descend doctor` find out.
    """
    if problem is None:
        _list(as_json)
        return
    from descend.faults import show

    shown = show(problem, fixed=fixed, runs=runs, name=name)
    if as_json:
        print_json(_fields(shown))
    elif not quiet:
        _print(shown, fixed=fixed, curve=curve)


def _list(as_json: bool) -> None:
    symptoms = {name: CHECKS[name].symptom for name in CHECKS}
    if as_json:
        print_json([{"problem": name, "symptom": symptom} for name, symptom in symptoms.items()])
        return
    print_table(("problem", "what one sees"), symptoms.items())
    click.echo("See one: descend break missing_zero_grad")


def _fields(shown: descend.faults.Shown) -> dict[str, Any]:
    judged = {"series": shown.series, "before": shown.before, "after": shown.after}
    runs = {"sick": overview(shown.sick), "fixed": overview(shown.fixed) if shown.fixed else None}
    about = {"problem": shown.problem, "symptom": CHECKS[shown.problem].symptom}
    return about | judged | runs | _next(shown.sick)


def _print(shown: descend.faults.Shown, *, fixed: bool, curve: bool | None) -> None:
    from descend.faults import PRINTED

    click.secho(f"{shown.problem}: {CHECKS[shown.problem].symptom}", bold=True)
    print_run(shown.sick, curve=curve)
    click.echo(_course(shown.sick))
    if PRINTED in shown.sick.names():
        click.echo(f"The loop itself printed a validation loss of {number(shown.sick.last(PRINTED))} at the end.")
    if shown.fixed:
        click.echo(f"Without the bug ({shown.fixed.name}): {_course(shown.fixed)}")
        click.echo(f"{shown.series}: {number(shown.before)} with it, {number(shown.after)} without.")
    elif fixed:
        click.echo("There is no remedy that can be applied without you: the doctor says what to do.")
    for what, line in _next(shown.sick).items():
        click.echo(f"{what.capitalize()}: {line}")


def _course(run: descend.run.Run) -> str:
    """A loss in a line: "loss/train 0.7 at step 0, 0.69 at step 100, 0.69 at step 200"."""
    name = next(name for name in ("loss/train", "loss/batch") if name in run.names())
    steps, values = run.series(name)
    places = sorted({0, len(values) // 4, len(values) // 2, len(values) - 1})
    return f"{name} " + ", ".join(f"{number(values[place])} at step {steps[place]:,.0f}" for place in places) + "."


def _next(run: descend.run.Run) -> dict[str, str]:
    """The commands to go on with."""
    diagnose = f"descend doctor {run.folder}"
    return {"diagnose": diagnose, "cure": f"descend cure {run.folder}" if not run.watched else CODE}
