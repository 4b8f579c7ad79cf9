"""What a model answers on the rows it is judged by."""

from __future__ import annotations

from typing import Any, Final

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

MANY: Final = 100  # classes that are counted: of more, the tables would be longer than anybody reads


def of(outputs: Shaped[Tensor, "rows ..."], targets: Shaped[Tensor, "rows ..."], split: str) -> dict[str, Any]:
    """Topic "predictions": which classes are there and which are answered, or how much the answers vary.

    Positions of a sequence, and several labels of a row, count as rows.
    """
    facts: dict[str, Any] = {"split": split, "rows": len(targets)}
    labels = classes_of(targets)
    if labels is None:
        if outputs.shape == targets.shape and len(targets) > 1:
            spread = float(targets.double().std(correction=0))
            facts["output_variation"] = float(outputs.double().std(correction=0)) / spread if spread else None
        return facts
    answers = answers_of(outputs, labels)
    if answers is None or not len(labels):
        return facts
    labels, answers = labels.flatten(), answers.flatten()
    classes = int(max(labels.max(), answers.max())) + 1
    if classes > MANY or int(labels.min()) < 0:
        return facts
    table = torch.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)
    facts |= {"true": _counts(table.sum(1)), "predicted": _counts(table.sum(0)), "right": _counts(table.diagonal())}
    wrong = table.clone().fill_diagonal_(0)
    if int(wrong.max()):
        facts["confusion_top"] = [*divmod(int(wrong.argmax()), classes), int(wrong.max())]
    return facts


def classes_of(targets: Shaped[Tensor, "rows ..."]) -> Tensor | None:
    """The class numbers in targets; None where they are numbers to fit.

    Of floats, rows of probabilities stand for the likeliest class, and zeros and ones for themselves.
    """
    flat = targets.squeeze(-1) if targets.dim() > 1 and targets.shape[-1] == 1 else targets
    if not flat.is_floating_point():
        return flat.long()
    if flat.dim() == 2 and bool((flat >= 0).all()) and bool(((flat.sum(-1) - 1).abs() < 1e-4).all()):
        return flat.argmax(-1)
    return flat.long() if bool(((flat == 0) | (flat == 1)).all()) else None


def answers_of(outputs: Shaped[Tensor, "rows ..."], labels: Shaped[Tensor, "rows ..."]) -> Tensor | None:
    """The classes that outputs stand for, in the shape of the labels; None where the shapes do not fit.

    Of several outputs the largest, whose axis is the last or the second. One output a label is a logit, positive for
    class 1, or, where all are between 0 and 1, its probability.
    """
    single = outputs.squeeze(-1) if outputs.dim() == labels.dim() + 1 and outputs.shape[-1] == 1 else outputs
    if single.shape == labels.shape:
        probabilities = bool(((single >= 0) & (single <= 1)).all())
        return (single > (0.5 if probabilities else 0.0)).long()
    if outputs.shape[:-1] == labels.shape:
        return outputs.argmax(-1)
    return outputs.argmax(1) if outputs.shape[:1] + outputs.shape[2:] == labels.shape else None


def _counts(table: Int[Tensor, " classes"]) -> dict[str, int]:
    return {str(label): count for label, count in enumerate(table.tolist()) if count}
