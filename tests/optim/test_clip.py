from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from descend import optim
from descend.optim import clip_by_norm, clip_by_value, decay_groups


def params_with_gradients(seed: int) -> list[Tensor]:
    torch.manual_seed(seed)
    params = [torch.zeros(shape).double().requires_grad_() for shape in ((4, 3), (5,), ())]
    for param in params:
        param.grad = torch.randn_like(param)
    return params


@settings(max_examples=30, deadline=None)
@given(limit=st.floats(1e-3, 1e2), seed=st.integers(0, 2**16))
def test_clipping_by_norm_equals_torch_and_returns_the_norm_before(limit: float, seed: int) -> None:
    ours, theirs = params_with_gradients(seed), params_with_gradients(seed)
    norm = clip_by_norm([param.grad for param in ours], limit)
    assert norm == torch.nn.utils.clip_grad_norm_(theirs, limit)
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(ours, theirs, strict=True))


@settings(max_examples=30, deadline=None)
@given(limit=st.floats(1e-3, 1e1), seed=st.integers(0, 2**16))
def test_clipping_by_value_equals_torch_and_returns_the_norm_before(limit: float, seed: int) -> None:
    ours, theirs = params_with_gradients(seed), params_with_gradients(seed)
    norm = clip_by_value([param.grad for param in ours], limit)
    assert norm == torch.nn.utils.clip_grad_norm_(theirs, math.inf)
    torch.nn.utils.clip_grad_value_(theirs, limit)
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("clip", [clip_by_norm, clip_by_value])
def test_clipping_the_flat_buffer_clips_every_gradient(clip) -> None:
    eager, flat = params_with_gradients(0), params_with_gradients(0)
    optimizer = optim.SGD(flat, flat=True)
    norm = clip([param.grad for param in eager], 0.5)
    # The squares are summed in another order.
    torch.testing.assert_close(clip([grads for _, grads in optimizer.flats], 0.5), norm, rtol=1e-14, atol=0)
    for p, q in zip(flat, eager, strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-14, atol=0)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.norm = nn.LayerNorm((2, 4))
        self.conv = nn.Conv2d(1, 2, 3)
        self.batch_norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(4, 5)
        self.head.weight = self.embedding.weight  # tied
        self.position_bias = nn.Parameter(torch.zeros(3, 3))


def names(model: nn.Module, group: dict) -> set[str]:
    return {name for name, param in model.named_parameters() if any(param is other for other in group["params"])}


def test_biases_and_normalisation_layers_are_not_decayed() -> None:
    model = Block()
    decayed, exempt = decay_groups(model, 0.1)
    assert (decayed["weight_decay"], exempt["weight_decay"]) == (0.1, 0.0)
    assert names(model, decayed) == {"embedding.weight", "conv.weight"}
    assert names(model, decayed) | names(model, exempt) == {name for name, _ in model.named_parameters()}
    assert not names(model, decayed) & names(model, exempt)


def test_embeddings_are_spared_when_asked_even_if_tied() -> None:
    model = Block()
    decayed, _ = decay_groups(model, 0.1, embeddings=False)
    assert names(model, decayed) == {"conv.weight"}


def test_a_model_of_one_kind_of_parameter_has_one_group() -> None:
    assert len(decay_groups(nn.Linear(2, 2, bias=False), 0.1)) == 1
    assert len(decay_groups(nn.LayerNorm(3), 0.1)) == 1


@pytest.mark.parametrize("flat", [False, True], ids=["eager", "flat"])
def test_adamw_shrinks_weights_and_leaves_biases_where_the_gradient_is_zero(flat: bool) -> None:
    layer = nn.Linear(3, 2)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    optimizer = optim.AdamW(decay_groups(layer, 0.5), lr=0.1, flat=flat)
    for param in layer.parameters():
        param.grad = torch.zeros_like(param)
    optimizer.step()
    assert torch.equal(layer.weight, weight * (1 - 0.1 * 0.5))
    assert torch.equal(layer.bias, bias)
