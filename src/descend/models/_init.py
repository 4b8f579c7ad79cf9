"""Initialisation: the values of a model's parameters before the first step.

An initialisation fills the matrices and kernels of linear, convolution and recurrent layers, in the order of
`model.modules()`, and sets their biases to zero. A gate of a recurrent layer counts as a matrix of its own. What is no
weighted sum stays as PyTorch made it: embeddings N(0, 1), norms at scale one and shift zero. Random numbers come from
PyTorch's default generator; seed it before the model is made.

With n inputs, Var(w) = gain^2 / n keeps the mean square of a layer's outputs at gain^2 times that of its inputs. ReLU
loses half of it, so gain^2 = 2 goes on through any number of ReLU layers and 1 through linear ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from descend.catalog import Positive


def default(model: nn.Module) -> None:
    """PyTorch's: weights and biases of linear layers and kernels uniform within 1/sqrt(fan_in).

    Var(w) = 1 / (3 fan_in), so each ReLU layer without bias shrinks its input by 1/sqrt(6) = 0.41.
    """


def he_normal(model: nn.Module) -> None:
    """Normal, Var(w) = 2/fan_in: keeps activations through ReLU layers (He et al. 2015, equation 10)."""
    _fill(model, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"))


def he_uniform(model: nn.Module) -> None:
    """Uniform, Var(w) = 2/fan_in: keeps activations through ReLU layers (He et al. 2015, equation 10)."""
    _fill(model, lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"))


def xavier_normal(model: nn.Module) -> None:
    """Normal, Var(w) = 2/(fan_in + fan_out): a compromise for both directions (Glorot & Bengio 2010, equation 12)."""
    _fill(model, nn.init.xavier_normal_)


def xavier_uniform(model: nn.Module) -> None:
    """Uniform, Var(w) = 2/(fan_in + fan_out): for tanh and the like (Glorot & Bengio 2010, equation 16)."""
    _fill(model, nn.init.xavier_uniform_)


def lecun_normal(model: nn.Module) -> None:
    """Normal, Var(w) = 1/fan_in: keeps activations through linear and tanh layers (LeCun et al. 1998, section 4.6)."""
    _fill(model, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"))


def orthogonal(model: nn.Module, *, init_gain: Positive = 1.0) -> None:
    """Rows or columns orthogonal, of length `init_gain`: keeps every direction's length (Saxe et al. 2014).

    For ReLU layers a gain of sqrt(2) = 1.41 makes up for the half that it cuts off.
    """
    _fill(model, lambda weight: nn.init.orthogonal_(weight, gain=init_gain))


def normal(model: nn.Module, *, init_std: Positive = 0.02) -> None:
    """Normal with standard deviation `init_std` whatever the layer's size, embeddings too (Radford et al. 2018)."""
    _fill(model, lambda weight: nn.init.normal_(weight, std=init_std))
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=init_std)


def zeros(model: nn.Module) -> None:
    """All zero: a linear model may start so, but the units of a hidden layer would stay alike for ever."""
    _fill(model, nn.init.zeros_)


@torch.no_grad()
def _fill(model: nn.Module, draw: Callable[[Tensor], Tensor]) -> None:
    for module in model.modules():
        for weight in _weights(module):
            draw(weight)
        for bias in _biases(module):
            bias.zero_()


def _weights(module: nn.Module) -> Iterator[Tensor]:
    """The matrices [fan_out, fan_in] and kernels [out, in, *window] of this module itself, not of its children."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        yield module.weight
    elif isinstance(module, nn.RNNBase):
        for name, parameter in module.named_parameters(recurse=False):
            if name.startswith("weight"):
                yield from parameter.chunk(len(parameter) // module.hidden_size)


def _biases(module: nn.Module) -> Iterator[Tensor]:
    if isinstance(module, nn.Linear | nn.Conv2d | nn.RNNBase):
        for name, parameter in module.named_parameters(recurse=False):
            if name.startswith("bias"):
                yield parameter
