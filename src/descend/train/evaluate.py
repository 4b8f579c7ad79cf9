"""How good a model is on rows it is not training on: in evaluation mode, every row counting alike."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from descend.data._dataset import Dataset, Split
from descend.train.build import Parts

ROWS_AT_ONCE: Final = 1024  # fixed, so that no result depends on the training batch size
TRAIN_ROWS: Final = 8192  # of a larger training set this many, evenly spaced, stand for it


def evaluate(parts: Parts) -> dict[str, float]:
    """Loss and accuracy (or R2) on the training and validation rows, and what has been learned of a known truth.

    Series: loss/train, loss/validation, accuracy/train or r2/train, ..., learned/<feature>. The model is in
    training mode afterwards.
    """
    splits = {"train": thinned(parts.dataset.train), "validation": parts.dataset.validation}
    values: dict[str, float] = {}
    for name, split in splits.items():
        if split is not None:
            values |= {f"{measure}/{name}": value for measure, value in judge(parts, split).items()}
    learned = learned_weights(parts.model, parts.dataset)
    return values | {f"learned/{feature}": value for feature, value in learned.items()}


def judge(parts: Parts, split: Split) -> dict[str, float]:
    """{"loss": ..., "accuracy" or "r2": ...} of the model on a split, in evaluation mode, without gradients."""
    outputs, loss = _outputs(parts, split)
    targets = split.targets
    if parts.dataset.task == "regression":
        # R2 = 1 - (sum of squared errors) / (sum of squared deviations from the mean), pooled over outputs
        deviations = (targets - targets.mean(0)).square().sum()
        return {"loss": loss, "r2": float(1 - (outputs - targets).square().sum() / deviations)}
    chosen = outputs.argmax(-1) if outputs.shape[-1] > 1 else (outputs.squeeze(-1) > 0).long()
    return {"loss": loss, "accuracy": float((chosen == targets).double().mean())}


def _outputs(parts: Parts, split: Split) -> tuple[Tensor, float]:
    """The model's outputs on all rows, and the mean loss over them."""
    parts.model.eval()
    try:
        with torch.no_grad():
            chunks = list(zip(split.inputs.split(ROWS_AT_ONCE), split.targets.split(ROWS_AT_ONCE), strict=True))
            outputs = [parts.model(inputs) for inputs, _ in chunks]
            total = sum(
                float(parts.loss(output, targets)) * len(targets)
                for output, (_, targets) in zip(outputs, chunks, strict=True)
            )
    finally:
        parts.model.train()
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
