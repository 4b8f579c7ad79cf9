"""What a sweep tries: grids and draws, on the scale that suits a field."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descend import Recipe, RecipeError, grid, sample
from descend.sweeping._space import spaced

ADAM = Recipe(data="digits", model="mlp", optimizer="adam")


def test_a_grid_is_every_combination_in_order() -> None:
    recipes = grid(ADAM, lr=[0.1, 0.01], seed=range(3))
    wanted = list(itertools.product([0.1, 0.01], range(3)))
    assert [(recipe.options["lr"], recipe.seed) for recipe in recipes] == wanted


def test_a_part_is_changed_with_its_options() -> None:
    (recipe,) = grid(ADAM, optimizer=["momentum"], momentum=[0.5])
    assert recipe == ADAM.but(optimizer="momentum", momentum=0.5)


@given(low=st.floats(1e-6, 1.0), factor=st.floats(1.5, 1e6), count=st.integers(2, 9))
def test_learning_rates_are_spaced_by_a_constant_factor(low: float, factor: float, count: int) -> None:
    values = spaced(ADAM, "lr", low, low * factor, count)
    assert (values[0], values[-1]) == (low, low * factor)
    steps = np.diff(np.log(values))
    np.testing.assert_allclose(steps, np.log(factor) / (count - 1), rtol=1e-9)  # values keep 12 digits


def test_a_memory_is_spaced_by_how_many_steps_it_means() -> None:
    # 1 / (1 - beta) is 1, 10, 100, 1000
    np.testing.assert_allclose(spaced(ADAM, "beta1", 0.0, 0.999, 4), [0.0, 0.9, 0.99, 0.999], rtol=1e-9)


def test_whole_numbers_stand_once() -> None:
    assert spaced(ADAM, "depth", 1, 3, 9) == [1, 2, 3]


@given(seed=st.integers(0, 99))
def test_draws_stay_in_their_range_and_are_the_same_for_the_same_seed(seed: int) -> None:
    drawn = sample(ADAM, 5, seed=seed, lr=(1e-4, 1.0), optimizer=["sgd", "adam"], depth=(1, 3))
    assert drawn == sample(ADAM, 5, seed=seed, lr=(1e-4, 1.0), optimizer=["sgd", "adam"], depth=(1, 3))
    assert all(1e-4 <= recipe.options["lr"] <= 1.0 for recipe in drawn)  # type: ignore[operator]
    assert {recipe.options["depth"] for recipe in drawn} <= {1, 2, 3}
    assert {recipe.optimizer for recipe in drawn} <= {"sgd", "adam"}


def test_draws_of_a_learning_rate_are_uniform_in_its_logarithm() -> None:
    logs = np.log10([recipe.options["lr"] for recipe in sample(ADAM, 2000, lr=(1e-4, 1.0))])
    counts, _ = np.histogram(logs, bins=4, range=(-4, 0))
    assert np.all(np.abs(counts - 500) < 5 * np.sqrt(500))  # five standard deviations of a Poisson count


@pytest.mark.parametrize(
    ("name", "low", "high", "says"),
    [
        ("lr", 0.0, 1.0, "on a logarithmic scale it must be above 0"),
        ("lr", 1.0, 0.1, "the second must be greater"),
        ("beta1", 0.0, 1.0, "must be below 1"),
        ("model", 0.0, 1.0, "is not a number"),
        ("momentum", 0.0, 0.9, "has no option 'momentum'"),
        ("learning", 0.0, 0.9, "no field 'learning'"),
    ],
)
def test_wrong_ranges_are_refused_in_a_sentence(name: str, low: float, high: float, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        spaced(ADAM, name, low, high, 3)


def test_one_value_by_itself_and_nothing_to_choose_from_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"lr is 0.1, but must be several values: lr=\[...\]"):
        grid(ADAM, lr=0.1)
    with pytest.raises(RecipeError, match="optimizer is 'adam', but must be several"):
        grid(ADAM, optimizer="adam")
    with pytest.raises(RecipeError, match="must be several"):
        sample(ADAM, 2, optimizer=[])
    with pytest.raises(RecipeError, match="at least one recipe"):
        sample(ADAM, 0, lr=(0.1, 1.0))
