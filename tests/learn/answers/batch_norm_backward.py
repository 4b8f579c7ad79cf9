"""Answers to batch_norm_backward, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def batch_norm_backward(g, X, gain, eps):
    sd = np.sqrt(X.var(axis=0) + eps)
    x_hat = (X - X.mean(axis=0)) / sd
    return gain / sd * (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0))
"""

WRONG = {
    "mean and variance as constants": replace(SOLUTION, " - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)", ""),
    "the variance as a constant": replace(SOLUTION, " - x_hat * (g * x_hat).mean(axis=0)", ""),
    "the mean as a constant": replace(SOLUTION, " - g.mean(axis=0)", ""),
    "the unbiased variance": replace(SOLUTION, "var(axis=0)", "var(axis=0, ddof=1)"),
    "no gain": replace(SOLUTION, "gain / sd", "1 / sd"),
    "no eps": replace(SOLUTION, " + eps", ""),
    "statistics of rows instead of columns": replace(
        SOLUTION, "X.var(axis=0)", "X.var(axis=1, keepdims=True)", "X.mean(axis=0)", "X.mean(axis=1, keepdims=True)"
    ),
}
