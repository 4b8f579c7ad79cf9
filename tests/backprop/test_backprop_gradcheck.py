"""The gradient check finds planted mistakes, does not cry wolf at a kink, and claims no more than it can see."""

from __future__ import annotations

import numpy as np
import pytest

from descend.backprop import (
    MLP,
    Array,
    central_difference,
    check_gradients,
    compare_gradients,
    forward_difference,
    operation,
    relu,
    softmax_cross_entropy,
    tanh,
)
from descend.backprop.differences import noise_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 5))  # rows, inputs and outputs differ, so that a missing transpose cannot hide
LABELS = RNG.integers(0, 3, 7)


def cubes(x):
    """The sum of tanh(x)^3, in the precision of x."""
    return np.sum(np.tanh(x) ** 3)


def slope_of_cubes(x):
    return 3 * np.tanh(x) ** 2 * (1 - np.tanh(x) ** 2)


POINTS = np.random.default_rng(1).normal(size=20)


def relative(numeric, x=POINTS):
    exact = slope_of_cubes(x.astype(float))
    return np.linalg.norm(numeric - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize(("rule", "order"), [(forward_difference, 1), (central_difference, 2)])
def test_in_float64_the_error_of_a_difference_falls_as_h_or_as_h_squared(rule, order):
    errors = [relative(rule(cubes, POINTS, h)) for h in (1e-2, 1e-3)]
    assert np.log10(errors[0] / errors[1]) == pytest.approx(order, abs=0.03)  # the next term is h^2 smaller


def test_how_exact_differences_are_at_best():
    hs = 10.0 ** -np.arange(1, 11)
    forward = [relative(forward_difference(cubes, POINTS, h)) for h in hs]
    central = [relative(central_difference(cubes, POINTS, h)) for h in hs]
    assert hs[np.argmin(forward)] == pytest.approx(1e-8)
    assert hs[np.argmin(central)] in (1e-5, 1e-6)
    assert 3e-9 < min(forward) < 1e-7
    assert 1e-11 < min(central) < 5e-10


def test_in_float32_the_popular_step_of_1e_5_is_off_in_the_third_digit():
    single = POINTS.astype(np.float32)
    errors = {h: relative(central_difference(cubes, single, h), single) for h in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)}
    assert 1e-5 < min(errors.values()) < 2e-4
    assert min(errors, key=errors.get) in (1e-2, 1e-3)
    assert 1e-3 < errors[1e-5] < 3e-2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_noise_of_a_function_is_measured_not_guessed(dtype):
    x = POINTS.astype(dtype)
    eps = np.finfo(dtype).eps
    assert 0.3 < noise_of(cubes, x) / (eps * abs(cubes(x))) < 20
    cancelling = noise_of(lambda x: np.float64(np.sum(x) + dtype(1000)) - 1000, x)  # what is lost stays lost
    assert 0.1 < cancelling / (1000 * eps) < 10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [relu, tanh])
def test_a_right_gradient_agrees_and_the_report_says_how_well(dtype, activation):
    model = MLP([5, 3, 2, 3], activation=activation, rng=np.random.default_rng(3), dtype=dtype)
    loss = lambda: softmax_cross_entropy(model(X.astype(dtype)), LABELS)  # noqa: E731
    report = check_gradients(loss, model.named_parameters(), entries=4)
    assert report.verdict == "agrees"
    assert report.size == sum(p.size for p in model.parameters()) > len(report.entries)
    assert report.resolution < (0.1 if dtype == np.float32 else 1e-6)
    assert str(report).startswith("agrees to ")
    assert np.dtype(dtype).name in str(report)


def test_claims_beyond_what_float32_can_see_are_refused():
    x = POINTS.astype(np.float32)
    report = compare_gradients(cubes, x, slope_of_cubes(x))
    assert report.verdict == "agrees"
    assert report.within(0.05)
    with pytest.raises(ValueError, match=r"right to 1\.0e-07 cannot be seen: in float32"):
        report.within(1e-7)
    assert compare_gradients(cubes, POINTS, slope_of_cubes(POINTS)).within(1e-7)


def test_with_a_step_that_is_too_small_the_check_says_that_it_sees_nothing():
    x = POINTS.astype(np.float32)
    for gradient in (slope_of_cubes(x), 1.3 * slope_of_cubes(x)):
        report = compare_gradients(cubes, x, gradient, h=1e-6)
        assert report.verdict == "doubtful"
        assert "too inexact" in str(report)
    with pytest.raises(ValueError, match="does not change"):
        compare_gradients(cubes, x, slope_of_cubes(x), h=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_factor_of_two_is_found_and_the_worst_entry_named(dtype):
    x = POINTS.astype(dtype)
    gradient = slope_of_cubes(x)
    gradient[4] *= 2
    report = compare_gradients(cubes, x, gradient, name="w")
    assert report.verdict == "mistake"
    assert report.worst.place == "w[4]"
    assert report.worst.error == pytest.approx(0.5, rel=0.01)
    assert "w[4]: by backpropagation" in str(report)
    assert not report.within(1e-3)


def test_a_small_mistake_is_found_where_the_precision_allows_it():
    assert compare_gradients(cubes, POINTS, slope_of_cubes(POINTS) * (1 + 1e-6)).verdict == "mistake"
    single = POINTS.astype(np.float32)
    assert compare_gradients(cubes, single, slope_of_cubes(single) * np.float32(1 + 1e-6)).verdict == "agrees"


@operation
def product_without_transpose(x, w):
    """x @ w', with a VJP for x that fits in shape only by reshaping: what people write until the shapes fit."""
    return x @ w.T, lambda g: g @ w, lambda g: (x.T @ g).reshape(w.shape)


@operation
def bias_without_sum(z, b):
    """z + b, where b gets the gradient of the first row instead of the sum over rows."""
    return z + b, lambda g: g, lambda g: g[0]


@operation
def square_that_forgets_one_use(x):
    """x * x with one of its two uses: fan-out set instead of added."""
    return x * x, lambda g: g * x


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda w, b: tanh(product_without_transpose(X, w) + b), {"w"}),
        (lambda w, b: tanh(bias_without_sum(X @ w.T, b)), {"b"}),
        (lambda w, b: square_that_forgets_one_use(X @ w.T + b), {"w", "b"}),
        (lambda w, b: tanh(X @ w.T.detach() + b), {"w"}),
    ],
    ids=["transpose", "sum over rows", "fan-out", "cut off"],
)
def test_planted_mistakes_are_found(wrong, named):
    w, b = Array(RNG.normal(size=(3, 5)), "w"), Array(RNG.normal(size=3), "b")
    report = check_gradients(lambda: softmax_cross_entropy(wrong(w, b), LABELS), {"w": w, "b": b}, entries=6)
    assert report.verdict == "mistake"
    assert {entry.name for entry in report.entries if entry.verdict == "mistake"} == named


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-6, 1e-7])
def test_near_a_kink_of_relu_a_right_gradient_agrees_and_a_wrong_one_does_not(distance):
    x = np.array([distance, -distance, 1.0])
    f = lambda x: np.maximum(x, 0).sum()  # noqa: E731
    assert compare_gradients(f, x, np.array([1.0, 0.0, 1.0])).verdict == "agrees"
    assert compare_gradients(f, x, np.array([2.0, 0.0, 1.0])).verdict == "mistake"


def test_on_a_kink_any_slope_between_is_doubtful_and_any_other_a_mistake():
    f = lambda x: np.maximum(x, 0).sum()  # noqa: E731
    x = np.array([0.0, 1.0])
    for slope, verdict in (
        (0.0, "doubtful"),
        (0.3, "doubtful"),
        (1.0, "doubtful"),
        (2.0, "mistake"),
        (-1.0, "mistake"),
    ):
        report = compare_gradients(f, x, np.array([slope, 1.0]))
        assert (report.verdict, report.worst.index) == (verdict, (0,))
    assert "there is a kink" in str(compare_gradients(f, x, np.array([0.0, 1.0])))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_networks_are_not_accused(seed, dtype):
    rng = np.random.default_rng(seed)
    model = MLP([5, 8, 3], rng=rng, dtype=dtype)
    x, labels = rng.normal(size=(12, 5)).astype(dtype), rng.integers(0, 3, 12)
    report = check_gradients(lambda: softmax_cross_entropy(model(x), labels), model.named_parameters(), entries=6)
    assert report.verdict != "mistake"
    assert report.verdict == "agrees" or dtype == np.float32


def test_held_gradients_and_data_are_left_as_they_were():
    x = Array([1.0, 2.0], "x")
    x.grad = np.array([7.0, 7.0])
    data = x.data
    report = check_gradients(lambda: (x * x).sum(), [x])
    assert report.verdict == "agrees"
    assert report.worst.place.startswith("0.x[")
    assert x.grad.tolist() == [7, 7]
    assert x.data is data
    assert data.tolist() == [1, 2]


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(2,\).*\(20,\)"):
        compare_gradients(cubes, POINTS, np.ones(2))
    with pytest.raises(ValueError, match="nothing to check"):
        check_gradients(lambda: Array([1.0]) * 1.0, {"empty": Array(np.zeros((0, 3)))})
