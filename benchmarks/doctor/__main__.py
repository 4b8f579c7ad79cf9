"""Does the doctor name the root cause, and is it silent where nothing is wrong?

    python -m benchmarks.doctor [--part a|b|c|d] [--only NAME] [--keep FOLDER | --again FOLDER] [--reveal] [--json FILE]

Trains every faulty run of the corpus, its healthy twin, and the runs that look odd and are healthy, and lets
`descend.diagnose` look at each. The first finding counts as the root cause that was named; any finding in a healthy
run is a false alarm. Thresholds of checks are tuned on parts a and b, whose misses and alarms are listed; those of
parts c and d only with `--reveal`, so that they stay a test. `--keep` keeps the runs; `--again` judges kept ones anew.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.doctor.corpus import PARTS, Case
from benchmarks.doctor.training import does_not_hold, load_cases, read_scores, train_all
from benchmarks.doctor.verdicts import as_json, by_cause, details, doctor, judge, summary, yardstick


def report(cases: Sequence[Case], runs: Path, *, reveal: bool, to: Path | None) -> None:
    """Print what was found in the recorded runs of some cases."""
    judged, plain = judge(cases, runs, doctor), judge(cases, runs, yardstick)
    scores = read_scores(runs)
    broken = [reason for case in cases if (reason := does_not_hold(case, scores))]
    print(f"{sum(2 if each.sick else 1 for each in judged)} runs of {len(judged)} cases\n")
    print(by_cause(judged), "\n")
    columns = {f"part {part}": [each for each in judged if each.case.part == part] for part in PARTS}
    columns = {title: chosen for title, chosen in columns.items() if chosen}
    print(summary(columns | {"five plain rules on the loss curves, all": plain}), "\n")
    open_to_all = [each for each in judged if reveal or each.case.part in "ab"]
    print(details(open_to_all))
    if len(open_to_all) < len(judged):
        print("\nWhat was missed in parts c and d and what was a false alarm there is listed with --reveal only.")
    if broken:
        print("\nCases that do not hold:", *broken, sep="\n  ")
    if to is not None:
        to.write_text(json.dumps(as_json(judged), indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, help="only the cases of one part")
    parser.add_argument("--only", default="", metavar="NAME", help="only the cases whose names hold this")
    parser.add_argument("--reveal", action="store_true", help="list the misses and alarms of parts c and d too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the verdicts on every case")
    parser.add_argument("--jobs", type=int, default=2, help="runs trained at a time")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the runs here")
    where.add_argument("--again", type=Path, metavar="FOLDER", help="diagnose the runs kept here, without training")
    arguments = parser.parse_args()
    cases = [
        case for name, case in load_cases().items() if arguments.only in name and arguments.part in (None, case.part)
    ]
    with tempfile.TemporaryDirectory() as elsewhere:
        runs = arguments.again or arguments.keep or Path(elsewhere)
        if not arguments.again:
            runs.mkdir(parents=True, exist_ok=True)
            train_all(cases, runs, arguments.jobs)
        report(cases, runs, reveal=arguments.reveal, to=arguments.json)


if __name__ == "__main__":
    main()
