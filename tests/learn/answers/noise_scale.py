"""Answers to noise_scale, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def estimates(means, size):
    chunks = means.shape[1]
    variance = means.var(axis=1, ddof=1).sum(axis=1)
    length = (means.mean(axis=1) ** 2).sum(axis=1)
    return size * variance.mean(), (length - variance / chunks).mean()


def noise_scale(means, size):
    trace, signal = estimates(means, size)
    return trace / signal
"""

WRONG = {
    "the noise in the mean counts as signal": replace(SOLUTION, "length - variance / chunks", "length"),
    "not times the rows of a chunk": replace(SOLUTION, "size * variance.mean()", "variance.mean()"),
    "ddof of a population": replace(SOLUTION, "ddof=1", "ddof=0"),
    "upside down": replace(SOLUTION, "trace / signal", "signal / trace"),
    "the mean length of chunks": replace(
        SOLUTION, "(means.mean(axis=1) ** 2).sum(axis=1)", "(means ** 2).sum(axis=2).mean(axis=1)"
    ),
    "the whole variance taken off": replace(SOLUTION, "variance / chunks", "variance"),
    "the length instead of its square": replace(SOLUTION, "trace / signal", "trace / signal**0.5"),
    "times the rows of the batch": replace(SOLUTION, "size * variance", "size * chunks * variance"),
}
