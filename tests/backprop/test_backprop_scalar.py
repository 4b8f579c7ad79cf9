"""Scalars: the gradients are torch's, and the trace says in words what the backward pass does."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from descend.backprop import Value

numbers = st.floats(-2, 2).filter(lambda x: abs(x) > 0.1)


def formula(a, b, c):
    """Every operation, each input used more than once."""
    d = (a * b + c).tanh() - a / b
    e = (d**2 + 0.5).log() + (c - 1).exp() * 0.1 + (2 - b).relu()
    return (e * d).sigmoid() + 1 / (e**2 + 1) - (-a) * 3


@given(numbers, numbers, numbers)
def test_the_gradients_of_a_formula_are_those_of_torch(a, b, c):
    values = [Value(x) for x in (a, b, c)]
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (a, b, c)]
    ours, theirs = formula(*values), formula(*tensors)
    ours.backward()
    theirs.backward()
    assert ours.data == pytest.approx(theirs.item(), rel=1e-12)
    # the largest gradient of this formula is of the order 1e4, where b is 0.1: rounding of its parts is left
    assert [v.grad for v in values] == pytest.approx([t.grad.item() for t in tensors], rel=1e-11, abs=1e-11)


def test_a_number_that_is_used_twice_gets_the_sum_and_twice_backward_accumulates():
    x = Value(3.0)
    y = x * x + x
    y.backward()
    assert x.grad == 7
    y.backward()
    assert (x.grad, y.grad, y.parents[0].grad) == (14, 2, 2)  # intermediate gradients do not multiply
    y.zero_grad()
    assert x.grad == 0
    y.backward(seed=10)
    assert x.grad == 70


def test_a_trace_says_what_each_node_received_and_passes_in_the_order_in_which_it_happens():
    a, b = Value(2.0, "a"), Value(3.0, "b")
    loss = ((a * b).named("c") + a).named("L")
    assert [str(message) for message in loss.trace(0.3)] == [
        "L = c + a received 0.3 from above, its local derivative by c is 1, it passes 0.3 to c.",
        "L = c + a received 0.3 from above, its local derivative by a is 1, it passes 0.3 to a.",
        "c = a * b received 0.3 from above, its local derivative by a is 3, it passes 0.9 to a. "
        "a had 0.3 already, the sum is 1.2.",
        "c = a * b received 0.3 from above, its local derivative by b is 2, it passes 0.6 to b.",
    ]
    assert a.grad == 0  # a trace only tells
    loss.backward(0.3)
    assert (a.grad, b.grad) == pytest.approx((1.2, 0.6))


@given(numbers, numbers, numbers)
def test_a_node_speaks_only_when_it_has_heard_from_all_that_use_it(a, b, c):
    loss = formula(*(Value(x) for x in (a, b, c)))
    spoken = set()
    for message in loss.trace():
        spoken.add(message.node)
        assert message.parent not in spoken
        assert message.passes == message.received * message.local


def test_nameless_nodes_are_called_by_their_expression():
    x = Value(0.5, "x")
    y = -(x**2 + 1).log()
    assert y.expression == "-(log(((x**2) + 1)))"
    assert repr(x) == "Value(0.5, 'x', grad=0)"


def test_a_chain_deeper_than_pythons_recursion_has_a_gradient():
    x = y = Value(1.0)
    for _ in range(2000):
        y = y * 1.001
    y.backward()
    assert x.grad == pytest.approx(1.001**2000, rel=1e-12)


def test_what_has_no_derivative_here_is_refused():
    with pytest.raises(TypeError, match="exponent"):
        Value(2.0) ** Value(3.0)
    with pytest.raises(ValueError, match=r"domain|expected a positive"):
        Value(-1.0).log()


def test_sigmoid_of_large_numbers_neither_overflows_nor_is_nan():
    for x in (-1000.0, 1000.0):
        y = Value(x).sigmoid()
        y.backward()
        assert math.isfinite(y.data)
        assert y.parents[0].grad == 0
