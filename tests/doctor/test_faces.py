"""The faces of a diagnosis say the same: terminal, Markdown, JSON, HTML; every finding leads to its explanation."""

from __future__ import annotations

import html
import json
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from descend.catalog import CHECKS
from descend.cli._main import descend as cli
from descend.doctor import _reference
from descend.doctor._chart import Chart
from descend.doctor._check import Evidence, Finding, Remedy, Unknown
from descend.doctor._judge import Diagnosis
from descend.doctor._report import as_html, as_markdown, in_terminal
from descend.recipe import Recipe
from descend.run import Recorder

LetLook = Callable[..., None]

DOCS = Path(__file__).parents[2] / "docs" / "problems.md"

SICK = Finding(
    "The gradient vanishes on its way back: its norm is 0.37 at head.weight but 4.9e-08 at hidden.0.weight.",
    (
        Evidence("grad_norm/hidden.0.weight", 4.9e-8, 1e-4, "The norm of hidden.0.weight is 4.9e-08."),
        Evidence("loss/train", 0.69, 0.6, "The training loss has kept 100 % of its first value."),
    ),
    0.99,
    where="hidden.0.weight",
    since=1200,
    remedies=(
        Remedy("Use ReLU in place of the sigmoid.", lambda recipe: recipe, "changes the result"),
        Remedy("Start with He weights.", diff={"nn.Sigmoid()": "nn.ReLU()\ninit(model)"}),
    ),
    check="lost_accumulation",
    symptoms=(Finding("The loss stays at 0.69, as by guessing.", (), 0.8, check="chance_level"),),
)
LESSER = [Finding(f"Problem number {number}.", (), 0.8, check="missing_zero_grad") for number in range(2, 6)]
DIAGNOSIS = Diagnosis(
    (SICK, *LESSER),
    ("lost_accumulation", "missing_zero_grad", "chance_level", "overfitting"),
    {"plateau": "at least 50 steps"},
    {"loss_spikes": "IndexError: list index out of range"},
)

UNTOLD = {"safe", "advice only", "grad_norm/hidden.0.weight", "loss/train", "docs/problems.md#chance_level"}
"""What JSON has for programs: a remedy that changes nothing else, where a number stands, the page of a symptom."""


def texts(value: Any) -> Iterator[str]:
    """Everything in JSON that a person could read, but for the names of fields."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts(inner)
            if key in ("plateau", "loss_spikes"):
                yield key
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def plain(markdown: str) -> str:
    """What a reader of Markdown sees, in one line."""
    return " ".join(re.sub(r"\\([\\`*<>\[\]_])", r"\1", markdown).split())


def seen(page: str) -> str:
    """What a reader of HTML sees, in one line. Raises where it is not nested well."""
    return " ".join(" ".join(ET.fromstring(f"<div>{page}</div>").itertext()).split())


# --- all faces --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("face", ["terminal", "markdown", "html"])
def test_every_face_tells_all_that_json_tells(face: str) -> None:
    said = {
        "terminal": " ".join(in_terminal(DIAGNOSIS, 80, everything=True).split()),
        "markdown": plain(as_markdown(DIAGNOSIS, everything=True)),
        "html": seen(as_html(DIAGNOSIS)),
    }[face]
    told = json.loads(json.dumps(DIAGNOSIS.fields()))
    for text in texts(told):
        if text not in UNTOLD:
            for line in text.splitlines():
                assert line in said
    assert "since step 1,200" in said
    assert "likely (80 % sure)" in said


hostile = st.text(st.sampled_from("ab_*`<>&[]\\\"'$| \n"), min_size=1).map(str.strip).filter(bool)


@given(hostile, hostile, hostile)
def test_names_of_columns_are_never_markup(sentence: str, where: str, needs: str) -> None:
    finding = Finding(sentence, (Evidence(where, 1.0, 0.0, where),), 1.0, where=where, check="missing_zero_grad")
    diagnosis = Diagnosis((finding,), ("missing_zero_grad",), {"plateau": needs}, {})
    for text in (sentence, where, needs):
        assert " ".join(text.split()) in plain(as_markdown(diagnosis, everything=True))
        assert " ".join(text.split()) in seen(as_html(diagnosis))


@given(st.integers(30, 140))
def test_no_line_of_prose_is_wider_than_the_terminal(width: int) -> None:
    longest = len("docs/problems.md#missing_zero_grad, or:") + len("   Explained in: ")  # no name is cut
    for line in in_terminal(DIAGNOSIS, width, everything=True).splitlines():
        assert len(line) <= max(width, longest)


def test_three_findings_are_told_first_and_all_when_asked_for() -> None:
    for face in (in_terminal(DIAGNOSIS, 80), as_markdown(DIAGNOSIS)):
        assert "Problem number 3." in face
        assert "Problem number 4." not in face
    assert "Problem number 5." in in_terminal(DIAGNOSIS, 80, everything=True)
    first, folded = as_html(DIAGNOSIS).split("2 more problems")
    assert "Problem number 3." in first
    assert "Problem number 5." in folded


def test_a_healthy_run_and_one_that_says_nothing_get_one_sentence() -> None:
    assert str(Diagnosis((), ("overfitting", "plateau"), {"loss_spikes": "50 steps"}, {})) == (
        "Healthy: 2 things checked, 1 lacked evidence."
    )
    nothing = Diagnosis((), (), {"plateau": "50 steps"}, {})
    assert str(nothing) == "Not enough evidence."
    assert repr(nothing) == "<Diagnosis: Not enough evidence.>"


def test_a_diagnosis_shows_itself_in_a_notebook() -> None:
    assert seen(DIAGNOSIS._repr_html_()) == seen(as_html(DIAGNOSIS))
    assert DIAGNOSIS._repr_markdown_() == as_markdown(DIAGNOSIS, everything=True)
    assert html.escape(CHECKS.summary("missing_zero_grad")) in DIAGNOSIS._repr_html_()


# --- descend doctor ---------------------------------------------------------------------------------------------------


def answer(value: Finding | Unknown | None) -> Callable[[Chart], Finding | Unknown | None]:
    return lambda chart: value


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, let_look: LetLook) -> Path:
    """Two runs, the second of which has as many steps as is sick."""
    for name, steps in (("first", 3), ("second", 9)):
        with Recorder(tmp_path / "runs" / name, {"model": "MLP", "optimizer": "Adam", "lr": 0.1}) as recorder:
            for step in range(1, steps + 1):
                recorder.log(step, step, step / 100, {"loss/batch": 1.0 / step})
            recorder.note("ended", steps, why="finished")
    monkeypatch.chdir(tmp_path)
    let_look(
        lost_accumulation=lambda chart: SICK if chart.steps == 9 else None,
        missing_zero_grad=answer(None),
        plateau=answer(Unknown("at least 50 steps")),
    )
    return tmp_path / "runs"


def run(line: str) -> Result:
    return CliRunner().invoke(cli, shlex.split(line), env={"COLUMNS": "80"})


def test_doctor_tells_the_finding_and_what_to_do_next(runs: Path) -> None:
    result = run("doctor second")
    assert result.exit_code == 0
    assert result.stdout.startswith("second: finished, 9 steps\n1 problem found, 2 things checked.\n")
    assert "1. lost_accumulation: certain, at hidden.0.weight, since step 1,200" in result.stdout
    assert "Next:" not in result.stdout  # a loop of one's own is changed by its owner
    assert "plateau" not in result.stdout
    assert "plateau: it needs at least 50 steps" in " ".join(run("doctor second --all").stdout.split())


def test_of_a_healthy_run_doctor_says_so_and_nothing_else(runs: Path) -> None:
    assert run("doctor first").stdout == "first: finished, 3 steps\nHealthy: 2 things checked, 1 lacked evidence.\n"


@pytest.mark.parametrize("name", ["runs", "first second"])
def test_several_runs_get_a_line_each_and_the_sick_ones_more(runs: Path, name: str) -> None:
    said = run(f"doctor {name}").stdout
    assert re.search(r"first +Healthy: 2 things checked", said)
    assert re.search(r"second +lost_accumulation \(certain\)", said)
    assert "first: finished" not in said
    assert "second: finished, 9 steps" in said
    assert "- `second`: lost_accumulation (certain)" in run(f"doctor {name} --markdown").stdout


@pytest.mark.parametrize(
    ("sure", "level", "code"),
    [
        (0.99, "certain", 1),
        (0.99, "any", 1),
        (0.8, "certain", 0),
        (0.8, "likely", 1),
        (0.6, "likely", 0),
        (0.6, "any", 1),
    ],
)
def test_the_exit_code_says_how_sure_the_surest_finding_is(
    runs: Path, let_look: LetLook, sure: float, level: str, code: int
) -> None:
    let_look(missing_zero_grad=answer(Finding("Found.", (), sure)))
    assert run(f"doctor runs --fail-on {level}").exit_code == code
    assert run("doctor runs").exit_code == 0


def test_a_symptom_that_is_surer_than_its_cause_counts_for_the_exit_code(runs: Path, let_look: LetLook) -> None:
    cause, symptom = answer(Finding("Cause.", (), 0.6)), answer(Finding("Symptom.", (), 0.99))
    let_look({"cause": frozenset({"symptom"})}, cause=cause, symptom=symptom)
    assert run("doctor first --fail-on certain").exit_code == 1


def test_short_trainings_are_offered_where_a_recipe_is_known_and_the_finding_is_not_certain(
    runs: Path, let_look: LetLook
) -> None:
    Recorder(runs / "trained", Recipe()).close()
    let_look(likely=answer(Finding("Found.", (), 0.8)))
    assert run("doctor trained").stdout.endswith("not certain: descend doctor runs/trained --probe\n")
    assert "--probe" not in run("doctor first").stdout
    let_look(certain=answer(Finding("Found.", (), 0.99)))
    assert "--probe" not in run("doctor trained").stdout


def test_what_the_forks_came_to_is_put_before_the_checks(
    runs: Path, let_look: LetLook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("descend.probing.probe", lambda run: {"probe": {"lr_up": {"loss_train": 0.25}}})
    let_look(forks=lambda chart: Finding(f"It came to {chart.fact('probe', 'lr_up', 'loss_train')}.", (), 0.8))
    assert "It came to 0.25." in run("doctor first --probe").stdout
    assert "It came to None." in run("doctor first").stdout


def test_the_forks_of_a_watched_run_are_refused(runs: Path) -> None:
    result = run("doctor first --probe")
    assert result.exit_code == 2
    assert "cannot be trained again" in result.stderr


def test_json_has_the_same_shape_for_one_run_and_for_several(runs: Path) -> None:
    (one,) = json.loads(run("doctor second --json").stdout)
    first, second = json.loads(run("doctor runs --json").stdout)
    assert one == second
    assert (one["run"], one["status"], one["steps"], one["healthy"]) == ("second", "finished", 9, False)
    assert one["findings"][0]["page"] == "docs/problems.md#lost_accumulation"
    assert (one["next"], first["next"]) == (None, None)


def test_only_the_checks_that_are_named_look(runs: Path) -> None:
    assert "Healthy: 1 thing checked." in run("doctor second --check missing_zero_grad").stdout
    assert (
        run("doctor second --check missing_zero_grad --check lost_accumulation").stdout.count("2 things checked") == 1
    )


def test_a_check_that_nobody_knows_is_refused() -> None:
    result = run("doctor nowhere --check missing_zero_gard")
    assert result.exit_code == 2
    assert "Did you mean 'missing_zero_grad'?" in result.stderr


def test_what_the_first_lines_leave_out_is_said(runs: Path, let_look: LetLook) -> None:
    let_look(**{f"problem{number}": answer(Finding("Found.", (), 0.8)) for number in range(5)})
    assert "2 more problems: add --all." in run("doctor first").stdout
    let_look(plateau=answer(Unknown("50 steps")))
    assert "Not enough evidence.\n\nWhat each check needs: add --all." in run("doctor first").stdout


def test_doctor_imports_neither_torch_nor_anything_else_that_is_slow(tmp_path: Path) -> None:
    """With every check of the catalog, on a run that has what they read."""
    with Recorder(tmp_path / "run", {"model": "MLP"}) as recorder:
        recorder.note("facts", 0, gradients={"steps": 40, "stale": 40, "lost": 0, "backwards": 1})
        for step in range(1, 101):
            recorder.log(step, step, step / 100, {"loss/batch": 1.0 / step, "lr/0": 0.1})
    program = """
import sys
from descend.cli import main
try:
    main()
finally:
    heavy = ("torch", "scipy", "pandas", "matplotlib", "rich", "jinja2")
    print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    line = [sys.executable, "-c", program, "doctor", str(tmp_path / "run"), "--all"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert "missing_zero_grad: certain" in done.stdout
    assert "Failed to look" not in done.stdout


# --- the reference ----------------------------------------------------------------------------------------------------


def test_the_reference_is_what_the_checks_say_of_themselves() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert _reference.without_examples(text) == _reference.in_markdown(), "renew it: make docs"


def test_the_reference_shows_what_is_found_in_the_sick_run_of_each_check() -> None:
    text = _reference.in_markdown({SICK.check: SICK})
    assert plain(SICK.sentence) in plain(text)
    assert "+ nn.ReLU()" in text
    assert _reference.without_examples(text) == _reference.in_markdown()
    sections = DOCS.read_text(encoding="utf-8").split("\n## ")[1:]
    assert [section.partition("\n")[0] for section in sections if _reference.BEGIN not in section] == []


def test_every_link_to_a_problem_leads_to_its_heading() -> None:
    text = _reference.in_markdown()
    headings = set(re.findall(r"^## (\w+)$", text, flags=re.MULTILINE))
    assert headings == set(CHECKS)
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= headings
    assert {f"docs/problems.md#{name}" for name in CHECKS} == {Finding("", (), 1.0, check=name).page for name in CHECKS}


@pytest.mark.parametrize("name", CHECKS.names())
def test_every_check_is_explained_in_the_terminal(name: str) -> None:
    said = " ".join(run(f"list checks {name}").stdout.split())
    documentation = CHECKS.documentation(name)
    assert " ".join(documentation.split()) in said
    assert len(documentation.splitlines()) >= 3, "a page that explains nothing"
    assert " ".join(CHECKS[name].symptom.split()) in said
    assert " ".join(CHECKS[name].source.split()) in said
