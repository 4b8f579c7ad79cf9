"""Answers to 5.2."""

from mutants import replace

SOLUTION = """
import numpy as np


def _ratio(step, size):
    return float(np.sqrt(step) / np.sqrt(size)) if size > 0 else 0.0


def update_ratios(before, after):
    steps = {name: ((after[name] - before[name]) ** 2).sum() for name in before}
    sizes = {name: (after[name] ** 2).sum() for name in before}
    found = {name: _ratio(steps[name], sizes[name]) for name in before}
    found["all"] = _ratio(sum(steps.values()), sum(sizes.values()))
    return found
"""

WRONG = {
    "the weights before": replace(SOLUTION, "(after[name] ** 2).sum()", "(before[name] ** 2).sum()"),
    "the mean of the ratios": replace(
        SOLUTION, "_ratio(sum(steps.values()), sum(sizes.values()))", "sum(found.values()) / len(found)"
    ),
    "squares": replace(SOLUTION, "np.sqrt(step) / np.sqrt(size)", "step / size"),
    "without the weights": replace(SOLUTION, "np.sqrt(step) / np.sqrt(size)", "np.sqrt(step)"),
    "lengths added": replace(
        SOLUTION,
        "_ratio(sum(steps.values()), sum(sizes.values()))",
        "sum(s**0.5 for s in steps.values()) / sum(s**0.5 for s in sizes.values())",
    ),
    "not a number for zeros": replace(SOLUTION, " if size > 0 else 0.0", " if size > 0 else float('nan')"),
}
