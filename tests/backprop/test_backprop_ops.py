"""Each vector-Jacobian product against torch.autograd, for shapes that broadcast and a seed that is not one."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch

from descend.backprop import Array, batch_norm, batch_norm_composed, gelu, mse, ops, softmax_cross_entropy

LABELS = np.array([2, 0, 3])
TWICE = np.array([[0, 2], [2, 2]])
ABOVE = np.array([[True, False, True, False]])


def axes(name, torch_name=None, **keywords):
    """Rows of CASES for a reduction, over one axis, two, all, with and without keeping them."""
    for axis in (0, -1, (0, 2), None):
        for keepdims in (False, True):
            dim = tuple(range(3)) if axis is None else axis
            yield pytest.param(
                lambda x, a=axis, k=keepdims: getattr(ops, name)(x, a, keepdims=k),
                lambda x, d=dim, k=keepdims: getattr(torch, torch_name or name)(x, dim=d, keepdim=k),
                [(3, 2, 4)],
                id=f"{name}-{axis}-{keepdims}",
            )


def plain(name, *shapes, ours=None, theirs=None):
    return pytest.param(ours or getattr(ops, name), theirs or getattr(torch, name), list(shapes), id=f"{name}{shapes}")


def torch_batch_norm(x, gain, shift):
    return torch.nn.functional.batch_norm(x, None, None, gain, shift, training=True, eps=1e-5)


CASES = [
    *(plain(name, *shapes) for name in ("add", "sub", "mul", "div", "maximum", "minimum")
      for shapes in [((3, 4), (3, 4)), ((3, 1), (4,)), ((2, 1, 4), (3, 1)), ((), (2, 3))]),
    *(plain("power", *shapes, theirs=torch.pow) for shapes in [((3, 4), (3, 4)), ((3, 1), (4,))]),
    *(plain(name, (3, 4)) for name in ("neg", "exp", "log", "sqrt", "square", "absolute", "tanh", "sigmoid", "relu")),
    plain("gelu", (3, 4), ours=gelu, theirs=lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
    plain("where", (3, 4), (4,), ours=lambda a, b: ops.where(ABOVE, a, b),
          theirs=lambda a, b: torch.where(torch.tensor(ABOVE), a, b)),
    *(plain("matmul", *shapes) for shapes in [
        ((3, 4), (4, 2)), ((5, 3, 4), (4, 2)), ((5, 3, 4), (5, 4, 2)), ((2, 1, 3, 4), (5, 4, 2)),
        ((4,), (4,)), ((4,), (4, 2)), ((3, 4), (4,)), ((4,), (5, 4, 2)), ((5, 3, 4), (4,))]),
    plain("transpose", (3, 4), ours=ops.transpose, theirs=lambda x: x.T),
    plain("transpose", (3, 2, 4), ours=lambda x: ops.transpose(x, (1, -1, 0)), theirs=lambda x: x.permute(1, 2, 0)),
    plain("reshape", (3, 4), ours=lambda x: x.reshape(2, -1), theirs=lambda x: x.reshape(2, -1)),
    plain("broadcast_to", (3, 1), ours=lambda x: ops.broadcast_to(x, (2, 3, 4)), theirs=lambda x: x.expand(2, 3, 4)),
    plain("slice", (3, 4), ours=lambda x: x[1:, ::2], theirs=lambda x: x[1:, ::2]),
    plain("pick", (3, 4), ours=lambda x: x[TWICE, 1], theirs=lambda x: x[torch.tensor(TWICE), 1]),
    plain("mask", (3, 4), ours=lambda x: x[x.data > 1], theirs=lambda x: x[x > 1]),
    plain("take", (3, 4), ours=lambda x: ops.take(x, TWICE, 1), theirs=lambda x: x[:, torch.tensor(TWICE)]),
    plain("concatenate", (3, 4), (1, 4), (2, 4), ours=lambda *x: ops.concatenate(x), theirs=lambda *x: torch.cat(x)),
    plain("concatenate", (3, 4), (3, 1), ours=lambda *x: ops.concatenate(x, -1), theirs=lambda *x: torch.cat(x, -1)),
    plain("stack", (3, 4), (3, 4), ours=lambda *x: ops.stack(x, 1), theirs=lambda *x: torch.stack(x, 1)),
    *axes("sum"), *axes("mean"), *axes("logsumexp"), *axes("max", "amax"), *axes("min", "amin"),
    plain("softmax", (3, 4), theirs=lambda x: torch.softmax(x, -1)),
    plain("log_softmax", (3, 4), theirs=lambda x: torch.log_softmax(x, -1)),
    plain("softmax_cross_entropy", (3, 4), ours=lambda z: softmax_cross_entropy(z, LABELS),
          theirs=lambda z: torch.nn.functional.cross_entropy(z, torch.tensor(LABELS))),
    plain("mse", (3, 4), (3, 4), ours=mse, theirs=torch.nn.functional.mse_loss),
    plain("batch_norm", (5, 3), (3,), (3,), ours=batch_norm, theirs=torch_batch_norm),
    plain("batch_norm_composed", (5, 3), (3,), (3,), ours=batch_norm_composed, theirs=torch_batch_norm),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs", "shapes"), CASES)
def test_the_result_and_what_passes_back_are_those_of_torch(ours, theirs, shapes, request):
    rng = np.random.default_rng(zlib.crc32(request.node.name.encode()))
    data = [rng.uniform(0.3, 2, shape) for shape in shapes]
    arrays = [Array(x) for x in data]
    tensors = [torch.tensor(x, requires_grad=True) for x in data]
    result, expected = ours(*arrays), theirs(*tensors)
    seed = rng.normal(size=result.shape)
    result.backward(seed)
    expected.backward(torch.tensor(seed))
    np.testing.assert_allclose(result.data, expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    for array, tensor in zip(arrays, tensors, strict=True):
        assert array.grad.shape == array.shape
        np.testing.assert_allclose(array.grad, tensor.grad.numpy(), rtol=1e-11, atol=1e-12)


def test_every_operation_is_among_the_cases():
    source = {case.id.split("(")[0].split("-")[0] for case in CASES} | {"getitem"}  # slice, pick and mask
    public = {name for name, value in vars(ops).items() if getattr(value, "__module__", "") == ops.__name__}
    assert {name for name in public if name[0] != "_"} <= source


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_equal_numbers_share_the_gradient_as_in_torch(name):
    a, b = Array([1.0, 2.0]), Array([1.0, 1.0])
    getattr(ops, name)(a, b).sum().backward()
    s, t = (torch.tensor(x.data, requires_grad=True) for x in (a, b))
    getattr(torch, name)(s, t).sum().backward()
    np.testing.assert_array_equal(a.grad, s.grad.numpy())
    np.testing.assert_array_equal(b.grad, t.grad.numpy())


def test_at_its_corner_relu_passes_nothing_and_a_power_of_zero_is_no_nan():
    x = Array([0.0, 0.0])
    ops.relu(x).sum().backward()
    assert x.grad.tolist() == [0, 0]
    y = Array([0.0, 3.0])
    (y**0).sum().backward()
    assert y.grad.tolist() == [0, 0]


def test_large_numbers_do_not_overflow():
    x = Array([[-1e4, 0.0, 1e4]])
    total = ops.sigmoid(x).sum() + ops.logsumexp(x) + softmax_cross_entropy(x, [0]) + ops.softmax(x).sum()
    total.backward()
    assert np.isfinite(total.data)
    assert np.isfinite(x.grad).all()
