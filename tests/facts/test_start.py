"""What the first loss should be: the loss itself, of the best answer that is the same for every row."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from descend.facts import start


@given(st.integers(2, 1000))
def test_cross_entropy_begins_at_that_of_equal_logits(classes):
    targets = torch.arange(20) % classes
    loss = nn.functional.cross_entropy(torch.zeros(20, classes, dtype=torch.float64), targets)
    assert start.of(1.0, "cross_entropy", targets, classes)["expected"] == pytest.approx(float(loss), rel=1e-12)


def test_the_losses_of_one_output_begin_at_those_of_the_best_constant():
    targets = torch.randn(101, 1, dtype=torch.float64) * 3 + 5
    constants = torch.linspace(0, 10, 20001, dtype=torch.float64)
    for kind, distance in (("mse", torch.square), ("l1", torch.abs), ("mae", torch.abs)):
        least = min(float(distance(targets - constant).mean()) for constant in constants.split(1))
        # the best of constants 0.0005 apart: the mean's error is squared, the median's is at most 0.00025
        assert start.of(1.0, kind, targets)["expected"] == pytest.approx(least, abs=3e-4)
    labels = (targets > 5).double()
    logit = nn.functional.binary_cross_entropy_with_logits(torch.zeros_like(labels), labels)
    assert start.of(1.0, "bce_with_logits", labels)["expected"] == pytest.approx(float(logit), rel=1e-12)


def test_nothing_is_expected_of_a_loss_that_nobody_knows():
    assert start.of(3.0, None, torch.randn(5))["expected"] is None
    assert start.of(3.0, "cross_entropy", torch.zeros(5).long())["expected"] is None
