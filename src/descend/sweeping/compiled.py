"""The compiled lane, under way: until it is there, all recipes take the vmapped one."""

from __future__ import annotations

from typing import NoReturn

from descend.recipe import Recipe
from descend.sweeping._cohort import Cohort
from descend.train.build import Parts


def why_not(parts: Parts, recipe: Recipe) -> str:
    return "the compiled lane is not built yet"


def runs_at_once(cohort: Cohort) -> int:
    raise NotImplementedError


class CompiledStack:
    def __init__(self, cohort: Cohort) -> NoReturn:
        raise NotImplementedError
