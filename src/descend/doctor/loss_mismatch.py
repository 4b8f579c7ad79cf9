"""The loss is made for other outputs than it is given.

`nn.NLLLoss` takes logarithms of probabilities and only changes their sign: given logits it falls without end, given
probabilities it goes to -1 with hardly a gradient. `nn.CrossEntropyLoss` chooses among several outputs: with a single
one the softmax is 1 whatever the network does, the loss is zero and so is every gradient. A squared error on class
numbers takes them for amounts: between a 3 and an 8 the best answer is 5.5, which is neither.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._code import LEARNS_NOTHING, STEPS_TOO_LONG, facts

ROUNDING: Final = 1e-3  # a logarithm of a probability is at most 0; float16 rounds to a thousandth

AMOUNTS: Final = ("mse", "l1", "huber")
FEWEST: Final = 3  # classes; two are fitted well by least squares
EVEN: Final = 0.3  # of the mean number of rows of a class, the least; counts and amounts have rare values
ALIKE: Final = 0.5  # of the disagreement with neighbours that chance would give: 0.04 on digits, 1 for unrelated labels


def look(chart: Chart) -> Finding | Unknown | None:
    seen = facts(chart, "graph")
    if not isinstance(seen, dict):
        return seen
    given = seen.get("given") or {}
    shape = given.get("output_shape") or []
    if len(shape) > 1 and shape[1] == 1 and "softmax" in (seen.get("last_op"), _choosing(seen.get("loss"))):
        return _single(shape)
    if seen.get("loss") in AMOUNTS and 1 in (len(shape), *shape[1:]):
        return _classes_as_amounts(chart, str(seen["loss"]))
    if seen.get("loss") == "nll":
        largest, least = given.get("output_max"), given.get("output_min")
        if largest is None or least is None:
            return None
        if given.get("rows_sum_to_one") and least >= 0:
            return _not_logarithms("probabilities", float(largest))
        if largest > ROUNDING:
            return _not_logarithms("logits", float(largest))
    return None


def _choosing(loss: str | None) -> str | None:
    """The softmax that is part of a loss."""
    return "softmax" if loss in ("cross_entropy", "nll") else None


def _single(shape: list[int]) -> Finding:
    return Finding(
        f"A softmax is taken over a single output (shape {shape}): it is 1 whatever the network does, so that the "
        "loss is constant and no gradient comes back.",
        (Evidence("facts/graph/given", 1.0, 2.0, "The softmax has 1 output to choose from; it needs 2 or more."),),
        sure=0.99,
        remedies=(
            Remedy(
                "For two classes by one output take the binary loss, which has a sigmoid; or give the model an output "
                "for each class.",
                diff={"nn.CrossEntropyLoss()": "nn.BCEWithLogitsLoss()"},
            ),
        ),
    )


def _classes_as_amounts(chart: Chart, loss: str) -> Finding | None:
    """A loss for numbers on targets that are evenly used class numbers, and that the inputs tell apart as such."""
    counts: dict[str, int] = chart.fact("data", "train", "classes") or {}
    near = chart.fact("data", "train", "neighbours") or {}
    numbers = [str(number) for number in range(len(counts))]
    if len(counts) < FEWEST or {*counts} != {*numbers} or not near.get("expected"):
        return None
    even = min(counts.values()) * len(counts) > EVEN * sum(counts.values())
    if not even or near.get("disagree", 1.0) > ALIKE * near["expected"]:
        return None
    says = (
        f"The targets are the class numbers 0 to {len(counts) - 1}, each on {min(counts.values()):,} rows or more; "
        f"{1 - near['disagree']:.0%} of the rows are of the class of their nearest neighbours."
    )
    return Finding(
        f"The {len(counts)} classes are fitted as if their numbers were amounts: the loss ({loss}) takes one output a "
        f"row, so that between class 0 and class {len(counts) - 1} it answers with the classes in the middle.",
        (Evidence("facts/data/train/classes", float(len(counts)), float(FEWEST - 1), says.replace("%", " %")),),
        sure=0.75,  # ranks with as many rows each would look the same
        remedies=(
            Remedy(
                "Give the model an output for each class, and take the cross-entropy.",
                diff={"nn.Linear(64, 1)": f"nn.Linear(64, {len(counts)})", "nn.MSELoss()": "nn.CrossEntropyLoss()"},
            ),
        ),
    )


def _not_logarithms(what: str, largest: float) -> Finding:
    end = "falls without end" if what == "logits" else "goes to -1 with hardly a gradient"
    return Finding(
        f"The negative log-likelihood is given {what} (the largest is {largest:.2g}), but takes logarithms of "
        f"probabilities, which are never above 0: so the loss {end} and measures nothing.",
        (
            Evidence(
                "facts/graph/given",
                largest,
                0.0,
                f"The largest number that the loss was given is {largest:.2g}.",
            ),
        ),
        sure=0.98,
        remedies=(
            Remedy(
                "Give the logits to the cross-entropy, or take a log-softmax before this loss.",
                diff={"nn.NLLLoss()": "nn.CrossEntropyLoss()"},
            ),
        ),
    )


loss_mismatch = Check(
    look,
    symptom="The loss is negative and falls for ever, or is zero from the beginning.",
    sick=Example(fault="loss_mismatch", data="blobs", model="mlp", width=32, lr=0.1, epochs=15),
    near_miss=Example(fault="log_softmax_and_nll", data="blobs", model="mlp", width=32, lr=0.1, epochs=15),
    look_alike="The negative log-likelihood after a log-softmax, which is the cross-entropy in two pieces.",
    source="PyTorch, documentation of nn.NLLLoss: the input is expected to contain log-probabilities",
    explains=LEARNS_NOTHING | STEPS_TOO_LONG | {"deaf_network", "first_loss", "no_gradient", "overfitting"},
)
