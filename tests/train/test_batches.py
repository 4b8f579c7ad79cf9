import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from descend.train import batches as batches_module
from descend.train.batches import Batches

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40)).map(lambda pair: (pair[0], min(pair)))
ORDERS = st.sampled_from(["reshuffled", "fixed", "replacement"])


def numbered(rows: int, size: int, **settings: object) -> Batches:
    """Rows that carry their own number, as input and as target."""
    return Batches(torch.arange(float(rows))[:, None], torch.arange(rows), size, **settings)


def epoch(batches: Batches, start: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(itertools.islice(batches.after(start), batches.per_epoch))


@given(SIZES, st.integers(0, 9), st.sampled_from(["reshuffled", "fixed"]))
def test_an_epoch_sees_every_row_once(sizes, seed, order):
    rows, size = sizes
    seen = torch.cat([targets for _, targets in epoch(numbered(rows, size, seed=seed, order=order))])
    assert sorted(seen.tolist()) == list(range(rows))


@given(SIZES, ORDERS, st.booleans(), st.integers(0, 9), st.integers(0, 50))
def test_the_batches_after_a_step_are_those_of_the_uncut_sequence(sizes, order, noisy, seed, step):
    batches = numbered(*sizes, order=order, seed=seed, noise=0.3 * noisy)
    uncut = list(itertools.islice(batches.after(0), step + 5))[step:]
    resumed = itertools.islice(batches.after(step), 5)
    for (inputs, targets), (inputs_again, targets_again) in zip(uncut, resumed, strict=True):
        assert torch.equal(inputs, inputs_again)
        assert torch.equal(targets, targets_again)


@given(SIZES, st.integers(0, 9))
def test_gathering_a_few_at_a_time_changes_nothing(sizes, seed):
    whole = epoch(numbered(*sizes, seed=seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches_module, "GATHER", 3)
        pieces = epoch(numbered(*sizes, seed=seed))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(whole, pieces, strict=True))


@given(SIZES)
def test_weighted_batches_give_every_row_the_same_share(sizes):
    batches = numbered(*sizes, last="weighted")
    shares = [batches.weight(len(inputs)) / len(inputs) for inputs, _ in epoch(batches)]
    assert shares == pytest.approx([1 / batches.size] * len(shares))


@given(SIZES)
def test_dropping_the_last_batch_leaves_only_full_ones(sizes):
    batches = numbered(*sizes, last="dropped")
    assert {len(inputs) for inputs, _ in epoch(batches)} == {batches.size}
    assert batches.per_epoch == sizes[0] // batches.size


def test_epochs_and_seeds_have_their_own_order():
    first, second = numbered(50, 10), numbered(50, 10, seed=1)
    orders = [first.indices(0), first.indices(1), second.indices(0)]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(orders, 2))


def test_rows_drawn_with_replacement_are_uniform_and_repeat():
    batches = numbered(10, 10, order="replacement")
    drawn = torch.stack([batches.indices(epoch) for epoch in range(2000)])
    # 20,000 draws of one row in ten: the standard deviation of a count is sqrt(20000 * 0.1 * 0.9) = 42
    assert (drawn.flatten().bincount() - 2000).abs().max() < 5 * 42
    assert any(len(set(row.tolist())) < 10 for row in drawn)


def test_input_noise_has_the_standard_deviation_asked_for_and_changes_with_the_epoch():
    batches = Batches(torch.zeros(20_000, 1), torch.zeros(20_000), 20_000, noise=0.5)
    (first, _), (second, _) = itertools.islice(batches.after(0), 2)
    # the standard error of a standard deviation over n samples is sd / sqrt(2 n) = 0.0025
    assert first.std().item() == pytest.approx(0.5, abs=0.0125)
    assert not torch.equal(first, second)


@given(SIZES, ORDERS, st.sampled_from(["weighted", "dropped"]), st.integers(0, 50), st.integers(1, 30))
def test_the_rows_after_a_step_are_those_of_its_batches(sizes, order, last, step, steps):
    batches = numbered(*sizes, order=order, last=last)
    rows = batches.rows_after(step, steps)
    assert rows.shape == (steps, batches.size)
    for numbers, (_, targets) in zip(rows, batches.after(step), strict=False):
        assert numbers[numbers >= 0].tolist() == targets.tolist()
