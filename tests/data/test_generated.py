"""What is known in closed form of the data sets that are generated."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from descend.data import blobs as blobs_module
from descend.data import characters as characters_module
from descend.data.adding import adding
from descend.data.blobs import blobs
from descend.data.characters import characters
from descend.data.circles import circles
from descend.data.digits import digits
from descend.data.employee_bonus import employee_bonus
from descend.data.moons import moons
from descend.data.sines import sines
from descend.data.spirals import spirals
from descend.errors import DataError


def test_the_bonus_data_are_the_rows_that_numpys_seed_42_gives() -> None:
    data = employee_bonus()
    np.random.seed(42)
    performance, years = np.random.randint(1, 11, 100), np.random.randint(1, 11, 100)
    projects = years + np.random.randint(1, 4, 100)
    expected = np.column_stack([performance, years, projects])
    np.testing.assert_array_equal(data.train.inputs, expected)
    np.testing.assert_array_equal(data.train.targets[:, 0], expected @ [12, 6, 2] + 20)
    assert data.ids[:2] == ("EMP_001", "EMP_002")


@pytest.mark.parametrize(
    ("scale", "eigenvalues", "condition"),
    [
        ("none", (0.1134, 1.038, 24.37, 254.36), 2243.3),
        ("standard", (0.0850, 1.910, 2.000, 4.005), 47.11),
    ],
)
def test_the_bonus_data_have_the_eigenvalues_that_the_course_states(
    scale: str, eigenvalues: tuple[float, ...], condition: float
) -> None:
    x = employee_bonus(scale=scale).train.inputs.double()
    design = torch.cat([x, torch.ones(100, 1).double()], dim=1)
    found = torch.linalg.eigvalsh(2 / 100 * design.T @ design)
    # The published figures are rounded to four digits.
    assert found.tolist() == pytest.approx(eigenvalues, rel=5e-4)
    assert found[-1] / found[0] == pytest.approx(condition, rel=5e-4)
    assert torch.corrcoef(x.T)[1, 2] == pytest.approx(0.957, abs=5e-4)


def test_noise_on_the_bonus_leaves_the_features_and_has_the_deviation_that_was_given() -> None:
    clean, noisy = employee_bonus(rows=10_000), employee_bonus(rows=10_000, noise=5.0)
    assert torch.equal(clean.train.inputs, noisy.train.inputs)
    error = noisy.train.targets - clean.train.targets
    assert error.std() == pytest.approx(5, rel=4 / math.sqrt(2 * 10_000))  # four standard errors
    assert noisy.bayes_error == 25


def test_a_seed_beyond_numpys_legacy_generator_is_refused() -> None:
    with pytest.raises(DataError, match="data_seed is 4294967296, but employee_bonus takes at most 4294967295"):
        employee_bonus(data_seed=2**32)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_the_least_error_of_two_blobs_is_that_of_two_gaussians(noise: float) -> None:
    expected = 0.5 * math.erfc(2 / noise / math.sqrt(2))
    assert blobs(classes=2, noise=noise).bayes_error == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("noise", "classes"), [(0.7, 3), (1.5, 5), (0.0, 4)])
def test_the_nearest_centre_errs_as_often_as_the_least_error_of_blobs_says(noise: float, classes: int) -> None:
    data = blobs(rows=40_000, noise=noise, classes=classes, validation=0.0)
    angles = 2 * torch.pi * torch.arange(classes) / classes
    centres = blobs_module._RADIUS * torch.stack([angles.cos(), angles.sin()], dim=1)
    errors = (torch.cdist(data.train.inputs, centres).argmin(dim=1) != data.train.targets).float().mean().item()
    assert errors == pytest.approx(data.bayes_error, abs=4 * math.sqrt(data.bayes_error / 40_000))


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2])
def test_the_best_threshold_on_the_distance_errs_as_often_as_the_least_error_of_circles_says(noise: float) -> None:
    data = circles(rows=40_000, noise=noise, validation=0.0)
    distance = data.train.inputs.norm(dim=1)
    order = data.train.targets[distance.argsort()]
    outer_inside = torch.cat([torch.zeros(1), order.cumsum(dim=0)])
    inner_outside = torch.cat([torch.zeros(1), (1 - order).cumsum(dim=0)])
    errors = (outer_inside + inner_outside[-1] - inner_outside).min().item() / 40_000
    # The densities cross once, so a threshold is the best classifier; picked on the sample it errs a little less.
    assert errors == pytest.approx(data.bayes_error, abs=5 * math.sqrt(data.bayes_error / 40_000))


def test_without_noise_moons_circles_and_spirals_lie_on_their_curves() -> None:
    x, k = moons(noise=0.0, validation=0.0).train
    centre = torch.tensor([[0.0, 0.0], [1.0, 0.5]])[k]
    torch.testing.assert_close((x - centre).norm(dim=1), torch.ones(len(x)))
    assert ((x - centre)[:, 1] * (1 - 2 * k) >= 0).all()

    x, k = circles(noise=0.0, validation=0.0).train
    torch.testing.assert_close(x.norm(dim=1), torch.tensor([0.5, 1.0])[k])

    x, k = spirals(noise=0.0, validation=0.0, classes=3, turns=2.0).train
    turn = torch.atan2(x[:, 1], x[:, 0]) / (2 * torch.pi) - 2.0 * x.norm(dim=1) - k / 3
    torch.testing.assert_close(turn, turn.round(), atol=1e-5, rtol=0)


def test_sines_are_a_fourier_series_with_noise_of_the_deviation_that_was_given() -> None:
    x, y = sines(rows=10_000, waves=3, noise=0.2, validation=0.0).train
    k = torch.arange(1, 4)
    error = y - ((2 * torch.pi * k * x).sin() / k).sum(dim=1, keepdim=True)
    assert error.std() == pytest.approx(0.2, rel=4 / math.sqrt(2 * 10_000))


def test_digits_are_scikit_learns_between_zero_and_one() -> None:
    data = digits(validation=0.0)
    assert data.train.inputs.shape == (1797, 1, 8, 8)
    assert (data.train.inputs.min(), data.train.inputs.max()) == (0, 1)
    np.testing.assert_array_equal(data.train.inputs.flatten(1) * 16, load_digits().data)
    np.testing.assert_array_equal(data.train.targets, load_digits().target)


def test_adding_marks_one_position_in_each_half_and_sums_them() -> None:
    x, y = adding(rows=20_000, length=11, validation=0.0).train
    numbers, marks = x.unbind(dim=2)
    assert marks[:, :5].sum(dim=1).eq(1).all()
    assert marks[:, 5:].sum(dim=1).eq(1).all()
    torch.testing.assert_close((numbers * marks).sum(dim=1, keepdim=True), y)
    # Always answering 1 errs by the variance of the sum of two uniform numbers, 2/12; its deviation is 0.197.
    assert (y - 1).square().mean() == pytest.approx(1 / 6, abs=4 * 0.197 / math.sqrt(20_000))


def test_characters_are_one_text_in_which_each_target_is_the_next_input() -> None:
    data = characters(rows=100, context=20, validation=0.2, test=0.1)
    for part in (data.train, data.validation, data.test):
        x, y = part
        assert torch.equal(x[:, 1:], y[:, :-1])
        assert torch.equal(x[1:, 0], y[:-1, -1])
    text = "".join(data.classes[code] for code in data.train.inputs.flatten())
    assert set(text) <= set(data.classes)
    assert len(data.classes) == data.tokens
    assert all(line.endswith(".") for line in text.splitlines()[:-1])


def texts(symbol: str) -> list[tuple[str, float]]:
    """Every derivation of a rule with its probability."""
    return [
        ("".join(value for pair in zip(between, (*(text for text, _ in chosen), ""), strict=True) for value in pair), p)
        for chance, expansion in zip(characters_module._chances(symbol), characters_module._RULES[symbol], strict=True)
        for slots in [characters_module._SLOT.findall(expansion)]
        for between in [characters_module._SLOT.split(expansion)[::2]]
        for chosen in product(*map(texts, slots))
        for p in [chance * math.prod(p for _, p in chosen)]
    ]


@pytest.mark.parametrize("symbol", ["noun", "landmark", "one", "object"])
def test_the_entropy_and_length_of_a_rule_are_those_of_all_its_texts(symbol: str) -> None:
    every = texts(symbol)
    assert len({text for text, _ in every}) == len(every)  # no text is derived in two ways
    assert sum(p for _, p in every) == pytest.approx(1)
    assert characters_module._entropy(symbol) == pytest.approx(-sum(p * math.log(p) for _, p in every))
    assert characters_module._length(symbol) == pytest.approx(sum(p * len(text) for text, p in every))


def test_the_text_is_as_long_as_asked_and_its_words_as_frequent_as_their_chances() -> None:
    text = characters_module._text(200_000, np.random.default_rng(0))
    assert len(text) == 200_000
    lines = text.splitlines()[:-1]
    plain = sum(" and " not in line and "," not in line for line in lines) / len(lines)
    expected = characters_module._chances("sentence")[0]
    assert plain == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / len(lines)))
    assert len(text) / len(lines) == pytest.approx(characters_module._length("sentence"), rel=0.03)


@pytest.mark.parametrize(
    ("make", "options", "expected"),
    [
        (blobs, {"classes": 1}, "classes is 1, but there must be at least 2"),
        (spirals, {"classes": 1}, "classes is 1, but there must be at least 2"),
        (adding, {"length": 1}, "length is 1, but a sequence with two marks has at least 2 positions"),
    ],
)
def test_options_that_make_no_data_set_are_refused(make: object, options: dict[str, int], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        make(**options)
