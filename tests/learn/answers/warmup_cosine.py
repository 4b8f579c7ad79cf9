"""Answers to warmup_cosine, right and wrong."""

from mutants import replace

SOLUTION = """
import math


def lr_at(step, steps, warmup, peak, floor):
    if step < warmup:
        return peak * (step + 1) / warmup
    t = (step - warmup) / (steps - warmup)
    return floor + (peak - floor) * (1 + math.cos(math.pi * t)) / 2
"""

WRONG = {
    "a first rate of zero": replace(SOLUTION, "(step + 1) / warmup", "step / warmup"),
    "the cosine runs over the warm-up too": replace(SOLUTION, "(step - warmup) / (steps - warmup)", "step / steps"),
    "the floor forgotten": replace(SOLUTION, "floor + (peak - floor) *", "peak *"),
    "floor added on top of the peak": replace(SOLUTION, "(peak - floor) *", "peak *"),
    "a whole wave": replace(SOLUTION, "math.pi * t", "2 * math.pi * t"),
    "reaches the floor one step early": replace(SOLUTION, "(steps - warmup)", "(steps - warmup - 1)"),
    "a straight line": replace(SOLUTION, "(1 + math.cos(math.pi * t)) / 2", "(1 - t)"),
}
