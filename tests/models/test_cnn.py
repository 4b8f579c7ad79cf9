"""The convolutional network against the same layers called one by one, and its shapes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from descend.errors import RecipeError
from descend.models._shape import Shape
from descend.models.cnn import cnn

SEEDS = st.integers(0, 2**16)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_a_block_is_convolution_activation_and_max_pool(seed):
    torch.manual_seed(seed)
    model, images = cnn(Shape((2, 8, 9), 3), depth=2, width=5).double(), torch.randn(4, 2, 8, 9).double()
    x = images
    for layer in model.convolutions:
        x = functional.max_pool2d(functional.conv2d(x, layer.weight, layer.bias, padding=1).relu(), 2)
    assert x.shape == (4, 5, 2, 2)
    torch.testing.assert_close(model(images), functional.linear(x.flatten(1), model.head.weight, model.head.bias))


@settings(max_examples=25)
@given(seed=SEEDS)
def test_layer_norm_gives_every_example_mean_zero_and_variance_one(seed):
    torch.manual_seed(seed)
    norm = cnn(Shape((1, 8, 8), 3), width=5, norm="layer").double().norms[0]
    normed = norm(3 + 2 * torch.randn(4, 5, 8, 8).double()).flatten(1)
    torch.testing.assert_close(normed.mean(1), torch.zeros(4).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(normed.var(1, correction=0), torch.ones(4).double(), rtol=1e-5, atol=0)  # eps is 1e-5


@settings(max_examples=25)
@given(seed=SEEDS)
def test_residual_blocks_of_zero_kernels_only_pool(seed):
    torch.manual_seed(seed)
    model = cnn(Shape((3, 8, 8), 2), depth=2, width=3, residual=True).double()
    images = torch.randn(4, 3, 8, 8).double()
    for parameter in model.convolutions.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(model(images), model.head(functional.max_pool2d(images, 4).flatten(1)))


def test_more_blocks_than_the_image_can_be_halved_keep_its_last_size():
    model = cnn(Shape((1, 4, 16), 2), depth=5, width=3)
    assert model.head.in_features == 3 * 2 * 8
    assert model(torch.randn(2, 1, 4, 16)).shape == (2, 2)


@pytest.mark.parametrize("sides", [(3, 8), (8, 3)])
def test_an_image_too_small_to_be_halved_is_refused(sides):
    with pytest.raises(RecipeError, match="at least 4 by 4"):
        cnn(Shape((1, *sides), 2))
