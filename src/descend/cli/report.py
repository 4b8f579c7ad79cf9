"""descend report: runs as one HTML file that opens offline."""

from __future__ import annotations

from pathlib import Path

import click

from descend.cli._command import Command, RunName, find_runs, runs_flag

EXAMPLES = (
    "descend report moons-mlp-adam-001",
    "descend report moons-mlp-adam-001 employee_bonus-linear-sgd-001 --out both.html",
)


@click.command(
    cls=Command, examples=EXAMPLES, short_help="Write one or several runs to an HTML file that opens offline."
)
@click.argument("names", metavar="RUN...", type=RunName(), nargs=-1, required=True)
@click.option(
    "--out",
    metavar="FILE.html",
    type=click.Path(path_type=Path),
    help="[report.html in the run's folder; of several runs runs.html beside the first]",
)
@runs_flag
def command(names: tuple[str, ...], out: Path | None, runs: Path) -> None:
    """Write the report of one run or of several: curves, settings, learned beside true, what happened.

    RUN is the name of a run or of a folder of runs, or its path. The file opens in any browser, also without a network.
    """
    found = find_runs(names, runs)
    from descend.report import write

    first = found[0].folder
    out = out or (first / "report.html" if len(found) == 1 else first.parent / "runs.html")
    click.echo(f"Wrote {write(found, out)}. Open it in a browser.")
