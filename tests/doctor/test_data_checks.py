"""What is wrong with data is told from what only looks so: made with known faults, and with the healthy look-alikes."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from descend.catalog import CHECKS, DATA
from descend.doctor._chart import Chart
from descend.doctor._check import Finding, Unknown
from descend.facts import data, predictions, start

COURSE = range(0, 100, 10)
"""Steps at which the made-up runs were evaluated."""


def looked(name: str, chart: Chart) -> Finding | None:
    """What a check finds; a chart that it needs more of is no answer here."""
    answer = CHECKS[name].look(chart)
    assert not isinstance(answer, Unknown), answer
    return answer


def curve(first: float, last: float) -> dict[int, float]:
    """A measure that goes straight from one value to another."""
    return {step: first + (last - first) * step / COURSE[-1] for step in COURSE}


def classes(rows: int, kinds: int = 3, columns: int = 4, apart: float = 3.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Clouds around random centres: the larger `apart`, the less they overlap."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(kinds, (rows,), generator=draw)
    centres = apart * torch.randn(kinds, columns, generator=draw)
    return centres[labels] + torch.randn(rows, columns, generator=draw), labels


def halves(pair: tuple[Tensor, Tensor], share: float = 0.7) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    cut = round(share * len(pair[0]))
    return (pair[0][:cut], pair[1][:cut]), (pair[0][cut:], pair[1][cut:])


def chart_of_data(train: object, validation: object = None, **topics: object) -> Chart:
    return Chart(facts={"data": data.of(train, validation), **topics})


# --- random data: no check of the data may fire on what chance does ---------------------------------------------------

SPLITS = ("validation_leak", "preprocessing_mismatch", "mislabelled", "unrelated_labels", "useless_columns")


@given(
    rows=st.integers(30, 600),
    kinds=st.integers(2, 6),
    columns=st.integers(1, 12),
    apart=st.floats(0, 4),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60)
def test_two_random_parts_of_the_same_rows_are_healthy(rows, kinds, columns, apart, seed):
    chart = chart_of_data(*halves(classes(rows, kinds, columns, apart, seed)))
    for name in SPLITS:
        assert not isinstance(CHECKS[name].look(chart), Finding), name


@given(rows=st.integers(40, 400), values=st.integers(2, 6), columns=st.integers(1, 4), seed=st.integers(0, 2**16))
@settings(max_examples=40)
def test_rows_of_few_whole_numbers_leak_nothing(rows, values, columns, seed):
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randint(values, (rows, columns), generator=draw).float()
    targets = torch.randint(2, (rows,), generator=draw)
    assert not isinstance(CHECKS["validation_leak"].look(chart_of_data(*halves((inputs, targets)))), Finding)


# --- leaks ------------------------------------------------------------------------------------------------------------


@given(share=st.floats(0.03, 1), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_a_leak_is_found_with_its_share(share, seed):
    train, validation = halves(classes(400, seed=seed))
    copied = max(2, round(share * len(validation[0])))
    leaky = [torch.cat([ours, theirs[:copied]]) for ours, theirs in zip(train, validation, strict=True)]
    finding = looked("validation_leak", chart_of_data(tuple(leaky), validation))
    assert finding is not None
    assert finding.evidence[0].value == copied / len(validation[0])


def test_rows_repeated_within_training_are_no_leak():
    train, validation = halves(classes(300))
    twice = tuple(torch.cat([part, part]) for part in train)
    assert looked("validation_leak", chart_of_data(twice, validation)) is None


# --- preprocessing ----------------------------------------------------------------------------------------------------


def images(rows: int = 200) -> tuple[Tensor, Tensor]:
    """Colour images, reddish as photographs are."""
    draw = torch.Generator().manual_seed(0)
    tint = torch.tensor([0.55, 0.45, 0.35])[:, None, None]
    return (tint + 0.2 * torch.randn(rows, 3, 6, 6, generator=draw)).clamp(0, 1), torch.arange(rows) % 2


WINE = torch.tensor([13.0, 2.3, 100.0, 750.0]), torch.tensor([0.8, 1.1, 14.0, 310.0])  # means and deviations


def tables(rows: int = 300) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Both splits as they were measured."""
    inputs, labels = classes(rows)
    return halves((WINE[0] + WINE[1] * inputs / inputs.std(0), labels))


@pytest.mark.parametrize("which", ["train", "validation"])
def test_one_split_that_is_not_standardised_is_found(which):
    train, validation = tables()
    mean, std = train[0].mean(0), train[0].std(0)
    scaled = {name: ((x - mean) / std, y) for name, (x, y) in {"train": train, "validation": validation}.items()}
    scaled[which] = {"train": train, "validation": validation}[which]
    assert looked("preprocessing_mismatch", chart_of_data(scaled["train"], scaled["validation"])) is not None


@pytest.mark.parametrize("change", [lambda x: 255 * x, lambda x: x.flip(1), lambda x: (x - 0.5) / 0.05])
def test_images_in_other_units_or_colours_are_found(change):
    train, (inputs, targets) = halves(images())
    assert looked("preprocessing_mismatch", chart_of_data(train, (inputs, targets))) is None
    assert looked("preprocessing_mismatch", chart_of_data(train, (change(inputs), targets))) is not None


@pytest.mark.parametrize(
    "drift",
    [
        lambda x: x + 0.3 * x.std(0),  # every column moved a little, as years later
        lambda x: x + torch.tensor([5.0, 0, 0, 0]) * x.std(0),  # one column moved far, as another sensor
        lambda x: x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)),  # or noisier
    ],
)
def test_validation_rows_of_another_time_are_no_mistake(drift):
    train, (inputs, targets) = halves(classes(400))
    assert looked("preprocessing_mismatch", chart_of_data(train, (drift(inputs), targets))) is None


# --- order ------------------------------------------------------------------------------------------------------------


def loader(pair: tuple[Tensor, Tensor], **how: object) -> DataLoader:
    return DataLoader(TensorDataset(*pair), **({"batch_size": 32} | how))


def test_sorted_rows_are_found_unless_they_are_shuffled_or_all_in_one_batch():
    inputs, labels = classes(300)
    order = labels.argsort()
    pair = inputs[order], labels[order]
    assert looked("unshuffled", chart_of_data(loader(pair))) is not None
    assert looked("unshuffled", chart_of_data(loader(pair, shuffle=True))) is None
    assert looked("unshuffled", chart_of_data(loader(pair, batch_size=300))) is None


@given(rows=st.integers(10, 500), kinds=st.integers(1, 8), seed=st.integers(0, 2**16))
@settings(max_examples=40)
def test_rows_that_were_mixed_once_need_no_shuffling(rows, kinds, seed):
    assert not isinstance(CHECKS["unshuffled"].look(chart_of_data(loader(classes(rows, kinds, seed=seed)))), Finding)


def test_a_series_in_time_counts_as_sorted_only_where_the_network_forgets(chart_of):
    draw = torch.Generator().manual_seed(0)
    walk = torch.randn(320, 1, generator=draw).cumsum(0)
    facts = {"data": data.of(loader((torch.randn(320, 3, generator=draw), walk)))}
    losses = dict.fromkeys(range(1, 101), 0.1)
    assert looked("unshuffled", chart_of({"loss/batch": losses, "loss/train": curve(1.0, 0.1)}, facts)) is None
    assert looked("unshuffled", chart_of({"loss/batch": losses, "loss/train": curve(1.0, 0.5)}, facts)) is not None


# --- columns ----------------------------------------------------------------------------------------------------------


def test_a_constant_column_is_found_and_a_rare_word_is_not():
    inputs, labels = classes(200)
    words = functional.one_hot(labels, 5).float()  # the last two words occur in no row
    assert looked("useless_columns", chart_of_data((torch.cat([inputs, words], 1), labels))) is None
    constant = torch.cat([inputs, torch.full((200, 1), 3.5)], 1)
    finding = looked("useless_columns", chart_of_data((constant, labels)))
    assert finding is not None
    assert finding.where == "column 4"


def test_flat_pictures_may_have_constant_pixels():
    digits = DATA["digits"]().train
    chart = chart_of_data((digits.inputs.flatten(1), digits.targets))
    assert chart.fact("data", "train", "constant_columns") == [0, 32, 39]  # scikit-learn's digits, flat
    assert looked("useless_columns", chart) is None


def test_one_bad_cell_is_named_before_training_and_forgiven_where_the_loop_masks_it(chart_of):
    inputs, labels = classes(64)
    inputs[40, 2] = torch.nan
    finding = looked("non_finite_data", chart_of_data((inputs, labels)))
    assert finding is not None
    assert finding.where == "row 40, column 2"
    facts = {"data": data.of(loader((inputs, labels)))}
    masked = chart_of({"loss/batch": dict.fromkeys(range(1, 20), 0.5)}, facts)
    assert looked("non_finite_data", masked) is None


# --- labels -----------------------------------------------------------------------------------------------------------


def flipped(labels: Tensor, share: float, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(labels), generator=draw) < share
    other = (labels + torch.randint(1, 3, labels.shape, generator=draw)) % 3
    return torch.where(wrong, other, labels)


@given(share=st.floats(0.15, 0.3), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_wrong_training_labels_are_found_and_counted(share, seed):
    (inputs, labels), validation = halves(classes(1000, columns=8, apart=6, seed=seed))
    wrong = flipped(labels, share, seed)
    finding = looked("mislabelled", chart_of_data((inputs, wrong), validation))
    assert finding is not None
    told = re.match(r"About (\d+) % of the training labels", finding.sentence)
    # the shares of 700 and 300 rows that it is made of have standard errors of 1.8 % each
    assert told is not None
    assert float(told[1]) == pytest.approx(100 * float((wrong != labels).double().mean()), abs=9)


@given(share=st.floats(0, 0.35), seed=st.integers(0, 2**16))
@settings(max_examples=30)
def test_labels_that_are_wrong_in_both_splits_cannot_be_told_from_noise(share, seed):
    inputs, labels = classes(600, seed=seed)
    chart = chart_of_data(*halves((inputs, flipped(labels, share, seed))))
    assert looked("mislabelled", chart) is None


def permuted(pair: tuple[Tensor, Tensor], seed: int = 0) -> tuple[Tensor, Tensor]:
    return pair[0], pair[1][torch.randperm(len(pair[1]), generator=torch.Generator().manual_seed(seed))]


def test_training_labels_of_other_rows_are_found_without_training():
    train, validation = halves(classes(600))
    assert looked("unrelated_labels", chart_of_data(permuted(train), validation)) is not None
    assert looked("unrelated_labels", chart_of_data(train, validation)) is None


def test_labels_of_other_rows_in_both_splits_are_found_when_they_are_learned_by_heart(chart_of):
    train, validation = (permuted(part) for part in halves(classes(1000)))
    facts = {"data": data.of(train, validation), "evaluation": {"rows_train": 500, "rows_validation": 300}}
    by_heart = {"accuracy/train": curve(0.33, 0.8), "accuracy/validation": curve(0.33, 0.34)}
    useful = {"accuracy/train": curve(0.33, 0.8), "accuracy/validation": curve(0.33, 0.6)}
    nothing = {"accuracy/train": curve(0.33, 0.35), "accuracy/validation": curve(0.33, 0.33)}
    assert looked("unrelated_labels", chart_of(by_heart, facts)) is not None
    assert looked("unrelated_labels", chart_of(useful, facts)) is None
    assert looked("unrelated_labels", chart_of(nothing, facts)) is None


def imbalanced(share: float, apart: float) -> tuple[Tensor, Tensor]:
    """Two classes, of which one has a small share of the rows."""
    inputs, labels = classes(4000, kinds=2, apart=apart, seed=1)
    kept = (labels == 0) | (torch.rand(4000, generator=torch.Generator().manual_seed(0)) < share)
    return inputs[kept], labels[kept]


def judged(labels: Tensor, found: float) -> dict[str, object]:
    """The facts of a network that recognises a share of class 1 and all of class 0."""
    answers = labels.clone()
    rare = (labels == 1).nonzero().flatten()
    answers[rare[round(found * len(rare)) :]] = 0
    return predictions.of(functional.one_hot(answers, 2).float(), labels, "validation")


@pytest.mark.parametrize(
    ("share", "apart", "found", "wanted"),
    [
        (0.05, 2.0, 0.0, {"class_imbalance", "minority_never_predicted"}),
        (0.05, 2.0, 0.2, {"class_imbalance"}),
        (0.05, 2.0, 0.9, set()),  # rare, and recognised
        (0.05, 0.0, 0.0, set()),  # rare, and nothing tells it apart
        (1.0, 2.0, 0.0, set()),  # not rare: a network that has learned nothing yet
    ],
)
def test_a_rare_class_is_a_problem_where_it_could_be_recognised_and_is_not(chart_of, share, apart, found, wanted):
    train, validation = halves(imbalanced(share, apart))
    facts = {"data": data.of(train, validation), "predictions": judged(validation[1], found)}
    chart = chart_of({"loss/validation": curve(0.7, 0.1)}, facts)
    names = ("class_imbalance", "minority_never_predicted")
    assert {name for name in names if looked(name, chart)} == wanted


def graph(loss: str, outputs: Tensor, targets: Tensor) -> dict[str, object]:
    """The facts of a loss and what it was given."""
    given_ = {
        "output_shape": list(outputs.shape),
        "target_dtype": str(targets.dtype).removeprefix("torch."),
        "output_min": float(outputs.min()),
        "output_max": float(outputs.max()),
        "target_min": float(targets.min()),
        "target_max": float(targets.max()),
    }
    return {"loss": loss, "given": given_}


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "wrong"),
    [
        ("cross_entropy", 3, torch.tensor([0, 1, 2] * 10), False),
        ("cross_entropy", 3, torch.tensor([1, 2, 3] * 10), True),
        ("cross_entropy", 4, torch.tensor([1, 2, 3] * 10), False),  # an output too many does no harm
        ("cross_entropy", 3, torch.tensor([0, 1, -100] * 10), False),
        ("cross_entropy", 3, torch.tensor([0, 1, -1] * 10), True),
        ("bce_with_logits", 1, torch.tensor([[0.0], [1.0]] * 15), False),
        ("bce_with_logits", 1, torch.tensor([[0.1], [0.9]] * 15), False),  # soft labels
        ("bce_with_logits", 1, torch.tensor([[-1.0], [1.0]] * 15), True),
        ("mse", 1, torch.tensor([[-1.0], [1.0]] * 15), False),
        (None, 1, torch.tensor([[-1.0], [1.0]] * 15), False),  # a hinge loss, which nobody knows
    ],
)
def test_labels_are_held_against_what_the_loss_takes(loss, outputs, targets, wrong):
    chart = chart_of_data((torch.randn(30, 2), targets), graph=graph(loss, torch.zeros(30, outputs), targets))
    assert (looked("label_range", chart) is not None) is wrong


# --- scales -----------------------------------------------------------------------------------------------------------


def first_step(kind: str, outputs: Tensor, targets: Tensor, scale: float = 1.0) -> Chart:
    losses = {"cross_entropy": functional.cross_entropy, "mse": functional.mse_loss}
    loss = scale * float(losses[kind](outputs, targets))
    topic = start.of(loss, kind, targets, outputs.shape[1] if kind == "cross_entropy" else None)
    pair = torch.randn(len(targets), 2), targets
    return chart_of_data(pair, graph=graph(kind, outputs, targets), start=topic)


@given(scale=st.floats(0.01, 1.5), kinds=st.integers(2, 20), seed=st.integers(0, 2**16))
@settings(max_examples=30)
def test_logits_of_an_ordinary_size_are_a_good_start(scale, kinds, seed):
    draw = torch.Generator().manual_seed(seed)
    outputs = scale * torch.randn(64, kinds, generator=draw)
    assert looked("first_loss", first_step("cross_entropy", outputs, torch.arange(64) % kinds)) is None


def test_large_outputs_are_a_bad_start_and_a_loss_times_a_hundred_is_not():
    draw = torch.Generator().manual_seed(0)
    outputs, labels = torch.randn(64, 10, generator=draw), torch.arange(64) % 10
    numbers = torch.randn(64, 1, generator=draw)
    assert looked("first_loss", first_step("cross_entropy", 10 * outputs, labels)) is not None
    assert looked("first_loss", first_step("cross_entropy", outputs, labels, scale=100)) is None
    assert looked("first_loss", first_step("mse", 10 * outputs[:, :1], numbers)) is not None
    assert looked("first_loss", first_step("mse", outputs[:, :1], numbers, scale=100)) is None


def regression(factor: float, offset: float) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 3, generator=draw)
    return inputs, offset + factor * (inputs[:, :1] + 0.1 * torch.randn(300, 1, generator=draw))


@pytest.mark.parametrize(
    ("factor", "offset", "r2", "found"),
    [
        (1000, 5000, curve(-20, -5), True),
        (1000, 5000, {step: -20.0 if step < 50 else 0.98 for step in COURSE}, False),  # the network got there
        (1, 0, curve(-20, -5), False),  # the targets are not to blame
        (1, 1000, curve(-1e6, -1e5), True),
    ],
)
def test_large_targets_are_a_problem_where_the_network_does_not_reach_them(chart_of, factor, offset, r2, found):
    facts = {"data": data.of(regression(factor, offset)), "evaluation": {"rows_train": 300}}
    chart = chart_of({"r2/train": r2, "loss/train": curve(9.0, 1.0)}, facts)
    assert (looked("unscaled_targets", chart) is not None) is found


@pytest.mark.parametrize(
    ("factors", "r2", "found"),
    [
        ([1.0, 1000.0, 1.0], 0.6, True),
        ([1.0, 1000.0, 1.0], 0.98, False),  # the network copes
        ([1.0, 1.0, 1.0], 0.6, False),  # the inputs are not to blame
    ],
)
def test_unscaled_columns_are_a_problem_where_the_fit_is_worse_than_it_could_be(chart_of, factors, r2, found):
    inputs, targets = regression(1, 0)
    facts = {"data": data.of((inputs * torch.tensor(factors), targets)), "evaluation": {"rows_train": 300}}
    chart = chart_of({"r2/train": curve(-0.1, r2), "loss/train": curve(1.0, 1 - r2)}, facts)
    assert (looked("unscaled_inputs", chart) is not None) is found


def test_a_run_on_unscaled_columns_that_diverged_is_told_in_two_digits(chart_of):
    inputs, targets = regression(1, 0)
    facts = {"data": data.of((inputs * torch.tensor([1.0, 1000.0, 1.0]), targets)), "evaluation": {"rows_train": 300}}
    finding = looked("unscaled_inputs", chart_of({"r2/train": curve(-0.1, -5.8e23)}, facts))
    assert "5.8e+23 times the variance" in finding.sentence


def test_pixels_from_0_to_1_and_columns_of_zeros_and_ones_are_scaled():
    digits = DATA["digits"]().train
    words = functional.one_hot(torch.arange(300) % 7, 7).float()
    for pair in (digits, (digits.inputs.flatten(1), digits.targets), (words, torch.arange(300) % 2)):
        assert looked("unscaled_inputs", chart_of_data(pair)) is None


def test_a_label_that_the_loss_was_seen_to_take_is_one_that_it_ignores():
    targets = torch.tensor([0, 1, -1] * 10)  # ignore_index=-1, as text models pad
    known = {"graph": graph("cross_entropy", torch.zeros(30, 3), targets), "start": {"loss": 1.1}}
    assert looked("label_range", chart_of_data((torch.randn(30, 2), targets), **known)) is None
