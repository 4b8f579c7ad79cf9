"""Loss and gradients of a plain dense network by hand, as the course derives them, without recording a graph.

For the layers z = a W' + b with a = f(z), and the gradient D of the loss with respect to the outputs:

    dL/dW = D' a      dL/db = sum of D over rows      D <- (D W) * f'(z) for the layer before

On small networks autograd spends most of its time on its records: this takes half to a third of it. What is not
covered (norms, dropout, residuals, other activations and losses) is autograd's. The two agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from descend.models.mlp import MLP

BACKWARD: Final[Mapping[type[nn.Module], Callable[[Tensor, Tensor], Tensor]]] = {
    nn.ReLU: lambda grad, output: torch.ops.aten.threshold_backward(grad, output, 0),
    nn.Tanh: torch.ops.aten.tanh_backward,
    nn.Sigmoid: torch.ops.aten.sigmoid_backward,
    nn.Identity: lambda grad, output: grad,
}
"""The gradient before an activation, from the gradient after it and its output; autograd calls the same kernels."""


def mse(outputs: Float[Tensor, "rows n"], targets: Float[Tensor, "rows n"]) -> tuple[Tensor, Tensor]:
    """The mean squared error and its gradient 2 (output - target) / n."""
    error = outputs - targets
    return error.square().sum() / error.numel(), error * (2 / error.numel())


def cross_entropy(outputs: Float[Tensor, "rows classes"], targets: Int[Tensor, " rows"]) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy of logits and its gradient (softmax - one-hot) / rows."""
    logs = torch.log_softmax(outputs, 1)
    one_hot = nn.functional.one_hot(targets, outputs.shape[1])
    return nn.functional.nll_loss(logs, targets), (logs.exp() - one_hot).div_(outputs.shape[0])


LOSSES: Final = {"mse": mse, "cross_entropy": cross_entropy}


class Dense:
    """A dense network's passes: `outputs = dense.forward(inputs)`, then `loss = dense.backward(outputs, ...)`.

    Use `Dense.of`, which is None where network or loss are not covered. Every parameter must have a gradient tensor;
    the backward pass overwrites it, so nothing needs to be set to zero.
    """

    def __init__(self, hidden: Sequence[tuple[nn.Linear, nn.Module]], head: nn.Linear, loss: str) -> None:
        self._linears = [_Linear.of(linear) for linear, _ in hidden] + [_Linear.of(head)]
        self._activations = [activation for _, activation in hidden]
        self._loss = LOSSES[loss]
        self._inputs: list[Tensor] = []  # of each layer, from the last forward pass

    @classmethod
    def of(cls, model: nn.Module, loss: str) -> Dense | None:
        """The passes of `model` by hand, or None if it is not a plain dense network or its loss is not covered."""
        if loss not in LOSSES:
            return None
        if type(model) is nn.Linear:
            return cls([], model, loss)
        if not isinstance(model, MLP) or model.residual:
            return None
        plain = all(type(module) is nn.Identity for module in (*model.norms, *model.dropouts))
        if not plain or not all(type(activation) in BACKWARD for activation in model.activations):
            return None
        hidden = [linear for linear in model.hidden if isinstance(linear, nn.Linear)]
        return cls(list(zip(hidden, model.activations, strict=True)), model.head, loss)

    def forward(self, inputs: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "rows outputs"]:
        """The outputs; activation modules are called, so hooks on them see what they would see."""
        a = inputs.flatten(1)
        self._inputs = [a]
        for linear, activation in zip(self._linears, self._activations, strict=False):
            a = activation(linear(a))
            self._inputs.append(a)
        return self._linears[-1](a)

    def backward(
        self, outputs: Float[Tensor, "rows outputs"], targets: Shaped[Tensor, "rows ..."], weight: float = 1.0
    ) -> Float[Tensor, ""]:
        """The mean loss of the last forward pass; the gradients of `weight` times it are written."""
        loss, d = self._loss(outputs, targets)
        if weight != 1.0:
            d = d * weight
        for layer in reversed(range(len(self._linears))):
            linear, inputs = self._linears[layer], self._inputs[layer]
            torch.mm(d.t(), inputs, out=linear.weight_grad)
            torch.sum(d, 0, out=linear.bias_grad)
            if layer:
                d = BACKWARD[type(self._activations[layer - 1])](torch.mm(d, linear.weight), inputs)
        return loss


class _Linear(NamedTuple):
    """Weight [out, in], bias [out], and their gradients: the memory that the optimizer works on.

    All are detached, so that autograd records nothing of what is done with them.
    """

    weight: Tensor
    bias: Tensor
    weight_grad: Tensor
    bias_grad: Tensor

    @classmethod
    def of(cls, linear: nn.Linear) -> _Linear:
        gradients = [parameter.grad for parameter in (linear.weight, linear.bias) if parameter.grad is not None]
        assert len(gradients) == 2, "a flat optimizer gives every parameter a gradient"
        return cls(linear.weight.detach(), linear.bias.detach(), *gradients)

    def __call__(self, inputs: Tensor) -> Tensor:
        return torch.addmm(self.bias, inputs, self.weight.t())
