"""Backward passes, seen where they begin: `loss.backward()` and `torch.autograd.backward(loss)` are one function.

While something listens, `torch.autograd.backward` is a function that calls the original unchanged; it is the original
again when nobody listens any more. `Tensor.backward` looks it up at every call, so one place serves both.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Listener(Protocol):
    """What is told of every backward pass; it must not raise."""

    def before_backward(self, roots: Sequence[Tensor]) -> None: ...
    def after_backward(self) -> None: ...


_LISTENERS: Final[list[weakref.ref[Any]]] = []
_WITHIN: Final = threading.local()
_ORIGINAL: Callable[..., Any] | None = None


def listen(listener: Listener) -> None:
    """Tell `listener` of every backward pass until `leave`; it is not kept alive for that."""
    global _ORIGINAL
    if _ORIGINAL is None:
        _ORIGINAL = torch.autograd.backward
        torch.autograd.backward = _telling(_ORIGINAL)
    _LISTENERS.append(weakref.ref(listener))


def leave(listener: Listener) -> None:
    """Tell it no more. May be called twice."""
    global _ORIGINAL
    _LISTENERS[:] = [each for each in _LISTENERS if each() is not None and each() is not listener]
    # where somebody else has put a function of theirs around ours, ours stays inside it and only passes on
    if not _LISTENERS and _ORIGINAL is not None and getattr(torch.autograd.backward, "tells", False):
        torch.autograd.backward, _ORIGINAL = _ORIGINAL, None


def _telling(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(_WITHIN, "pass_", False) or torch.compiler.is_compiling():
            return original(tensors, *args, **kwargs)  # checkpointing runs a backward pass inside a backward pass
        told = [listener for each in _LISTENERS if (listener := each()) is not None]
        roots = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
        for listener in told:
            listener.before_backward(roots)
        _WITHIN.pass_ = True
        try:
            return original(tensors, *args, **kwargs)
        finally:
            _WITHIN.pass_ = False
            for listener in told:
                listener.after_backward()

    backward.tells = True  # type: ignore[attr-defined]
    return backward
