"""Answers to predict_steps, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def predict_steps(X, y, lr, share):
    values, vectors = np.linalg.eigh(2 / len(X) * X.T @ X)
    modes = vectors.T @ np.linalg.solve(X.T @ X, X.T @ y)
    begin, low, high = np.linalg.norm(modes), 0, 10**9
    while high - low > 1:
        k = (low + high) // 2
        if np.linalg.norm((1 - lr * values) ** k * modes) <= share * begin:
            high = k
        else:
            low = k
    return high
"""

WRONG = {
    "no factor two in the Hessian": replace(SOLUTION, "2 / len(X)", "1 / len(X)"),
    "the rule of thumb, whatever the rate": """
import numpy as np


def predict_steps(X, y, lr, share):
    values = np.linalg.eigvalsh(2 / len(X) * X.T @ X)
    return values[-1] / values[0] / 2 * np.log(1 / share)
""",
    "the fastest mode": """
import numpy as np


def predict_steps(X, y, lr, share):
    values = np.linalg.eigvalsh(2 / len(X) * X.T @ X)
    return np.log(share) / np.log(abs(1 - lr * values[-1]))
""",
    "all zeros": """
def predict_steps(X, y, lr, share):
    return 0
""",
    "the loss instead of the distance": replace(SOLUTION, "share * begin", "share**0.5 * begin"),
}
