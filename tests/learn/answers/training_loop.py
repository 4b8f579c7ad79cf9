"""Answers to training_loop, right and wrong."""

from mutants import replace

SOLUTION = """
import torch


def train(model, X, y, lr, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(X), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
"""

ZERO = "        optimizer.zero_grad()\n"
STEP = "        optimizer.step()\n"
BACKWARD = "        loss.backward()\n"

WRONG = {
    "no zero_grad": replace(SOLUTION, ZERO, ""),
    "zeroed once, before the loop": replace(SOLUTION, ZERO, "", "    losses = []\n", "    losses = []\n" + ZERO[4:]),
    "zeroed between backward and step": replace(SOLUTION, ZERO, "", STEP, ZERO + STEP),
    "step before backward": replace(SOLUTION, STEP, "", BACKWARD, STEP + BACKWARD),
    "zeroed after the step only": replace(SOLUTION, ZERO, "", STEP, STEP + ZERO),
    "the loss after the update": replace(
        SOLUTION, "losses.append(loss.item())", "losses.append(torch.nn.functional.mse_loss(model(X), y).item())"
    ),
}
