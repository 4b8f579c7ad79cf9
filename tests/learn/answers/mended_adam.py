"""Answers to mended_adam, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def adam(w, gradients, lr, beta1, beta2, eps):
    m, v, points = np.zeros_like(w), np.zeros_like(w), []
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        w = w - lr * m_hat / (np.sqrt(v_hat) + eps)
        points.append(w)
    return np.array(points), m, v
"""

WRONG = {
    "no bias correction": replace(SOLUTION, "m / (1 - beta1**t)", "m", "v / (1 - beta2**t)", "v"),
    "only the first corrected": replace(SOLUTION, "v / (1 - beta2**t)", "v"),
    "multiplied instead of divided": replace(
        SOLUTION, "m / (1 - beta1**t)", "m * (1 - beta1**t)", "v / (1 - beta2**t)", "v * (1 - beta2**t)"
    ),
    "eps inside the root": replace(SOLUTION, "(np.sqrt(v_hat) + eps)", "np.sqrt(v_hat + eps)"),
    "t one too many": replace(SOLUTION, "start=1", "start=2"),
    "betas swapped": replace(SOLUTION, "lr, beta1, beta2, eps", "lr, beta2, beta1, eps"),
    "the corrected means are kept": replace(SOLUTION, "        points", "        m, v = m_hat, v_hat\n        points"),
    "no root": replace(SOLUTION, "np.sqrt(v_hat)", "v_hat"),
    "corrected by the beta of the other": replace(
        SOLUTION, "m / (1 - beta1**t)", "m / (1 - beta2**t)", "v / (1 - beta2**t)", "v / (1 - beta1**t)"
    ),
    "uphill": replace(SOLUTION, "w - lr", "w + lr"),
}
