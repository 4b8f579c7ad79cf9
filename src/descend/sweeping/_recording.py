"""Recording: a function of tensors becomes the list of operations that it comes to, which is played back.

`vmap`, autograd and modules decide anew at every step what to do; for small networks that takes longer than to do
it. For 16 dense networks of 64-64 units the list takes two thirds of the time of what it was recorded from. It holds
the same operations in the same order, so it gives the same bits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_records: Final[WeakKeyDictionary[nn.Module, dict[Hashable, Callable[..., Any]]]] = WeakKeyDictionary()
_recording: Final = threading.Lock()


def recorded(
    function: Callable[..., Any], owner: nn.Module, key: Hashable, *tensors: Tensor | dict[str, Tensor]
) -> Any:
    """`function(*tensors)`, from its record; it is recorded where `owner` has no record of it under `key` yet.

    Under one key the function must do the same to tensors of the same shapes and dtypes.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # takes a second

    with _recording:
        records = _records.setdefault(owner, {})
        if key not in records:
            records[key] = make_fx(function)(*tensors)
    with torch.no_grad():
        return records[key](*tensors)
