"""4.1 Momentum as PyTorch has it, and the learning rate of the other convention."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    steps, size, beta = ((30, 4, 0.9), (60, 3, 0.5), (40, 6, 0.95))[variant]
    start, gradients = draw.normal(size=size), draw.normal(size=(steps, size)) + 0.5
    rates = np.where(np.arange(steps) < steps // 2, 0.2, 0.01)  # it drops in the middle
    weight = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=beta)
    points = []
    for rate, gradient in zip(rates, gradients, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        points.append(weight.detach().numpy().copy())
    answer = yours.momentum(start.copy(), gradients.copy(), rates.copy(), beta)
    path, velocity = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
    yield expect_close(
        f"the weights after each of {steps} steps, with a learning rate that drops halfway", path, points
    )
    kept = optimizer.state[weight]["momentum_buffer"]
    yield expect_close("the velocity after the last step", velocity, kept)
    lr = float(draw.uniform(0.01, 0.2))
    yield expect_close(
        "the learning rate for a mean of gradients that walks the same path",
        yours.lr_for_mean(lr, beta),
        lr / (1 - beta),
    )


momentum_step = Exercise(
    number="4.1",
    title="Momentum, and its other convention",
    anchor="three-conventions",
    minutes=10,
    task="""
Write momentum in the convention of PyTorch, without torch: momentum(w, gradients, rates, beta) begins at the
weights w (an array) with a velocity of zero and makes one step for each row of gradients, with the learning rate of
that step from rates. Return two things: the weights after each step (an array with a row for each step), and the
last velocity.

Then write lr_for_mean(lr, beta): the learning rate with which a velocity that is a mean of gradients, v = beta v +
(1 - beta) g, walks the same path as PyTorch's with lr.
""",
    starter='''
import numpy as np


def momentum(w, gradients, rates, beta):
    """The weights after each step, and the last velocity."""
    raise NotImplementedError


def lr_for_mean(lr, beta):
    """The learning rate that the mean of gradients needs."""
    raise NotImplementedError
''',
    hints=(
        "The velocity is a decaying sum: what was kept, times beta, plus the gradient as it is.",
        "The learning rate stays outside the velocity: it multiplies the velocity only when the weight moves.",
        "Under a constant gradient the sum grows to g / (1 - beta) and the mean to g. The steps must be equally long.",
    ),
    explanation="""
PyTorch's velocity is a sum of gradients and the learning rate acts when the weight moves, so a drop of the rate
acts at once. With the rate inside the velocity (Sutskever, Keras) old, long steps stay in the sum for about 1 / (1
- beta) steps. A mean of gradients is smaller than the sum by 1 - beta, so its rate must be larger by 1 / (1 -
beta): ten times at 0.9.
""",
    check=check,
)
