"""Operations, each beside its vector-Jacobian product: the result, then for each input what passes back to it.

`g` is the gradient of the loss by the result and has the result's shape. Nothing here knows of broadcasting, which
`operation` undoes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from descend.backprop.array import Array, Axis, Floats, Made, Operand, Vjp, operation

# --- two arrays, number by number


@operation
def add(a: Floats, b: Floats) -> Made:
    """a + b: passes on what it receives."""
    return a + b, lambda g: g, lambda g: g


@operation
def sub(a: Floats, b: Floats) -> Made:
    """a - b"""
    return a - b, lambda g: g, lambda g: -g


@operation
def mul(a: Floats, b: Floats) -> Made:
    """a * b: each gets the other."""
    return a * b, lambda g: g * b, lambda g: g * a


@operation
def div(a: Floats, b: Floats) -> Made:
    """a / b"""
    return a / b, lambda g: g / b, lambda g: -g * a / b**2


@operation
def power(a: Floats, b: Floats) -> Made:
    """a ** b; a gradient by the exponent needs a > 0."""
    out = a**b
    return out, lambda g: g * np.where(b == 0, 0, b * a ** np.where(b == 0, 1, b - 1)), lambda g: g * out * np.log(a)


@operation
def maximum(a: Floats, b: Floats) -> Made:
    """The larger of the two, which gets the gradient; equal ones get half each."""
    of_a = (a > b) + (a == b) / 2
    return np.maximum(a, b), lambda g: g * of_a, lambda g: g * (1 - of_a)


@operation
def minimum(a: Floats, b: Floats) -> Made:
    """The smaller of the two, which gets the gradient; equal ones get half each."""
    of_a = (a < b) + (a == b) / 2
    return np.minimum(a, b), lambda g: g * of_a, lambda g: g * (1 - of_a)


def where(condition: Any, a: Operand, b: Operand) -> Array:
    """`a` where the condition holds and `b` elsewhere; the one that was not taken gets zero."""
    return _where(a, b, condition=np.asarray(condition, bool))


@operation
def _where(a: Floats, b: Floats, *, condition: Any) -> Made:
    return np.where(condition, a, b), lambda g: g * condition, lambda g: g * ~condition


# --- one array, number by number


@operation
def neg(x: Floats) -> Made:
    """-x"""
    return -x, lambda g: -g


@operation
def exp(x: Floats) -> Made:
    """e to the power of x."""
    out = np.exp(x)
    return out, lambda g: g * out


@operation
def log(x: Floats) -> Made:
    """The natural logarithm."""
    return np.log(x), lambda g: g / x


@operation
def sqrt(x: Floats) -> Made:
    """The square root; its slope at 0 is infinite."""
    out = np.sqrt(x)
    return out, lambda g: g / (2 * out)


@operation
def square(x: Floats) -> Made:
    """x * x"""
    return x * x, lambda g: g * 2 * x


@operation
def absolute(x: Floats) -> Made:
    """|x|; at 0 the gradient is 0."""
    return np.abs(x), lambda g: g * np.sign(x)


@operation
def tanh(x: Floats) -> Made:
    """The hyperbolic tangent."""
    out = np.tanh(x)
    return out, lambda g: g * (1 - out**2)


@operation
def sigmoid(x: Floats) -> Made:
    """1 / (1 + e^-x)"""
    out = np.exp(-np.logaddexp(0, -x))  # the same function, and it cannot overflow
    return out, lambda g: g * out * (1 - out)


@operation
def relu(x: Floats) -> Made:
    """The larger of x and 0; at 0 the gradient is 0, as PyTorch says."""
    return np.maximum(x, 0), lambda g: g * (x > 0)


def gelu(x: Operand) -> Array:
    """x times about the normal distribution function of x (Hendrycks & Gimpel 2016, with their tanh)."""
    return mul(x, 0.5) * (tanh((x + 0.044715 * power(x, 3)) * np.sqrt(2 / np.pi).item()) + 1)


# --- matrices


@operation
def matmul(a: Floats, b: Floats) -> Made:
    """a @ b for matrices [..., m, n] and [..., n, k], or a vector on either side.

    For matrices C = A B: dL/dA = G B' and dL/dB = A' G, the only products whose shapes fit.
    """
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("a matrix product needs at least one axis on either side; for a number use *.")
    inner = a.shape[-1], b.shape[-2 if b.ndim > 1 else 0]
    if inner[0] != inner[1]:
        raise ValueError(f"the inner sizes {inner[0]} and {inner[1]} must be equal.")
    rows, columns = np.atleast_2d(a), b if b.ndim > 1 else b[:, None]
    to_a: Vjp = lambda g: _matrix(g, a, b) @ np.swapaxes(columns, -1, -2)  # noqa: E731
    to_b: Vjp = lambda g: np.swapaxes(rows, -1, -2) @ _matrix(g, a, b)  # noqa: E731
    return a @ b, to_a, to_b if b.ndim > 1 else lambda g: to_b(g)[..., 0]


def _matrix(g: Floats, a: Floats, b: Floats) -> Floats:
    """The gradient of a @ b, with the axis that a product with a vector has lost."""
    g = g if b.ndim > 1 else g[..., None]
    return g if a.ndim > 1 else g[..., None, :]


# --- other shapes: the gradient goes back the way that the numbers came


def transpose(x: Operand, axes: Sequence[int] | None = None) -> Array:
    """The axes in another order, by default the reverse."""
    return _transpose(x, axes=axes)


@operation
def _transpose(x: Floats, *, axes: Sequence[int] | None) -> Made:
    back = None if axes is None else np.argsort([axis % x.ndim for axis in axes])
    return np.transpose(x, axes), lambda g: np.transpose(g, back)


def reshape(x: Operand, shape: int | tuple[int, ...]) -> Array:
    """The same numbers in another shape; one size may be -1."""
    return _reshape(x, shape=shape)


@operation
def _reshape(x: Floats, *, shape: int | tuple[int, ...]) -> Made:
    return np.reshape(x, shape), lambda g: np.reshape(g, x.shape)


def broadcast_to(x: Operand, shape: tuple[int, ...]) -> Array:
    """Copied along new or stretched axes; the gradient is the sum over the copies."""
    return _broadcast_to(x, shape=shape)


@operation
def _broadcast_to(x: Floats, *, shape: tuple[int, ...]) -> Made:
    return np.broadcast_to(x, shape), lambda g: g


def getitem(x: Operand, index: Any) -> Array:
    """x[index] with anything that NumPy takes: what was not picked gets zero, what was picked twice the sum."""
    return _getitem(x, index=index)


@operation
def _getitem(x: Floats, *, index: Any) -> Made:
    return x[index], lambda g: _scattered(g, x, index)


def _scattered(g: Floats, x: Floats, index: Any) -> Floats:
    passes = np.zeros_like(x)
    np.add.at(passes, index, g)
    return passes


def take(x: Operand, indices: Any, axis: int = 0) -> Array:
    """The entries at `indices` along one axis: rows of an embedding, for instance."""
    ndim = x.ndim if isinstance(x, Array) else np.ndim(x)
    return getitem(x, (slice(None),) * (axis % ndim) + (np.asarray(indices),))


def concatenate(arrays: Sequence[Operand], axis: int = 0) -> Array:
    """One behind the other along an axis: each gets its own piece of the gradient."""
    return _concatenate(*arrays, axis=axis)


@operation
def _concatenate(*arrays: Floats, axis: int) -> Made:
    ends = np.cumsum([array.shape[axis] for array in arrays])[:-1]
    pieces = [lambda g, i=i: np.split(g, ends, axis)[i] for i in range(len(arrays))]
    return np.concatenate(arrays, axis), *pieces


def stack(arrays: Sequence[Operand], axis: int = 0) -> Array:
    """Arrays of one shape along a new axis."""
    return _stack(*arrays, axis=axis)


@operation
def _stack(*arrays: Floats, axis: int) -> Made:
    pieces = [lambda g, i=i: np.take(g, i, axis) for i in range(len(arrays))]
    return np.stack(arrays, axis), *pieces


# --- over axes: one number out of many, so the gradient is spread over the many


def sum(x: Operand, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The sum over one axis, several, or all: every number gets the same gradient."""
    return _sum(x, axis=axis, keepdims=keepdims)


@operation
def _sum(x: Floats, *, axis: Axis, keepdims: bool) -> Made:
    return np.sum(x, axis, keepdims=keepdims), lambda g: _spread(g, x, axis, keepdims)


def mean(x: Operand, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The mean over one axis, several, or all."""
    return _mean(x, axis=axis, keepdims=keepdims)


@operation
def _mean(x: Floats, *, axis: Axis, keepdims: bool) -> Made:
    out = np.mean(x, axis, keepdims=keepdims)
    return out, lambda g: _spread(g, x, axis, keepdims) * (np.size(out) / x.size)


def max(x: Operand, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The largest over one axis, several, or all: it gets the gradient; equal ones share it."""
    return _max(x, axis=axis, keepdims=keepdims)


@operation
def _max(x: Floats, *, axis: Axis, keepdims: bool) -> Made:
    out = np.max(x, axis, keepdims=True)
    winners = x == out
    share = winners / winners.sum(axis, keepdims=True)
    result = out if keepdims else np.squeeze(out, axis)
    return result, lambda g: _spread(g, x, axis, keepdims) * share


def min(x: Operand, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The smallest over one axis, several, or all: it gets the gradient; equal ones share it."""
    return neg(max(neg(x), axis, keepdims=keepdims))


def logsumexp(x: Operand, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """log(sum(exp(x))), a smooth maximum; computed so that it cannot overflow. Its gradient is the softmax."""
    return _logsumexp(x, axis=axis, keepdims=keepdims)


@operation
def _logsumexp(x: Floats, *, axis: Axis, keepdims: bool) -> Made:
    top = np.max(x, axis, keepdims=True)
    out = top + np.log(np.sum(np.exp(x - top), axis, keepdims=True))
    result = out if keepdims else np.squeeze(out, axis)
    return result, lambda g: _spread(g, x, axis, keepdims) * np.exp(x - out)


def softmax(x: Operand, axis: int = -1) -> Array:
    """Positive numbers that sum to one along the axis."""
    return _softmax(x, axis=axis)


@operation
def _softmax(x: Floats, *, axis: int) -> Made:
    out = np.exp(x - np.max(x, axis, keepdims=True))
    out = out / np.sum(out, axis, keepdims=True)
    return out, lambda g: out * (g - np.sum(g * out, axis, keepdims=True))


def log_softmax(x: Operand, axis: int = -1) -> Array:
    """The logarithm of softmax, exact where softmax itself would round to 0."""
    return sub(x, logsumexp(x, axis, keepdims=True))


def _spread(g: Floats, x: Floats, axis: Axis, keepdims: bool) -> Floats:
    """`g` in the shape of `x`: the axis that was summed away is put back and filled with copies."""
    if axis is not None and not keepdims:
        g = np.expand_dims(g, axis)
    return np.broadcast_to(g, x.shape)
