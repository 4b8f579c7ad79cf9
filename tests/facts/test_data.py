"""Facts about data: compared with NumPy, scikit-learn, closed forms, and data made to show them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from descend.catalog import DATA
from descend.facts import data
from descend.facts.rows import MOST
from descend.train.stability import mse_hessian_eigenvalues


def split(rows, columns=3, classes=2, seed=0):
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, columns, generator=draw)
    return inputs, torch.randint(classes, (rows,), generator=draw)


def test_columns_are_described_as_numpy_does():
    inputs, targets = split(500, 4)
    inputs = inputs * torch.tensor([1.0, 10, 0.1, 1]) + torch.tensor([0.0, 5, 0, -3])
    columns = data.of((inputs, targets))["train"]["columns"]
    table = inputs.double().numpy()
    for name in ("mean", "std", "min", "max"):
        assert columns[name] == pytest.approx(getattr(table, name)(axis=0), rel=1e-12)


def test_images_are_described_by_channel_and_many_columns_by_some():
    images = torch.rand(20, 3, 4, 4) + torch.arange(3.0)[:, None, None]
    facts = data.of((images, torch.zeros(20).long()))["train"]
    assert facts["columns"]["mean"] == pytest.approx(images.double().mean((0, 2, 3)).tolist(), rel=1e-12)
    wide = torch.rand(20, 600)
    columns = data.of((wide, torch.zeros(20).long()))["train"]["columns"]
    assert len(columns["mean"]) <= 256
    assert columns["max"] == pytest.approx(wide[:, columns["index"]].max(0).values.tolist())


def test_sorted_labels_change_once_a_class_and_shuffled_ones_as_often_as_expected():
    inputs, targets = split(1000, classes=4)
    ordered = data.of((inputs, targets.sort().values))["train"]
    mixed = data.of((inputs, targets))["train"]
    assert ordered["label_changes"] == 3 / 999
    # the share of changes among 999 pairs has a standard error of sqrt(3/16 / 999) = 0.014
    assert mixed["label_changes"] == pytest.approx(mixed["label_changes_expected"], abs=4 * 0.014)
    assert mixed["classes"] == {str(label): int((targets == label).sum()) for label in range(4)}


@given(st.integers(0, 2**16))
@settings(max_examples=10)
def test_the_order_of_numbers_is_their_autocorrelation(seed):
    inputs, _ = split(300, seed=seed)
    numbers = inputs[:, :1].cumsum(0)
    series = numbers[:, 0].double().numpy()
    centred = series - series.mean()
    expected = (centred[1:] * centred[:-1]).sum() / (centred**2).sum()
    assert data.of((inputs, numbers))["train"]["target_order"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("value", "name"), [(torch.nan, "nan"), (torch.inf, "inf"), (-torch.inf, "-inf")])
def test_one_bad_value_is_found_in_any_row_of_data_in_memory(value, name):
    inputs, targets = split(3 * MOST)
    inputs[MOST + 1, 2] = value
    found = data.of((inputs, targets))["train"]["non_finite"]
    assert found == {"count": 1, "part": "inputs", "row": MOST + 1, "column": 2, "value": name}


def test_a_bad_value_outside_of_the_subset_is_nobodys():
    inputs, targets = split(60)
    inputs[3, 1] = torch.nan
    dataset = torch.utils.data.TensorDataset(inputs, targets)
    assert data.of(torch.utils.data.Subset(dataset, range(10, 60)))["train"]["non_finite"] is None
    assert data.of(torch.utils.data.Subset(dataset, range(2, 60)))["train"]["non_finite"]["row"] == 1


def test_a_large_sum_is_no_bad_value():
    inputs = torch.full((100, 3), 3e38)
    assert data.of((inputs, torch.zeros(100).long()))["train"]["non_finite"] is None


def test_constant_and_repeated_columns_are_named():
    inputs, targets = split(100, 6)
    inputs[:, 1], inputs[:, 4], inputs[:, 5] = 7, inputs[:, 0], inputs[:, 0]
    facts = data.of((inputs, targets))["train"]
    assert facts["constant_columns"] == [1]
    assert facts["duplicate_columns"] == [[0, 4], [0, 5]]


@given(
    st.integers(5, 300), st.integers(0, 40), st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8])
)
@settings(max_examples=25)
def test_rows_in_both_splits_are_counted_exactly(rows, copied, dtype):
    draw = torch.Generator().manual_seed(rows)
    inputs = torch.randint(0, 250, (rows + 50, 7), generator=draw).unique(dim=0).to(dtype)
    train, fresh = inputs[50:], inputs[:50]
    validation = torch.cat([train[:copied], fresh])
    facts = data.of((train, torch.zeros(len(train)).long()), (validation, torch.zeros(len(validation)).long()))
    copied = min(copied, len(train))
    assert facts["shared_rows"]["count"] == copied
    assert facts["shared_rows"]["share"] == copied / len(validation)


def test_rows_of_few_whole_numbers_repeat_by_chance_and_copies_of_pictures_do_not():
    draw = torch.Generator().manual_seed(0)
    numbers = torch.randint(1, 11, (400, 3), generator=draw).float()
    zeros = torch.zeros(400).long()
    facts = data.of((numbers[:300], zeros[:300]), (numbers[300:], zeros[300:]))
    # both are the chance that one of 300 rows equals a row; the standard error of the shares is at most 0.05
    assert facts["shared_rows"]["share"] == pytest.approx(facts["shared_rows_expected"], abs=0.15)
    assert facts["shared_rows_expected"] > 0.1
    twice = DATA["digits"]().train.inputs[:750].repeat(2, 1, 1, 1)
    order = torch.randperm(1500, generator=draw)
    zeros = torch.zeros(1500).long()
    facts = data.of((twice[order[:1000]], zeros[:1000]), (twice[order[1000:]], zeros[1000:]))
    assert facts["shared_rows"]["count"] > 0
    assert facts["shared_rows_expected"] == 0


def test_curvature_is_the_largest_eigenvalue_of_the_linear_models_hessian():
    inputs = DATA["employee_bonus"]().train.inputs
    facts = data.of((inputs, inputs[:, :1]))["train"]["curvature"]
    assert facts["raw"] == pytest.approx(float(mse_hessian_eigenvalues(inputs)[-1]), rel=1e-9)
    scaled = (inputs.double() - inputs.double().mean(0)) / inputs.double().std(0, correction=0)
    assert facts["standardised"] == pytest.approx(float(mse_hessian_eigenvalues(scaled)[-1]), rel=1e-9)
    assert facts["raw"] == pytest.approx(254.36, abs=0.01)  # the data set's own documentation


def test_the_best_linear_model_is_that_of_numpy():
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 4, generator=draw) * torch.tensor([1.0, 100, 0.01, 1]) + 7
    inputs[:, 3] = inputs[:, 0]  # equal columns share their weight
    targets = inputs[:, :2] @ torch.tensor([[1.0], [0.02]]) + torch.randn(200, 1, generator=draw)
    x, y = (each.double().numpy() for each in (inputs, targets))
    _, residual, *_ = np.linalg.lstsq(np.column_stack([x[:, :3], np.ones(200)]), y, rcond=None)
    expected = residual.sum() / ((y - y.mean()) ** 2).sum()
    assert data.of((inputs, targets))["train"]["linear"]["unexplained"] == pytest.approx(expected, rel=1e-6)


def nearest(table, queries, skip):
    """The five nearest rows by scikit-learn, without the row itself."""
    mean, std = table.mean(0), table.std(0)
    index = NearestNeighbors(n_neighbors=5 + skip).fit((table - mean) / std)
    return index.kneighbors((queries - mean) / std, return_distance=False)[:, skip:]


def test_neighbours_are_those_of_scikit_learn():
    train, validation = (
        DATA["moons"](rows=300, noise=0.3, validation=0.3).__dict__[name] for name in ("train", "validation")
    )
    facts = data.of(train, validation)
    x, y = train.inputs.double().numpy(), train.targets.numpy()
    votes = y[nearest(x, x, skip=1)].mean(1) > 0.5
    assert facts["train"]["neighbours"]["disagree"] == pytest.approx((votes != y).mean())
    own = [(y[nearest(x, x, skip=1)] == y[:, None]).mean(1)[y == label].mean() for label in (0, 1)]
    assert list(facts["train"]["neighbours"]["own"].values()) == pytest.approx(own)
    votes = y[nearest(x, validation.inputs.double().numpy(), skip=0)].mean(1) > 0.5
    assert facts["validation"]["train_neighbours"]["disagree"] == pytest.approx(
        (votes != validation.targets.numpy()).mean()
    )


def test_neighbours_of_numbers_leave_a_share_of_the_variance():
    train = DATA["sines"](validation=0.0).train
    x, y = train.inputs.double().numpy(), train.targets.double().numpy()[:, 0]
    expected = ((y - y[nearest(x, x, skip=1)].mean(1)) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert data.of(train)["train"]["neighbours"]["disagree"] == pytest.approx(expected)


def test_permuted_labels_disagree_as_often_as_expected():
    inputs, targets = split(1000, classes=3)
    found = data.of((inputs, targets))["train"]["neighbours"]
    # labels that are random are as good as permuted: a share of 1000 rows has a standard error of 0.015
    assert found["disagree"] == pytest.approx(found["expected"], abs=4 * 0.015)


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (torch.arange(30) % 3, "classification"),
        ((torch.arange(30) % 2).float(), "classification"),
        ((torch.arange(30) % 2).float()[:, None], "classification"),
        (torch.eye(3).repeat(10, 1), "classification"),
        (torch.eye(3).repeat(10, 1) * 0.8 + 0.2 / 3, "classification"),
        (torch.arange(60).reshape(30, 2) % 5, "sequence"),
        ((torch.arange(120).reshape(30, 4) % 3 == 0).float(), "sequence"),
        (torch.randn(30), "regression"),
        (torch.randn(30, 2), "regression"),
    ],
)
def test_the_task_shows_in_the_targets(targets, task):
    facts = data.of((torch.randn(30, 2), targets))["train"]
    assert facts["task"] == task


def test_tokens_have_neither_columns_nor_neighbours():
    facts = data.of(DATA["characters"](rows=50).train)["train"]
    assert facts["tokens"]
    assert facts["task"] == "sequence"
    assert "columns" not in facts
    assert facts["neighbours"] is None


@pytest.mark.parametrize("name", list(DATA))
def test_facts_of_every_data_set_are_plain_values(name):
    import json

    if name == "table":
        return
    dataset = DATA[name](rows=40) if name != "digits" else DATA[name]()
    facts = data.of(dataset.train, dataset.validation, features=dataset.features)
    assert json.loads(json.dumps(facts))["train"]["rows"] == len(dataset.train.inputs)
