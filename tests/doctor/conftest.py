"""Runs that show a problem, trained once a session, and charts made of series."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

import descend
from descend import faults
from descend.doctor._chart import Chart
from descend.doctor._check import Example
from descend.recipe import Recipe
from descend.run import Recorder, Run


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Example], Run]:
    """The run of an example: trained by `fit`, or with its fault by an ordinary loop."""

    @cache
    def trained(recipe: Recipe, fault: str | None) -> Run:
        runs = tmp_path_factory.mktemp("runs")
        return descend.fit(recipe, runs=runs) if fault is None else faults.run(recipe, fault, runs=runs)

    return lambda example: trained(example.recipe, example.fault)


@pytest.fixture
def chart_of(tmp_path: Path) -> Callable[..., Chart]:
    """A chart of a run with these series, {name: {step: value}}, and these facts, by topic."""

    def chart(
        series: Mapping[str, Mapping[int, float]], facts: Mapping[str, Mapping[str, object]] | None = None
    ) -> Chart:
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        with Recorder(folder, {"model": "made up"}) as recorder:
            for name, values in series.items():
                for step, value in sorted(values.items()):
                    recorder.log(step, step, float(step), {name: value})
            recorder.note("ended", 0, why="finished")
        return Chart(Run(folder), facts)

    return chart
