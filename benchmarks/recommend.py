"""Which optimizer for which task: the table of recommended optimizers, measured, as Markdown.

python benchmarks/recommend.py                    # four tasks, some minutes each on two cores
python benchmarks/recommend.py rnn --out folder   # one of them; what was found goes to folder/rnn.json and rnn.svg
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from descend import OPTIMIZERS, Recipe, Recommendation, recommend
from descend.recommending._recommend import entered


class Task(NamedTuple):
    recipe: Recipe
    folklore: str
    optimizers: Sequence[str]
    budget: dict[str, Any]


WIDE: Final = {"repeats": 10, "configurations": 16, "fresh": 3}
SMALL: Final = {"repeats": 8, "configurations": 10, "fresh": 2, "lr_range": (1e-4, 10.0)}  # half a decade apart

NAMED: Final = ("sgd", "momentum", "rmsprop", "adam", "adamw")
"""The optimizers that folklore speaks of; networks that are not dense take minutes for each."""

TASKS: Final = {
    "mlp": Task(Recipe(data="digits", model="mlp", epochs=5), "Adam", OPTIMIZERS.names(), WIDE),
    "cnn": Task(Recipe(data="digits", model="cnn", epochs=3), "SGD with momentum, tuned", NAMED, SMALL),
    "rnn": Task(
        Recipe(data="adding", rows=1000, length=10, model="rnn", width=16, steps=400), "Adam or RMSprop", NAMED, SMALL
    ),
    "transformer": Task(
        Recipe(
            data="characters",
            rows=400,
            context=24,
            model="transformer",
            depth=1,
            width=32,
            heads=2,
            batch_size=16,
            steps=150,
        ),
        "AdamW",
        NAMED,
        SMALL,
    ),
}


def table(result: Recommendation) -> str:
    """Both tables of a recommendation, in one."""
    results, costs = result.tables
    more = {row[0]: row[1:] for row in costs.rows}
    rows = [results.columns + costs.columns[1:], ["---"] * (len(results.columns) + len(costs.columns) - 1)]
    rows += [(*row, *more[row[0]]) for row in results.rows]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    for name in arguments.tasks or TASKS:
        task = TASKS[name]
        started = time.perf_counter()
        result = recommend(entered(task.recipe, task.optimizers), **task.budget, progress=True)
        print(f"\n## {name}: {task.folklore}, they say\n\n`{task.recipe}`\n\n{table(result)}\n")
        print("\n".join(result.sentences), f"\n{time.perf_counter() - started:.0f} seconds.", flush=True)
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
            (arguments.out / f"{name}.json").write_text(json.dumps(result.facts))
            result.figure().save(arguments.out / f"{name}.svg")


if __name__ == "__main__":
    main()
