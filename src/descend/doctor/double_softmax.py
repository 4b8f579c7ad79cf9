"""The model squashes its outputs, and the loss squashes them again, so that it can never become small.

`nn.CrossEntropyLoss` and `nn.BCEWithLogitsLoss` take logits, any numbers at all, and apply the softmax or the sigmoid
themselves. Given probabilities, which lie between 0 and 1, the most confident right answer still costs
ln(1 + (K - 1) / e): 0.31 for 2 classes, 1.46 for 10, 3.6 for 100. (With a sigmoid before the binary loss: 0.31 for
class 1 and 0.69 for class 0.) The gradient passes through two squashings, so that training is slow as well. A
log-softmax before the cross-entropy does no harm: a second one changes nothing.
"""

from __future__ import annotations

import math
from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, facts

TWICE: Final = {
    ("cross_entropy", "softmax"): ("nn.Softmax(dim=-1)", "nn.CrossEntropyLoss"),
    ("cross_entropy", "sigmoid"): ("nn.Sigmoid()", "nn.CrossEntropyLoss"),
    ("bce_with_logits", "sigmoid"): ("nn.Sigmoid()", "nn.BCEWithLogitsLoss"),
    ("bce_with_logits", "softmax"): ("nn.Softmax(dim=-1)", "nn.BCEWithLogitsLoss"),
}


def look(chart: Chart) -> Finding | Unknown | None:
    seen = facts(chart, "graph")
    if not isinstance(seen, dict):
        return seen
    squashed = (seen.get("loss"), seen.get("last_op"))
    if squashed not in TWICE:
        return None
    layer, loss = TWICE[squashed]
    shape = (seen.get("given") or {}).get("output_shape") or [0, 2]
    classes = shape[1] if squashed[0] == "cross_entropy" and len(shape) > 1 else 2
    sure_and_right = math.log(1 + (classes - 1) / math.e)
    floor = sure_and_right if squashed[0] == "cross_entropy" else (sure_and_right + math.log(2)) / 2
    inner = squashed[1]
    return Finding(
        f"The model ends in a {inner}, and {loss}, which is made for logits, squashes its outputs once more: with "
        f"{classes} classes the loss cannot fall below {floor:.2g}, however right the answers are.",
        (
            Evidence(
                "facts/graph/last_op",
                floor,
                0.0,
                f"The loss {squashed[0]} was given the result of a {inner}; its least possible value is {floor:.2g}.",
            ),
        ),
        sure=0.99,
        remedies=(
            Remedy(
                f"Take the {inner} out of the model, and apply it only where you want probabilities to look at.",
                diff={f"nn.Linear(64, {classes}), {layer}": f"nn.Linear(64, {classes})"},
            ),
        ),
    )


double_softmax = Check(
    look,
    symptom="The loss stops far above zero and falls slowly, while the accuracy may be good.",
    sick=Example(fault="double_softmax", data="digits", model="mlp", width=32, lr=0.3, epochs=4),
    near_miss=Example(fault="log_softmax_and_nll", data="digits", model="mlp", width=32, lr=0.3, epochs=4),
    look_alike="A log-softmax with the negative log-likelihood, a sigmoid with nn.BCELoss, probabilities as targets.",
    source="PyTorch, documentation of nn.CrossEntropyLoss: the input is expected to contain unnormalised logits",
    explains=LEARNS_NOTHING | {"first_loss"},
)
