"""How good a model is on rows it is not training on: in evaluation mode, every row counting alike."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from descend.data._dataset import Dataset, Split
from descend.facts import predictions
from descend.facts.network import as_in_training, differs_in_training
from descend.train.build import Parts

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
    splits = {"train": thinned(parts.dataset.train), "validation": parts.dataset.validation}
    values: dict[str, float] = {}
    answered: dict[str, Any] = {}
    for name, split in splits.items():
        if split is not None:
            outputs, loss = _outputs(parts, split)
            judged = _measures(parts, split, outputs, loss)
            values |= {f"{measure}/{name}": value for measure, value in judged.items()}
            answered = predictions.of(outputs, split.targets, name)
    if differs_in_training(parts.model):
        with as_in_training(parts.model):
            values["loss/train_mode"] = _forward(parts, splits["train"])[1]  # type: ignore[arg-type]  # always there
    learned = learned_weights(parts.model, parts.dataset)
    return Evaluation(values | {f"learned/{feature}": value for feature, value in learned.items()}, answered)


def judge(parts: Parts, split: Split) -> dict[str, float]:
    """{"loss": ..., "accuracy" or "r2": ...} of the model on a split, in evaluation mode, without gradients."""
    return _measures(parts, split, *_outputs(parts, split))


def _measures(parts: Parts, split: Split, outputs: Tensor, loss: float) -> dict[str, float]:
    targets = split.targets
    if parts.dataset.task == "regression":
        # R2 = 1 - (sum of squared errors) / (sum of squared deviations from the mean), pooled over outputs
        deviations = (targets - targets.mean(0)).square().sum()
        return {"loss": loss, "r2": float(1 - (outputs - targets).square().sum() / deviations)}
    chosen = outputs.argmax(-1) if outputs.shape[-1] > 1 else (outputs.squeeze(-1) > 0).long()
    return {"loss": loss, "accuracy": float((chosen == targets).double().mean())}


def _outputs(parts: Parts, split: Split) -> tuple[Tensor, float]:
    """The model's outputs on all rows, and the mean loss over them, in evaluation mode."""
    parts.model.eval()
    try:
        with torch.no_grad():
            return _forward(parts, split)
    finally:
        parts.model.train()


def _forward(parts: Parts, split: Split) -> tuple[Tensor, float]:
    """Outputs and mean loss in the mode that the model is in, some rows at a time: never one alone, if there are two,
    since batch norm cannot take the variance of a single row."""
    count = -(-len(split.inputs) // ROWS_AT_ONCE)
    chunks = list(zip(split.inputs.tensor_split(count), split.targets.tensor_split(count), strict=True))
    outputs = [parts.model(inputs) for inputs, _ in chunks]
    total = sum(
        float(parts.loss(output, targets)) * len(targets) for output, (_, targets) in zip(outputs, chunks, strict=True)
    )
    return torch.cat(outputs), total / len(split.inputs)


def thinned(split: Split) -> Split:
    """At most TRAIN_ROWS rows, evenly spaced."""
    stride = -(-len(split.inputs) // TRAIN_ROWS)
    return Split(split.inputs[::stride], split.targets[::stride]) if stride > 1 else split


def learned_weights(model: nn.Module, dataset: Dataset) -> dict[str, float]:
    """For a linear model on data whose linear truth is known: its weights in the data's raw units, by feature."""
    weight, bias = getattr(model, "weight", None), getattr(model, "bias", None)
    if not dataset.truth or not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        return {}
    slopes, offset = weight.detach().double().cpu()[0], bias.detach().double().cpu()[0]
    if dataset.target_scale:
        slopes = slopes * dataset.target_scale.std
        offset = offset * dataset.target_scale.std[0] + dataset.target_scale.mean[0]
    if dataset.input_scale:
        slopes = slopes / dataset.input_scale.std
        offset = offset - (slopes * dataset.input_scale.mean).sum()
    return dict(zip(dataset.features, slopes.tolist(), strict=True)) | {"bias": float(offset)}
