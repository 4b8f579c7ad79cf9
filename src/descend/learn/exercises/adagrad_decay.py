"""4.3 AdaGrad, and the schedule that it brings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    steps, size, eps = ((50, 4, 1e-10), (30, 3, 0.05), (80, 5, 1e-6))[variant]
    start = draw.normal(size=size)
    gradients = draw.normal(size=(steps, size)) * draw.uniform(0.1, 3, size)
    gradients[:, 0] *= np.arange(steps) % 7 == 3  # a rare feature
    weight = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.Adagrad([weight], lr=0.3, eps=eps)
    points = []
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        points.append(weight.detach().numpy().copy())
    answer = yours.adagrad(start.copy(), gradients.copy(), 0.3, eps)
    path, kept = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
    yield expect_close(f"the weights after each of {steps} steps, one of them with rare gradients", path, points)
    yield expect_close("what is kept after the last step", kept, optimizer.state[weight]["sum"])
    share = (0.1, 0.04, 0.05)[variant]
    yield expect_close(
        f"after how many steps of a constant gradient the step is {share:g} of the first",
        yours.steps_until(share),
        1 / share**2,
        rel=0.02,
    )


adagrad_decay = Exercise(
    number="4.3",
    title="AdaGrad and its schedule",
    anchor="adagrad-steps-that-remember-everything",
    minutes=10,
    task="""
Write AdaGrad without torch: adagrad(w, gradients, lr, eps) begins at the weights w (an array) and makes one step
for each row of gradients; eps is added after the root. Return two things: the weights after each step (a row for
each step), and what has been kept after the last. The first gradients of a weight may be zero: then it stays where
it is.

Then write steps_until(share): under a constant gradient, the number of the step that is that share of the first
one.
""",
    starter='''
import numpy as np


def adagrad(w, gradients, lr, eps):
    """The weights after each step, and what is kept."""
    raise NotImplementedError


def steps_until(share):
    """The step of a constant gradient that is this share of the first."""
    raise NotImplementedError
''',
    hints=(
        "Every weight has a sum of its own, of all its squared gradients so far.",
        "The sum takes in the new gradient first, then the step divides by its root: the first step is lr long.",
        "After t equal gradients the sum is t times the square of one. What does its root do to the step?",
    ),
    explanation="""
The sum never forgets, so under a constant gradient the steps fall like one over the root of t: a tenth at step 100,
a hundredth at step 10,000. For convex problems that is the schedule one would choose, and a weight that is seen
rarely keeps long steps. For long trainings of networks it ends too early, which is what RMSprop's running mean
mends.
""",
    check=check,
)
