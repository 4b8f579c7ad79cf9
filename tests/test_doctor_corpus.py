"""The corpus that the doctor is measured on: what it claims to hold is there, and its bugs are bugs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.doctor.corpus import Case
from benchmarks.doctor.training import does_not_hold, load_cases, train
from benchmarks.doctor.verdicts import Judged, Rate, Verdict, rates
from descend.catalog import CHECKS

CASES = load_cases()
FAULTY = [case for case in CASES.values() if case.cause]
ODD = [case for case in CASES.values() if not case.cause]


def test_it_holds_what_the_readme_claims():
    assert len(FAULTY) >= 60
    assert len({case.cause for case in FAULTY}) >= 30
    assert len(ODD) >= 60


def test_every_label_is_the_name_of_a_check():
    assert {name for case in FAULTY for name in case.right} <= set(CHECKS)


def test_every_faulty_case_has_a_twin_with_the_same_seed_and_no_other_case_has():
    for case in FAULTY:
        assert [bug for _, bug in case.runs] == [True, False]
    for case in ODD:
        assert list(case.runs) == [(case.name, False)]
    names = [name for case in CASES.values() for name, _ in case.runs]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("cases", [FAULTY, ODD], ids=["faulty", "odd"])
def test_the_two_parts_that_are_tuned_on_are_as_large(cases: list[Case]):
    parts = Counter(case.part for case in cases)
    assert abs(parts["a"] - parts["b"]) <= 2


def test_every_root_cause_has_a_run_in_both_parts_that_are_tuned_on():
    causes = {part: {case.cause for case in FAULTY if case.part == part} for part in "ab"}
    assert causes["a"] == causes["b"]


@pytest.mark.parametrize("part", ["c", "d"])
def test_a_part_that_is_only_counted_has_nearly_every_root_cause(part: str):
    causes = {each: {case.cause for case in FAULTY if case.part == each} for each in ("a", part)}
    assert len(causes[part] & causes["a"]) >= 0.8 * len(causes["a"])


@pytest.mark.parametrize("name", ["missing_zero_grad_b", "unshuffled_b", "late_starter_xor"])
def test_a_bug_does_harm_and_a_healthy_run_learns(name: str, tmp_path: Path):
    scores = {run: train(name, tmp_path, bug) for run, bug in CASES[name].runs}
    assert does_not_hold(CASES[name], scores) is None


def test_a_pair_is_told_apart_by_the_cause_on_the_bug_and_silence_on_the_twin():
    case = CASES["missing_zero_grad_a"]
    right, wrong, silent = Verdict(("missing_zero_grad",)), Verdict(("lr_too_high", "missing_zero_grad")), Verdict(())
    counted = rates([Judged(case, right, silent), Judged(case, wrong, silent), Judged(case, right, wrong)])
    assert [rate.hits for rate in counted.values()] == [2, 3, 1, 1, 0]


def test_the_interval_is_wilsons():
    # the first example of Newcombe 1998, table I: 81 of 263
    assert Rate(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Rate(0, 20).interval == pytest.approx((0, 0.1611), abs=5e-5)
