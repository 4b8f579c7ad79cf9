"""Clipping of gradients, and which parameters weight decay leaves alone."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

NORMS = (nn.LayerNorm, nn.RMSNorm)  # the gains of batch, group and instance norm have one dimension anyway


def global_norm(gradients: list[Tensor]) -> Float[Tensor, ""]:
    """The Euclidean norm of all gradients as one vector."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm


def clip_by_norm(gradients: list[Tensor], max_norm: float) -> Float[Tensor, ""]:
    """Shorten all gradients together, in place, to a Euclidean norm of at most `max_norm` (Pascanu et al. 2013).

    Returns the norm before. `gradients` are the gradients of a model, or the flat buffers that hold them; nothing is
    read back to the CPU. Equal to `torch.nn.utils.clip_grad_norm_`, with its 1e-6 in the denominator. A norm that is
    not finite spoils every gradient: look at it first.
    """
    norm = global_norm(gradients)
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def clip_by_value(gradients: list[Tensor], max_value: float) -> Float[Tensor, ""]:
    """Cut every number of every gradient, in place, to between -max_value and max_value; returns the norm before.

    Unlike clipping by norm this turns the gradient. Equal to `torch.nn.utils.clip_grad_value_`.
    """
    norm = global_norm(gradients)
    torch._foreach_clamp_min_(gradients, -max_value)
    torch._foreach_clamp_max_(gradients, max_value)
    return norm


def decay_groups(model: nn.Module, weight_decay: float, *, embeddings: bool = True) -> list[dict[str, Any]]:
    """Parameter groups in which biases and the parameters of normalisation layers are not decayed.

    Exempt is what has fewer than two dimensions, is called bias, or belongs to a normalisation layer; with
    `embeddings=False`, embeddings too. A parameter shared by two layers is exempt if it is in one of them.
    """
    exempt = {
        id(param)
        for module in model.modules()
        for name, param in module.named_parameters(recurse=False)
        if param.ndim < 2
        or name.endswith("bias")
        or isinstance(module, NORMS)
        or (isinstance(module, nn.Embedding | nn.EmbeddingBag) and not embeddings)
    }
    params = list(model.parameters())
    groups = [
        {"params": [param for param in params if id(param) not in exempt], "weight_decay": weight_decay},
        {"params": [param for param in params if id(param) in exempt], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
