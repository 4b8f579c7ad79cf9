"""The engine: random graphs against torch, what accumulates, what is constant, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from descend.backprop import Array, concatenate, operation, softmax_cross_entropy, tanh, unbroadcast

SHAPES = [(3, 4), (4,), (3, 1), (1, 4), (), (2, 3, 4), (2, 1, 1)]
UNARY = {
    "tanh": (tanh, torch.tanh),
    "neg": (lambda x: -x, lambda x: -x),
    "sum": (lambda x: x.sum(-1, keepdims=True) * 0.3, lambda x: x.sum(-1, keepdim=True) * 0.3),
    "mean": (lambda x: x.mean(), lambda x: x.mean()),
    "square": (lambda x: x * x, lambda x: x * x),
    "softplus": (lambda x: softplus(x), lambda x: torch.nn.functional.softplus(x)),
    "constant": (lambda x: x * np.arange(4) + 1, lambda x: x * torch.arange(4, dtype=torch.float64) + 1),
}
BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (b * b + 1),
}
step = st.tuples(st.sampled_from([*UNARY, *BINARY, "matmul"]), st.integers(0, 30), st.integers(0, 30))


@operation
def softplus(x):
    """log(1 + e^x), an operation of a user's own."""
    return np.logaddexp(0, x), lambda g: g / (1 + np.exp(-x))


def build(leaves, steps, unary, matmul):
    """The sum over a graph in which each step uses any two earlier results, so that most are used several times."""
    made = list(leaves)
    for name, i, j in steps:
        a, b = made[i % len(made)], made[j % len(made)]
        if name in UNARY:
            made.append(unary(name)(a))
        elif name in BINARY:
            made.append(BINARY[name](a, b))
        else:
            made.append(matmul(a, b))
    total = made[0].sum()
    for x in made[1:]:
        total = total + tanh_of(x).mean()
    return total


def tanh_of(x):
    return tanh(x) if isinstance(x, Array) else torch.tanh(x)


def gram(a, b):
    """Rows of a times rows of b, whatever the shapes: [..., 4] of both with leading axes broadcast."""
    rows_a, rows_b = a + np.zeros((3, 4)), b + np.zeros((3, 4))
    return tanh(rows_a @ (rows_b.T if rows_b.ndim == 2 else swap(rows_b))).sum(-1, keepdims=True)


def swap(x):
    from descend.backprop.ops import transpose

    return transpose(x, (0, 2, 1))


def torch_gram(a, b):
    rows_a, rows_b = a + torch.zeros(3, 4, dtype=torch.float64), b + torch.zeros(3, 4, dtype=torch.float64)
    return torch.tanh(rows_a @ rows_b.transpose(-1, -2)).sum(-1, keepdim=True)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4), st.lists(step, max_size=9), st.integers(0, 2**16))
def test_random_graphs_with_broadcasting_and_fan_out_have_the_gradients_of_torch(shapes, steps, seed):
    rng = np.random.default_rng(seed)
    arrays = [Array(rng.normal(size=shape)) for shape in shapes]
    tensors = [torch.tensor(array.data, requires_grad=True) for array in arrays]
    ours = build(arrays, steps, lambda name: UNARY[name][0], gram)
    theirs = build(tensors, steps, lambda name: UNARY[name][1], torch_gram)
    ours.backward()
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-10)
    for array, tensor in zip(arrays, tensors, strict=True):
        if tensor.grad is None:
            assert array.grad is None
            continue
        scale = max(1.0, np.abs(tensor.grad.numpy()).max())
        np.testing.assert_allclose(array.grad / scale, tensor.grad.numpy() / scale, rtol=0, atol=1e-10)


def test_a_second_backward_pass_adds_to_the_first_until_zero_grad():
    x = Array([1.0, 2.0])
    y = (x * x).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [4, 8]
    y.zero_grad()
    assert (x.grad, y.grad) == (None, None)
    y.backward()
    assert x.grad.tolist() == [2, 4]


def test_nothing_passes_through_constants():
    x, fixed = Array([1.0, 2.0]), Array([3.0, 4.0], requires_grad=False)
    y = (x * fixed + x.detach() * x + np.array([1, 1])).sum()
    y.backward()
    assert fixed.grad is None
    assert x.grad.tolist() == [4, 6]
    assert not (fixed * fixed + 1).requires_grad
    with pytest.raises(ValueError, match="asks for a gradient"):
        fixed.sum().backward()


def test_no_gradient_and_a_gradient_of_zero_are_different_things():
    x, y = Array([1.0]), Array([1.0])
    (x * 0.0).sum().backward()
    assert x.grad.tolist() == [0]
    assert y.grad is None


def test_gradients_of_different_nodes_share_no_memory():
    x, y = Array([1.0, 2.0]), Array([1.0, 2.0])
    (x + y).sum().backward()
    x.grad *= 10
    assert y.grad.tolist() == [1, 1]


def test_numbers_and_integers_keep_the_precision_of_the_arrays_that_they_meet():
    x = Array(np.ones(3, np.float32))
    y = ((2 * x + 1) / 3 - np.arange(3)) ** 2
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32
    (x * Array(np.ones(3))).sum().backward()  # float64 joins: the result is float64, the gradient fits its array
    assert x.grad.dtype == np.float32


def test_numbers_and_numpy_arrays_may_stand_on_the_left():
    x = Array([[2.0, 4.0]])
    for y in (1 - x, 8 / x, 2**x, np.ones((3, 1)) @ x, np.ones((3, 2)) * x, np.ones(2) + x):
        assert isinstance(y, Array)


def test_data_are_copied():
    data = np.ones(3)
    x = Array(data)
    x.data -= 1
    assert data.tolist() == [1, 1, 1]


def test_unbroadcasting_sums_over_the_axes_that_were_made_or_stretched():
    assert unbroadcast(np.ones((2, 3, 4)), (3, 1)).tolist() == [[8], [8], [8]]
    assert unbroadcast(np.ones((2, 3)), ()) == 6


def test_whole_numbers_are_refused():
    with pytest.raises(TypeError, match=r"int64.*Write 3\.0 instead of 3"):
        Array([1, 2, 3])


def test_a_backward_pass_from_more_than_one_number_needs_a_seed_of_the_right_shape():
    x = Array(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"shape \(2, 3\).*\.sum\(\)"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"\(3,\).*\(2, 3\)"):
        (x * 2).backward(np.ones(3))


def test_shapes_that_do_not_fit_are_both_named():
    x = Array(np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"add of shapes \(3, 4\) and \(3,\): counted from the right"):
        x + np.ones(3)
    with pytest.raises(ValueError, match=r"matmul of shapes \(3, 4\) and \(5, 2\): the inner sizes 4 and 5"):
        x @ np.ones((5, 2))
    with pytest.raises(ValueError, match=r"concatenate of shapes \(3, 4\) and \(3, 3\)"):
        concatenate([x, np.ones((3, 3))])


def test_labels_that_are_none_are_refused():
    logits = Array(np.zeros((2, 3)))
    for labels, why in (([0, 3], "0 to 2"), ([0.0, 1.0], "whole numbers"), ([[0], [1]], "a label for each row")):
        with pytest.raises(ValueError, match=why):
            softmax_cross_entropy(logits, labels)


def test_a_vjp_of_the_wrong_shape_is_found():
    @operation
    def wrong(x):
        return x * 2, lambda g: g[:1]

    with pytest.raises(AssertionError, match="a VJP gave shape"):
        wrong(Array(np.ones(3))).sum().backward()
