"""Answers to 5.4."""

from mutants import replace

SOLUTION = """
import math

import numpy as np


class EarlyStopping:
    def __init__(self, patience, min_delta=0.0):
        self.patience = patience
        self.min_delta = min_delta
        self.best_loss = math.inf
        self.since = 0
        self.best = {}

    def see(self, loss, weights):
        if loss < self.best_loss - self.min_delta:
            self.best_loss, self.since = loss, 0
            self.best = {name: value.copy() for name, value in weights.items()}
        else:
            self.since += 1
        return self.since >= self.patience

    def restore(self, weights):
        for name, value in self.best.items():
            weights[name][...] = value
"""

WRONG = {
    "never restores": replace(SOLUTION, "            weights[name][...] = value", "            pass"),
    "keeps a reference": replace(SOLUTION, "value.copy()", "value"),
    "a shallow copy": replace(SOLUTION, "{name: value.copy() for name, value in weights.items()}", "dict(weights)"),
    "restores what it then gives away": replace(SOLUTION, "weights[name][...] = value", "weights[name] = value"),
    "patience not in a row": replace(SOLUTION, "self.best_loss, self.since = loss, 0", "self.best_loss = loss"),
    "patience one too long": replace(SOLUTION, ">= self.patience", "> self.patience"),
    "the sign of min_delta": replace(SOLUTION, "- self.min_delta:", "+ self.min_delta:", "loss <", "loss <="),
    "NaN is better": replace(
        SOLUTION, "if loss < self.best_loss - self.min_delta:", "if not loss >= self.best_loss - self.min_delta:"
    ),
    "never stops": replace(SOLUTION, "return self.since >= self.patience", "return False"),
}
