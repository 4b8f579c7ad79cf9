"""Every loss against torch's own and closed forms; the laws that all of them keep."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from descend.catalog import LOSSES
from descend.errors import DescendError
from descend.losses import DEFAULT, ONE_LOGIT, TASK, bce_with_logits, cross_entropy, huber, mae, mse

ROUNDING = 1e-12  # float64: a few hundred additions of numbers of order one
CLASSES = 3
SEEDS = st.integers(0, 2**16)

weighted = pytest.mark.parametrize("weigh", [False, True], ids=["alike", "class_weights"])
every_loss = pytest.mark.parametrize("name", list(LOSSES))


def example(name, rows, seed, weigh=False):
    """A loss bound to class weights, and outputs (to be differentiated) and targets that suit it."""
    torch.manual_seed(seed)
    if TASK[name] == "regression":
        return LOSSES[name], torch.randn(rows, 2).double().requires_grad_(), torch.randn(rows, 2).double()
    classes = 2 if name in ONE_LOGIT else CLASSES
    logits = 1 if name in ONE_LOGIT else CLASSES
    weights = torch.rand(classes).double() + 0.1 if weigh else None
    outputs = torch.randn(rows, logits).double().requires_grad_()
    return partial(LOSSES[name], class_weights=weights), outputs, torch.randint(classes, (rows,))


def test_every_loss_says_which_task_it_fits():
    assert set(TASK) == set(LOSSES)
    assert set(ONE_LOGIT) <= {name for name, task in TASK.items() if task == "classification"}


def test_the_default_loss_of_a_task_fits_it():
    assert all(TASK[loss] == task for task, loss in DEFAULT.items())


@every_loss
@weighted
@settings(max_examples=30)
@given(parts=st.lists(st.integers(1, 5), min_size=1, max_size=5), seed=SEEDS)
def test_ragged_micro_batches_weighted_by_their_rows_add_up_to_the_batch(name, weigh, parts, seed):
    rows = sum(parts)
    loss, outputs, targets = example(name, rows, seed, weigh)
    whole = loss(outputs, targets)
    accumulated = sum(
        len(part) / rows * loss(part, target)
        for part, target in zip(outputs.split(parts), targets.split(parts), strict=True)
    )
    assert accumulated.item() == pytest.approx(whole.item(), rel=ROUNDING)
    gradient, gathered = (torch.autograd.grad(value, outputs)[0] for value in (whole, accumulated))
    torch.testing.assert_close(gathered, gradient, rtol=ROUNDING, atol=ROUNDING)


@every_loss
@weighted
@settings(max_examples=30)
@given(seed=SEEDS)
def test_the_gradient_is_that_of_finite_differences(name, weigh, seed):
    loss, outputs, targets = example(name, 4, seed, weigh)
    torch.autograd.gradcheck(lambda values: loss(values, targets), outputs)


@every_loss
def test_a_loss_in_float32_is_a_scalar_of_float32(name):
    loss, outputs, targets = example(name, 3, seed=0)
    targets = targets.float() if targets.is_floating_point() else targets
    value = loss(outputs.float(), targets)
    assert (value.dtype, value.shape) == (torch.float32, ())


@given(rows=st.integers(1, 9), columns=st.integers(1, 3), delta=st.floats(0.1, 3), seed=SEEDS)
def test_regression_losses_equal_their_definitions(rows, columns, delta, seed):
    torch.manual_seed(seed)
    outputs, targets = torch.randn(2, rows, columns).double()
    error = (outputs - targets).abs()
    quadratic_then_linear = torch.where(error < delta, error**2 / 2, delta * (error - delta / 2))
    assert mse(outputs, targets).item() == pytest.approx((error**2).mean().item(), rel=ROUNDING)
    assert mae(outputs, targets).item() == pytest.approx(error.mean().item(), rel=ROUNDING)
    assert huber(outputs, targets, delta=delta).item() == pytest.approx(
        quadratic_then_linear.mean().item(), rel=ROUNDING
    )


@given(rows=st.integers(1, 9), seed=SEEDS)
def test_the_gradient_of_mse_is_twice_the_error_over_the_rows(rows, seed):
    torch.manual_seed(seed)
    outputs, targets = torch.randn(2, rows, 1).double()
    (gradient,) = torch.autograd.grad(mse(outputs.requires_grad_(), targets), outputs)
    torch.testing.assert_close(gradient, 2 * (outputs - targets).detach() / rows)


@given(rows=st.integers(1, 9), smoothing=st.floats(0, 0.9), seed=SEEDS)
def test_cross_entropy_equals_the_definition_by_smoothed_targets(rows, smoothing, seed):
    torch.manual_seed(seed)
    outputs, targets = torch.randn(rows, CLASSES).double(), torch.randint(CLASSES, (rows,))
    smoothed = (1 - smoothing) * functional.one_hot(targets, CLASSES).double() + smoothing / CLASSES
    expected = -(smoothed * outputs.log_softmax(-1)).sum(-1).mean()
    assert cross_entropy(outputs, targets, label_smoothing=smoothing).item() == pytest.approx(
        expected.item(), rel=ROUNDING
    )


@given(rows=st.integers(1, 9), seed=SEEDS)
def test_the_gradient_of_cross_entropy_is_probability_minus_target_over_the_rows(rows, seed):
    torch.manual_seed(seed)
    outputs, targets = torch.randn(rows, CLASSES).double().requires_grad_(), torch.randint(CLASSES, (rows,))
    (gradient,) = torch.autograd.grad(cross_entropy(outputs, targets), outputs)
    expected = (outputs.softmax(-1) - functional.one_hot(targets, CLASSES)).detach() / rows
    torch.testing.assert_close(gradient, expected, rtol=ROUNDING, atol=ROUNDING)


@given(classes=st.integers(2, 1000))
def test_cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes(classes):
    loss = cross_entropy(torch.zeros(1, classes).double(), torch.tensor([classes - 1]))
    assert loss.item() == pytest.approx(math.log(classes), rel=ROUNDING)


@given(rows=st.integers(1, 4), positions=st.integers(1, 4), seed=SEEDS)
def test_cross_entropy_at_every_position_is_the_mean_over_rows_and_positions(rows, positions, seed):
    torch.manual_seed(seed)
    outputs, targets = torch.randn(rows, positions, CLASSES).double(), torch.randint(CLASSES, (rows, positions))
    weights = torch.rand(CLASSES).double()
    for class_weights in (None, weights):
        one_by_one = [cross_entropy(outputs[:, i], targets[:, i], class_weights) for i in range(positions)]
        loss = cross_entropy(outputs, targets, class_weights)
        assert loss.item() == pytest.approx(torch.stack(one_by_one).mean().item(), rel=ROUNDING)


@given(rows=st.integers(1, 9), seed=SEEDS)
def test_weighted_cross_entropy_is_torchs_but_divided_by_the_rows(rows, seed):
    torch.manual_seed(seed)
    outputs, targets = torch.randn(rows, CLASSES).double(), torch.randint(CLASSES, (rows,))
    weights = torch.rand(CLASSES).double() + 0.1
    torchs = functional.cross_entropy(outputs, targets, weights) * weights[targets].sum() / rows
    assert cross_entropy(outputs, targets, weights).item() == pytest.approx(torchs.item(), rel=ROUNDING)


@given(rows=st.integers(1, 9), seed=SEEDS)
def test_bce_with_logits_is_cross_entropy_of_the_logit_against_zero(rows, seed):
    torch.manual_seed(seed)
    logit, targets, weights = torch.randn(rows, 1).double(), torch.randint(2, (rows,)), torch.rand(2).double()
    pair = torch.cat([torch.zeros_like(logit), logit], dim=1)
    for class_weights in (None, weights):
        expected = cross_entropy(pair, targets, class_weights).item()
        assert bce_with_logits(logit, targets, class_weights).item() == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_confident_logits_give_a_finite_loss(sign):
    logits = sign * torch.tensor([[1e4], [-1e4]])
    targets = torch.tensor([1, 0])
    expected = 0.0 if sign > 0 else 1e4
    assert bce_with_logits(logits, targets).item() == expected
    assert cross_entropy(torch.cat([-logits, logits], 1) / 2, targets).item() == expected


@pytest.mark.parametrize("name", [name for name, task in TASK.items() if task == "regression"])
@pytest.mark.parametrize(("outputs", "targets"), [((5, 1), (5,)), ((5,), (5, 1)), ((5, 1), (5, 2)), ((5, 1), (1, 1))])
def test_shapes_that_would_broadcast_are_refused_by_name(name, outputs, targets):
    with pytest.raises(DescendError) as refusal:
        LOSSES[name](torch.zeros(outputs), torch.zeros(targets))
    assert str(outputs) in str(refusal.value)
    assert str(targets) in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "outputs", "targets"),
    [
        ("cross_entropy", (5, 3), (5, 1)),
        ("cross_entropy", (5, 3), (4,)),
        ("cross_entropy", (5, 4, 3), (5, 3)),
        ("bce_with_logits", (5, 1), (5, 1)),
    ],
)
def test_class_numbers_of_another_shape_are_refused_by_name(name, outputs, targets):
    with pytest.raises(DescendError) as refusal:
        LOSSES[name](torch.zeros(outputs), torch.zeros(targets, dtype=torch.int64))
    assert str(outputs) in str(refusal.value)
    assert str(targets) in str(refusal.value)
