"""Answers to decoupled_decay, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def adamw(w, gradients, decayed, lr, weight_decay):
    m, v, points = np.zeros_like(w), np.zeros_like(w), []
    for t, g in enumerate(gradients, start=1):
        w = w - lr * weight_decay * decayed * w
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        w = w - lr * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        points.append(w)
    return np.array(points)
"""

SHRINK = "        w = w - lr * weight_decay * decayed * w\n"
MOVE = "        w = w - lr * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)\n"

WRONG = {
    "L2": replace(SOLUTION, SHRINK, "        g = g + weight_decay * decayed * w\n"),
    "not times lr": replace(SOLUTION, "lr * weight_decay", "weight_decay"),
    "after the step, of the new weight": replace(SOLUTION, SHRINK, "", MOVE, MOVE + SHRINK),
    "biases too": replace(SOLUTION, "decayed * w", "w"),
    "the biases alone": replace(SOLUTION, "decayed * w", "~decayed * w"),
    "no decay": replace(SOLUTION, SHRINK, ""),
    "grows": replace(SOLUTION, "w - lr * weight_decay", "w + lr * weight_decay"),
    "decays towards zero by a fixed amount": replace(SOLUTION, "decayed * w", "decayed * np.sign(w)"),
    "eps under the root": replace(SOLUTION, "np.sqrt(v / (1 - 0.999**t)) + 1e-8", "np.sqrt(v / (1 - 0.999**t) + 1e-8)"),
    "no bias correction": replace(SOLUTION, " / (1 - 0.9**t)", "", "v / (1 - 0.999**t)", "v"),
}
