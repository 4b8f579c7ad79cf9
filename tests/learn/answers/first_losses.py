"""Answers to 5.1."""

from mutants import replace

SOLUTION = """
import numpy as np


def _frequencies(labels, classes):
    return np.bincount(labels, minlength=classes) / len(labels)


def loss_of_guessing(labels, classes):
    return float(np.log(classes))


def prior_bias(labels, classes):
    return np.log(_frequencies(labels, classes))


def loss_at_the_prior(labels, classes):
    p = _frequencies(labels, classes)
    return float(-(p * np.log(p)).sum())


def first_squared_loss(targets):
    return float((targets**2).mean())


def squared_loss_of_guessing(targets):
    return float(((targets - targets.mean()) ** 2).mean())
"""

WRONG = {
    "bits instead of nats": replace(SOLUTION, "float(np.log(classes))", "float(np.log2(classes))"),
    "biases are the frequencies": replace(
        SOLUTION, "np.log(_frequencies(labels, classes))", "_frequencies(labels, classes)"
    ),
    "biases of the wrong sign": replace(SOLUTION, "return np.log(_freq", "return -np.log(_freq"),
    "the prior is even": replace(SOLUTION, "float(-(p * np.log(p)).sum())", "float(-np.log(p).mean())"),
    "a network answers the mean at first": replace(SOLUTION, "float((targets**2).mean())", "float(targets.var())"),
    "all zeros": """
import numpy as np
def loss_of_guessing(labels, classes): return 0.0
def prior_bias(labels, classes): return np.zeros(classes)
def loss_at_the_prior(labels, classes): return 0.0
def first_squared_loss(targets): return 0.0
def squared_loss_of_guessing(targets): return 0.0
""",
}
