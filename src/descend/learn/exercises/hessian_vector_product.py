"""2.4 A Hessian times a vector, by two backward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from descend.learn import Answer, Exercise, Observation, expect_between, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    features, units = ((3, 4), (2, 6), (5, 3))[variant]
    inputs, targets = (torch.from_numpy(draw.normal(size=(20, size))) for size in (features, 1))
    split = features * units
    calls = 0

    def loss(w: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        hidden = torch.tanh(inputs @ w[:split].view(features, units))
        return ((hidden @ w[split:].view(units, 1) - targets) ** 2).mean()

    w, v = (torch.from_numpy(draw.normal(size=split + units)) for _ in range(2))
    expected = _by_columns(loss, w) @ v
    before, calls = w.clone(), 0
    observed = yours.hessian_vector(loss, w, v)
    yield expect_between("how often the loss was computed", calls, low=1, high=1)
    yield expect_close("the Hessian of a hidden network's loss times a vector", observed, expected, rel=1e-8)
    yield expect_close("the weights afterwards", w, before, rel=1e-12)
    yield expect_close(
        "the product for a vector half as long", yours.hessian_vector(loss, w, v / 2), expected / 2, rel=1e-8
    )


def _by_columns(loss: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    at = w.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(at), at, create_graph=True)
    rows = [torch.autograd.grad(one, at, retain_graph=True)[0] for one in slope]
    return torch.stack(rows)


hessian_vector_product = Exercise(
    number="2.4",
    title="A Hessian that is never formed",
    anchor="measuring-curvature",
    minutes=15,
    task="""
Write hessian_vector(loss, w, v), which returns H v: the Hessian of loss at w times the vector v. loss is a function
that takes a tensor (parameters,) and returns a number as a tensor; w and v are float64 tensors (parameters,). Return a
tensor (parameters,).

Compute the loss once, and use torch.autograd.grad twice; the functions of torch.autograd.functional and torch.func
would take the fun out of it. w does not require gradients when it comes in, and must not be changed.
""",
    starter='''
import torch


def hessian_vector(loss, w, v):
    """The Hessian of loss at w, times v."""
    raise NotImplementedError
''',
    hints=(
        "The slope of the loss along v is one number that depends on w. What is its gradient?",
        "Its gradient is H v. So take the gradient of the loss, multiply it with v to get a number, and differentiate "
        "that.",
        "The first gradient must remember how it was computed: look at the option create_graph of torch.autograd.grad. "
        "And start from a copy of w that requires gradients.",
    ),
    explanation="""
The gradient times a fixed vector is a number, and the gradient of that number is the Hessian times the vector. It costs
about as much as two backward passes, whatever the number of weights, while the whole Hessian would cost one backward
pass for every weight and as much memory as the square of their number. Repeated, the product finds the largest
eigenvalue, and so the largest stable learning rate.
""",
    check=check,
)
