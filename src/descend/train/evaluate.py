"""How good a model is on rows it is not training on: in evaluation mode, every row counting alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor, nn

from descend.data._dataset import Dataset, Split
from descend.facts import predictions
from descend.facts.network import as_in_training, differs_in_training
from descend.train.build import Loss, Parts

ROWS_AT_ONCE: Final = 1024  # fixed, so that no result depends on the training batch size
TRAIN_ROWS: Final = 8192  # of a larger training set this many, evenly spaced, stand for it


class Evaluation(NamedTuple):
    """`values` of series, and the facts about what was answered on the rows that judge (validation where there is)."""

    values: dict[str, float]
    predictions: dict[str, Any]


def evaluate(parts: Parts) -> Evaluation:
    """Loss and accuracy (or R2) on the training and validation rows, and what has been learned of a known truth.

    Series: loss/train, loss/validation, accuracy/train or r2/train, ..., learned/<feature>; and loss/train_mode, of
    the training rows with dropout active and batch norm over the batch, where the model has either. The model is in
    training mode afterwards; neither it nor the random numbers are changed.
    """
    values: dict[str, float] = {}
    answered: dict[str, Any] = {}
    for name, split in judged_splits(parts.dataset).items():
        outputs, measures = _judged(parts, split)
        values |= {f"{measure}/{name}": value for measure, value in measures.items()}
        answered = predictions.of(outputs, split.targets, name)
    if differs_in_training(parts.model):
        with as_in_training(parts.model):
            values["loss/train_mode"] = float(forward(parts.model, parts.loss, thinned(parts.dataset.train))[1])
    learned = learned_weights(parts.model, parts.dataset)
    return Evaluation(values | {f"learned/{feature}": value for feature, value in learned.items()}, answered)


def judge(parts: Parts, split: Split) -> dict[str, float]:
    """{"loss": ..., "accuracy" or "r2": ...} of the model on a split, in evaluation mode, without gradients."""
    return _judged(parts, split)[1]


def _judged(parts: Parts, split: Split) -> tuple[Tensor, dict[str, float]]:
    """The model's outputs on all rows, and `measures` of them, in evaluation mode, without gradients."""
    parts.model.eval()
    try:
        with torch.no_grad():
            outputs, values = measures(parts.model, parts.loss, split)
            return outputs, {name: float(value) for name, value in values.items()}
    finally:
        parts.model.train()


def measures(
    model: Callable[[Tensor], Tensor], loss: Loss, split: Split
) -> tuple[Shaped[Tensor, "rows ..."], dict[str, Float[Tensor, ""]]]:
    """The outputs on all rows, and {"loss": ..., "accuracy" or "r2": ...} of them. Pure: it can be vmapped over models.

    Class numbers ask for accuracy; R2 = 1 - (sum of squared errors) / (sum of squared deviations from the mean),
    pooled over outputs.
    """
    outputs, value = forward(model, loss, split)
    targets = split.targets
    if targets.is_floating_point():
        deviations = (targets - targets.mean(0)).square().sum()
        return outputs, {"loss": value, "r2": 1 - (outputs - targets).square().sum() / deviations}
    chosen = outputs.argmax(-1) if outputs.shape[-1] > 1 else (outputs.squeeze(-1) > 0).long()
    return outputs, {"loss": value, "accuracy": (chosen == targets).double().mean()}


def forward(
    model: Callable[[Tensor], Tensor], loss: Loss, split: Split
) -> tuple[Shaped[Tensor, "rows ..."], Float64[Tensor, ""]]:
    """Outputs and mean loss in the mode that the model is in, some rows at a time: never one alone, if there are two,
    since batch norm cannot take the variance of a single row."""
    count = -(-len(split.inputs) // ROWS_AT_ONCE)
    chunks = list(zip(split.inputs.tensor_split(count), split.targets.tensor_split(count), strict=True))
    outputs = [model(inputs) for inputs, _ in chunks]
    losses = [
        loss(output, targets).cpu().double() * len(targets)
        for output, (_, targets) in zip(outputs, chunks, strict=True)
    ]
    return torch.cat(outputs), torch.stack(losses).sum() / len(split.inputs)


def judged_splits(dataset: Dataset) -> dict[str, Split]:
    """The rows that an evaluation judges by: of training (thinned), and of validation where there are any."""
    splits = {"train": thinned(dataset.train)}
    return splits if dataset.validation is None else splits | {"validation": dataset.validation}


def thinned(split: Split) -> Split:
    """At most TRAIN_ROWS rows, evenly spaced."""
    stride = -(-len(split.inputs) // TRAIN_ROWS)
    return Split(split.inputs[::stride], split.targets[::stride]) if stride > 1 else split


def learned_weights(model: nn.Module, dataset: Dataset) -> dict[str, float]:
    """For a linear model on data whose linear truth is known: its weights in the data's raw units, by feature."""
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return {feature: float(value) for feature, value in in_raw_units(weights, dataset).items()}


def in_raw_units(weights: Mapping[str, Tensor], dataset: Dataset) -> dict[str, Float64[Tensor, ""]]:
    """`learned_weights` of a model with these parameters; pure."""
    if not dataset.truth or not weights.keys() >= {"weight", "bias"}:
        return {}
    slopes, offset = weights["weight"].cpu().double()[0], weights["bias"].cpu().double()[0]
    if dataset.target_scale:
        slopes = slopes * dataset.target_scale.std
        offset = offset * dataset.target_scale.std[0] + dataset.target_scale.mean[0]
    if dataset.input_scale:
        slopes = slopes / dataset.input_scale.std
        offset = offset - (slopes * dataset.input_scale.mean).sum()
    return dict(zip(dataset.features, slopes.unbind(), strict=True)) | {"bias": offset}
