"""Answers to linear_backward, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def linear_backward(delta, X, W):
    return delta.T @ X, delta.sum(axis=0), delta @ W
"""

WRONG = {
    "dW transposed": replace(SOLUTION, "delta.T @ X", "X.T @ delta"),
    "the mean for the bias": replace(SOLUTION, "delta.sum(axis=0)", "delta.mean(axis=0)"),
    "the mean for the weights": replace(SOLUTION, "delta.T @ X", "delta.T @ X / len(X)"),
    "the bias summed over outputs": replace(SOLUTION, "sum(axis=0)", "sum(axis=1)"),
    "dX transposed": replace(SOLUTION, "delta @ W", "(delta @ W).T"),
    "the sign flipped": replace(SOLUTION, "delta.T @ X", "-delta.T @ X"),
    "all zeros": replace(
        SOLUTION,
        "delta.T @ X, delta.sum(axis=0), delta @ W",
        "np.zeros_like(W), np.zeros(len(W)), np.zeros_like(X)",
    ),
}
