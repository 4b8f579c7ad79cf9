"""What a model answers on the rows it is judged by."""

from __future__ import annotations

from typing import Any, Final

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

MANY: Final = 100  # classes that are counted: of more, the tables would be longer than anybody reads


def of(outputs: Shaped[Tensor, "rows ..."], targets: Shaped[Tensor, "rows ..."], split: str) -> dict[str, Any]:
    """Topic "predictions": which classes are there and which are answered, or how much the answers vary.

    `outputs` are the logits (or a single logit, positive for class 1); float targets of more than the two values 0 and
    1 are a regression. Positions of a sequence count as rows.
    """
    facts: dict[str, Any] = {"split": split, "rows": len(targets)}
    labels = classes_of(targets)
    if labels is None:
        if outputs.shape == targets.shape and len(targets) > 1:
            spread = float(targets.double().std(correction=0))
            facts["output_variation"] = float(outputs.double().std(correction=0)) / spread if spread else None
        return facts
    answers = (outputs.squeeze(-1) > 0).long() if outputs.shape[-1] == 1 or outputs.dim() == 1 else outputs.argmax(-1)
    labels, answers = labels.flatten(), answers.flatten()
    if not len(labels) == len(answers) > 0:
        return facts
    classes = int(max(labels.max(), answers.max())) + 1
    if classes > MANY or int(labels.min()) < 0:
        return facts
    table = torch.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)
    facts |= {"true": _counts(table.sum(1)), "predicted": _counts(table.sum(0))}
    facts["right"] = _counts(table.diagonal())
    wrong = table.clone().fill_diagonal_(0)
    if int(wrong.max()):
        facts["confusion_top"] = [*divmod(int(wrong.argmax()), classes), int(wrong.max())]
    return facts


def classes_of(targets: Shaped[Tensor, "rows ..."]) -> Tensor | None:
    """The class numbers in targets; None where they are numbers to fit."""
    flat = targets.squeeze(-1) if targets.dim() > 1 and targets.shape[-1] == 1 else targets
    if not flat.is_floating_point():
        return flat.long()
    if bool(((flat == 0) | (flat == 1)).all()):
        return flat.long() if flat.dim() == 1 else flat.argmax(-1) if bool((flat.sum(-1) == 1).all()) else None
    return None


def _counts(table: Int[Tensor, " classes"]) -> dict[str, int]:
    return {str(label): count for label, count in enumerate(table.tolist()) if count}
