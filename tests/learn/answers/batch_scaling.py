"""Answers to batch_scaling, right and wrong."""

from mutants import replace

SOLUTION = """
def scaled_sgd(lr, old, new, sharpness):
    return min(lr * new / old, max(lr, 0.5 / sharpness))


def scaled_adam(lr, beta1, beta2, eps, old, new):
    many = new / old
    beta1, beta2 = (max(0.0, 1 - many * (1 - beta)) for beta in (beta1, beta2))
    return lr * many**0.5, beta1, beta2, eps / many**0.5
"""

WRONG = {
    "the square root for SGD": replace(SOLUTION, "lr * new / old", "lr * (new / old) ** 0.5"),
    "no cap": replace(SOLUTION, "min(lr * new / old, max(lr, 0.5 / sharpness))", "lr * new / old"),
    "the stability limit itself": replace(SOLUTION, "0.5 / sharpness", "2 / sharpness"),
    "a rate beyond the cap is lowered": replace(SOLUTION, "max(lr, 0.5 / sharpness)", "0.5 / sharpness"),
    "linear for Adam": replace(SOLUTION, "lr * many**0.5", "lr * many"),
    "the betas as they were": replace(SOLUTION, "max(0.0, 1 - many * (1 - beta))", "beta"),
    "a negative beta": replace(SOLUTION, "max(0.0, 1 - many * (1 - beta))", "1 - many * (1 - beta)"),
    "eps the wrong way": replace(SOLUTION, "eps / many**0.5", "eps * many**0.5"),
    "old and new swapped": replace(SOLUTION, "new / old", "old / new"),
}
