"""Answers to rmsprop_step, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def rmsprop(w, gradients, lr, alpha, eps):
    mean, points = np.zeros_like(w), []
    for t, g in enumerate(gradients, start=1):
        mean = alpha * mean + (1 - alpha) * g * g
        w = w - lr * g / (np.sqrt(mean) + eps)
        points.append(w)
    return np.array(points), mean


def first_step(alpha):
    return (1 - alpha) ** -0.5
"""

WRONG = {
    "bias correction": replace(SOLUTION, "np.sqrt(mean)", "np.sqrt(mean / (1 - alpha**t))"),
    "eps inside the root": replace(SOLUTION, "np.sqrt(mean) + eps", "np.sqrt(mean + eps)"),
    "alpha the other way round": replace(SOLUTION, "alpha * mean + (1 - alpha)", "(1 - alpha) * mean + alpha"),
    "no root": replace(SOLUTION, "np.sqrt(mean) + eps", "mean + eps"),
    "the mean starts at one": replace(SOLUTION, "np.zeros_like(w), []", "np.ones_like(w), []"),
    "a mean of gradients": replace(SOLUTION, "* g * g", "* abs(g)", "np.sqrt(mean)", "mean"),
    "a sum, as AdaGrad": replace(SOLUTION, "alpha * mean + (1 - alpha) * g * g", "mean + g * g"),
    "one mean for all weights": replace(SOLUTION, "np.sqrt(mean)", "np.sqrt(mean.mean())"),
    "first step of one": replace(SOLUTION, "(1 - alpha) ** -0.5", "1.0"),
    "no root in the first step": replace(SOLUTION, "(1 - alpha) ** -0.5", "1 / (1 - alpha)"),
}
