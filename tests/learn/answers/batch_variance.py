"""Answers to batch_variance, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def batch_variance(gradients, size, replacement):
    rows = len(gradients)
    trace = gradients.var(axis=0).sum()
    factor = 1 if replacement else (rows - size) / (rows - 1)
    return trace / size * factor
"""

WRONG = {
    "no factor without replacement": replace(SOLUTION, "(rows - size) / (rows - 1)", "1"),
    "rows in the factor's denominator": replace(SOLUTION, "/ (rows - 1)", "/ rows"),
    "the variance of a sample": replace(SOLUTION, "var(axis=0)", "var(axis=0, ddof=1)"),
    "the two swapped": replace(SOLUTION, "1 if replacement", "1 if not replacement"),
    "the standard deviation": replace(
        SOLUTION, "return trace / size * factor", "return (trace / size * factor) ** 0.5"
    ),
    "not divided by the batch": replace(SOLUTION, "trace / size", "trace"),
    "the mean over parameters": replace(SOLUTION, ".sum()", ".mean()"),
    "the mean square instead of the variance": replace(
        SOLUTION, "gradients.var(axis=0).sum()", "(gradients**2).mean(axis=0).sum()"
    ),
}
