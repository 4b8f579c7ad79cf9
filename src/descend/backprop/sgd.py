"""What is done with gradients is no part of backpropagation: the update, in a few lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from descend.backprop.array import Array


class SGD:
    """Gradient descent with momentum in PyTorch's convention: v = momentum * v + grad, then data -= lr * v."""

    def __init__(self, parameters: Sequence[Array], lr: float, momentum: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.lr, self.momentum = lr, momentum
        self.velocities = [np.zeros_like(parameter.data) for parameter in self.parameters]

    def step(self) -> None:
        """Change every parameter that a backward pass has reached."""
        for parameter, velocity in zip(self.parameters, self.velocities, strict=True):
            if parameter.grad is not None:
                velocity *= self.momentum
                velocity += parameter.grad
                parameter.data -= self.lr * velocity

    def zero_grad(self) -> None:
        """Forget the gradients. Without this each backward pass adds to the last: momentum with a factor of 1."""
        for parameter in self.parameters:
            parameter.grad = None
