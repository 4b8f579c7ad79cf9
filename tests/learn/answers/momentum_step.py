"""Answers to momentum_step, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def momentum(w, gradients, rates, beta):
    v, points = np.zeros_like(w), []
    for g, lr in zip(gradients, rates):
        v = beta * v + g
        w = w - lr * v
        points.append(w)
    return np.array(points), v


def lr_for_mean(lr, beta):
    return lr / (1 - beta)
"""

WRONG = {
    "a mean of gradients": replace(SOLUTION, "beta * v + g", "beta * v + (1 - beta) * g"),
    "the learning rate inside the velocity": replace(SOLUTION, "beta * v + g", "beta * v + lr * g", "lr * v", "v"),
    "uphill": replace(SOLUTION, "w - lr * v", "w + lr * v"),
    "Nesterov": replace(SOLUTION, "w - lr * v", "w - lr * (g + beta * v)"),
    "no momentum": replace(SOLUTION, "w - lr * v", "w - lr * g"),
    "the old velocity": replace(
        SOLUTION,
        "        v = beta * v + g\n        w = w - lr * v",
        "        w = w - lr * v\n        v = beta * v + g",
    ),
    "multiplied instead of divided": replace(SOLUTION, "lr / (1 - beta)", "lr * (1 - beta)"),
    "divided by beta": replace(SOLUTION, "lr / (1 - beta)", "lr / beta"),
    "all zeros": """
import numpy as np


def momentum(w, gradients, rates, beta):
    return np.zeros_like(gradients), np.zeros_like(w)


def lr_for_mean(lr, beta):
    return 0.0
""",
}
