"""What an observation accepts, what it says of the rest, and that a check cannot pass by observing nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutants import replace

from descend.learn import (
    Answer,
    Exercise,
    Observation,
    expect_between,
    expect_close,
    expect_equal,
    expect_true,
    judge,
)
from descend.learn._exercise import _literals, paragraphs

GRAD = torch.tensor(1.0, requires_grad=True)
ODD = [None, "0.5", True, [], {}, object(), [[1], [1, 2]], 1j, float("nan"), math.inf, torch.zeros(0), int, b"1"]


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_refused_in_words_and_never_raises(value: object) -> None:
    for seen in (expect_close("it", value, 0.5), expect_between("it", value, 0, 1), expect_equal("it", value, 3)):
        assert not seen.holds
        assert seen.observed
        assert seen.expected
        assert "\n" not in seen.observed + seen.expected


@pytest.mark.parametrize(
    "value", [0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5), torch.tensor(0.5, requires_grad=True)]
)
def test_a_number_of_any_make_is_a_number(value: object) -> None:
    assert expect_close("it", value, 0.5).holds
    assert expect_between("it", value, 0.5, 0.5).holds


@pytest.mark.parametrize(
    "value", [[1, 2], (1.0, 2.0), np.array([1, 2]), torch.tensor([1.0, 2.0]), [GRAD, 2 * GRAD]], ids=repr
)
def test_an_array_of_any_make_is_compared_entry_by_entry(value: object) -> None:
    assert expect_close("it", value, [1, 2]).holds
    assert expect_equal("it", value, [1, 2]).holds
    seen = expect_close("it", value, np.array([1.0, 2.5]), rel=0.01)
    assert (seen.holds, seen.observed, seen.expected) == (False, "2 at [1]", "between 2.475 and 2.525 there")


def test_the_shape_is_compared_before_the_entries() -> None:
    seen = expect_close("it", np.ones((3, 1)), np.ones(3))
    assert (seen.observed, seen.expected) == ("an array of shape (3, 1)", "an array of shape (3,)")


def test_a_nan_among_entries_is_the_worst_of_them() -> None:
    seen = expect_close("it", [5.0, math.nan, 1.0], [1.0, 1.0, 1.0])
    assert seen.observed == "NaN at [1]"


@given(right=st.floats(-1e6, 1e6), off=st.floats(-3, 3), rel=st.floats(1e-9, 0.1))
def test_the_band_is_rel_times_the_expected_value(right: float, off: float, rel: float) -> None:
    seen = expect_close("it", right + off * rel * abs(right), right, rel=rel)
    if abs(abs(off) - 1) > 1e-3:  # at the edge itself rounding decides
        assert seen.holds == (abs(off) < 1 or rel * abs(right) < 1e-15 * abs(right))


@given(value=st.floats(-1e9, 1e9), low=st.floats(-1e9, 1e9), width=st.floats(0, 1e9))
def test_what_is_refused_is_told_apart_from_its_band(value: float, low: float, width: float) -> None:
    seen = expect_between("it", value, low, low + width)
    assert seen.holds == (low <= value <= low + width)
    if not seen.holds:
        assert seen.observed not in seen.expected.split()


def test_an_open_band_is_told_by_its_one_end() -> None:
    assert expect_between("it", 1.0, low=2).expected == "of at least 2"
    assert expect_between("it", 1.0, high=0).expected == "of at most 0"
    assert expect_between("it", math.inf).expected == "that is finite"
    assert expect_between("it", "a", low=2).expected == "a number of at least 2"


@pytest.mark.parametrize(
    ("observed", "expected", "same"),
    [
        ("adam", "adam", True),
        ("sgd", "adam", False),
        (3.0, 3, True),
        (np.int64(3), 3, True),
        (4, 3, False),
        (True, True, True),
        (np.True_, True, True),
        (False, True, False),
        (None, True, False),
        (("a", "b"), ["a", "b"], True),
        (["a"], ["a", "b"], False),
        (np.array([1, 2]), [1, 2], True),
        (np.array([1, 2]), [1, 3], False),
        (np.array([1, 2]), "adam", False),
    ],
)
def test_words_numbers_and_lists_are_equal_whatever_they_are_made_of(
    observed: object, expected: object, same: bool
) -> None:
    assert expect_equal("it", observed, expected).holds == same


def test_an_object_is_told_by_its_kind() -> None:
    assert expect_close("it", (x for x in [1]), 1).observed == "a generator"
    assert expect_close("it", object(), 1).observed == "an object"
    assert expect_close("it", {"loss": 1}, 1).observed == "dict {'loss': 1}"


def test_what_needs_words_is_said_in_words() -> None:
    seen = expect_true("the weights", False, observed="changed", expected="as before")
    assert seen == Observation("the weights", "changed", "as before", False)


# --- the judge --------------------------------------------------------------------------------------------------------


def exercise(check: object) -> Exercise:
    return Exercise("1.1", "", "", 5, "", "", (), "", check)  # type: ignore[arg-type]


def test_the_first_property_that_fails_is_the_verdict_and_those_before_are_counted() -> None:
    def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
        yield expect_equal("first", yours.f(1), 1)
        yield expect_equal("second", yours.f(variant), 0)

    told = judge(exercise(check), "def f(x):\n    return x\n", "f.py")
    assert (told.kind, told.what, told.observed, told.expected, told.checked) == ("refused", "second", "1", "0", 3)


def test_hidden_data_are_the_same_for_every_check_and_differ_by_seed_and_variant() -> None:
    drawn: list[float] = []

    def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
        drawn.append(draw.normal())
        yield expect_equal("it", yours.f(1), 1)

    for _ in range(2):
        judge(exercise(check), "def f(x):\n    return x\n", "f.py", seeds=range(4))
    assert drawn[:12] == drawn[12:]
    assert len(set(drawn)) == 12


def test_a_check_that_observes_nothing_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="yields nothing"):
        judge(exercise(lambda *_: iter(())), "", "f.py")


def test_a_check_that_fails_by_itself_is_our_mistake_and_not_the_readers() -> None:
    def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
        yield expect_equal("it", yours.f(1) / 0, 1)

    with pytest.raises(ZeroDivisionError):
        judge(exercise(check), "def f(x):\n    return x\n", "f.py")


def test_the_line_is_the_readers_own_also_when_it_is_called_back() -> None:
    def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
        yield expect_equal("it", yours.f(lambda x: 1 / x), 1)

    told = judge(exercise(check), "def f(g):\n    return g(0)\n", "f.py")
    assert (told.kind, told.line, told.code) == ("raised", 2, "return g(0)")


def test_classes_of_the_reader_with_dataclasses_work_and_are_named_with_their_method() -> None:
    source = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Stopper:
    patience: int

    def update(self, loss):
        raise NotImplementedError
"""

    def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
        yield expect_equal("its patience", yours.Stopper(patience=3).patience, 3)
        yield expect_equal("its answer", yours.Stopper(3).update(1.0), True)

    told = judge(exercise(check), source, "f.py")
    assert (told.kind, told.sentence, told.checked) == ("not written", "Stopper.update is not written yet.", 1)


# --- what authors write -----------------------------------------------------------------------------------------------


def test_a_mutant_that_changes_nothing_is_refused() -> None:
    assert replace("a + b - c", "+", "-", "c", "d") == "a - b - d"
    with pytest.raises(AssertionError, match="does not stand in the solution"):
        replace("a + b", "*", "-")
    with pytest.raises(AssertionError, match="the mutant is the solution"):
        replace("a + b", "a", "a")


def test_an_exercise_that_cannot_be_read_from_its_source_is_our_mistake(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("title = 'a'\nmine = Exercise(number='1.1', title=title, check=check)\n")
    with pytest.raises(AssertionError, match=r"mine\.py: title must be a literal"):
        _literals(file, "mine")
    with pytest.raises(AssertionError, match=r"has no line `yours = Exercise\(...\)`"):
        _literals(file, "yours")


def test_prose_is_wrapped_and_what_is_indented_stays() -> None:
    text = """
    One sentence that is
    longer than a line.

        w = w - lr * g
    where lr is the rate:
    - a list whose item is long enough to wrap
    """
    assert paragraphs(text, 24) == "\n".join(
        [
            "One sentence that is",
            "longer than a line.",
            "",
            "    w = w - lr * g",
            "where lr is the rate:",
            "- a list whose item is",
            "  long enough to wrap",
        ]
    )
