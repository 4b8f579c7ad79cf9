"""Answers to adagrad_decay, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def adagrad(w, gradients, lr, eps):
    total, points = np.zeros_like(w), []
    for g in gradients:
        total = total + g * g
        w = w - lr * g / (np.sqrt(total) + eps)
        points.append(w)
    return np.array(points), total


def steps_until(share):
    return share**-2
"""

WRONG = {
    "no root": replace(SOLUTION, "np.sqrt(total)", "total"),
    "a mean instead of a sum": replace(SOLUTION, "total + g * g", "0.99 * total + 0.01 * g * g"),
    "forgets": replace(SOLUTION, "total + g * g", "g * g"),
    "the step before the sum": replace(
        SOLUTION,
        "        total = total + g * g\n        w = w - lr * g / (np.sqrt(total) + eps)\n",
        "        w = w - lr * g / (np.sqrt(total) + eps + (total == 0))\n        total = total + g * g\n",
    ),
    "one sum for all weights": replace(SOLUTION, "np.sqrt(total) + eps", "np.sqrt(total.sum()) + eps"),
    "uphill": replace(SOLUTION, "w - lr", "w + lr"),
    "eps inside the root": replace(SOLUTION, "np.sqrt(total) + eps", "np.sqrt(total + eps)"),
    "steps fall like 1 / t": replace(SOLUTION, "share**-2", "1 / share"),
    "the sum of sizes": replace(SOLUTION, "total + g * g", "total + abs(g)"),
}
