"""What must hold of every data set: these tests walk the catalog, so a new file needs no new test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from descend.catalog import DATA
from descend.data._dataset import Dataset, Split
from descend.errors import DataError

Load = Callable[..., Dataset]
HELD = {"validation": 0.2, "test": 0.1}

every_data_set = pytest.mark.parametrize("name", DATA.names())
scalable = pytest.mark.parametrize("name", [name for name in DATA if "scale" in DATA.options(name)])


def parts(data: Dataset) -> Iterator[Split]:
    return (part for part in (data.train, data.validation, data.test) if part is not None)


def digest(data: Dataset) -> str:
    blocks = (tensor.numpy().tobytes() for part in parts(data) for tensor in part)
    return hashlib.sha256(b"".join(blocks)).hexdigest()


@every_data_set
def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(name: str, load: Load) -> None:
    first = digest(load(name, data_seed=3, **HELD))
    assert digest(load(name, data_seed=3, **HELD)) == first
    assert digest(load(name, data_seed=4, **HELD)) != first


@every_data_set
def test_loading_leaves_the_global_random_states_alone(name: str, load: Load) -> None:
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    load(name)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


@every_data_set
def test_inputs_and_targets_have_the_shapes_and_types_that_a_dataset_promises(name: str, load: Load) -> None:
    data = load(name, **HELD)
    for part in parts(data):
        assert len(part.inputs) == len(part.targets) >= 2
        assert part.inputs.dtype == (torch.int64 if data.tokens else torch.float32)
        assert part.targets.dtype == (torch.int64 if data.task == "classification" else torch.float32)
        if data.every_position:
            assert part.targets.shape == part.inputs.shape
        elif data.task == "classification":
            assert part.targets.ndim == 1
        else:
            assert part.targets.shape[1:] == (len(data.targets),)
        if data.features:
            assert part.inputs[0].numel() == len(data.features)


@every_data_set
def test_every_number_is_finite_and_every_class_and_token_exists(name: str, load: Load) -> None:
    data = load(name, **HELD)
    for part in parts(data):
        assert part.inputs.isfinite().all()
        assert part.targets.isfinite().all()
        if data.task == "classification":
            assert part.targets.min() >= 0
            assert part.targets.max() < len(data.classes)
        if data.tokens:
            assert part.inputs.min() >= 0
            assert part.inputs.max() < data.tokens


@every_data_set
def test_no_row_stands_in_two_parts_and_none_is_lost(name: str, load: Load) -> None:
    whole, data = load(name, validation=0.0, test=0.0), load(name, **HELD)
    assert whole.validation is whole.test is None
    assert sum(len(part.inputs) for part in parts(data)) == len(whole.train.inputs)
    rows = [
        {(x.numpy().tobytes(), y.numpy().tobytes()) for x, y in zip(*part, strict=True)}
        for part in parts(load(name, **HELD))
    ]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]


@every_data_set
def test_the_parts_have_the_sizes_that_were_asked_for(name: str, load: Load) -> None:
    data = load(name, **HELD)
    sizes = [len(part.inputs) for part in parts(data)]
    # Equal rows stay together, so the bonus data (98 distinct rows of 100) may be off by one of them.
    assert sizes == pytest.approx([sum(sizes) * share for share in (0.7, 0.2, 0.1)], abs=2)


@every_data_set
def test_each_part_holds_each_class_in_its_share(name: str, load: Load) -> None:
    data = load(name, **HELD)
    if data.task == "regression" or data.every_position:
        return
    counts = torch.stack([part.targets.bincount(minlength=len(data.classes)) for part in parts(data)]).double()
    exact = counts.sum(dim=0) * torch.tensor([[0.7], [0.2], [0.1]]).double()
    # Validation takes every fifth row of the rows in the order of class, test then every eighth: each rounds once.
    assert (counts - exact).abs().max() <= 2


@every_data_set
def test_shares_that_leave_nothing_to_train_on_are_refused(name: str, load: Load) -> None:
    with pytest.raises(
        DataError, match=r"validation is 0\.5 and test is 0\.5, which leaves no rows to train on\. Give"
    ):
        load(name, validation=0.5, test=0.5)


@scalable
def test_standard_scaling_uses_the_training_rows_alone(name: str, load: Load) -> None:
    raw, scaled = load(name, scale="none", **HELD), load(name, scale="standard", **HELD)
    assert scaled.input_scale is not None
    train = raw.train.inputs.double()
    numbers = scaled.input_scale.std != 1  # one-hot columns are left as they are
    assert numbers.any()
    # The raw values seen here were rounded to float32 (6e-8 each).
    torch.testing.assert_close(scaled.input_scale.mean[numbers], train.mean(dim=0)[numbers], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(
        scaled.input_scale.std[numbers], train.std(dim=0, correction=0)[numbers], rtol=1e-6, atol=0
    )
    for before, after in zip(parts(raw), parts(scaled), strict=True):
        expected = (before.inputs.double() - scaled.input_scale.mean) / scaled.input_scale.std
        torch.testing.assert_close(after.inputs, expected.float(), rtol=1e-5, atol=1e-5)
        assert torch.equal(after.targets, before.targets)


@every_data_set
def test_a_truth_is_what_least_squares_finds_in_raw_units(name: str, load: Load) -> None:
    for scale in ("none", "standard") if "scale" in DATA.options(name) else ():
        data = load(name, scale=scale)
        if not data.truth:
            continue
        x = data.train.inputs.double()
        if data.input_scale is not None:
            x = x * data.input_scale.std + data.input_scale.mean
        design = torch.cat([x, torch.ones(len(x), 1).double()], dim=1)
        weights = torch.linalg.lstsq(design, data.train.targets.double()).solution[:, 0]
        truth = torch.tensor([data.truth[feature] for feature in (*data.features, "bias")]).double()
        # Raw integers are exact in float32; scaled ones are rounded to 6e-8, times a condition number of 47.
        torch.testing.assert_close(weights, truth, rtol=0, atol=1e-9 if scale == "none" else 1e-4)


@pytest.mark.parametrize("name", [name for name in DATA if "rows" in DATA.options(name)])
@given(rows=st.integers(1, 3))
def test_fewer_rows_than_the_parts_need_are_refused(name: str, load: Load, rows: int) -> None:
    with pytest.raises(DataError, match=rf"^{name} has too few rows \({rows}\): .* Give more rows, "):
        load(name, rows=rows, **HELD)
