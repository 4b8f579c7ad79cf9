"""1.1 A training loop in the right order."""

from collections.abc import Iterator

import numpy as np
import torch

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, features, steps = ((20, 3, 5), (8, 2, 7), (30, 4, 4))[variant]
    X, y = draw.normal(size=(rows, features)), draw.normal(size=(rows, 1)) + 1
    start, lr = draw.normal(size=(1, features)), 0.1

    def path(steps: int) -> tuple[np.ndarray, list[float]]:
        w, losses = start.T, []
        for _ in range(steps):
            losses.append(float(((X @ w - y) ** 2).mean()))
            w = w - lr * 2 / rows * X.T @ (X @ w - y)
        return w.T, losses

    def trained(steps: int, stale: bool = False) -> tuple[torch.nn.Module, object]:
        model = torch.nn.Linear(features, 1, bias=False).double()
        model.weight.data = torch.tensor(start)
        if stale:
            model.weight.grad = torch.ones_like(model.weight)
        return model, yours.train(model, torch.tensor(X), torch.tensor(y), lr, steps)

    model, _ = trained(1)
    yield expect_close("the weights after 1 update on hidden data", model.weight, path(1)[0])
    model, losses = trained(steps)
    yield expect_close("the weights after several updates on hidden data", model.weight, path(steps)[0])
    yield expect_close("the loss before each update", losses, path(steps)[1])
    model, _ = trained(1, stale=True)
    yield expect_close("the weights after 1 update, if the model came with an old gradient", model.weight, path(1)[0])


training_loop = Exercise(
    number="1.1",
    title="A training loop in the right order",
    anchor="the-training-loop",
    minutes=5,
    task="""
The function train below has the loop that many summaries show: forward, loss, backward, update, repeat. It trains,
and it does not do gradient descent. Mend it.

train(model, X, y, lr, epochs) makes `epochs` updates of the model's parameters with the gradient of the mean squared
error on all rows, and returns the list of losses, each taken before its update. The model may have been used before:
what its parameters hold in .grad when it comes must not matter.
""",
    starter='''
import torch


def train(model, X, y, lr, epochs):
    """Full-batch gradient descent on the mean squared error: the loss before each update."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(epochs):
        loss = torch.nn.functional.mse_loss(model(X), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
''',
    hints=(
        "Print the gradient of a parameter after the first and after the second backward pass, with lr=0.",
        "A backward pass adds to what it finds in .grad. Who should empty it, and when is it still needed?",
        "One line is missing. It may stand in several places of the loop, but not between backward and step.",
    ),
    explanation="""
backward() adds to .grad, so that several losses or batches can be summed. Without zero_grad every update uses the sum
of all gradients so far, which is momentum with a factor of 1: the weights swing around the minimum with the period
2 pi / sqrt(lr curvature) and never come to rest. Between backward and step zero_grad would throw away the gradient
that is about to be used. Zeroing after the step is right too, but then the first update uses what the model came with.
""",
    check=check,
    untouched="the weights after several updates on hidden data",
)
