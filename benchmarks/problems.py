"""What each training problem costs and what its cure is worth: the tables of problems in the README, as Markdown.

python benchmarks/problems.py            # the four of the course's table, cured with three paired seeds
python benchmarks/problems.py --all      # every problem that `descend break` shows, and the same without it
"""

from __future__ import annotations

import argparse
import tempfile

from descend import CHECKS, cure
from descend.faults import show
from descend.plots._runs import number

COURSE = ("overfitting", "underfitting", "vanishing_gradients", "exploding_gradients")


def cured(problem: str, runs: str) -> str:
    """A row: what one sees, what the doctor finds, what cure changes, and the validation loss before and after."""
    result = cure(show(problem, runs=runs).sick, runs=f"{runs}/{problem}")
    (first, *_), trials = result.before.findings, [trial for trial in result.trials if trial.kept]
    found = first.sentence if first.check == problem else f"{first.check}: {first.sentence}"
    changes = ", ".join(f"`{name}` {old} → {new}" for name, (old, new) in result.changes.items())
    losses = (trials[0].untreated.loss, trials[-1].kept.loss) if trials else (float("nan"), float("nan"))
    told = " → ".join(number(loss) for loss in losses)
    cells = (problem.replace("_", " "), CHECKS[problem].symptom, found, changes or "nothing helped", told)
    return f"| {' | '.join(cells)} |"


def shown(problem: str, runs: str) -> str:
    """A row: what one sees, and how good the run is with the problem and without."""
    pair = show(problem, fixed=True, runs=runs)
    after = "" if pair.after is None else number(pair.after)
    symptom = CHECKS[problem].symptom
    return f"| [{problem}](docs/problems.md#{problem}) | {symptom} | {pair.series} | {number(pair.before)} | {after} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every problem, without cures")
    everything = parser.parse_args().all
    with tempfile.TemporaryDirectory() as runs:
        if everything:
            print("| problem | what one sees | measured | with it | without |\n| --- | --- | --- | --- | --- |")
            rows = (shown(problem, runs) for problem in CHECKS)
        else:
            print("| problem | symptom | diagnosis | cure | validation loss |\n| --- | --- | --- | --- | --- |")
            rows = (cured(problem, runs) for problem in COURSE)
        for row in rows:
            print(row, flush=True)


if __name__ == "__main__":
    main()
