"""Answers to unscaled_weights, right and wrong."""

from mutants import replace

SOLUTION = """
import numpy as np


def raw_weights(w, b, mean, std, y_mean, y_std):
    return y_std * w / std, y_mean + y_std * (b - np.sum(w * mean / std))
"""

WRONG = {
    "the means forgotten": replace(SOLUTION, "(b - np.sum(w * mean / std))", "b"),
    "multiplied by the deviations": replace(SOLUTION, "y_std * w / std", "y_std * w * std"),
    "the bias in units of the standardised target": replace(SOLUTION, "y_std * (b", "(b"),
    "the target's scale forgotten": replace(SOLUTION, "y_std * w / std", "w / std"),
    "the means added": replace(SOLUTION, "(b - np", "(b + np"),
    "the means with weights that are not rescaled": replace(SOLUTION, "w * mean / std", "w * mean"),
}
