"""How the functions of this package are compiled, how they call each other, and what numba calls their types."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from inspect import unwrap  # tests wrap functions to check their arguments, which cannot be compiled
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numba import config, njit, types
from numba.core import cgutils
from numba.core.compiler import Compiler
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

# Of fast-math only the fused multiply-add: sums keep their order, and a NaN is still found where one appears.
_OPTIONS: Final = {"nogil": True, "error_model": "numpy", "boundscheck": False, "fastmath": {"contract"}}
_WITHOUT_WRAPPERS: Final = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class _Apart(Compiler):  # type: ignore[misc]
    """Compiles a function whose array arguments never overlap, so that its loops become vector instructions."""

    def define_pipelines(self) -> list[Any]:
        self.state.flags.noalias = True
        pipelines: list[Any] = super().define_pipelines()
        return pipelines


def inner(function: Function) -> Function:
    """Compile a function that only compiled functions call, as a part of them."""
    compiled: Function = njit(**_OPTIONS, **_WITHOUT_WRAPPERS)(unwrap(function))
    return compiled


def inlined(function: Function) -> Function:
    """Like `inner`, for what is to be compiled anew for every call, with what is known there."""
    compiled: Function = njit(**_OPTIONS, **_WITHOUT_WRAPPERS, forceinline=True)(unwrap(function))
    return compiled


def reordered(function: Function) -> Function:
    """Like `inner`, for sums that may be taken in any order."""
    options = _OPTIONS | {"fastmath": {"contract", "reassoc"}}
    compiled: Function = njit(**options, **_WITHOUT_WRAPPERS)(unwrap(function))
    return compiled


def entry(function: Callable[..., Any], signature: Any) -> Callable[..., Any]:
    """Compile a function that Python calls, or take it from the cache on disk; the function itself where
    NUMBA_DISABLE_JIT is set."""
    if config.DISABLE_JIT:
        return function
    compiled: Callable[..., Any] = _kept_on_disk(function, signature, no_cfunc_wrapper=True)
    return compiled


def part(function: Callable[..., Any], signature: Any) -> Any:
    """Compile a function whose arrays never overlap, and return its address: see `calls`.

    A part is compiled once, however many entries use it, and an entry once, whatever parts it is given: the
    combinations of optimizers, losses and activations cost nothing.
    """
    if config.DISABLE_JIT:
        return function
    compiled = _kept_on_disk(function, signature, pipeline_class=_Apart, **_WITHOUT_WRAPPERS)
    result = compiled.get_compile_result(signature)
    _kept.append(compiled)  # the machine code lives as long as its dispatcher
    return result.library.get_pointer_to_function(result.fndesc.llvm_func_name)


_kept: Final[list[Any]] = []


def _kept_on_disk(function: Callable[..., Any], signature: Any, **options: Any) -> Any:
    compiled = njit(**_OPTIONS, **options)(unwrap(function))
    compiled.enable_caching()
    # numba would look at the date of one file only, but what is compiled comes from several
    compiled._cache._cache_file._source_stamp = sources()
    compiled.compile(signature)
    return compiled


@cache
def sources() -> str:
    """SHA-256 of every file of this package: what is on disk is compiled anew when one has changed."""
    return sha256(b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()


def calls(signature: Callable[[str], Any]) -> Callable[..., None]:
    """What calls a `part` in compiled code: `call(address, *arguments)`. The last argument has the type of numbers that
    the part was compiled for; in plain Python the address is the function itself."""
    if config.DISABLE_JIT:
        return lambda function, *arguments: function(*arguments)

    @intrinsic  # type: ignore[untyped-decorator]
    def call(typing: Any, address: Any, *arguments: Any) -> Any:
        part = signature(str(arguments[-1].dtype))

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kind = context.call_conv.get_function_type(part.return_type, part.args)
            function = builder.inttoptr(values[0], kind.as_pointer())
            context.call_conv.call_function(
                builder, function, part.return_type, part.args, cgutils.unpack_tuple(builder, values[1])
            )
            return context.get_dummy_value()

        return types.void(types.int64, types.StarArgTuple.from_types(part.args)), generate

    call_compiled: Callable[..., None] = call
    return call_compiled


@cache
def arrays(dtype: str) -> tuple[Any, Any, Any]:
    """numba's types of contiguous arrays of 1, 2 and 3 dimensions."""
    scalar = types.boolean if dtype == "bool" else getattr(types, np.dtype(dtype).name)
    return tuple(types.Array(scalar, dimensions, "C") for dimensions in (1, 2, 3))


def table(*parts: Any) -> Any:
    """The addresses of parts, as an entry takes them."""
    return parts if config.DISABLE_JIT else np.array(parts, dtype=np.int64)
