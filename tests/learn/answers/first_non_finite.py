"""Answers to 5.3."""

from mutants import replace

SOLUTION = """
import numpy as np


def first_non_finite(layers, x):
    if not np.isfinite(x).all():
        return "input"
    for name, function in layers:
        x = function(x)
        if not np.isfinite(x).all():
            return name
    return None
"""

WRONG = {
    "NaN only": replace(
        SOLUTION,
        "        if not np.isfinite(x).all():\n            return name",
        "        if np.isnan(x).any():\n            return name",
    ),
    "the sum is NaN": replace(
        SOLUTION,
        "        if not np.isfinite(x).all():\n            return name",
        "        if np.isnan(x.sum()):\n            return name",
    ),
    "the sum is not finite": replace(
        SOLUTION,
        "        if not np.isfinite(x).all():\n            return name",
        "        if not np.isfinite(x.sum()):\n            return name",
    ),
    "the last one": replace(
        SOLUTION,
        "    for name",
        "    found = None\n    for name",
        "            return name\n    return None",
        "            found = name\n    return found",
    ),
    "the inputs are not looked at": replace(SOLUTION, '    if not np.isfinite(x).all():\n        return "input"\n', ""),
    "all numbers are bad": replace(
        SOLUTION,
        "        if not np.isfinite(x).all():\n            return name",
        "        if not np.isfinite(x).any():\n            return name",
    ),
    "only the end is looked at": """
import numpy as np
def first_non_finite(layers, x):
    for name, function in layers:
        x = function(x)
    return None if np.isfinite(x).all() else name
""",
}
