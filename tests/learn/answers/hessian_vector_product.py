"""Answers to hessian_vector_product, right and wrong."""

from mutants import replace

SOLUTION = """
import torch


def hessian_vector(loss, w, v):
    at = w.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(at), at, create_graph=True)
    (product,) = torch.autograd.grad(slope @ v, at)
    return product
"""

WRONG = {
    "the gradient": replace(SOLUTION, "return product", "return slope.detach()"),
    "the gradient times v, number by number": replace(SOLUTION, "return product", "return slope.detach() * v"),
    "the Hessian times ones": replace(SOLUTION, "slope @ v", "slope.sum()"),
    "the diagonal, as if the rest were zero": replace(
        SOLUTION, "slope @ v", "slope.sum()", "return product", "return product * v"
    ),
    "the curvature along v": replace(SOLUTION, "return product", "return v @ product"),
    "a difference of gradients": """
import torch


def hessian_vector(loss, w, v):
    def gradient(place):
        at = place.detach().clone().requires_grad_()
        return torch.autograd.grad(loss(at), at)[0]

    return (gradient(w + 1e-4 * v) - gradient(w)) / 1e-4
""",
    "sign flipped": replace(SOLUTION, "return product", "return -product"),
}
