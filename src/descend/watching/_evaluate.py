"""How good a watched model is on the same few rows, now and then, without a trace in its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from descend.facts import predictions
from descend.facts.graph import Reading
from descend.facts.network import as_in_training, differs_in_training, evaluating
from descend.facts.predictions import answers_of, classes_of
from descend.facts.rows import Rows
from descend.watching._forward import first_tensor

ROWS: Final = 512  # of a split: a share of right answers is then known to 2 %
AT_ONCE: Final = 64  # rows, at least, where the mode makes rows independent of each other
FORWARD: Final = 1 / 3  # of the cost of training on a row
EVERY: Final = 25  # steps between evaluations, at least
APART: Final = 0.05  # of the steps made, at least, between evaluations: 20 epochs one by one, 1,000 in 100 evaluations
OFTEN: Final = 50  # evaluations whatever they cost; later ones cost 1 % of training at most
SHARE: Final = 0.01


@dataclass(frozen=True)
class Shapes:
    """What a loop makes of a batch, learned from its first step: how a row looks where."""

    input: list[int] | None = None  # the shape of what the model was given
    input_dtype: torch.dtype | None = None
    output: list[int] | None = None  # the shape of what the loss was given
    target: list[int] | None = None
    target_dtype: str | None = None

    @classmethod
    def of(cls, given: Tensor | None, reading: Reading) -> Shapes:
        shapes = reading.given
        return cls(
            None if given is None else list(given.shape),
            None if given is None else given.dtype,
            shapes.get("output_shape"),
            shapes.get("target_shape"),
            shapes.get("target_dtype"),
        )

    def as_given(self, inputs: Tensor, model: nn.Module) -> Tensor:
        """Rows of a data set as the loop gives them to the model: flattened images, another dtype, another device."""
        device = next(model.parameters(), inputs).device
        return _shaped(inputs.to(device, self.input_dtype), self.input)

    def as_judged(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and targets as the loop gives them to the loss."""
        targets = _shaped(targets.to(outputs.device), self.target)
        if self.target_dtype:
            targets = targets.to(getattr(torch, self.target_dtype))
        return _shaped(outputs, self.output), targets


class Evaluation:
    """Evaluates one model on fixed rows of its splits: before the first update, then after about every epoch."""

    def __init__(
        self, model: nn.Module, loss: Callable[..., Any], splits: Mapping[str, Rows], every: int | None
    ) -> None:
        self._model, self._loss = model, loss
        thinned = {name: _thinned(rows) for name, rows in splits.items()}
        self.rows = {name: pair for name, pair in thinned.items() if pair is not None}
        self._batch = next((rows.batch_size for rows in splits.values() if rows.batch_size), None) or AT_ONCE
        self._asked = every is not None
        self._every = every or max(EVERY, (splits["train"].batches if "train" in splits else None) or 0)
        self.shapes = Shapes()
        self.at = -1  # the step of the newest evaluation
        self.count = 0

    def due(self, step: int, examples: int) -> bool:
        """Whether to evaluate after this step."""
        every = self._every if self._asked else max(self._every, int(step * APART))
        if self.count >= OFTEN and not self._asked:
            again = len(self.rows["train"][0]) if "train" in self.rows and differs_in_training(self._model) else 0
            looked_at = sum(len(inputs) for inputs, _ in self.rows.values()) + again
            every = max(every, int(looked_at * FORWARD / SHARE * step / max(1, examples)))
        return bool(self.rows) and step - self.at >= every

    def measure(self, step: int) -> tuple[dict[str, float], dict[str, Any]]:
        """Series (`loss/train`, `accuracy/validation`, ..., `loss/train_mode`), and topics of facts."""
        self.at, self.count = step, self.count + 1
        values: dict[str, float] = {}
        topics: dict[str, Any] = {}
        for name, (inputs, targets) in self.rows.items():
            with evaluating(self._model):
                outputs, answers, loss = self._run(inputs, targets, max(AT_ONCE, self._batch))
            values |= {f"loss/{name}": loss} | {f"{what}/{name}": value for what, value in _score(outputs, answers)}
            topics["predictions"] = predictions.of(outputs, answers, name)
        if "train" in self.rows and differs_in_training(self._model):
            with as_in_training(self._model):
                values["loss/train_mode"] = self._run(*self.rows["train"], self._batch)[2]
        if values:
            topics["evaluation"] = {f"rows_{name}": len(inputs) for name, (inputs, _) in self.rows.items()}
        return values, topics

    def loss_of(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss at other parameters, in evaluation mode."""
        modes = [(module, module.training) for module in self._model.modules()]
        self._model.eval()
        try:
            outputs = first_tensor(functional_call(self._model, dict(parameters), inputs))
            assert outputs is not None, "the model puts out no tensor"
            value: Tensor = self._loss(*self.shapes.as_judged(outputs, targets))
            return value
        finally:
            for module, training in modes:
                module.training = training

    def _run(self, inputs: Tensor, targets: Tensor, size: int) -> tuple[Tensor, Tensor, float]:
        """Outputs and targets on the CPU, and the mean loss; a single row that is left over is left out."""
        outputs: list[Tensor] = []
        answers: list[Tensor] = []
        losses: list[tuple[float, int]] = []
        for some, right in zip(inputs.split(size), targets.split(size), strict=True):
            if len(some) == 1 < size and outputs:
                continue  # batch norm cannot take its variance
            made = first_tensor(self._model(self.shapes.as_given(some, self._model)))
            assert made is not None, "the model puts out no tensor"
            judged = self.shapes.as_judged(made, right)
            losses.append((float(self._loss(*judged)), len(some)))
            outputs.append(judged[0].cpu())
            answers.append(judged[1].cpu())
        mean = sum(loss * rows for loss, rows in losses) / sum(rows for _, rows in losses)
        return torch.cat(outputs), torch.cat(answers), mean


def _thinned(rows: Rows) -> tuple[Tensor, Tensor] | None:
    """At most ROWS rows, evenly spaced."""
    if rows.inputs is None or rows.targets is None or not len(rows.inputs):
        return None
    stride = -(-len(rows.inputs) // ROWS)
    return rows.inputs[::stride], rows.targets[::stride]


def _shaped(tensor: Tensor, like: list[int] | None) -> Tensor:
    """A batch in a known shape, whatever its number of rows: axes swapped, or cut anew."""
    if like is None or list(tensor.shape[1:]) == like[1:]:
        return tensor
    if tensor.dim() == len(like) == 3 and list(tensor.transpose(1, 2).shape[1:]) == like[1:]:
        return tensor.transpose(1, 2)
    tail = 1
    for size in like[1:]:
        tail *= size
    return tensor.reshape(-1, *like[1:]) if tail and tensor.numel() % tail == 0 else tensor


def _score(outputs: Tensor, targets: Tensor) -> list[tuple[str, float]]:
    """Accuracy where the targets are classes, R2 where they are numbers."""
    labels = classes_of(targets)
    if labels is None:
        if outputs.shape != targets.shape:
            return []
        deviations = float((targets - targets.mean(0)).square().sum())
        return [("r2", 1 - float((outputs - targets).square().sum()) / deviations)] if deviations else []
    answers = answers_of(outputs, labels)
    return [] if answers is None else [("accuracy", float((answers == labels).double().mean()))]
