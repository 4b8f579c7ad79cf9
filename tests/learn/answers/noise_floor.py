"""Answers to noise_floor, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def noise_floor(X, y, lr, size):
    best = np.linalg.lstsq(X, y, rcond=None)[0]
    gradients = 2 * X * (X @ best - y)[:, None]
    trace = (gradients**2).sum(axis=1).mean()
    return lr * trace / (4 * size)
"""

WRONG = {
    "twice as high": replace(SOLUTION, "4 * size", "2 * size"),
    "no two in the gradient": replace(SOLUTION, "2 * X *", "X *"),
    "not divided by the batch": replace(SOLUTION, "(4 * size)", "4"),
    "gradients at zero instead of the minimum": replace(SOLUTION, "(X @ best - y)", "(-y)"),
    "the square of the rate": replace(SOLUTION, "lr * trace", "lr**2 * trace"),
    "the variance of the residuals alone": replace(
        SOLUTION, "(gradients**2).sum(axis=1).mean()", "((X @ best - y) ** 2).mean()"
    ),
    "the square of the batch": replace(SOLUTION, "4 * size", "4 * size**2"),
    "nothing": replace(SOLUTION, "lr * trace / (4 * size)", "0.0"),
}
