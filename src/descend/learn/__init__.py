"""Exercises that check themselves: `descend learn` opens one, checks it on hidden data, and says what is observed.

A file of `exercises/` is an exercise, called like the file:

    def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
        x = draw.normal(size=10 + variant)
        yield expect_close("the mean of hidden numbers", yours.mean(x), x.mean(), rel=1e-6)

    mean = Exercise(number="1.1", title=..., anchor=..., minutes=5, task=..., starter=..., hints=..., explanation=...,
                    check=check)

What is asked never contains the answer: solutions, right and wrong, are in `tests/learn/answers`.
"""

from __future__ import annotations

from descend.learn._exercise import CHAPTERS, EXERCISES, Chapter, Exercise, find, page, path
from descend.learn._expect import Observation, expect_between, expect_close, expect_equal, expect_true
from descend.learn._judge import Answer, Verdict, judge

__all__ = [
    "CHAPTERS",
    "EXERCISES",
    "Answer",
    "Chapter",
    "Exercise",
    "Observation",
    "Verdict",
    "expect_between",
    "expect_close",
    "expect_equal",
    "expect_true",
    "find",
    "judge",
    "page",
    "path",
]
