"""FlatParameters: many parameters laid end to end in one buffer, so that an element-wise rule is called once."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from descend.optim._errors import OptimizerError, dense
from descend.optim._rule import State, UpdateRule

# Numbers that a rule is given at once on a CPU: Adam's arrays of 128 KiB then stay in the second-level cache.
CHUNK = 32768
ALIGNMENT = 16  # numbers: each float32 parameter starts on a cache line, as where torch itself allocates


class FlatParameters:
    """Parameters of one dtype and device as views of one buffer, `values`, and their gradients of another, `grads`.

    The gaps that keep parameters aligned hold zeros. All parameters step together: one that backward did not
    reach has a gradient of zero.
    """

    def __init__(self, params: Sequence[Tensor], rule: UpdateRule) -> None:
        self._rule = rule
        self._params = params
        self._starts, size = [], 0
        for param in params:
            self._starts.append(size)
            size += -(-param.numel() // ALIGNMENT) * ALIGNMENT
        self.values = torch.zeros(size, dtype=params[0].dtype, device=params[0].device)
        self.grads = torch.zeros_like(self.values)
        self._state = rule.init(self.values)
        self._t = 0
        for param, view in zip(params, self._views(self.values), strict=True):
            param.data = view.copy_(param.data)
        # What to compare on every step; the views are kept because `param.grad is grad` is the cheapest test there is.
        self._places = [
            (param, grad, param.data_ptr()) for param, grad in zip(params, self._views(self.grads), strict=True)
        ]
        self._attach()
        self._chunks = self._cut(CHUNK * torch.get_num_threads() if self.values.device.type == "cpu" else size)

    def zero_grad(self) -> None:
        for param, grad, _ in self._places:
            if param.grad is not grad:
                param.grad = grad
        self.grads.zero_()

    def step(self, hyper: dict[str, Any], state: MutableMapping[Tensor, dict[str, Any]]) -> None:
        """One update of every parameter; `state` has been bound with `load`."""
        self._attach()
        self._t += 1
        for values, grads, before in self._chunks:
            moved, after = self._rule.step(values, grads, before, self._t, **hyper)
            values.copy_(moved)
            for name, tensor in after.items():
                before[name].copy_(tensor)
        for param in self._params:
            increment_version(param)  # else a second backward through the old graph would silently use new weights
            state[param]["step"] = self._t

    def load(self, state: MutableMapping[Tensor, dict[str, Any]]) -> None:
        """Take over the state of each parameter, and leave views in its place.

        Raises OptimizerError if the parameters have not made equally many steps.
        """
        steps = {state[param]["step"] if state.get(param) else 0 for param in self._params}
        if len(steps) > 1:
            raise OptimizerError(
                f"The parameters of one flat buffer step together, but their saved states are {sorted(steps)} steps "
                "old. Load them with flat=False."
            )
        self._t = steps.pop()
        fresh = self._rule.init(self.values)
        for name, buffer in self._state.items():
            buffer.copy_(fresh[name])
            for param, view in zip(self._params, self._views(buffer), strict=True):
                if state.get(param):
                    view.copy_(state[param][name])
        views = {name: self._views(buffer) for name, buffer in self._state.items()}
        for number, param in enumerate(self._params):
            state[param] = {"step": self._t} | {name: view[number] for name, view in views.items()}

    def _views(self, buffer: Tensor) -> list[Tensor]:
        return [
            buffer[start : start + param.numel()].view(param.shape)
            for start, param in zip(self._starts, self._params, strict=True)
        ]

    def _cut(self, size: int) -> list[tuple[Tensor, Tensor, State]]:
        """Values, gradients and state as views of `size` numbers."""
        starts = range(0, len(self.values), size)
        cut = [slice(start, start + size) for start in starts]
        return [
            (self.values[part], self.grads[part], {name: buffer[part] for name, buffer in self._state.items()})
            for part in cut
        ]

    def _attach(self) -> None:
        """Take over gradients that backward put elsewhere, as it does after `model.zero_grad()`.

        Raises OptimizerError if a parameter has left the buffer: no update would reach it.
        """
        for param, grad, address in self._places:
            if param.data_ptr() != address:
                raise OptimizerError(
                    f"A parameter of shape {list(param.shape)} has left the optimizer's flat buffer: its data was "
                    "replaced, as by model.to(...) or load_state_dict(..., assign=True). Do that before making the "
                    "optimizer, or make it with flat=False."
                )
            if param.grad is not grad:
                if param.grad is None:
                    grad.zero_()
                else:
                    grad.copy_(dense(param.grad))
                param.grad = grad
