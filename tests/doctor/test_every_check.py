"""Every check finds its own sick run, leaves alone the healthy one that looks like it, and says what it saw.

The tests walk the catalog: a new check is tested without being named here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descend.catalog import CHECKS
from descend.doctor._chart import Chart
from descend.doctor._check import Check, Example, Finding
from descend.doctor._judge import judge
from descend.run import Recorder, Run

RunOf = Callable[[Example], Run]
ChartOf = Callable[..., Chart]

NAMES = tuple(CHECKS)

SEES_NAN = frozenset({"non_finite"})
"""What NaN is no reason to be silent for."""

PLACES = ("hidden.0.weight", "hidden.0.bias", "hidden.1.weight", "hidden.2.weight", "head.weight")
LAYERS = ("activations.0", "activations.1", "activations.2")
SERIES = (
    *(f"{measure}/{split}" for measure in ("loss", "accuracy", "r2") for split in ("train", "validation", "batch")),
    *(f"{measure}/{place}" for measure in ("grad_norm", "weight_norm", "update_ratio") for place in (*PLACES, "all")),
    *(f"activation_{moment}/{layer}" for moment in ("mean", "std") for layer in LAYERS),
    *(f"{measure}/{layer}" for measure in ("dead_units", "saturation") for layer in LAYERS),
    *(f"input_variance/{layer}" for layer in (*LAYERS, "output")),
    *("loss/train_mode", "lr/0", "clip/norm_before"),
)


def everything_found(findings: tuple[Finding, ...]) -> Iterator[Finding]:
    """The findings and their symptoms."""
    for finding in findings:
        yield finding
        yield from everything_found(finding.symptoms)


@pytest.mark.parametrize("name", NAMES)
def test_it_fires_on_its_sick_run_with_a_number_a_place_and_evidence_that_was_recorded(name: str, run_of: RunOf):
    run = run_of(CHECKS[name].sick)
    diagnosis = judge(Chart(run))
    found = {finding.check: finding for finding in everything_found(diagnosis.findings)}
    assert name in found, f"{sorted(found)} found; unknown: {diagnosis.unknown.get(name)}; {diagnosis.failed}"
    finding = found[name]
    assert re.search(r"\d", finding.sentence)
    assert finding.where is None or finding.where.lower() in finding.sentence.lower()
    assert finding.since is None or 0 <= finding.since <= run.steps
    assert 0.5 <= finding.sure <= 1
    assert finding.remedies
    assert finding.evidence
    for piece in finding.evidence:
        topic, *path = piece.series.split("/")
        recorded = piece.series in run.names() or any(note.kind == topic for note in run.notes())
        assert recorded or Chart(run).fact(*path) is not None or Chart(run).fact(*path[:-1]) is not None, piece
        assert re.search(r"\d", piece.says), piece


@pytest.mark.parametrize("name", NAMES)
def test_it_is_silent_on_the_healthy_run_that_looks_like_its_sick_one(name: str, run_of: RunOf):
    diagnosis = judge(Chart(run_of(CHECKS[name].near_miss)))
    assert name not in [finding.check for finding in everything_found(diagnosis.findings)]
    assert name not in diagnosis.failed


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is_and_where_it_comes_from(name: str):
    check: Check = CHECKS[name]
    assert CHECKS.summary(name).endswith(".")
    for text in (check.symptom, check.look_alike, check.source):
        assert len(text) > 10
    assert check.explains <= {*NAMES} - {name}


def test_what_explains_what_never_leads_back():
    assert list(TopologicalSorter({name: CHECKS[name].explains for name in NAMES}).static_order())


def test_a_record_without_anything_raises_nothing_and_finds_nothing(chart_of: ChartOf):
    for chart in (Chart(), chart_of({})):
        diagnosis = judge(chart)
        assert not diagnosis.failed
        assert not diagnosis.findings


def test_a_single_row_raises_nothing_and_finds_nothing(chart_of: ChartOf):
    diagnosis = judge(chart_of({name: {1: 0.5} for name in SERIES}))
    assert not diagnosis.failed
    assert not diagnosis.findings


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_record_of_one_strange_value_raises_nothing_and_is_taken_for_nothing_else(chart_of: ChartOf, value: float):
    diagnosis = judge(chart_of({name: dict.fromkeys(range(1, 201, 5), value) for name in SERIES}))
    assert not diagnosis.failed
    if not np.isfinite(value):
        assert {finding.check for finding in diagnosis.findings} <= SEES_NAN


@given(
    steps=st.integers(2, 400),
    every=st.integers(1, 40),
    scale=st.floats(1e-6, 1e6),
    noise=st.floats(0, 2),
    falls=st.floats(0, 8),
    holes=st.floats(0, 0.2),
    kept=st.sets(st.sampled_from(SERIES)),
    seed=st.integers(0, 2**16),
)
def test_no_noisy_record_with_holes_makes_a_check_raise(
    tmp_path_factory: pytest.TempPathFactory,
    steps: int,
    every: int,
    scale: float,
    noise: float,
    falls: float,
    holes: float,
    kept: set[str],
    seed: int,
):
    draw = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("noise")
    with Recorder(folder, {}) as recorder:
        for step in range(1, steps, every):
            curve = scale * np.exp(-falls * step / steps + noise * draw.standard_normal(len(kept)))
            curve[draw.random(len(kept)) < holes] = np.nan
            recorder.log(step, step, float(step), dict(zip(sorted(kept), curve.tolist(), strict=True)))
    assert not judge(Chart(Run(folder))).failed


def without_one(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The facts with one group of them left out: a topic, a split, or a part of what is known of a split."""
    for name in facts:
        yield {other: kept for other, kept in facts.items() if other != name}
    data = facts["data"]
    for split in ("train", "validation"):
        for group in [name for name, value in data[split].items() if isinstance(value, dict)]:
            smaller = {name: value for name, value in data[split].items() if name != group}
            yield facts | {"data": data | {split: smaller}}
        yield facts | {"data": {name: value for name, value in data.items() if name != split}}


@pytest.mark.parametrize("recorded_by", [None, "none"], ids=["fit", "watch"])
def test_facts_that_are_not_known_make_no_check_raise(recorded_by: str | None, run_of: RunOf):
    """Of a loop that is watched without its data, or of data without columns, little is known."""
    recipe = {"data": "blobs", "model": "mlp", "width": 8, "norm": "batch", "dropout": 0.1, "lr": 0.1, "epochs": 8}
    chart = Chart(run_of(Example(fault=recorded_by, **recipe)))
    for facts in without_one(chart.facts):
        chart.__dict__["facts"] = facts  # as if it had never been noted
        assert not judge(chart).failed
