"""4.6 AdamW: weight decay beside the gradient, not in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    steps, size, lr, decay = ((40, 5, 0.02, 0.5), (60, 4, 0.05, 0.1), (30, 6, 0.01, 1.0))[variant]
    start = draw.normal(size=size) + 3
    gradients = draw.normal(size=(steps, size)) * np.geomspace(1e-7, 10, size)  # the smallest meet eps
    decayed = np.arange(size) % 3 != 2  # the others are biases
    weights = [torch.tensor(start[chosen], requires_grad=True) for chosen in (decayed, ~decayed)]
    groups = [{"params": [weights[0]], "weight_decay": decay}, {"params": [weights[1]], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    points = np.zeros((steps, size))
    for step, gradient in enumerate(gradients):
        for weight, chosen in zip(weights, (decayed, ~decayed), strict=True):
            weight.grad = torch.tensor(gradient[chosen])
        optimizer.step()
        for weight, chosen in zip(weights, (decayed, ~decayed), strict=True):
            points[step, chosen] = weight.detach().numpy()
    path = yours.adamw(start.copy(), gradients.copy(), decayed.copy(), lr, decay)
    yield expect_close("the weights after each step, some of them without decay", path, points, rel=1e-6)
    still = yours.adamw(start.copy(), np.zeros((1, size)), np.ones(size, bool), lr, decay)
    yield expect_close("the weights after a step without any gradient", still, [start * (1 - lr * decay)], rel=1e-6)


decoupled_decay = Exercise(
    number="4.6",
    title="AdamW: decay beside the gradient",
    anchor="weight-decay",
    minutes=15,
    task="""
Write AdamW as torch.optim.AdamW has it, without torch: adamw(w, gradients, decayed, lr, weight_decay) begins at the
weights w and makes one step for each row of gradients. decayed is an array of true and false: only weights where it
is true are decayed, since the others are biases. beta1 is 0.9, beta2 0.999 and eps 1e-8. Return the weights after
each step, a row for each.
""",
    starter='''
import numpy as np


def adamw(w, gradients, decayed, lr, weight_decay):
    """The weights after each step."""
    raise NotImplementedError
''',
    hints=(
        "The means of Adam see the gradient of the data and nothing else.",
        "The decay multiplies the weight itself, by a little less than one, and only where decayed is true.",
        "PyTorch shrinks the weight by lr * weight_decay of itself, and only then makes the step of Adam.",
    ),
    explanation="""
Decay that comes in through the gradient is divided by the root mean square of the gradients: without other
gradients it moves every weight by lr, whatever its strength, and with them it spares the weights with loud
gradients. Beside the gradient it shrinks all weights alike, by lr times the strength. PyTorch multiplies by lr, so
a schedule of the learning rate is also one of the decay; the paper keeps the two apart.
""",
    check=check,
)
