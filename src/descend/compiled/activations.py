"""Activations, each a value beside its local derivative: z becomes a = f(z), and `slope` f'(z)."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Final

from numba import types
from numpy.typing import NDArray

from descend.compiled import elementary
from descend.compiled._jit import arrays, calls, part

Numbers = NDArray[Any]


def relu(z: Numbers, slope: Numbers) -> None:
    for i in range(len(z)):
        slope[i] = z[i] > 0
        z[i] = z[i] if z[i] > 0 or z[i] != z[i] else 0  # a NaN goes through, as in torch


def leaky_relu(z: Numbers, slope: Numbers) -> None:
    small = z.dtype.type(0.01)
    for i in range(len(z)):
        slope[i] = 1 if z[i] > 0 else small
        z[i] *= slope[i]


def elu(z: Numbers, slope: Numbers) -> None:
    for i in range(len(z)):
        below = elementary.exp(min(z[i], z[i] * 0))
        slope[i] = 1 if z[i] > 0 else below
        z[i] = z[i] if z[i] > 0 else below - 1


def gelu(z: Numbers, slope: Numbers) -> None:
    number = z.dtype.type
    half, root, density = number(0.5), number(math.sqrt(0.5)), number(1 / math.sqrt(2 * math.pi))
    for i in range(len(z)):
        share = half + half * math.erf(z[i] * root)
        slope[i] = share + z[i] * density * elementary.exp(-half * z[i] * z[i])
        z[i] *= share


def silu(z: Numbers, slope: Numbers) -> None:
    one = z.dtype.type(1)
    for i in range(len(z)):
        share = one / (one + elementary.exp(-z[i]))
        slope[i] = share * (one + z[i] * (one - share))
        z[i] *= share


def tanh(z: Numbers, slope: Numbers) -> None:
    for i in range(len(z)):
        z[i] = elementary.tanh(z[i])
        slope[i] = 1 - z[i] * z[i]


def sigmoid(z: Numbers, slope: Numbers) -> None:
    one = z.dtype.type(1)
    for i in range(len(z)):
        z[i] = one / (one + elementary.exp(-z[i]))
        slope[i] = z[i] * (one - z[i])


def identity(z: Numbers, slope: Numbers) -> None:
    slope[:] = 1


ACTIVATIONS: Final = {
    function.__name__: function for function in (relu, leaky_relu, elu, gelu, silu, tanh, sigmoid, identity)
}


@cache
def activation(name: str, dtype: str) -> Any:
    """The address of the compiled activation."""
    return part(ACTIVATIONS[name], signature(dtype))


@cache
def signature(dtype: str) -> Any:
    """numba's type of an activation."""
    row, *_ = arrays(dtype)
    return types.void(row, row)


activate = calls(signature)
