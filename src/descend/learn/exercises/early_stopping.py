"""5.4 Early stopping that restores the best weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close, expect_equal


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    patience, min_delta = ((3, 0.0), (4, 0.1), (2, 0.02))[variant]
    losses = _losses(draw, patience, min_delta)
    stop = _stop(losses, patience, min_delta)
    best_step, best = _best(losses[: stop + 1], min_delta)
    stopper = yours.EarlyStopping(patience, min_delta)
    weights = {"weight": draw.normal(size=(3, 2)), "bias": draw.normal(size=3)}
    kept = weights
    for step, loss in enumerate(losses[: stop + 1]):
        for value in weights.values():
            value += draw.normal(size=value.shape)  # training changes weights in place
        if step == best_step:
            kept = {name: value.copy() for name, value in weights.items()}
        answer = stopper.see(float(loss), weights)
        yield expect_equal(
            f"what see() returns at evaluation {step + 1}, with patience {patience} and min_delta {min_delta}",
            bool(answer) if isinstance(answer, bool | np.bool_) else answer,
            step == stop,
        )
    yield expect_close("best_loss", getattr(stopper, "best_loss", None), best, rel=1e-9)
    for value in weights.values():
        value += 1.0
    stopper.restore(weights)
    for name, value in kept.items():
        yield expect_close(f"{name} after restore()", weights.get(name), value, rel=1e-12)
    weights["bias"] += 5.0
    stopper.restore(weights)
    yield expect_close("bias after it was trained on and restored once more", weights["bias"], kept["bias"], rel=1e-12)


def _losses(draw: np.random.Generator, patience: int, min_delta: float) -> list[float]:
    """Falls with pauses, a gain too small to count, one NaN, and then nothing better for long."""
    losses = [3.0 + draw.uniform(0, 0.5)]
    for _ in range(3):
        losses.append(losses[-1] - min_delta - draw.uniform(0.1, 0.3))
        best = losses[-1]
        losses += [best + draw.uniform(0.05, 0.5) for _ in range(patience - 1)]  # one more and it would end
        losses.append(best - min_delta - draw.uniform(0.1, 0.3))
    best = losses[-1]
    losses += [float("nan"), best - 0.5 * min_delta + (0.01 if min_delta == 0 else 0.0)]
    return losses + [best + draw.uniform(0.1, 0.4) for _ in range(2 * patience)]


def _stop(losses: list[float], patience: int, min_delta: float) -> int:
    """The evaluation, from 0, after which it ends."""
    best, since = np.inf, 0
    for step, loss in enumerate(losses):
        since = 0 if loss < best - min_delta else since + 1
        best = loss if since == 0 else best
        if since == patience:
            return step
    raise AssertionError("these losses never end a run")


def _best(losses: list[float], min_delta: float) -> tuple[int, float]:
    step, best = 0, np.inf
    for number, loss in enumerate(losses):
        if loss < best - min_delta:
            step, best = number, loss
    return step, best


early_stopping = Exercise(
    number="5.4",
    title="Early stopping that restores the best",
    anchor="early-stopping",
    minutes=20,
    task="""
Write a class EarlyStopping(patience, min_delta). An evaluation is better if its validation loss is lower than the best
so far by more than min_delta; the first that is not NaN always is, and NaN never is.

- see(loss, weights) takes note of one evaluation and returns True if training should end: if the last `patience`
evaluations in a row were not better. `weights` is a dict of NumPy arrays, which training changes in place afterwards.
- best_loss is the loss of the last better evaluation.
- restore(weights) writes the weights of that evaluation into the arrays of the dict. It may be called more than once.
""",
    starter='''
import math

import numpy as np


class EarlyStopping:
    def __init__(self, patience, min_delta=0.0):
        self.patience = patience
        self.min_delta = min_delta
        self.best_loss = math.inf

    def see(self, loss, weights):
        """Take note of one evaluation. True if training should end."""
        raise NotImplementedError

    def restore(self, weights):
        """Write the best weights into the arrays of `weights`."""
        raise NotImplementedError
''',
    hints=(
        "What does `best = weights` hold after the next training step has changed the arrays in place?",
        "Count the evaluations since the last better one: back to 0 when there is a better one, else one more.",
        "A comparison with NaN is false. Write the condition so that false means not better.",
        "In restore, assign into the arrays (a slice of everything), and do not hand out the ones that you keep.",
    ),
    explanation="""
What early stopping is worth lies in the weights it keeps. Without restoring, one keeps those of `patience` evaluations
after the best, and a reference in place of a copy is the same thing by another name: the optimizer goes on changing
what it refers to. PyTorch's state_dict() is such a reference. Patience counts evaluations in a row, because a single
bad one is noise; min_delta says what is too little to wait for.
""",
    check=check,
)
