"""Answers to fair_batches, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def batches(rows, size, draw):
    order = draw.permutation(rows)
    for start in range(0, rows, size):
        index = order[start : start + size]
        yield index, len(index) / size
"""

WRONG = {
    "every batch counts the same": replace(SOLUTION, "len(index) / size", "1.0"),
    "the weight upside down": replace(SOLUTION, "len(index) / size", "size / len(index)"),
    "the last batch is dropped": replace(SOLUTION, "range(0, rows, size)", "range(0, rows - rows % size, size)"),
    "rows as they stand": replace(SOLUTION, "draw.permutation(rows)", "np.arange(rows)"),
    "with replacement": replace(SOLUTION, "draw.permutation(rows)", "draw.integers(0, rows, rows)"),
    "the same order in every epoch": replace(
        SOLUTION, "draw.permutation(rows)", "np.random.default_rng(0).permutation(rows)"
    ),
    "a generator of its own": replace(SOLUTION, "draw.permutation(rows)", "np.random.default_rng().permutation(rows)"),
    "only the batches are shuffled": replace(
        SOLUTION,
        "    order = draw.permutation(rows)\n    for start in range(0, rows, size):",
        "    order = np.arange(rows)\n    for start in draw.permutation(np.arange(0, rows, size)):",
    ),
    "weights that sum to one": replace(SOLUTION, "len(index) / size", "len(index) / rows"),
    "a row is missing": replace(SOLUTION, "draw.permutation(rows)", "draw.permutation(rows)[1:]"),
}
