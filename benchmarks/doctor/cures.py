"""Does the cure cure? Every faulty recipe of the corpus is cured, and compared with its healthy twin.

    python -m benchmarks.doctor.cures [--part a|b|c|d] [--only NAME] [--json FILE]

A run is cured if the check that names its cause is silent on the cured recipe, and the validation accuracy (or R2) of
the cured recipe is at least 95 % of the twin's, with the same seed. The cure knows neither the cause nor the twin.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import descend
from benchmarks.doctor.corpus import PARTS
from benchmarks.doctor.recipes import Slip
from benchmarks.doctor.training import load_cases
from descend.curing._arm import in_words
from descend.plots._runs import last

CLOSE: Final = 0.95  # of the healthy twin's score


@dataclass(frozen=True)
class Cured:
    """One faulty recipe, its cure and its twin, by accuracy or R2 on the validation rows."""

    case: str
    found: str  # the first finding
    change: str
    sick: float
    cured: float
    twin: float
    silent: bool
    seconds: float

    @property
    def good(self) -> bool:
        return self.silent and self.cured >= CLOSE * self.twin


def cure(slip: Slip, runs: Path) -> Cured:
    """Train a faulty recipe and its twin, and cure it."""
    twin, sick = (descend.fit(descend.Recipe(**slip.recipe | change), runs=runs) for change in ({}, slip.change))
    start = time.perf_counter()
    found = descend.cure(sick, runs=runs / "cures")
    seconds = time.perf_counter() - start
    kept = [trial.kept for trial in found.trials if trial.kept]
    after = kept[-1].runs[0] if kept else sick
    checks = (slip.cause, *slip.also)
    return Cured(
        f"{slip.cause}_{slip.part}",
        found.before.findings[0].check if found.before.findings else "",
        in_words(found.changes),
        _score(sick),
        _score(after),
        _score(twin),
        descend.diagnose(after, checks=checks).healthy,
        seconds,
    )


def _score(run: descend.Run) -> float:
    return last(run, "accuracy/validation" if "accuracy/validation" in run.names() else "r2/validation")


def table(cures: Sequence[Cured]) -> str:
    """One line a case, and how many are cured."""
    head = f"{'case':26} {'named':22} {'sick':>6} {'cured':>6} {'twin':>6} {'silent':>6} {'s':>5}  change"
    lines = [
        f"{each.case:26} {each.found:22} {each.sick:6.3f} {each.cured:6.3f} {each.twin:6.3f} "
        f"{'yes' if each.silent else 'NO':>6} {each.seconds:5.1f}  {'' if each.good else 'NOT CURED: '}{each.change}"
        for each in cures
    ]
    totals = {part: [each for each in cures if each.case.endswith(f"_{part}")] for part in PARTS} | {"all": cures}
    counts = [f"{name} {sum(each.good for each in some)} of {len(some)}" for name, some in totals.items() if some]
    return "\n".join([head, *lines, f"cured: {', '.join(counts)}"])


def slips(part: str | None, name: str) -> list[Slip]:
    """The faulty recipes of the corpus: what `descend.fit` trained, so that their cure is a recipe too."""
    partials = [case.train for case in load_cases().values() if isinstance(case.train, partial)]
    found = [each.args[0] for each in partials if each.args and isinstance(each.args[0], Slip)]
    return [slip for slip in found if part in (None, slip.part) and name in slip.cause]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.doctor.cures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", choices=PARTS, help="only the cases of one part")
    parser.add_argument("--only", default="", metavar="NAME", help="only the causes whose names hold this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number")
    arguments = parser.parse_args()
    cures: list[Cured] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, slip in enumerate(slips(arguments.part, arguments.only)):
            cures.append(cure(slip, Path(folder) / str(number)))
            print(f"\r{len(cures)} cured", end="", flush=True)
    print("\r" + table(cures))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(each) for each in cures], indent=1))


if __name__ == "__main__":
    main()
