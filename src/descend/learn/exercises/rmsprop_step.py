"""4.4 RMSprop as PyTorch has it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    steps, size, alpha, eps = ((50, 4, 0.99, 1e-8), (30, 3, 0.9, 0.1), (80, 5, 0.95, 1e-6))[variant]
    start = draw.normal(size=size)
    gradients = draw.normal(size=(steps, size)) * draw.uniform(0.1, 3, size)
    gradients[:3, 0] = 0  # a weight that is silent at first
    weight = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.RMSprop([weight], lr=0.02, alpha=alpha, eps=eps)
    points = []
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        points.append(weight.detach().numpy().copy())
    answer = yours.rmsprop(start.copy(), gradients.copy(), 0.02, alpha, eps)
    path, kept = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
    yield expect_close(f"the weights after each of {steps} steps, alpha {alpha:g}, eps {eps:g}", path, points)
    yield expect_close("the mean of squares after the last step", kept, optimizer.state[weight]["square_avg"])
    yield expect_close(
        f"the first step in units of lr, alpha {alpha:g}, eps negligible", yours.first_step(alpha), (1 - alpha) ** -0.5
    )


rmsprop_step = Exercise(
    number="4.4",
    title="RMSprop as PyTorch has it",
    anchor="rmsprop-steps-that-forget",
    minutes=10,
    task="""
Write RMSprop as torch.optim.RMSprop has it, without torch: rmsprop(w, gradients, lr, alpha, eps) begins at the
weights w (an array) and makes one step for each row of gradients. The running mean of squares begins at zero and is
not corrected; eps is added after the root. Return two things: the weights after each step (a row for each step),
and the last mean of squares.

Then write first_step(alpha): how long the first step is in units of lr, for any gradient much larger than eps.
""",
    starter='''
import numpy as np


def rmsprop(w, gradients, lr, alpha, eps):
    """The weights after each step, and the mean of squares."""
    raise NotImplementedError


def first_step(alpha):
    """Length of the first step in units of lr."""
    raise NotImplementedError
''',
    hints=(
        "alpha is the share of the old mean that stays; the squared gradient gets the rest.",
        "Bring the mean up to date first, then divide the gradient by its root plus eps.",
        "After one gradient g the mean is only (1 - alpha) g^2. What is g over the root of that?",
    ),
    explanation="""
The mean starts at zero and needs about 1 / (1 - alpha) gradients to fill, so the first steps are too long: by a
factor of 10 at alpha 0.99 and 31.6 at 0.999. With PyTorch's default learning rate of 0.01 the first step moves
every weight by 0.1. Adam's bias correction exists to mend this; elsewhere the mean starts at one, or eps stands
under the root, and the same learning rate means something else.
""",
    check=check,
)
