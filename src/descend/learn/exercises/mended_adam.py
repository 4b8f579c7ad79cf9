"""4.5 An Adam with three mistakes, to be mended."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    steps, size, betas, eps = ((60, 4, (0.9, 0.999), 1e-8), (40, 3, (0.8, 0.95), 1e-3), (80, 5, (0.95, 0.9), 1e-5))[
        variant
    ]
    start = draw.normal(size=size)
    gradients = draw.normal(size=(steps, size)) * np.geomspace(0.02, 20, size)
    gradients[1:4, 0] = 0
    weight = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.01, betas=betas, eps=eps)
    points = []
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        points.append(weight.detach().numpy().copy())
    answer = yours.adam(start.copy(), gradients.copy(), 0.01, *betas, eps)
    path, m, v = answer if isinstance(answer, tuple) and len(answer) == 3 else (answer, None, None)
    yield expect_close("the weights after every step on hidden gradients", path, points, rel=1e-6)
    yield expect_close("the last mean of gradients, not corrected", m, optimizer.state[weight]["exp_avg"])
    yield expect_close("the last mean of squares, not corrected", v, optimizer.state[weight]["exp_avg_sq"])


mended_adam = Exercise(
    number="4.5",
    title="Mend an Adam",
    anchor="the-first-step",
    minutes=15,
    task="""
This Adam runs, and on an easy problem it trains. It has three mistakes, each of which has been published. Mend
them, so that it walks the path of torch.optim.Adam: adam(w, gradients, lr, beta1, beta2, eps) makes a step for each
row of gradients and returns the weights after each step, and the two means as they are kept, without correction. Do
it without torch.
""",
    starter='''
import numpy as np


def adam(w, gradients, lr, beta1, beta2, eps):
    """The weights after each step, the mean of gradients and the mean of squares."""
    m, v, points = np.zeros_like(w), np.zeros_like(w), []
    for t, g in enumerate(gradients):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat = m * (1 - beta1**t)
        v_hat = v * (1 - beta2**t)
        w = w - lr * m_hat / np.sqrt(v_hat + eps)
        points.append(w)
    return np.array(points), m, v
''',
    hints=(
        "Follow the first step by hand: what is t, what are m_hat and v_hat, and what should the step be?",
        "The mean of t equal numbers that starts at zero is too small, by 1 - beta**t. What makes it right again?",
        "PyTorch adds eps to the root of the mean of squares. Under the root, 1e-8 would act like 1e-4.",
    ),
    explanation="""
After the first gradient the means hold (1 - beta1) g and (1 - beta2) g^2. Divided by 1 - beta^t, with t counted
from one, they are g and g^2, and the step is lr in the direction of the sign. Multiplied instead, the first step
would be 10 lr; with t from zero it would be 0/0 or nothing; and with eps under the root small gradients make far
shorter steps. Each mistake still trains on an easy problem, so comparing paths, not final losses, is what finds
them.
""",
    untouched="the weights after every step on hidden gradients",
    check=check,
)
