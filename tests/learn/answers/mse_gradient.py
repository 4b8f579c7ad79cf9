"""Answers to mse_gradient, right and wrong."""

from mutants import replace

SOLUTION = """
def gradient(X, y, w, b):
    off = X @ w + b - y
    return 2 * X.T @ off / len(X), 2 * off.mean()
"""

WRONG = {
    "only the weights mended": replace(SOLUTION, "2 * off.mean()", "off.sum()"),
    "the bias without its two": replace(SOLUTION, "2 * off.mean()", "off.mean()"),
    "sign flipped": replace(SOLUTION, "X @ w + b - y", "y - X @ w - b"),
    "divided by the features": replace(SOLUTION, "len(X)", "X.shape[1]"),
    "the sum of squares": replace(SOLUTION, " / len(X)", "", "off.mean()", "off.sum()"),
    "all zeros": replace(SOLUTION, "2 * X.T @ off / len(X), 2 * off.mean()", "0 * w, 0.0"),
}
