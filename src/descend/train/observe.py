"""What the monitors get to see of a step: the trainer shows it, this keeps it for as long as the step lasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.func import functional_call

from descend.monitors._capture import Capture
from descend.monitors._monitor import Activation, Step, chosen
from descend.monitors._panel import Panel, read
from descend.train.build import Parts


class Observer:
    """The monitors of one run. On a step that is `due`, call `forward`, `before_update` and `after_update` in turn.

    Nothing is hooked, copied or computed on a step that is not. Of a batch that is accumulated from micro-batches
    the monitors see the outputs and activations of the first.
    """

    def __init__(self, parts: Parts, report: Callable[[str], object]) -> None:
        self._model, self._loss, self._task = parts.model, parts.loss, parts.dataset.task
        self._forward = parts.forward
        self._panel = Panel(chosen(parts.recipe.monitors), parts.monitor_every, report)
        self._capture = Capture(parts.model)
        self._named = dict(parts.model.named_parameters())
        self._parameters = {name: parameter.detach() for name, parameter in self._named.items()}
        self.memory: dict[str, Any] = {}  # of the monitors, saved with the run
        self._seen: tuple[Tensor, Tensor, dict[str, Activation]] | None = None
        self._step: Step | None = None
        self._values: dict[str, Tensor] = {}

    def due(self, number: int) -> bool:
        """Whether any monitor measures update `number` (from 1)."""
        self._seen = None
        return bool(self._panel.due(number))

    def forward(self, inputs: Shaped[Tensor, "batch ..."]) -> Tensor:
        """The model's outputs, with its activations kept where a monitor needs them."""
        if self._seen is not None:
            return self._forward(inputs)
        with self._capture as activations:
            outputs = self._forward(inputs)
        self._seen = inputs, outputs.detach(), activations
        return outputs

    def before_update(self, number: int, loss: float, targets: Shaped[Tensor, "rows ..."], lr: float) -> None:
        """Measure what is there after the backward pass. `targets` are those of the whole batch."""
        assert self._seen is not None, "forward comes first"
        inputs, outputs, activations = self._seen
        self._step = Step(
            number=number,
            loss=outputs.new_tensor(loss),
            inputs=inputs,
            targets=targets[: len(inputs)],
            outputs=outputs,
            task=self._task,
            lr=lr,
            parameters=self._parameters,
            gradients={
                name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                for name, parameter in self._named.items()
            },
            activations=activations,
            loss_of=self._loss_of,
            memory=self.memory,
        )
        self._values = self._panel.measure(self._step, "before")

    def after_update(self) -> dict[str, float]:
        """Measure what the update did. Everything measured at this step, moved to the CPU at once."""
        step, self._step = self._step, None
        assert step is not None, "before_update comes first"
        return read(self._values | self._panel.measure(step, "after"))

    def _loss_of(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss at other parameters, in evaluation mode: no random numbers, no state changed."""
        training = self._model.training
        self._model.eval()
        try:
            return self._loss(functional_call(self._model, dict(parameters), inputs), targets)
        finally:
            self._model.train(training)
