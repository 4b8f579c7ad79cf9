"""Sharpness: the largest eigenvalue of the loss's Hessian, and how near 2 / lr it is.

`sharpness/hessian` is the largest eigenvalue of the Hessian of the batch's mean loss, in evaluation mode.
`sharpness/of_limit` is lr / 2 times it: beyond 1, plain gradient descent moves away from a quadratic's minimum, and on
networks full-batch descent hovers about 1 (Cohen et al. 2021, "Gradient Descent on Neural Networks Typically Occurs at
the Edge of Stability"). With momentum b the edge lies at 1 + b; for Adam and other rules that scale each parameter by
itself, 1 means nothing.

By the Lanczos method (Golub & Van Loan, "Matrix Computations", section 10.1) with Hessian-vector products (Pearlmutter
1994); no Hessian is formed. The residual says how far the value is from an eigenvalue: at most 1e-3 of it, unless 100
products did not get so far. That it is the top one and not a near neighbour no such method can promise (2 of 3000
random spectra were off, by up to 5 %). The search starts where the last one ended: in trials on networks of 9,000 to
670,000 parameters the first measurement took 12 to 35 products and later ones 12 to 18, each at about the price of a
training step. Keeps 20 vectors as long as the parameters.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from descend.monitors._monitor import Monitor, Step

TOLERANCE: Final = 1e-3  # of the eigenvalue
BASIS: Final = 20  # vectors kept
LEAST: Final = 12  # products: after fewer, 11 of 3000 trials had converged to a lower eigenvalue than the top one
STARTS: Final = 5
SETTING: Final = threading.Lock()
FRESH: Final = 0.1  # share of a random direction in a warm start, lest it stay on what is no longer the top eigenvector

Vector = Float[Tensor, " parameters"]


def measure(step: Step) -> dict[str, Tensor]:
    with _twice_differentiable():
        value, step.memory["sharpness"] = _top_eigenpair(_hessian(step), _start(step))
    return {"sharpness/hessian": value, "sharpness/of_limit": step.lr / 2 * value}


@contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Without the fused kernels for attention and recurrent layers, which have no second derivative.

    Torch keeps one such setting for all threads, so one thread at a time changes it.
    """
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    with SETTING:
        enabled = [library.enabled for library in libraries]
        try:
            for library in libraries:
                library.enabled = False
            with sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            for library, was in zip(libraries, enabled, strict=True):
                library.enabled = was


def _hessian(step: Step) -> Callable[[Vector], Vector]:
    """The Hessian at `step.parameters`, laid end to end, as a function that multiplies a vector."""
    assert step.loss_of is not None, "sharpness needs step.loss_of"
    loss_of, names = step.loss_of, list(step.parameters)
    parts = [part.flatten() for part in step.parameters.values()]
    sizes = [len(part) for part in parts]

    def loss(flat: Vector) -> Tensor:
        pieces = zip(names, flat.split(sizes), strict=True)
        parameters = {name: piece.view_as(step.parameters[name]) for name, piece in pieces}
        return loss_of(parameters, step.inputs, step.targets)

    # The Hessian is symmetric, so the transposed product, which needs reverse mode only, is the product.
    transposed: Callable[[Vector], tuple[Vector]] = torch.func.vjp(torch.func.grad(loss), torch.cat(parts))[1]

    return lambda vector: transposed(vector)[0]


def _start(step: Step) -> Vector:
    """A random direction, the same at every step, most of it replaced by the last eigenvector once there is one."""
    like = torch.cat([part.flatten() for part in step.parameters.values()])
    random = torch.randn(len(like), generator=torch.Generator().manual_seed(0), dtype=like.dtype).to(like.device)
    fresh: Vector = random / torch.linalg.vector_norm(random)
    last: Vector | None = step.memory.get("sharpness")
    return fresh if last is None else last + FRESH * fresh


def _top_eigenpair(times: Callable[[Vector], Vector], start: Vector) -> tuple[Float[Tensor, ""], Vector]:
    """The largest eigenvalue of a symmetric map and its eigenvector, by Lanczos from `start`, restarted."""
    for _ in range(STARTS):
        value, start, found = _lanczos(times, start)
        if found:
            break
    return start.new_tensor(value), start


def _lanczos(times: Callable[[Vector], Vector], start: Vector) -> tuple[float, Vector, bool]:
    """The largest Ritz value after at most BASIS products, its unit vector, and whether the two are an eigenpair."""
    basis = start.new_empty(min(BASIS, len(start)), len(start))
    projected = torch.zeros(len(basis), len(basis), dtype=torch.float64)
    residual = start
    for size in range(1, len(basis) + 1):
        basis[size - 1] = residual / torch.linalg.vector_norm(residual)
        residual = times(basis[size - 1])
        for _ in range(2):  # one orthogonalisation leaves rounding errors, a second one none that matter
            along = basis[:size] @ residual
            residual = residual - along @ basis[:size]
            projected[:size, size - 1] += along.cpu()
        values, vectors = torch.linalg.eigh(projected[:size, :size], UPLO="U")
        size_of_map, left = float(values.abs().max()), float(torch.linalg.vector_norm(residual))
        converged = left * abs(float(vectors[-1, -1])) <= TOLERANCE * size_of_map
        exhausted = left <= torch.finfo(start.dtype).eps * size_of_map  # the products lead to no new direction
        if exhausted or (converged and size >= LEAST):
            break
    return float(values[-1]), vectors[:, -1].to(basis) @ basis[:size], converged


sharpness = Monitor(
    measure,
    unit="loss per squared unit of parameter; of_limit: share",
    needs=frozenset({"targets", "loss_of"}),
    every=10,
    default=False,
    vmapped=False,
)
