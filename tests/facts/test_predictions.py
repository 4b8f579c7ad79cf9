"""What is answered is counted as scikit-learn counts it, whatever form the answers have."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from descend.facts import predictions
from descend.facts.predictions import answers_of, classes_of


@given(st.integers(2, 6), st.integers(1, 80), st.integers(0, 2**16))
@settings(max_examples=25)
def test_the_counts_are_those_of_a_confusion_matrix(classes, rows, seed):
    draw = torch.Generator().manual_seed(seed)
    outputs = torch.randn(rows, classes, generator=draw)
    targets = torch.randint(classes, (rows,), generator=draw)
    facts = predictions.of(outputs, targets, "validation")
    table = confusion_matrix(targets, outputs.argmax(1), labels=range(classes))

    def counts(values):
        return {str(label): int(count) for label, count in enumerate(values) if count}

    assert facts["true"] == counts(table.sum(1))
    assert facts["predicted"] == counts(table.sum(0))
    assert facts["right"] == counts(np.diag(table))
    np.fill_diagonal(table, 0)
    if table.any():
        true, answered, count = facts["confusion_top"]
        assert count == table[true, answered] == table.max()


LOGITS = torch.tensor([[-2.0, 3.0], [1.0, -1.0], [0.5, 0.6]])


@pytest.mark.parametrize(
    ("outputs", "labels", "answers"),
    [
        (LOGITS, torch.tensor([0, 1, 1]), [1, 0, 1]),  # a row of logits a label
        (LOGITS[:, :1], torch.tensor([0, 1, 1]), [0, 1, 1]),  # one logit a label, as a column
        (LOGITS[:, 0], torch.tensor([0, 1, 1]), [0, 1, 1]),  # and flat
        (LOGITS[:, 0].sigmoid(), torch.tensor([0, 1, 1]), [0, 1, 1]),  # its probability
        (LOGITS, torch.tensor([[0, 1], [1, 1], [0, 0]]), [[0, 1], [1, 0], [1, 1]]),  # several labels a row
        (LOGITS[None], torch.tensor([[0, 1, 1]]), [[1, 0, 1]]),  # classes last: [rows, positions, classes]
        (LOGITS.T[None], torch.tensor([[0, 1, 1]]), [[1, 0, 1]]),  # and second, as torch's cross-entropy wants them
    ],
)
def test_outputs_stand_for_classes(outputs, labels, answers):
    assert answers_of(outputs, labels).tolist() == answers


def test_outputs_of_another_shape_stand_for_nothing():
    assert answers_of(torch.zeros(5, 3), torch.zeros(5, 2).long()) is None
    assert "true" not in predictions.of(torch.zeros(5, 3), torch.zeros(5, 2).long(), "train")


def test_probabilities_as_targets_are_classes_and_numbers_are_not():
    assert classes_of(torch.tensor([[0.1, 0.9], [0.8, 0.2]])).tolist() == [1, 0]
    assert classes_of(torch.tensor([[0.0], [1.0]])).tolist() == [0, 1]
    assert classes_of(torch.tensor([[0.0], [0.5]])) is None
    assert classes_of(torch.tensor([-1.0, 1.0])) is None


def test_the_answers_to_a_regression_vary_in_units_of_the_targets():
    targets = torch.randn(50, 1)
    facts = predictions.of(targets * 0.25 + 7, targets, "train")
    assert facts["output_variation"] == pytest.approx(0.25, rel=1e-5)  # float32
