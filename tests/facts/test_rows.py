"""Rows are read as a loader would give them, and reading them leaves no trace."""

import random
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from descend.facts import rows as rows_module
from descend.facts.rows import MOST, read


def pair(rows=50, columns=3):
    return torch.randn(rows, columns), torch.arange(rows)


class Drawing(Dataset):
    """Every row draws from all three generators, as augmentation does; counts how often it is asked."""

    def __init__(self, rows=40):
        self.rows, self.asked = rows, []

    def __len__(self):
        return self.rows

    def __getitem__(self, row):
        self.asked.append(row)
        return torch.randn(2) + np.random.rand() + random.random(), row


def drawn():
    return torch.rand(1).item(), np.random.rand(), random.random()


def test_reading_draws_no_random_number_that_others_would_get():
    loader = DataLoader(Drawing(), batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    expected = drawn(), [targets.tolist() for _, targets in loader]
    loader.generator.manual_seed(1)
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    read(loader)
    assert (drawn(), [targets.tolist() for _, targets in loader]) == expected


def test_a_loader_is_not_iterated_and_each_row_is_asked_for_once():
    class Untouched(DataLoader):
        def __iter__(self):
            raise AssertionError("iterated")

    dataset = Drawing(30)
    found = read(Untouched(dataset, batch_size=4))
    assert sorted(dataset.asked) == list(range(30))
    assert found.targets.tolist() == list(range(30))


@given(st.integers(1, 60), st.integers(1, 70), st.booleans())
def test_batches_and_the_last_one_are_those_that_the_loader_makes(rows, size, drop_last):
    loader = DataLoader(TensorDataset(*pair(rows)), size, drop_last=drop_last)
    sizes = [len(targets) for _, targets in loader]
    found = read(loader)
    incomplete = sizes[-1] if sizes and sizes[-1] < size else 0
    assert (found.batches, found.last_batch, found.total) == (len(sizes), incomplete, rows)


@pytest.mark.parametrize(
    ("how", "shuffled"),
    [
        ({"batch_size": 8, "shuffle": True}, True),
        ({"batch_size": 8}, False),
        ({"batch_size": 8, "sampler": WeightedRandomSampler([1.0] * 50, 50)}, None),
        ({"batch_sampler": BatchSampler(SequentialSampler(range(50)), 8, False)}, False),
    ],
)
def test_the_sampler_says_whether_rows_are_shuffled(how, shuffled):
    assert read(DataLoader(TensorDataset(*pair()), **how)).shuffled is shuffled


def test_tensors_are_read_as_their_rows_are():
    inputs, targets = pair(100)
    picked = Subset(Subset(TensorDataset(inputs, targets), range(10, 90)), [5, 3, 70])

    class OneByOne(Dataset):
        def __len__(self):
            return len(picked)

        def __getitem__(self, row):
            return picked[row]

    for given_ in (picked, OneByOne(), DataLoader(picked, batch_size=2, shuffle=True), DataLoader(OneByOne())):
        found = read(given_)
        assert found.targets.tolist() == [15, 13, 80]
        assert torch.equal(found.inputs, inputs[[15, 13, 80]])
    assert torch.equal(read((inputs.numpy(), targets.numpy())).inputs, inputs)


def test_many_rows_are_sampled_evenly_whatever_their_period():
    # two labels in turn: every second row would show only one of them
    found = read((torch.arange(4 * MOST), torch.arange(4 * MOST) % 2))
    assert len(found.inputs) == MOST
    assert bool((found.inputs.diff() > 0).all())
    assert int(found.inputs.diff().max()) < 8  # a row from each stretch of 4
    assert abs(float(found.targets.double().mean()) - 0.5) < 4 * 0.5 / MOST**0.5  # standard error of a fair coin


def test_slow_rows_are_fewer_and_still_evenly_spread(monkeypatch):
    class Slow(Drawing):
        def __getitem__(self, row):
            time.sleep(0.001)
            return super().__getitem__(row)

    monkeypatch.setattr(rows_module, "SECONDS", 0.0)
    found = read(Slow(320))
    assert found.targets.tolist() == list(range(0, 320, 16))


def test_the_loaders_own_collate_function_makes_the_batch():
    def collate(items):
        return {
            "input_ids": torch.stack([inputs for inputs, _ in items]),
            "labels": torch.tensor([t for _, t in items]),
        }

    inputs, targets = pair(12)
    found = read(DataLoader(TensorDataset(inputs, targets), batch_size=4, collate_fn=collate))
    assert torch.equal(found.inputs, inputs)
    assert torch.equal(found.targets, targets)


def test_what_cannot_be_read_by_number_is_left_alone():
    class Stream(IterableDataset):
        def __iter__(self):
            raise AssertionError("iterated")

    assert all(read(given_) is None for given_ in (None, Stream(), DataLoader(Stream()), TensorDataset(*pair(0)), 3))
