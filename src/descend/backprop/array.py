"""Arrays that remember how they were made: the same engine as for scalars, a whole array at a time.

    W = Array(np.ones((3, 2)), "W")
    loss = (x @ W.T).sum()
    loss.backward()
    W.grad  # an array like W.data

The local derivative of an array by an array is a Jacobian: rows for every output, columns for every input. It is never
formed. Each operation knows how to multiply a gradient from the left by it, its vector-Jacobian product (VJP), and
that is all a backward pass needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descend.backprop.order import topological

Floats: TypeAlias = NDArray[np.floating[Any]]
Vjp: TypeAlias = Callable[[Floats], Any]
Made: TypeAlias = tuple[Any, ...]
"""What an operation returns: its result, and one VJP for each positional argument."""


class Array:
    """Floating-point numbers in a computation graph: `data`, and after a backward pass `grad` of the same shape.

    An Array that you make asks for a gradient unless `requires_grad=False`; numbers and NumPy arrays that meet it in an
    operation are constants. `grad` is None until a backward pass has reached the array: a gradient that is exactly zero
    is another thing. The data are copied. Change `data` only between a backward pass and the next forward pass.
    """

    __array_ufunc__ = None  # so that `ndarray * Array` is left to Array

    def __init__(self, data: ArrayLike, name: str = "", *, requires_grad: bool = True) -> None:
        self.data: Floats = np.array(data)
        if not np.issubdtype(self.data.dtype, np.floating):
            raise TypeError(
                f"An Array holds floating-point numbers, and this is {self.data.dtype}: nothing but real numbers has a "
                "derivative. Write 3.0 instead of 3, or convert: Array(data.astype(float))."
            )
        self.name = name
        self.requires_grad = requires_grad
        self.grad: Floats | None = None
        self.op = ""
        self.parents: tuple[Array, ...] = ()
        self.vjps: tuple[Vjp, ...] = ()

    @classmethod
    def of(cls, data: ArrayLike, op: str = "", parents: tuple[Array, ...] = (), vjps: tuple[Vjp, ...] = ()) -> Array:
        """The result of an operation, not copied. What is made of constants alone is a constant, without parents."""
        array = cls.__new__(cls)
        array.data, array.name, array.grad, array.op = np.asarray(data), "", None, op
        array.requires_grad = any(parent.requires_grad for parent in parents)
        array.parents, array.vjps = (parents, vjps) if array.requires_grad else ((), ())
        return array

    def backward(self, seed: ArrayLike | None = None) -> None:
        """Add to the `grad` of every array behind this one the derivative of this one by it.

        `seed` is the gradient that this array itself receives, by default 1; an array of more than one number needs it.
        Add, not set: a second call accumulates, as in PyTorch, until `zero_grad`.
        """
        if not self.requires_grad:
            raise ValueError("Nothing behind this array asks for a gradient: it was made of constants alone.")
        received: dict[Array, Floats] = {self: self._seed(seed)}
        for node in reversed(topological(self)):
            if not node.requires_grad:
                continue
            g = received.pop(node)
            node.grad = g.copy() if node.grad is None else np.asarray(node.grad + g)
            for parent, vjp in zip(node.parents, node.vjps, strict=True):
                if parent.requires_grad:
                    passes = unbroadcast(np.asarray(vjp(g), parent.dtype), parent.shape)
                    before = received.get(parent)
                    received[parent] = passes if before is None else np.asarray(before + passes)  # fan-out: sum

    def zero_grad(self) -> None:
        """Forget the gradient of this array and of all that it was made of."""
        for node in topological(self):
            node.grad = None

    def detach(self) -> Array:
        """The same data as a constant: no gradient passes through it."""
        return Array.of(self.data)

    def named(self, name: str) -> Array:
        """This array, called `name` from now on."""
        self.name = name
        return self

    def item(self) -> float:
        """The number of an array that holds one."""
        return float(self.data.item())

    shape = property(lambda self: self.data.shape, doc="Sizes of the axes.")
    dtype = property(lambda self: self.data.dtype, doc="Type of the numbers, such as float64.")
    ndim = property(lambda self: self.data.ndim, doc="Number of axes.")
    size = property(lambda self: self.data.size, doc="Number of numbers.")

    def __add__(self, other: Operand) -> Array:
        return ops.add(self, other)

    def __sub__(self, other: Operand) -> Array:
        return ops.sub(self, other)

    def __mul__(self, other: Operand) -> Array:
        return ops.mul(self, other)

    def __truediv__(self, other: Operand) -> Array:
        return ops.div(self, other)

    def __pow__(self, other: Operand) -> Array:
        return ops.power(self, other)

    def __matmul__(self, other: Operand) -> Array:
        return ops.matmul(self, other)

    def __neg__(self) -> Array:
        return ops.neg(self)

    def __radd__(self, other: Operand) -> Array:
        return ops.add(other, self)

    def __rsub__(self, other: Operand) -> Array:
        return ops.sub(other, self)

    def __rmul__(self, other: Operand) -> Array:
        return ops.mul(other, self)

    def __rtruediv__(self, other: Operand) -> Array:
        return ops.div(other, self)

    def __rpow__(self, other: Operand) -> Array:
        return ops.power(other, self)

    def __rmatmul__(self, other: Operand) -> Array:
        return ops.matmul(other, self)

    def __getitem__(self, index: Any) -> Array:
        return ops.getitem(self, index=index)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def T(self) -> Array:  # noqa: N802  # as NumPy calls it
        """The axes in reverse order."""
        return ops.transpose(self)

    def reshape(self, *shape: int) -> Array:
        """The same numbers in another shape; one size may be -1."""
        return ops.reshape(self, shape=shape)

    def sum(self, axis: Axis = None, *, keepdims: bool = False) -> Array:
        """The sum over one axis, several, or all."""
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, *, keepdims: bool = False) -> Array:
        """The mean over one axis, several, or all."""
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Axis = None, *, keepdims: bool = False) -> Array:
        """The largest over one axis, several, or all."""
        return ops.max(self, axis=axis, keepdims=keepdims)

    def __repr__(self) -> str:
        name = f", {self.name!r}" if self.name else ""
        return f"Array({np.array2string(self.data, precision=4, threshold=12)}{name})"

    def _seed(self, seed: ArrayLike | None) -> Floats:
        if seed is None:
            if self.size != 1:
                raise ValueError(
                    f"A backward pass starts from one number, and this array has shape {self.shape}. Take .sum() or "
                    ".mean() of it first, or give the gradient that it receives, of the same shape: backward(seed)."
                )
            seed = np.ones(self.shape)
        given = np.asarray(seed, self.dtype)
        if given.shape != self.shape:
            raise ValueError(f"The seed has shape {given.shape} and the array {self.shape}: they must be the same.")
        return given


Operand: TypeAlias = "Array | ArrayLike"
Axis: TypeAlias = "int | tuple[int, ...] | None"


def unbroadcast(g: Floats, shape: tuple[int, ...]) -> Floats:
    """`g` summed over the axes that broadcasting from `shape` has made or stretched: the VJP of broadcasting.

    A number that was copied to many places gets the sum of what comes back from them, as for any fan-out.
    """
    g = np.asarray(g.sum(axis=tuple(range(g.ndim - len(shape)))))  # axes that were added on the left
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 and g.shape[axis] != 1)
    g = np.asarray(g.sum(axis=stretched, keepdims=True))
    assert g.shape == shape, f"a VJP gave shape {g.shape} for an input of shape {shape}"
    return g


def operation(function: Callable[..., Made]) -> Callable[..., Array]:
    """Make an operation on Arrays of a function on NumPy arrays that returns its result and the VJPs.

        @operation
        def mul(a, b):
            return a * b, lambda g: g * b, lambda g: g * a

    Positional arguments are differentiable and have one VJP each, in their order; keywords are settings. A VJP may
    ignore broadcasting: what it returns is summed to the shape of its argument.
    """

    @functools.wraps(function)
    def on_arrays(*inputs: Operand, **settings: Any) -> Array:
        arrays = _arrays(inputs)
        try:
            data, *vjps = function(*(array.data for array in arrays), **settings)
        except ValueError as error:
            shapes = " and ".join(str(array.shape) for array in arrays)
            why = "counted from the right, sizes must be equal or 1." if "broadcast" in str(error) else str(error)
            raise ValueError(f"{function.__name__} of shapes {shapes}: {why}") from None
        assert len(vjps) == len(arrays), f"{function.__name__} has {len(arrays)} inputs and {len(vjps)} VJPs"
        return Array.of(data, function.__name__.lstrip("_"), arrays, tuple(vjps))

    return on_arrays


def _arrays(inputs: tuple[Operand, ...]) -> tuple[Array, ...]:
    """All inputs as Arrays: those that are none become constants, numbers and integers in the precision of the rest."""
    known = [array.dtype for array in inputs if isinstance(array, Array)]
    dtype = np.result_type(*known) if known else np.dtype(float)
    return tuple(array if isinstance(array, Array) else Array.of(_floats(array, dtype)) for array in inputs)


def _floats(data: ArrayLike, dtype: np.dtype[Any]) -> Floats:
    array = np.asarray(data)
    is_float_array = isinstance(data, np.ndarray) and np.issubdtype(array.dtype, np.floating)
    return array if is_float_array else array.astype(dtype)


from descend.backprop import ops  # noqa: E402  # the operators above are operations, and operations are made of Arrays
