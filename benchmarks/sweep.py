"""Run-steps per second of many configurations at once, against the ways in which others train them.

    python benchmarks/sweep.py [--quick] [--only a,b,c] [--counts 1,16,64,512,4096] [--rounds 3]

Everybody trains the same small problem with a grid of learning rates and seeds, in batches of 32, from data in memory
to trained weights. The one yardstick is a plain PyTorch loop with a DataLoader, one run after the other on one core:
its speed does not depend on how many there are, so some are timed. Every measurement is a process of its own, so that
its peak of memory is its own too; contenders come in turn, A B C A B C, and a ratio is taken within a round.

"first" is a first start, with empty caches: compiling and starting processes count, importing counts for nobody.
"cached" is a new process that finds on disk what the first has compiled, and "again" the same work once more in the
same process; for joblib, Ray Tune and JAX that is without starting or compiling anything.
Contenders on one core are bound to it. All but two rows train with Adam; "8 optimizers" is a grid of eight.

On a busy machine --cpu tells more: there it counts what the processor did, of those who use one core and one process.

A measurement that would take longer than --most seconds, judging by the speed before, is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

COUNTS: Final = (1, 16, 64, 512, 4096)
PLAIN: Final = "plain loop"

ALIKE: Final = 1.5
"""By how much a loss may differ: the plain loop trains a sample of the configurations, and seeds differ."""


@dataclass(frozen=True)
class Contender:
    """Somebody who trains; `way` is a function of `_sweepers.py`."""

    way: str
    cores: int = 1
    needs: str = ""  # a package
    most: int = max(COUNTS)  # configurations that it is tried with
    cases: str = "abc"
    caches: bool = False  # on disk, what it compiles
    how: Mapping[str, Any] = field(default_factory=dict)  # for descend: its optimizers and workers


ADAM: Final = {"optimizers": ("adam",), "workers": 1}
EIGHT: Final = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "lion")

CONTENDERS: Final = {
    PLAIN: Contender("sequential"),
    "joblib, 2 cores": Contender("joblib", cores=2, needs="joblib", most=16),
    "Ray Tune, 2 cores": Contender("ray_tune", cores=2, needs="ray", most=16),
    "JAX jit(vmap(scan))": Contender("jax", needs="jax", caches=True),
    "descend": Contender("in_memory", caches=True, how=ADAM),
    "descend, 8 optimizers": Contender("in_memory", caches=True, how=ADAM | {"optimizers": EIGHT}),
    "descend, 2 cores": Contender("in_memory", cores=2, caches=True, how=ADAM | {"workers": 2}),
    "descend, vectorised": Contender("vectorised", caches=True, cases="ab", how=ADAM),
    "descend, Runs on disk": Contender("on_disk", caches=True, how=ADAM),
    "C": Contender("c_limit", cases="ab"),
}


def measure(case: str, name: str, count: int, caches: str, cpu: bool) -> dict[str, Any] | str:
    """What a contender did in a process of its own; a sentence where it could not."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
        "NUMBA_CACHE_DIR": f"{caches}/numba",
        "XDG_CACHE_HOME": caches,
        "JAX_COMPILATION_CACHE_DIR": f"{caches}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, __file__, "--measure", case, name, str(count), *(["--cpu"] if cpu else [])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure_here(case: str, name: str, count: int, cpu: bool) -> None:
    """In that process: train, and print what was measured."""
    contender = CONTENDERS[name]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: contender.cores])
    import resource

    import _sweepers
    import torch

    torch.set_num_threads(1)
    if cpu:
        _sweepers.clock = time.process_time
    way: Callable[..., Any] = getattr(_sweepers, contender.way)
    measured = way(_sweepers.CASES[case], count, **contender.how)
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    peak = own + (contender.cores * children if contender.way in ("joblib", "ray_tune") else 0)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    print(json.dumps(measured._asdict() | {"peak": peak / unit, "loss": statistics.median(measured.losses)}))


def compare(case: str, counts: Sequence[int], rounds: int, most: float, cpu: bool) -> None:
    """Print a table for each number of configurations."""
    steps, title = _case(case)
    contenders = {
        name: contender
        for name, contender in CONTENDERS.items()
        if case in contender.cases and not (cpu and contender.cores > 1)
    }
    speeds: dict[str, float] = {}  # run-steps a second, with as many configurations as were tried last
    for count in counts:
        found: dict[str, list[dict[str, float]]] = {}
        left_out: dict[str, str] = {}
        for _ in range(rounds):
            for name, contender in contenders.items():
                expected = count * steps / speeds.get(name, float("inf"))
                if contender.needs and importlib.util.find_spec(contender.needs) is None:
                    left_out[name] = f"{contender.needs} is not installed"
                elif count > contender.most or count < len(contender.how.get("optimizers", ())):
                    left_out[name] = f"tried with {contender.most} at most" if count > contender.most else "too few"
                elif name != PLAIN and expected > most:
                    left_out[name] = f"about {expected:,.0f} s, judging by fewer"
                elif isinstance(measured := _all_starts(case, name, count, cpu), str):
                    left_out[name] = measured
                else:
                    found.setdefault(name, []).append(measured)
        print(f"\n### {title}, batch 32, {steps:,} steps: {count:,} configurations\n\n{HEAD}")
        for name in contenders:
            if name in left_out:
                print(f"| {name} | {left_out[name]} | | | | | | |")
            else:
                speeds[name] = statistics.median(each["again"] for each in found[name])
                print(_row(name, found), flush=True)


HEAD: Final = (
    "| | first, x plain | cached, x plain | again, x plain | run-steps/s again | start, s | peak, MiB | loss |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def _all_starts(case: str, name: str, count: int, cpu: bool) -> dict[str, float] | str:
    """Run-steps a second at a first start, with caches and again; what the first adds in seconds, peak and loss."""
    with tempfile.TemporaryDirectory() as caches:
        cold = measure(case, name, count, caches, cpu)
        warm = measure(case, name, count, caches, cpu) if CONTENDERS[name].caches else cold
    if isinstance(cold, str) or isinstance(warm, str):
        return cold if isinstance(cold, str) else warm
    return {
        "first": cold["run_steps"] / cold["first"],
        "cached": cold["run_steps"] / warm["first"],
        "again": cold["run_steps"] / cold["again"],
        "start": max(0.0, cold["first"] - cold["again"]),
        "peak": cold["peak"],
        "loss": cold["loss"],
    }


def _row(name: str, found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Medians over rounds; a ratio is to the plain loop of the same round. A loss unlike the others' is marked."""

    def middle(what: str) -> float:
        return statistics.median(each[what] for each in found[name])

    def ratio(what: str) -> float:
        rounds = zip(found[name], found[PLAIN], strict=True)
        return statistics.median(ours[what] / plain["again"] for ours, plain in rounds)

    usual = statistics.median(each["loss"] for each in found[PLAIN])
    alike = "optimizers" in name or usual / ALIKE <= middle("loss") <= usual * ALIKE
    starts = ("first", "cached", "again") if CONTENDERS[name].caches else ("first", "", "again")
    ratios = " | ".join(start and f"{ratio(start):,.3g}" for start in starts)
    rest = f"{middle('again'):,.0f} | {middle('start'):.2f} | {middle('peak'):,.0f} | {middle('loss'):.3g}"
    return f"| {name} | {ratios} | {rest}{'' if alike else ' (!)'} |"


def _case(case: str) -> tuple[int, str]:
    from _sweepers import CASES

    return CASES[case].steps, CASES[case].title


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round with 1, 16 and 64: shows that it works")
    parser.add_argument("--only", default="a,b,c", help="cases: a linear, b MLP, c CNN")
    parser.add_argument("--counts", default=",".join(map(str, COUNTS)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=float, default=60.0, help="seconds that one measurement may take")
    parser.add_argument("--cpu", action="store_true", help="seconds of the processor, and only who uses one core")
    parser.add_argument("--measure", nargs=3, metavar=("CASE", "CONTENDER", "COUNT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        case, name, count = arguments.measure
        measure_here(case, name, int(count), arguments.cpu)
        return
    counts = [1, 16, 64] if arguments.quick else [int(count) for count in arguments.counts.split(",")]
    for case in arguments.only.split(","):
        compare(case, counts, 1 if arguments.quick else arguments.rounds, arguments.most, arguments.cpu)


if __name__ == "__main__":
    main()
