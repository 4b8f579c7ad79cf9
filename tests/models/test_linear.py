"""The linear model is one matrix and one vector, and calls them so."""

import torch

from descend.models._shape import Shape
from descend.models.linear import linear


def test_flat_features_give_parameters_called_weight_and_bias():
    model = linear(Shape((3,), 2))
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == {"weight": (2, 3), "bias": (2,)}


def test_an_image_is_laid_out_flat():
    model = linear(Shape((2, 4, 5), 3))
    images = torch.randn(6, 2, 4, 5)
    weight, bias = model.parameters()
    torch.testing.assert_close(model(images), images.reshape(6, 40) @ weight.T + bias)
