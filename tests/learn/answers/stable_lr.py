"""Answers to stable_lr, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def max_stable_lr(X, y):
    hessian = 2 / len(X) * X.T @ X
    return 2 / np.linalg.eigvalsh(hessian)[-1]
"""

WRONG = {
    "no factor two in the Hessian": replace(SOLUTION, "2 / len(X)", "1 / len(X)"),
    "the smallest eigenvalue": replace(SOLUTION, "[-1]", "[0]"),
    "one over lambda": replace(SOLUTION, "return 2 /", "return 1 /"),
    "the singular value of X instead of the eigenvalue of H": replace(
        SOLUTION, "np.linalg.eigvalsh(hessian)[-1]", "np.linalg.norm(X, 2)"
    ),
    "the sum of squares instead of the mean": replace(SOLUTION, "2 / len(X) *", "2 *"),
}
