"""Accuracy by counting, R2 by its definition."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from descend.catalog import MONITORS
from descend.monitors._monitor import Step
from descend.monitors._panel import read


def answering(outputs: Tensor, targets: Tensor) -> Step:
    task = "regression" if targets.is_floating_point() else "classification"
    return Step(1, outputs.sum(), outputs, targets, outputs, task, 0.1, {}, {})


def measured(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    return read(MONITORS["accuracy"].measure(answering(outputs, targets)))


@given(shape=st.sampled_from([(1,), (7,), (3, 4)]), classes=st.integers(2, 5), seed=st.integers(0, 2**16))
def test_accuracy_counts_the_answers_that_are_right_at_every_position(
    shape: tuple[int, ...], classes: int, seed: int
) -> None:
    torch.manual_seed(seed)
    outputs, targets = torch.randn(*shape, classes), torch.randint(classes, shape)
    right = [int(max(range(classes), key=row.__getitem__)) for row in outputs.reshape(-1, classes).tolist()]
    share = sum(one == two for one, two in zip(right, targets.flatten().tolist(), strict=True)) / len(right)
    assert measured(outputs, targets) == {"accuracy/batch": pytest.approx(share)}


def test_a_single_logit_answers_class_one_where_it_is_positive() -> None:
    outputs = torch.tensor([[2.0], [-1.0], [0.5], [-3.0]])
    assert measured(outputs, torch.tensor([1, 0, 0, 0])) == {"accuracy/batch": 0.75}


@given(rows=st.integers(2, 30), columns=st.integers(1, 3), seed=st.integers(0, 2**16))
def test_r2_is_one_for_the_truth_zero_for_the_mean_and_the_variance_explained_between(
    rows: int, columns: int, seed: int
) -> None:
    torch.manual_seed(seed)
    targets = torch.randn(rows, columns, dtype=torch.float64)
    outputs = targets + torch.randn_like(targets)
    explained = 1 - float((outputs - targets).square().mean() / targets.var(dim=0, correction=0).mean())
    assert measured(outputs, targets) == {"r2/batch": pytest.approx(explained, rel=1e-9, abs=1e-9)}
    assert measured(targets, targets) == {"r2/batch": 1.0}
    assert measured(targets.mean(dim=0).expand(rows, -1), targets) == {"r2/batch": pytest.approx(0.0, abs=1e-12)}


def test_r2_of_one_row_is_not_given() -> None:
    assert measured(torch.zeros(1, 1), torch.ones(1, 1)) == {}
