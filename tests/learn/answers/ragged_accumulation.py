"""Answers to ragged_accumulation, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def train(parts, w, lr, group):
    total, rows = np.zeros_like(w), 0
    for number, (X, y) in enumerate(parts, start=1):
        total = total + 2 * X.T @ (X @ w - y)
        rows += len(X)
        if number % group == 0 or number == len(parts):
            w = w - lr * total / rows
            total, rows = np.zeros_like(w), 0
    return w
"""

WRONG = {
    "the mean of the parts' means": replace(
        SOLUTION, "2 * X.T @ (X @ w - y)", "2 / len(X) * X.T @ (X @ w - y)", "rows += len(X)", "rows += 1"
    ),
    "each part's mean over the size of a full group": replace(
        SOLUTION, "2 * X.T @ (X @ w - y)", "2 / len(X) * X.T @ (X @ w - y)", "total / rows", "total / group"
    ),
    "the last group is never stepped": replace(SOLUTION, " or number == len(parts)", ""),
    "the gradient is never set back to zero": replace(
        SOLUTION,
        """            total, rows = np.zeros_like(w), 0
    return w""",
        """    return w""",
    ),
    "the sum instead of the mean": replace(SOLUTION, "total / rows", "total"),
    "uphill": replace(SOLUTION, "w - lr", "w + lr"),
    "an update for every part": replace(SOLUTION, "number % group == 0", "True"),
}
