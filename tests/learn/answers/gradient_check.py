"""Answers to gradient_check, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def gradient_error(f, x, grad):
    h, worst = 1e-5, 0.0
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        n = (f(up) - f(down)) / (2 * h)
        size = max(abs(grad[index]), abs(n))
        if size > 0:
            worst = max(worst, abs(grad[index] - n) / size)
    return worst
"""

WRONG = {
    "a forward difference": replace(SOLUTION, "        down[index] -= h\n", "", "(2 * h)", "h"),
    "the step too small": replace(SOLUTION, "1e-5", "1e-10"),
    "the step too large": replace(SOLUTION, "1e-5", "1e-2"),
    "an absolute error": replace(SOLUTION, " / size)", ")"),
    "divided by h, not 2 h": replace(SOLUTION, "(2 * h)", "h"),
    "the mean over entries": replace(
        SOLUTION, "max(worst, abs(grad[index] - n) / size)", "worst + abs(grad[index] - n) / size / x.size"
    ),
    "an entry that does not matter counts as wrong": replace(
        SOLUTION,
        "if size > 0:",
        "if True:",
        "abs(grad[index] - n) / size",
        "np.float64(abs(grad[index] - n) + 1e-30) / (size + 1e-30)",
    ),
    "x is changed": replace(SOLUTION, "up, down = x.copy(), x.copy()", "up, down = x, x.copy()"),
}
