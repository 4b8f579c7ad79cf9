"""How good a watched model is on the same few rows, now and then, without a trace in its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from descend.facts import predictions
from descend.facts.network import as_in_training, differs_in_training, evaluating
from descend.facts.predictions import classes_of
from descend.facts.rows import Rows
from descend.watching._forward import first_tensor
from descend.watching._graph import Reading

ROWS: Final = 512  # of a split: a share of right answers is then known to 2 %
AT_ONCE: Final = 64  # rows, at least, where the mode makes rows independent of each other
OFTEN: Final = 100  # evaluations that come as often as asked for; later ones cost 1 % of training at most
SHARE: Final = 0.01


@dataclass(frozen=True)
class Shapes:
    """What the user's loop makes of a batch, learned from its first step: how a row looks where."""

    input: Tensor | None = None  # what the model was given
    output: list[int] | None = None  # the shape of what the loss was given
    target: list[int] | None = None
    target_dtype: str | None = None

    @classmethod
    def of(cls, given: Tensor | None, reading: Reading) -> Shapes:
        shapes = reading.given
        return cls(given, shapes.get("output_shape"), shapes.get("target_shape"), shapes.get("target_dtype"))


class Evaluation:
    """Evaluates one model on fixed rows of its splits."""

    def __init__(self, model: nn.Module, loss: Callable[..., Any], splits: Mapping[str, Rows]) -> None:
        self._model, self._loss = model, loss
        self.rows = {name: _thinned(rows) for name, rows in splits.items()}
        self.rows = {name: pair for name, pair in self.rows.items() if pair}
        self.batch = next((rows.batch_size for rows in splits.values() if rows.batch_size), None) or AT_ONCE
        self.shapes = Shapes()

    @property
    def cost(self) -> float:
        """Of one evaluation, in rows trained on: a forward pass is a third of a training step."""
        again = len(self.rows.get("train", ((),))[0]) if differs_in_training(self._model) else 0
        return (sum(len(inputs) for inputs, _ in self.rows.values()) + again) / 3

    def measure(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Series (`loss/train`, `accuracy/validation`, ..., `loss/train_mode`), and facts about the predictions."""
        values: dict[str, float] = {}
        facts: dict[str, Any] = {}
        for name, (inputs, targets) in self.rows.items():
            with evaluating(self._model):
                outputs, answers, loss = self._run(inputs, targets, max(AT_ONCE, self.batch))
            values |= {f"loss/{name}": loss} | {f"{what}/{name}": value for what, value in _score(outputs, answers)}
            facts = predictions.of(outputs, answers, name)
        if "train" in self.rows and differs_in_training(self._model):
            with as_in_training(self._model):
                values["loss/train_mode"] = self._run(*self.rows["train"], self.batch)[2]
        return values, facts

    def loss_of(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss at other parameters, in evaluation mode."""
        modes = [(module, module.training) for module in self._model.modules()]
        self._model.eval()
        try:
            outputs = first_tensor(functional_call(self._model, dict(parameters), inputs))
            assert outputs is not None, "the model puts out no tensor"
            value: Tensor = self._loss(*self._as_judged(outputs, targets))
            return value
        finally:
            for module, training in modes:
                module.training = training

    def _run(self, inputs: Tensor, targets: Tensor, size: int) -> tuple[Tensor, Tensor, float]:
        """Outputs, targets (both on the CPU), and the mean loss; a last batch of one row is left out."""
        parameter = next(self._model.parameters(), None)
        outputs, answers, total, count = [], [], 0.0, 0
        for some, right in zip(inputs.split(size), targets.split(size), strict=True):
            if len(some) == 1 and count:
                continue  # batch norm cannot take its variance
            given = _as_given(some, self.shapes.input, parameter)
            made = _tensor_in(self._model(given))
            judged, right = self._as_judged(made, right.to(made.device))
            total += float(self._loss(judged, right)) * len(some)
            count += len(some)
            outputs.append(judged.cpu())
            answers.append(right.cpu())
        return torch.cat(outputs), torch.cat(answers), total / count

    def _as_judged(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and targets in the shape in which the user's loop gives them to the loss."""
        outputs = _shaped(outputs, self.shapes.output)
        targets = _shaped(targets, self.shapes.target)
        if self.shapes.target_dtype and not targets.is_complex():
            targets = targets.to(getattr(torch, self.shapes.target_dtype))
        return outputs, targets


def _thinned(rows: Rows) -> tuple[Tensor, Tensor] | None:
    """At most ROWS rows, evenly spaced."""
    if rows.inputs is None or rows.targets is None or not len(rows.inputs):
        return None
    stride = -(-len(rows.inputs) // ROWS)
    return rows.inputs[::stride], rows.targets[::stride]


def _as_given(inputs: Tensor, like: Tensor | None, parameter: Tensor | None) -> Tensor:
    """Rows of a data set as the loop gives them to the model: flattened images, another dtype, another device."""
    if like is None:
        return inputs if parameter is None else inputs.to(parameter.device)
    inputs = inputs.to(like.device, like.dtype)
    return _shaped(inputs, list(like.shape))


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


def _tensor_in(output: Any) -> Tensor:
    found = first_tensor(output)
    assert found is not None, "the model puts out no tensor"
    return found


def _score(outputs: Tensor, targets: Tensor) -> list[tuple[str, float]]:
    """Accuracy where the targets are classes, R2 where they are numbers."""
    labels = classes_of(targets)
    if labels is None:
        if outputs.shape != targets.shape:
            return []
        deviations = float((targets - targets.mean(0)).square().sum())
        return [("r2", 1 - float((outputs - targets).square().sum()) / deviations)] if deviations else []
    if outputs.dim() > 2 and outputs.shape[1:-1] != labels.shape[1:]:
        outputs = outputs.movedim(1, -1)
    answers = (outputs.squeeze(-1) > 0).long() if outputs.shape[-1] == 1 or outputs.dim() == 1 else outputs.argmax(-1)
    return [("accuracy", float((answers == labels).double().mean()))] if answers.shape == labels.shape else []
