"""Column: a hyperparameter of many runs, which an update rule takes like a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


class Column(Tensor):
    """One value a run, [runs, 1] (under vmap, []): in float64 until it meets a tensor of another dtype.

    A rule computes with hyperparameters before it multiplies by them (`1 - beta2**t`), and Python's floats do that in
    64 bits. In 32 bits 1 - 0.999 is off by 1e-5 of itself, and so would be Adam's first steps.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        dtype = next((each.dtype for each in args if type(each) is Tensor), None)
        with torch._C.DisableTorchFunctionSubclass():
            if dtype is not None:
                return func(*(each.to(dtype) if isinstance(each, cls) else each for each in args), **(kwargs or {}))
            result = func(*args, **(kwargs or {}))
            return result.as_subclass(cls) if isinstance(result, Tensor) else result
