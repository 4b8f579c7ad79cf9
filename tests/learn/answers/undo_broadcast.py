"""Answers to undo_broadcast, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def unbroadcast(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    stretched = tuple(i for i in range(len(shape)) if shape[i] == 1)
    return g.sum(axis=stretched, keepdims=True)
"""

WRONG = {
    "the mean": replace(
        SOLUTION, "g.sum(axis=tuple", "g.mean(axis=tuple", "g.sum(axis=stretched", "g.mean(axis=stretched"
    ),
    "only the axes on the left": replace(SOLUTION, "g.sum(axis=stretched, keepdims=True)", "g"),
    "stretched axes are dropped": replace(SOLUTION, ", keepdims=True", ""),
    "the first copy instead of all": replace(
        SOLUTION,
        "g = g.sum(axis=tuple(range(g.ndim - len(shape))))",
        "g = g[(0,) * (g.ndim - len(shape))]",
    ),
    "all zeros": replace(SOLUTION, "return g.sum(axis=stretched, keepdims=True)", "return np.zeros(shape)"),
}
