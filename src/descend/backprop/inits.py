"""Weights before the first step, [outputs, inputs] as PyTorch stores them.

A layer z = W x of n inputs multiplies the mean square of its input by n Var(w). ReLU halves it, so n Var(w) = 2 keeps
it through ReLU layers and n Var(w) = 1 through linear ones (and nearly through tanh).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from jaxtyping import Float

Weight = Float[np.ndarray, "outputs inputs"]


def default(rng: np.random.Generator, outputs: int, inputs: int) -> Weight:
    """PyTorch's for nn.Linear, weights and bias: uniform within 1/sqrt(inputs), so Var(w) = 1 / (3 inputs)."""
    return _uniform(rng, outputs, inputs, variance=1 / (3 * inputs))


def he_normal(rng: np.random.Generator, outputs: int, inputs: int) -> Weight:
    """Normal with Var(w) = 2 / inputs (He et al. 2015, equation 10)."""
    return rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs))


def he_uniform(rng: np.random.Generator, outputs: int, inputs: int) -> Weight:
    """Uniform with Var(w) = 2 / inputs (He et al. 2015, equation 10)."""
    return _uniform(rng, outputs, inputs, variance=2 / inputs)


def xavier_normal(rng: np.random.Generator, outputs: int, inputs: int) -> Weight:
    """Normal with Var(w) = 2 / (inputs + outputs), between the wishes of both directions (Glorot & Bengio 2010)."""
    return rng.normal(0, np.sqrt(2 / (inputs + outputs)), (outputs, inputs))


def xavier_uniform(rng: np.random.Generator, outputs: int, inputs: int) -> Weight:
    """Uniform with Var(w) = 2 / (inputs + outputs) (Glorot & Bengio 2010, equation 16)."""
    return _uniform(rng, outputs, inputs, variance=2 / (inputs + outputs))


def _uniform(rng: np.random.Generator, outputs: int, inputs: int, *, variance: float) -> Weight:
    bound = np.sqrt(3 * variance)  # the variance of U(-b, b) is b^2 / 3
    return rng.uniform(-bound, bound, (outputs, inputs))


Init = Callable[[np.random.Generator, int, int], Weight]
INITS: Final[Mapping[str, Init]] = {
    init.__name__: init for init in (default, he_normal, he_uniform, xavier_normal, xavier_uniform)
}
"""The schemes by name; each takes a generator and the numbers of outputs and inputs."""
