from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descend.data._split import first_equal, split_in_order, split_rows
from descend.errors import DataError

shares = st.floats(0, 0.4)
seeds = st.integers(0, 2**64)


@given(rows=st.integers(200, 400), validation=shares, test=shares, seed=seeds)
def test_the_parts_are_all_rows_once_in_rising_order_and_as_many_as_asked_for(
    rows: int, validation: float, test: float, seed: int
) -> None:
    exact = (rows * (1 - validation - test), rows * validation, rows * test)
    if any(0 < size < 3 for size in exact):
        return
    parts = split_rows(np.arange(rows), np.zeros(rows), source="data", validation=validation, test=test, seed=seed)
    assert sorted(np.concatenate(parts)) == list(range(rows))
    assert all((np.diff(part) > 0).all() for part in parts)
    # Validation is rounded to a whole row, test to a whole row of those that are left.
    assert [len(part) for part in parts] == pytest.approx(exact, abs=1)


@given(sizes=st.lists(st.integers(1, 60), min_size=2, max_size=5), validation=shares, seed=seeds)
def test_every_class_gives_validation_its_share_to_within_one_row(
    sizes: list[int], validation: float, seed: int
) -> None:
    strata = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    rows = len(strata)
    if rows * validation < 3:
        return
    parts = split_rows(np.arange(rows), strata, source="data", validation=validation, test=0.0, seed=seed)
    drawn = np.bincount(strata[parts.validation], minlength=len(sizes))
    assert (np.abs(drawn - np.array(sizes) * validation) <= 1).all()


@given(groups=st.lists(st.integers(0, 40), min_size=60, max_size=100), seed=seeds)
def test_rows_that_are_the_same_stay_in_one_part(groups: list[int], seed: int) -> None:
    same = first_equal(np.array(groups, dtype=np.float64)[:, None])
    if len(set(groups)) < 20:
        return
    parts = split_rows(same, np.zeros(len(groups)), source="data", validation=0.3, test=0.2, seed=seed)
    found = [set(np.array(groups)[part]) for part in parts]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]


@given(st.lists(st.tuples(st.sampled_from([0.0, -0.0, 1.5]), st.integers(0, 1)), min_size=1, max_size=30))
def test_first_equal_is_the_first_row_that_compares_equal(rows: list[tuple[float, int]]) -> None:
    table = np.array(rows, dtype=np.float64)
    assert first_equal(table[:, :1], table[:, 1:]).tolist() == [rows.index(row) for row in rows]


def test_an_ordered_split_is_three_stretches() -> None:
    parts = split_in_order(10, source="data", validation=0.3, test=0.2)
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9]]


@pytest.mark.parametrize(
    ("validation", "test", "short"),
    [(0.1, 0.0, "leaves 1 for validation"), (0.0, 0.1, "for test"), (0.5, 0.4, "train")],
)
def test_a_part_of_fewer_than_two_rows_is_refused(validation: float, test: float, short: str) -> None:
    with pytest.raises(DataError, match=rf"^data has too few rows \(10\): .* {short}, which takes at least 2\. Give"):
        split_in_order(10, source="data", validation=validation, test=test)
    with pytest.raises(DataError, match=short):
        split_rows(np.arange(10), np.zeros(10), source="data", validation=validation, test=test, seed=0)
