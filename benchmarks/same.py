"""How often `descend.recommend` tells an optimizer from itself, and how often it finds a difference that is there.

python benchmarks/same.py                # 200 trials of each pair on each task
python benchmarks/same.py --trials 20    # a look

A trial is a whole recommendation: learning rates are drawn, tuned and trained again for both, with seeds that no other
trial has. "told apart" counts the trials whose report says so of the loss, or of the updates to the target.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Mapping
from typing import Final

from descend import Recipe, Recommendation, recommend

TASKS: Final = {
    "bonus, linear": Recipe(data="employee_bonus", validation=0.2, batch_size=8, steps=60, evaluate_every=6),
    "moons, MLP": Recipe(data="moons", model="mlp", width=8, batch_size=20, steps=60, evaluate_every=6),
}

BUDGET: Final = {"repeats": 6, "configurations": 8, "fresh": 2, "lr_range": (1e-4, 10.0), "timed": False}

SEEDS: Final = 100  # of a trial, more than it uses


def pairs(task: Recipe) -> Mapping[str, Mapping[str, Recipe]]:
    """Optimizers beside themselves, and one beside what is known to be worse: a decay that keeps the weights small."""
    adam, momentum = task.but(optimizer="adam"), task.but(optimizer="momentum")
    return {
        "adam and itself": {"adam": adam, "itself": adam},
        "momentum and itself": {"momentum": momentum, "itself": momentum},
        "adam and adam with decay 1": {"adam": adam, "decay 1": adam.but(weight_decay=1.0)},
    }


def trial(pair: Mapping[str, Recipe], number: int) -> Recommendation:
    return recommend({label: recipe.but(seed=SEEDS * number) for label, recipe in pair.items()}, **BUDGET)


def told_apart(task: str, pair: str, trials: int) -> int:
    """In how many trials the two are said to be different."""
    return sum(trial(pairs(TASKS[task])[pair], number).different for number in range(trials))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args().trials
    print("| task | pair | told apart | of trials | seconds |\n| --- | --- | --- | --- | --- |")
    for pair, task in itertools.product(pairs(Recipe()), TASKS):
        started = time.perf_counter()
        count = told_apart(task, pair, trials)
        print(f"| {task} | {pair} | {count} | {trials} | {time.perf_counter() - started:.0f} |", flush=True)


if __name__ == "__main__":
    main()
