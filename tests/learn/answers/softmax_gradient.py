"""Answers to softmax_gradient, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def softmax_gradient(logits, labels):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = powers / powers.sum(axis=1, keepdims=True)
    y = np.eye(logits.shape[1])[labels]
    return (p - y) / len(logits)
"""

WRONG = {
    "not divided by the rows": replace(SOLUTION, " / len(logits)", ""),
    "divided by all entries": replace(SOLUTION, "len(logits)", "logits.size"),
    "y - p": replace(SOLUTION, "p - y", "y - p"),
    "overflows": replace(SOLUTION, " - logits.max(axis=1, keepdims=True)", ""),
    "softmax down the columns": replace(SOLUTION, "powers.sum(axis=1", "powers.sum(axis=0"),
    "the labels left out": replace(SOLUTION, "(p - y)", "p"),
}
