"""Answers to clip_together, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def clip(gradients, limit):
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    factor = min(1.0, limit / norm)
    return [g * factor for g in gradients], norm


def clip_fraction(norms, limit):
    return sum(norm > limit for norm in norms) / len(norms)
"""

WRONG = {
    "each tensor by its own norm": replace(SOLUTION, "g * factor", "g * min(1.0, limit / np.sqrt((g**2).sum()))"),
    "each number": replace(SOLUTION, "g * factor", "np.clip(g, -limit, limit)"),
    "small gradients are scaled up": replace(SOLUTION, "min(1.0, limit / norm)", "limit / norm"),
    "the sum of the norms": replace(
        SOLUTION, "np.sqrt(sum((g**2).sum() for g in gradients))", "sum(np.sqrt((g**2).sum()) for g in gradients)"
    ),
    "the largest norm": replace(
        SOLUTION, "np.sqrt(sum((g**2).sum() for g in gradients))", "max(np.sqrt((g**2).sum()) for g in gradients)"
    ),
    "no root": replace(
        SOLUTION, "np.sqrt(sum((g**2).sum() for g in gradients))", "sum((g**2).sum() for g in gradients)"
    ),
    "the norm after": replace(SOLUTION, "], norm", "], min(norm, limit)"),
    "nothing is clipped": replace(SOLUTION, "g * factor", "g"),
    "the share that was not clipped": replace(SOLUTION, "norm > limit", "norm <= limit"),
    "how many instead of the share": replace(SOLUTION, " / len(norms)", ""),
}
