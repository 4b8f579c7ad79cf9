"""Chart: what a check reads. The series and facts of a run, each read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

import numpy as np

from descend.catalog import Value
from descend.recipe import Recipe
from descend.run import Note, Run, Series

EMPTY: Final = Series(np.empty(0), np.empty(0))


class Chart:
    """The record of a run, or only the facts that are known before the first step.

    Series may be missing, short, not finite or sparse, and facts may be missing: a check that needs one asks first.
    """

    def __init__(self, run: Run | None = None, facts: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.run = run
        self._given = facts or {}
        self._series: dict[str, Series] = {}

    @cached_property
    def recipe(self) -> Recipe | None:
        """What was trained; None of a watched loop."""
        return None if self.run is None or self.run.watched else self.run.recipe

    @cached_property
    def settings(self) -> dict[str, Value]:
        """Every field of the recipe, or what is known of a watched loop."""
        if self.recipe is not None:
            return self.recipe.fields()
        return self.run.settings if self.run else {}

    @cached_property
    def _recorded(self) -> dict[str, Callable[[], Series]]:
        return self.run.all_series() if self.run else {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self._recorded)

    @cached_property
    def notes(self) -> list[Note]:
        return self.run.notes() if self.run else []

    @cached_property
    def status(self) -> str:
        return self.run.status if self.run else "not started"

    @cached_property
    def ended(self) -> bool:
        """Whether training is over: a curve that still falls may then be called too short."""
        return self.status not in ("running", "killed", "interrupted", "not started")

    @cached_property
    def steps(self) -> int:
        return self.run.steps if self.run else 0

    @cached_property
    def facts(self) -> dict[str, dict[str, Any]]:
        """What is known for certain, by topic; what was noted later counts, field by field."""
        merged: dict[str, dict[str, Any]] = {}
        for topics in (*(note.details for note in self.notes if note.kind == "facts"), self._given):
            for topic, fields in topics.items():
                merged.setdefault(topic, {}).update(fields)
        return merged

    def fact(self, topic: str, *path: str) -> Any:
        """facts[topic][...], or None where anything on the way is missing."""
        value: Any = self.facts.get(topic)
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def series(self, name: str) -> Series:
        """A series by step; empty where it was not recorded."""
        if name not in self._series:
            self._series[name] = self._recorded[name]() if name in self._recorded else EMPTY
        return self._series[name]

    def layers(self, measure: str) -> dict[str, Series]:
        """The series of a measure by place, in network order, without "all": {"hidden.0.weight": ...}."""
        prefix = f"{measure}/"
        places = [name.removeprefix(prefix) for name in self.names if name.startswith(prefix)]
        return {place: self.series(prefix + place) for place in places if place not in ("all", "batch")}

    def last(self, name: str) -> float:
        values = self.series(name).y
        return float(values[-1]) if len(values) else math.nan
