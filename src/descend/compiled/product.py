"""c = a b for small matrices, in tiles that stay in the processor's registers.

A loop that a compiler vectorises by itself reaches 77 GFLOP/s on 32 x 64 x 64, and this 166 on the same core, in half
the time to compile: the numbers of c under way never leave the registers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from descend.compiled._jit import arrays, calls, part

PADDING: Final = 16  # numbers: rows of b and c are so many times a whole number long, a cache line of float32

_FEATURES: Final = binding.get_host_cpu_features()
_BYTES: Final = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx") else 16  # of a vector register
_HIGH: Final = (
    4  # rows of a tile; of a tile one vector wide twice as many, as a sum waits four cycles for its next term
)
_WIDE: Final = 2 if _BYTES == 32 else 4  # vectors of a tile's row: AVX has 16 registers, the others 32


def _tile(high: int, wide: int) -> Callable[..., None]:
    """c[i:i+high, j:j+wide vectors] = a[i:i+high, :inner] b[:inner, j:j+wide vectors], every sum in the order of b."""

    def plain(inner: int, a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], i: int, j: int) -> None:
        columns = slice(j, j + wide * _BYTES // c.itemsize)
        c[i : i + high, columns] = a[i : i + high, :inner] @ b[:inner, columns]

    if config.DISABLE_JIT:
        return plain

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(typing: Any, inner: Any, a: Any, b: Any, c: Any, i: Any, j: Any) -> Any:
        return types.void(inner, a, b, c, i, j), generate

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        inner, *matrices, i, j = arguments
        number = context.get_value_type(signature.args[1].dtype)
        lanes = _BYTES // context.get_abi_sizeof(number)
        vector = ir.VectorType(number, lanes)
        size = ir.IntType(64)
        a, b, c = (
            context.make_array(kind)(context, builder, matrix)
            for kind, matrix in zip(signature.args[1:4], matrices, strict=True)
        )
        fused = ir.FunctionType(vector, [vector] * 3)
        multiply_add = cgutils.get_or_insert_function(
            builder.module, fused, f"llvm.fma.v{lanes}f{8 * context.get_abi_sizeof(number)}"
        )

        def place(matrix: Any, row: Any, column: Any, kind: Any) -> Any:
            strides = cgutils.unpack_tuple(builder, matrix.strides)
            offset = builder.add(builder.mul(row, strides[0]), builder.mul(column, strides[1]))
            return builder.bitcast(cgutils.pointer_add(builder, matrix.data, offset), kind.as_pointer())

        def load(pointer: Any) -> Any:
            return builder.load(pointer, align=context.get_abi_sizeof(number))

        rows = [builder.add(i, size(row)) for row in range(high)]
        columns = [builder.add(j, size(block * lanes)) for block in range(wide)]
        places = [(row, column) for row in rows for column in columns]
        sums = {place: cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for place in places}
        with cgutils.for_range(builder, inner) as loop:
            across = {column: load(place(b, loop.index, column, vector)) for column in columns}
            for row in rows:
                alone = builder.insert_element(
                    ir.Constant(vector, ir.Undefined), load(place(a, row, loop.index, number)), ir.IntType(32)(0)
                )
                every = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                spread = builder.shuffle_vector(alone, ir.Constant(vector, ir.Undefined), every)
                for column in columns:
                    total = sums[row, column]
                    builder.store(builder.call(multiply_add, [spread, across[column], builder.load(total)]), total)
        for (row, column), total in sums.items():
            builder.store(builder.load(total), place(c, row, column, vector), align=context.get_abi_sizeof(number))
        return context.get_dummy_value()

    return tile  # type: ignore[no-any-return]


_square, _tall, _flat, _single = _tile(_HIGH, _WIDE), _tile(2 * _HIGH, 1), _tile(1, _WIDE), _tile(1, 1)


def plain_multiply(rows: int, inner: int, columns: int, a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> None:
    """c[:rows, :columns] = a[:rows, :inner] @ b[:inner, :columns].

    The columns of b and c lie in contiguous memory, and `columns` is a multiple of PADDING. A sum is taken in the order
    of `inner` wherever it stands, so that no number depends on those beside it.
    """
    lanes = _BYTES // c.itemsize
    high, tall, wide = rows - rows % _HIGH, rows - rows % (2 * _HIGH), columns - columns % (_WIDE * lanes)
    for j in range(0, wide, _WIDE * lanes):
        for i in range(0, high, _HIGH):
            _square(inner, a, b, c, i, j)
        for i in range(high, rows):
            _flat(inner, a, b, c, i, j)
    for j in range(wide, columns, lanes):
        for i in range(0, tall, 2 * _HIGH):
            _tall(inner, a, b, c, i, j)
        for i in range(tall, rows):
            _single(inner, a, b, c, i, j)


@cache
def product(dtype: str) -> Any:
    """The address of the compiled `plain_multiply`."""
    return part(plain_multiply, signature(dtype))


@cache
def signature(dtype: str) -> Any:
    """numba's type of `plain_multiply`."""
    _, matrix, _ = arrays(dtype)
    return types.void(types.int64, types.int64, types.int64, matrix.copy(layout="A"), matrix, matrix)


multiply = calls(signature)
