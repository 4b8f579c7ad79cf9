"""How good a watched model is on the same few rows, now and then, without a trace in its training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
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

    def as_given(self, inputs: Tensor) -> Tensor:
        """Rows of a data set as the loop gives them to the model: flattened images, another dtype."""
        return _shaped(inputs.to(self.input_dtype), self.input)

    def as_judged(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and targets as the loop gives them to the loss."""
        targets = _shaped(targets.to(outputs.device), self.target)
        if self.target_dtype:
            targets = targets.to(getattr(torch, self.target_dtype))
        return _shaped(outputs, self.output), targets


@dataclass(frozen=True)
class Sample:
    """The rows of a split that are looked at. `named` are what a model is called with that takes its batch by name."""

    inputs: Tensor
    targets: Tensor
    named: Mapping[str, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @classmethod
    def of(cls, rows: Rows) -> Sample | None:
        """At most ROWS rows, evenly spaced."""
        if rows.inputs is None or rows.targets is None or not len(rows.inputs):
            return None
        apart = -(-len(rows.inputs) // ROWS)
        named = rows.named and {name: values[::apart] for name, values in rows.named.items()}
        return cls(rows.inputs[::apart], rows.targets[::apart], named)

    def split(self, size: int) -> Iterator[Sample]:
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            named = self.named and {name: values[part] for name, values in self.named.items()}
            yield Sample(self.inputs[part], self.targets[part], named)


class Evaluation:
    """Evaluates one model on fixed rows of its splits: before the first update, then after about every epoch."""

    def __init__(
        self, model: nn.Module, loss: Callable[..., Any] | None, splits: Mapping[str, Rows], every: int | None
    ) -> None:
        """Without `loss`, the model itself computes it of a batch that is a mapping, as those of Transformers do."""
        self.model, self._loss = model, loss
        samples = {name: Sample.of(rows) for name, rows in splits.items()}
        self.samples = {name: sample for name, sample in samples.items() if sample is not None}
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
            looked_at = sum(map(len, self.samples.values()))
            if "train" in self.samples and differs_in_training(self.model):
                looked_at += len(self.samples["train"])
            every = max(every, int(looked_at * FORWARD / SHARE * step / max(1, examples)))
        return bool(self.samples) and step - self.at >= every

    def measure(self, step: int) -> tuple[dict[str, float], dict[str, Any]]:
        """Series (`loss/train`, `accuracy/validation`, ..., `loss/train_mode`), and topics of facts."""
        self.at, self.count = step, self.count + 1
        values: dict[str, float] = {}
        topics: dict[str, Any] = {}
        for name, sample in self.samples.items():
            with evaluating(self.model):
                outputs, answers, loss = self._run(sample, max(AT_ONCE, self._batch))
            values[f"loss/{name}"] = loss
            if self._loss is not None or outputs.dim() == 2:  # a language model shifts the targets by one position
                values |= {f"{what}/{name}": value for what, value in _score(outputs, answers)}
                topics["predictions"] = predictions.of(outputs, answers, name)
        if "train" in self.samples and differs_in_training(self.model):
            with as_in_training(self.model):
                values["loss/train_mode"] = self._run(self.samples["train"], self._batch)[2]
        if values:
            topics["evaluation"] = {f"rows_{name}": len(sample) for name, sample in self.samples.items()}
        return values, topics

    def loss_at(self, named: Mapping[str, Tensor]) -> Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor] | None:
        """The mean loss at other parameters, in evaluation mode, as a function; they are called as in `named`."""
        loss = self._loss
        if loss is None:
            return None
        own = {id(parameter): name for name, parameter in self.model.named_parameters()}
        names = {name: own[id(parameter)] for name, parameter in named.items() if id(parameter) in own}

        def loss_of(parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
            modes = [(module, module.training) for module in self.model.modules()]
            self.model.eval()
            try:
                given = {own: parameters[name] for name, own in names.items()}
                outputs = first_tensor(functional_call(self.model, given, inputs))
                assert outputs is not None, "the model puts out no tensor"
                value: Tensor = loss(*self.shapes.as_judged(outputs, targets))
                return value
            finally:
                for module, training in modes:
                    module.training = training

        return loss_of

    def _run(self, sample: Sample, size: int) -> tuple[Tensor, Tensor, float]:
        """Outputs and targets on the CPU, and the mean loss; a single row that is left over is left out."""
        outputs: list[Tensor] = []
        answers: list[Tensor] = []
        losses: list[tuple[float, int]] = []
        for some in sample.split(size):
            if len(some) == 1 < size and outputs:
                continue  # batch norm cannot take its variance
            made, judged, right = self._judged(some)
            loss = made["loss"] if self._loss is None else self._loss(judged, right)
            losses.append((float(loss), len(some)))
            outputs.append(judged.cpu())
            answers.append(right.cpu())
        mean = sum(loss * rows for loss, rows in losses) / sum(rows for _, rows in losses)
        return torch.cat(outputs), torch.cat(answers), mean

    def _judged(self, sample: Sample) -> tuple[Any, Tensor, Tensor]:
        """What the model makes of some rows, and the outputs and targets to judge it by."""
        device = next(self.model.parameters(), sample.inputs).device
        if sample.named is not None:
            made = self.model(**{name: values.to(device) for name, values in sample.named.items()})
        else:
            made = self.model(self.shapes.as_given(sample.inputs.to(device)))
        outputs = first_tensor(made)
        assert outputs is not None, "the model puts out no tensor"
        if self._loss is None:
            return made, outputs, sample.targets
        return made, *self.shapes.as_judged(outputs, sample.targets)


def _shaped(tensor: Tensor, like: list[int] | None) -> Tensor:
    """A batch with its rows in a known shape: axes swapped, rows cut anew, or positions as rows of their own."""
    if like is None or list(tensor.shape[1:]) == like[1:]:
        return tensor
    if tensor.dim() == len(like) == 3 and list(tensor.transpose(1, 2).shape[1:]) == like[1:]:
        return tensor.transpose(1, 2)
    if tensor[0].numel() == math.prod(like[1:]):
        return tensor.reshape(len(tensor), *like[1:])
    positions = tensor.dim() - len(like)
    if positions > 0 and list(tensor.shape[positions + 1 :]) == like[1:]:
        return tensor.flatten(0, positions)
    return tensor


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
