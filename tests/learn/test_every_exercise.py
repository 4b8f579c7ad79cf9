"""Every exercise refuses the untouched file and every wrong answer, and passes its solution, on any hidden data."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch

from descend.learn import CHAPTERS, EXERCISES, Exercise, Verdict, judge, page, path

ROOT = Path(__file__).parents[2]
ANSWERS = Path(__file__).parent / "answers"
SEEDS = range(20)
COMMAND = r"descend learn (?:check |hint )?(\d\.\d+)"


@cache
def answers(name: str) -> ModuleType:
    file = ANSWERS / f"{name}.py"
    assert file.exists(), f"{name} has no answers: write {file.relative_to(ROOT)} with SOLUTION and WRONG"
    spec = importlib.util.spec_from_file_location(f"answers_{name}", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judged(name: str, source: str, seeds: range = SEEDS) -> Verdict:
    return judge(page(name), source, f"{name}.py", seeds=seeds)


def wrong_answers() -> list[tuple[str, str]]:
    """Of answers that cannot be read the tests below speak, each of one exercise."""
    found = []
    for name in EXERCISES:
        with contextlib.suppress(Exception):
            found += [(name, label) for label in answers(name).WRONG]
    return found


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """An answer may change what torch does from then on."""
    dtype, state = torch.get_default_dtype(), torch.get_rng_state()
    yield
    torch.set_default_dtype(dtype)
    torch.set_rng_state(state)
    torch.set_grad_enabled(True)


every_exercise = pytest.mark.parametrize("name", EXERCISES.names())


@every_exercise
def test_the_untouched_file_is_refused_with_the_sentence_that_is_meant(name: str) -> None:
    exercise = page(name)
    verdict = judged(name, exercise.file, range(1))
    if exercise.untouched:
        assert (verdict.kind, verdict.what) == ("refused", exercise.untouched)
    else:
        assert verdict.kind == "not written", verdict
        assert verdict.sentence.endswith(" is not written yet.")


@every_exercise
def test_the_solution_passes_on_every_hidden_variant_with_20_seeds(name: str) -> None:
    verdict = judged(name, answers(name).SOLUTION)
    assert verdict.passed, verdict


@every_exercise
def test_at_least_three_wrong_answers_are_known(name: str) -> None:
    wrong = answers(name).WRONG
    assert len(wrong) >= 3
    assert len({*wrong.values(), answers(name).SOLUTION}) == len(wrong) + 1


@pytest.mark.parametrize(("name", "label"), wrong_answers())
def test_a_wrong_answer_is_refused_with_property_observed_value_and_band(name: str, label: str) -> None:
    for seed in SEEDS:
        verdict = judged(name, answers(name).WRONG[label], range(seed, seed + 1))
        assert verdict.kind == "refused", f"seed {seed}: {verdict}"
        assert verdict.what
        assert verdict.observed
        assert verdict.expected
        assert verdict.observed != verdict.expected
        said = " ".join(verdict.sentence.split())
        assert [line for line in own_lines(name) if line in said] == []


def own_lines(name: str) -> list[str]:
    """The lines of the solution that the reader does not see in the starter, as far as they say something."""
    given = {line.strip() for line in page(name).starter.splitlines()}
    lines = (" ".join(line.split()) for line in answers(name).SOLUTION.splitlines())
    return [line for line in lines if len(line) > 11 and line not in given]


@every_exercise
def test_neither_task_nor_starter_nor_hints_show_what_the_solution_returns(name: str) -> None:
    shown = " ".join(" ".join([page(name).file, *page(name).hints]).split())
    assert [line for line in own_lines(name) if line.startswith("return ") and line in shown] == []


@every_exercise
def test_the_starter_names_all_that_the_solution_defines_in_public(name: str) -> None:
    def public(source: str) -> set[str]:
        kinds = ast.FunctionDef | ast.ClassDef
        return {node.name for node in ast.parse(source).body if isinstance(node, kinds) and node.name[0] != "_"}

    assert public(page(name).starter) <= public(answers(name).SOLUTION)


@every_exercise
def test_the_texts_are_complete(name: str) -> None:
    exercise = page(name)
    assert re.fullmatch(r"[1-5]\.[1-9]\d?", exercise.number)
    assert 2 <= exercise.minutes <= 60
    assert len(exercise.hints) >= 3
    assert len(exercise.task.split()) >= 15
    assert len(exercise.explanation.split()) >= 30
    assert len(exercise.title) <= 45  # `descend learn` shows it in a terminal of 80 columns
    assert max(map(len, exercise.file.splitlines())) <= 100


@every_exercise
def test_its_place_in_the_book_exists(name: str) -> None:
    exercise = page(name)
    assert exercise.anchor in anchors((ROOT / exercise.chapter.file).read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """The anchors of headings, as code hosts make them: lower case, hyphens for spaces, without punctuation."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_no_two_exercises_have_the_same_number() -> None:
    numbers = [exercise.number for exercise in path().values()]
    assert len(set(numbers)) == len(numbers)


def test_the_exercises_of_a_chapter_are_counted_from_one() -> None:
    exercises: list[Exercise] = list(path().values())
    for chapter in CHAPTERS:
        places = [exercise.order[1] for exercise in exercises if exercise.chapter is chapter]
        assert places == list(range(1, len(places) + 1))


def test_every_exercise_that_the_book_names_exists() -> None:
    texts = {file.name: file.read_text(encoding="utf-8") for file in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
    named = {(file, number) for file, text in texts.items() for number in re.findall(COMMAND, text)}
    numbers = {exercise.number for exercise in path().values()}
    assert {(file, number) for file, number in named if number not in numbers} == set()


def test_no_answer_is_left_without_an_exercise() -> None:
    assert {file.stem for file in ANSWERS.glob("*.py")} == set(EXERCISES)
