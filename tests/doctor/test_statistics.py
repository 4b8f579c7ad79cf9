"""Statistics that a few wild values cannot move."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from descend.doctor._statistics import jitter, moving_median, spread, stretches

CURVES = arrays(np.float64, st.integers(3, 60), elements=st.floats(-1e3, 1e3))


def test_the_spread_and_the_jitter_of_normal_noise_are_its_standard_deviation():
    noise = 3.0 * np.random.default_rng(0).standard_normal(40_000)
    # the median distance has a relative standard error of 1.17 / sqrt(n), which is 0.6 %; 2 % is over three of them
    assert spread(noise) == pytest.approx(3.0, rel=0.02)
    assert jitter(noise) == pytest.approx(3.0, rel=0.02)


@given(CURVES, st.floats(-1e3, 1e3), st.floats(0, 100))
def test_the_spread_is_shifted_by_nothing_and_scales_with_the_values(values, shift, scale):
    tolerance = 1e-9 * (1e3 + scale * np.abs(values).max() + abs(shift))
    assert spread(values * scale + shift) == pytest.approx(scale * spread(values), abs=tolerance)


@given(CURVES, st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_the_jitter_sees_no_straight_line(values, offset, slope):
    line = offset + slope * np.arange(len(values))
    tolerance = 1e-9 * (1e3 + np.abs(line).max())
    assert jitter(values + line) == pytest.approx(jitter(values), abs=tolerance)


def test_half_of_the_values_can_be_wild_and_the_spread_stays_finite():
    assert spread(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 1e9, 1e9, -1e9, -1e9])) < 10


@given(CURVES, st.integers(1, 9))
def test_a_moving_median_is_the_median_of_each_window(values, width):
    slow = [np.median(values[at : at + width]) for at in range(len(values) - width + 1)]
    assert moving_median(values, width).tolist() == (slow if slow else values.tolist())


@given(CURVES, st.integers(1, 70))
def test_stretches_are_medians_of_equal_parts_or_the_values_themselves(values, count):
    medians = stretches(values, count)
    if len(values) <= count:
        assert medians.tolist() == values.tolist()
    else:
        assert len(medians) == count
        assert medians[0] == np.median(values[: -(-len(values) // count)])


def test_nothing_has_no_spread_and_no_jitter():
    assert spread(np.empty(0)) == 0
    assert jitter(np.array([1.0, 5.0])) == 0
