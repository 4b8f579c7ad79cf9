"""The figure of the evidence: the curves that the first finding read, their limits, and since when."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from descend.doctor._check import Evidence, Finding
from descend.plots.evidence import evidence
from descend.recipe import Recipe
from descend.run import Recorder, Run

LAYERS = ("hidden.0.weight", "hidden.1.weight", "head.weight")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    with Recorder(tmp_path / "run", Recipe()) as recorder:
        for step in range(1, 101):
            norms = {f"grad_norm/{place}": 10.0 ** (index - 3) for index, place in enumerate(LAYERS)}
            recorder.log(step, step, step / 100, {"loss/batch": 1.0 / step, **norms})
            if step % 10 == 0:
                recorder.log(step, step, step / 100, {"loss/train": 1.0 / step, "loss/validation": 0.1 + step / 100})
    return Run(tmp_path / "run")


@pytest.fixture
def find(let_look: Callable[..., None]) -> Callable[..., None]:
    """Make the doctor find these, in this order."""

    def use(*findings: Finding) -> None:
        let_look(**{f"problem{number}": lambda chart, it=finding: it for number, finding in enumerate(findings)})

    return use


def piece(series: str, value: float = -1.0, threshold: float = 0.5) -> Evidence:
    return Evidence(series, value, threshold, "says")


OVERFITS = Finding("", (piece("loss/validation", 1.1, 0.3), piece("loss/train", 0.01, 0.02)), 0.9, since=20)


def test_the_curves_of_one_measure_share_a_panel_with_since_when(run: Run, find: Callable[..., None]) -> None:
    find(OVERFITS)
    figure = evidence([run])
    (axes,) = figure.axes
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["loss/validation", "limit 0.3", "loss/train", "limit 0.02", "since step 20"]
    upright = [line for line in axes.get_lines() if set(line.get_xdata()) == {20}]
    assert len(upright) == 1
    assert figure.caption == "The evidence for problem0 since step 20: loss/validation, loss/train."


def test_a_line_is_the_series_and_a_limit_stands_at_the_threshold(run: Run, find: Callable[..., None]) -> None:
    find(OVERFITS)
    lines = evidence([run]).axes[0].get_lines()
    drawn = {tuple(line.get_ydata()) for line in lines}
    assert tuple(run.series("loss/validation").y) in drawn
    assert (0.3, 0.3) in drawn
    assert (0.02, 0.02) in drawn


def test_other_series_of_the_measure_stand_behind(run: Run, find: Callable[..., None]) -> None:
    find(Finding("", (piece("grad_norm/hidden.0.weight", 1e-3, 1e-2),), 0.99))
    (axes,) = evidence([run]).axes
    faint = [float(line.get_ydata()[0]) for line in axes.get_lines() if line.get_alpha()]
    assert faint == pytest.approx([1e-2, 1e-1])
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize(("value", "threshold"), [(100.0, 50.0), (1e-3, np.inf), (np.nan, 1.0)])
def test_a_number_that_is_no_point_of_the_curve_sets_no_limit(
    run: Run, find: Callable[..., None], value: float, threshold: float
) -> None:
    find(Finding("", (piece("grad_norm/head.weight", value, threshold),), 0.99))
    assert len(evidence([run]).axes[0].get_lines()) == len(LAYERS)


def test_each_measure_has_its_panel_and_its_own_colours(run: Run, find: Callable[..., None]) -> None:
    find(Finding("", (piece("grad_norm/head.weight"), piece("loss/train"), piece("loss/batch")), 0.99))
    norms, losses = evidence([run]).axes
    assert (norms.get_ylabel(), losses.get_ylabel()) == ("grad norm", "loss")
    assert norms.get_xlim() == losses.get_xlim()
    strong = [line.get_color() for axes in (norms, losses) for line in axes.get_lines() if not line.get_alpha()]
    assert len(strong) == len(set(strong)) == 3


def test_the_first_finding_that_curves_show_is_drawn(run: Run, find: Callable[..., None]) -> None:
    fact = Finding("", (piece("facts/gradients/stale"), piece("grad_norm/nowhere")), 0.99)
    find(fact, OVERFITS)
    assert evidence([run]).caption.startswith("The evidence for problem1")
    find(fact)
    assert evidence([run]).blank


def test_a_healthy_run_leaves_the_figure_blank(run: Run, find: Callable[..., None]) -> None:
    find()
    assert evidence([run]).blank


def test_of_several_runs_the_first_sick_one_is_drawn(run: Run, tmp_path: Path, find: Callable[..., None]) -> None:
    Recorder(tmp_path / "empty", Recipe()).close()
    find(OVERFITS)
    assert evidence([Run(tmp_path / "empty"), run]).caption.endswith("loss/train.")


def test_a_series_that_breaks_off_is_drawn_with_its_cross(tmp_path: Path, find: Callable[..., None]) -> None:
    with Recorder(tmp_path / "run", Recipe()) as recorder:
        for step, loss in enumerate([1.0, 1e30, np.inf, np.nan], start=1):
            recorder.log(step, step, float(step), {"loss/batch": loss})
    find(Finding("", (piece("loss/batch", np.inf, 1.0),), 0.99, since=3))
    figure = evidence([Run(tmp_path / "run")])
    assert [text.get_text() for text in figure.axes[0].texts] == ["infinite"]
    ET.fromstring(figure.svg())
