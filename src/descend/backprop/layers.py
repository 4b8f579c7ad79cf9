"""Layers: functions with parameters. What has none, such as an activation, is a function and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike

from descend.backprop.array import Array, Floats, Made, Operand, operation
from descend.backprop.inits import INITS
from descend.backprop.ops import matmul, mean, relu, sqrt, square

Function = Callable[[Array], Array]


class Layer:
    """Something with parameters: the Arrays among its attributes, and those of the layers in it."""

    training = True

    def layers(self) -> Sequence[object]:
        """What stands inside, in order; a layer of layers says so."""
        return ()

    def named_parameters(self) -> dict[str, Array]:
        """The parameters by name, such as `0.weight`: those of this layer, then of the layers in it."""
        own = {name: value for name, value in vars(self).items() if isinstance(value, Array)}
        for i, layer in enumerate(self.layers()):
            if isinstance(layer, Layer):
                own |= {f"{i}.{name}": value for name, value in layer.named_parameters().items()}
        return own

    def parameters(self) -> list[Array]:
        """What an optimizer changes, in the order in which PyTorch would give it."""
        return list(self.named_parameters().values())

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, training: bool = True) -> None:
        """Say whether the network is training; BatchNorm computes with other statistics when it is not."""
        self.training = training
        for layer in self.layers():
            if isinstance(layer, Layer):
                layer.train(training)


class Linear(Layer):
    """x W' + b for rows x: weight is [outputs, inputs] and bias [outputs], as in PyTorch.

    `init` is a name in INITS. The bias starts at zero, except with "default", where it is drawn as PyTorch does.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        init: str = "default",
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        if init not in INITS:
            raise ValueError(f"No initialisation is called {init!r}. Known: {', '.join(INITS)}.")
        rng = rng or np.random.default_rng()
        self.weight = Array(INITS[init](rng, outputs, inputs).astype(dtype), "weight")
        self.bias: Array | None = None
        if bias:
            bound = 1 / np.sqrt(inputs) if init == "default" else 0.0
            self.bias = Array(rng.uniform(-bound, bound, outputs).astype(dtype), "bias")

    def __call__(self, x: Operand) -> Array:
        """Rows [rows, inputs] to [rows, outputs]."""
        z = matmul(x, self.weight.T)
        return z if self.bias is None else z + self.bias


class BatchNorm(Layer):
    """Each feature of the batch to mean 0 and variance 1, then times `gain` plus `shift` (Ioffe & Szegedy 2015).

    While training it takes the batch's own mean and variance, and keeps a running average of both (`momentum` is the
    weight of the newest; the variance divided by rows - 1, as in PyTorch); after `train(False)` it takes the averages.
    """

    def __init__(
        self, features: int, *, eps: float = 1e-5, momentum: float = 0.1, dtype: DTypeLike = np.float64
    ) -> None:
        self.gain = Array(np.ones(features, dtype), "gain")
        self.shift = Array(np.zeros(features, dtype), "shift")
        self.eps, self.momentum = eps, momentum
        self.running_mean: Floats = np.zeros(features, dtype)
        self.running_variance: Floats = np.ones(features, dtype)

    def __call__(self, x: Array) -> Array:
        """Rows [rows, features] to the same shape."""
        if not self.training:
            scale: Floats = 1 / np.sqrt(self.running_variance + self.eps)
            return (x - self.running_mean) * scale * self.gain + self.shift
        self.running_mean += self.momentum * (x.data.mean(axis=0) - self.running_mean)
        self.running_variance += self.momentum * (x.data.var(axis=0, ddof=1) - self.running_variance)
        return batch_norm(x, self.gain, self.shift, eps=self.eps)


@operation
def batch_norm(x: Floats, gain: Floats, shift: Floats, *, eps: float = 1e-5) -> Made:
    """Columns of [rows, features] to mean 0 and variance 1, times gain plus shift, with the gradient derived by hand.

    With x_hat = (x - mean) / sd, every row acts on x_hat directly, through the mean and through the variance. The
    three ways add up to dL/dx = gain / sd * (g - mean(g) - x_hat * mean(g * x_hat)): what is left of g when the two
    directions are taken out in which x cannot change the output.
    """
    if x.ndim != 2:
        raise ValueError("batch normalisation here takes [rows, features].")
    sd = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / sd

    to_x = lambda g: gain / sd * (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0))  # noqa: E731
    return gain * x_hat + shift, to_x, lambda g: g * x_hat, lambda g: g


def batch_norm_composed(x: Array, gain: Operand, shift: Operand, *, eps: float = 1e-5) -> Array:
    """The same as `batch_norm`, of small operations: nine nodes, and the engine finds the gradient by itself."""
    centred = x - mean(x, 0)
    return gain * (centred / sqrt(mean(square(centred), 0) + eps)) + shift


class Sequential(Layer):
    """One after the other: layers, and functions such as `relu`."""

    def __init__(self, *functions: Function) -> None:
        self.functions = functions

    def layers(self) -> Sequence[object]:
        """The layers and functions, in order."""
        return self.functions

    def __call__(self, x: Operand) -> Array:
        """What the last returns."""
        for function in self.functions:
            x = function(x)  # type: ignore[arg-type]  # the first may get a NumPy array
        assert isinstance(x, Array)
        return x


class MLP(Sequential):
    """Linear layers of these widths, [inputs, hidden, ..., outputs], with an activation between any two."""

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: Function = relu,
        init: str = "default",
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        rng = rng or np.random.default_rng()

        def functions() -> Iterator[Function]:
            for i, (inputs, outputs) in enumerate(pairwise(widths)):
                if i:
                    yield activation
                yield Linear(inputs, outputs, init=init, rng=rng, dtype=dtype)

        super().__init__(*functions())
