"""descend break: what it lists, what it shows, and that the commands it names work."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from click.testing import CliRunner, Result

from descend.catalog import CHECKS
from descend.cli._main import descend as cli
from descend.run import Run


def run(line: str) -> Result:
    return CliRunner().invoke(cli, shlex.split(line.removeprefix("descend")))


def ok(line: str) -> str:
    result = run(line)
    assert result.exit_code == 0, f"{line}: {result.stderr or result.exception!r}"
    return result.stdout


def test_every_problem_is_listed_with_what_one_sees():
    listed = {each["problem"]: each["symptom"] for each in json.loads(ok("descend break --json"))}
    assert listed == {name: CHECKS[name].symptom for name in CHECKS}
    assert all(name in ok("descend break") for name in CHECKS)


def test_a_problem_is_shown_and_the_commands_named_find_it(tmp_path: Path):
    said = ok(f"descend break missing_zero_grad --runs {tmp_path}")
    assert said.startswith(f"missing_zero_grad: {CHECKS['missing_zero_grad'].symptom}\n")
    (line,) = (line.partition(": ")[2] for line in said.splitlines() if line.startswith("Diagnose: "))
    assert line == f"descend doctor {tmp_path / 'broken-missing_zero_grad-001'}"
    (found,) = json.loads(ok(f"{line} --json"))
    assert found["findings"][0]["check"] == "missing_zero_grad"
    assert "Cure: change the code as the doctor says; --fixed shows what that is worth" in said


def test_with_fixed_the_same_training_without_the_bug_stands_beside_it(tmp_path: Path):
    shown = json.loads(ok(f"descend break trained_in_evaluation_mode --fixed --runs {tmp_path} --name mode --json"))
    assert shown["series"] == "accuracy/validation"
    assert shown["before"] == Run(tmp_path / "mode").last("accuracy/validation")
    assert shown["after"] == Run(tmp_path / "mode-fixed").last("accuracy/validation")
    assert shown["after"] > shown["before"]


def test_a_run_that_diverges_on_purpose_is_no_failure_of_the_command(tmp_path: Path):
    said = ok(f"descend break twice_in_optimizer --fixed --runs {tmp_path}")
    assert "Without the bug (broken-twice_in_optimizer-001-fixed)" in said
    assert ok(f"descend break twice_in_optimizer --quiet --runs {tmp_path}") == ""


def test_an_unknown_problem_is_answered_with_the_one_that_was_meant():
    result = run("descend break missing_zero_gard")
    assert result.exit_code == 2
    assert "Did you mean 'missing_zero_grad'?" in result.stderr
