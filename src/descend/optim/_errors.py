"""OptimizerError: an optimizer was asked for what its rule cannot do."""

from __future__ import annotations

from torch import Tensor

from descend.errors import DescendError


class OptimizerError(DescendError, RuntimeError):
    """An optimizer was given parameters, gradients, a closure or a saved state that it cannot work with."""


def dense(grad: Tensor) -> Tensor:
    """`grad` itself. Raises OptimizerError if it is sparse, as from `nn.Embedding(sparse=True)`."""
    if grad.is_sparse:
        raise OptimizerError(
            f"A gradient of shape {list(grad.shape)} is sparse, and the rules here need dense ones. Make the layer "
            "with sparse=False, or give its parameters to torch.optim.SparseAdam."
        )
    return grad
