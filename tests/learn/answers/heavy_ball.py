"""Answers to heavy_ball, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def best_heavy_ball(H):
    values = np.linalg.eigvalsh(H)
    low, high = np.sqrt(values[0]), np.sqrt(values[-1])
    return (2 / (low + high)) ** 2, ((high - low) / (high + low)) ** 2


def max_stable_lr(H, beta):
    return (2 + 2 * beta) / np.linalg.eigvalsh(H)[-1]
"""

WRONG = {
    "momentum not squared": replace(SOLUTION, "((high - low) / (high + low)) ** 2", "(high - low) / (high + low)"),
    "without the roots": replace(SOLUTION, "np.sqrt(values[0]), np.sqrt(values[-1])", "values[0], values[-1]"),
    "the learning rate of gradient descent": replace(
        SOLUTION, "(2 / (low + high)) ** 2, (", "2 / (low**2 + high**2), ("
    ),
    "the limit of gradient descent": replace(SOLUTION, "(2 + 2 * beta)", "2"),
    "the limit of the mean convention": replace(SOLUTION, "(2 + 2 * beta)", "(2 + 2 * beta) / (1 - beta)"),
    "the smallest curvature": replace(SOLUTION, "eigvalsh(H)[-1]", "eigvalsh(H)[0]"),
    "one over the largest curvature": replace(SOLUTION, "(2 / (low + high)) ** 2", "1 / high**2"),
    "all zeros": """
def best_heavy_ball(H):
    return 0.0, 0.0


def max_stable_lr(H, beta):
    return 0.0
""",
}
