"""Share of right answers in the batch, or R2 where the targets are numbers.

Classification: `accuracy/batch`. The answer is the class of the largest output, or, of a single output, class 1 where
that is positive; with an answer at every position, each counts.

Regression: `r2/batch` = 1 - (sum of squared errors) / (sum of squared distances of the targets from their mean in the
batch), all outputs together: 1 is perfect, 0 is no better than the batch's mean, and it may be negative without
limit. A batch of one row has none.

Both are of the batch that was just trained on, before the update and with dropout active: noisy, and not comparable
with `loss/validation`.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from descend.monitors._monitor import Monitor, Step


def measure(step: Step) -> dict[str, Tensor]:
    if step.task == "classification":
        return {"accuracy/batch": _accuracy(step.outputs, step.targets)}
    return {"r2/batch": _r2(step.outputs, step.targets)} if len(step.targets) > 1 else {}


def _accuracy(outputs: Float[Tensor, "*rows logits"], targets: Int[Tensor, "*rows"]) -> Float[Tensor, ""]:
    answers = outputs.squeeze(-1) > 0 if outputs.shape[-1] == 1 else outputs.argmax(dim=-1)
    return (answers == targets).to(outputs.dtype).mean()


def _r2(outputs: Float[Tensor, "rows ..."], targets: Float[Tensor, "rows ..."]) -> Float[Tensor, ""]:
    unexplained = (outputs - targets).square().sum()
    return 1 - unexplained / (targets - targets.mean(dim=0)).square().sum()


accuracy = Monitor(
    measure,
    unit="share of answers that are right; r2: share of the variance explained",
    needs=frozenset({"outputs", "targets"}),
)
