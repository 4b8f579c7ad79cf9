"""Layers, losses, the pass by hand and the update: what PyTorch computes, down to a trained network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from descend.backprop import (
    INITS,
    MLP,
    SGD,
    Array,
    BatchNorm,
    Linear,
    Sequential,
    batch_norm,
    batch_norm_composed,
    check_gradients,
    dense,
    mse,
    relu,
    sigmoid,
    softmax_cross_entropy,
    tanh,
)

MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "identity": nn.Identity}
FUNCTIONS = {"relu": relu, "tanh": tanh, "sigmoid": sigmoid}


def in_torch(model, activation=nn.ReLU):
    """The same network with the same parameters in PyTorch."""
    linears = [layer for layer in model.layers() if isinstance(layer, Linear)]
    modules = []
    for linear in linears:
        module = nn.Linear(*linear.weight.shape[::-1], dtype=torch.float64)
        with torch.no_grad():
            module.weight.copy_(torch.tensor(linear.weight.data))
            module.bias.copy_(torch.tensor(linear.bias.data))
        modules += [module, activation()]
    return nn.Sequential(*modules[:-1])


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("activation", MODULES)
def test_the_pass_by_hand_gives_the_gradients_of_torch_and_of_the_engine(activation, loss):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 5))
    targets = rng.integers(0, 3, 7) if loss == "cross_entropy" else rng.normal(size=(7, 3))
    model = MLP([5, 6, 4, 3], activation=FUNCTIONS.get(activation, lambda x: x), rng=rng)
    weights, biases = ([p.data for p in model.parameters()[i::2]] for i in (0, 1))
    value, d_weights, d_biases = dense.loss_and_gradients(x, targets, weights, biases, activation=activation, loss=loss)

    inputs = torch.tensor(x, requires_grad=True)
    network = in_torch(model, MODULES[activation])
    theirs = getattr(nn.functional, "mse_loss" if loss == "mse" else loss)(network(inputs), torch.tensor(targets))
    theirs.backward()
    ours = (mse if loss == "mse" else softmax_cross_entropy)(model(x), targets)
    ours.backward()

    assert value == pytest.approx(theirs.item(), rel=1e-13)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-13)
    by_hand = [gradient for pair in zip(d_weights, d_biases, strict=True) for gradient in pair]
    for hand, engine, torchs in zip(by_hand, model.parameters(), network.parameters(), strict=True):
        np.testing.assert_allclose(hand, torchs.grad.numpy(), rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(engine.grad, torchs.grad.numpy(), rtol=1e-11, atol=1e-15)
    arrays = dense.forward(x, weights, biases, activation)
    _, delta = getattr(dense, loss)(arrays[-1], targets)
    d_x = dense.backward(delta, arrays, weights, activation)[2]
    np.testing.assert_allclose(d_x, inputs.grad.numpy(), rtol=1e-11, atol=1e-15)


def test_the_pass_by_hand_keeps_float32_and_refuses_unknown_names():
    rng = np.random.default_rng(0)
    parameters = [p.data for p in MLP([4, 3, 2], rng=rng, dtype=np.float32).parameters()]
    x = rng.normal(size=(5, 4)).astype(np.float32)
    _, d_weights, _ = dense.loss_and_gradients(x, np.array([0, 1, 1, 0, 1]), parameters[::2], parameters[1::2])
    assert {gradient.dtype for gradient in d_weights} == {np.dtype(np.float32)}
    with pytest.raises(ValueError, match=r"'selu'.*Known: relu"):
        dense.forward(x, parameters[::2], parameters[1::2], "selu")


def test_the_fused_loss_has_the_gradient_p_minus_y_over_n():
    logits = Array(np.random.default_rng(0).normal(size=(4, 3)))
    labels = np.array([0, 2, 1, 1])
    softmax_cross_entropy(logits, labels).backward()
    p = np.exp(logits.data) / np.exp(logits.data).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(logits.grad, (p - np.eye(3)[labels]) / 4, rtol=1e-12)


def test_mse_does_not_broadcast_outputs_against_targets():
    with pytest.raises(ValueError, match=r"mse of shapes \(5, 1\) and \(5,\): they must be equal"):
        mse(Array(np.ones((5, 1))), np.ones(5))


def test_batch_norm_by_hand_is_the_composed_one_and_passes_the_gradient_check():
    rng = np.random.default_rng(0)
    parameters = {"x": (6, 3), "gain": (3,), "shift": (3,)}
    seed = rng.normal(size=(6, 3))
    gradients = []
    for function in (batch_norm, batch_norm_composed):
        rng = np.random.default_rng(1)
        arrays = {name: Array(rng.normal(size=shape), name) for name, shape in parameters.items()}
        loss = lambda function=function, arrays=arrays: (function(*arrays.values()) * seed).sum()  # noqa: E731
        assert check_gradients(loss, arrays).verdict == "agrees"
        loss().backward()
        gradients.append([array.grad for array in arrays.values()])
    for ours, composed in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, composed, rtol=1e-10, atol=1e-12)


def test_the_batch_norm_layer_keeps_the_running_averages_of_torch():
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3, dtype=torch.float64)
    model = Sequential(ours)
    rng = np.random.default_rng(0)
    for _ in range(5):
        x = rng.normal(3, 2, size=(8, 3))
        np.testing.assert_allclose(model(Array(x)).data, theirs(torch.tensor(x)).detach().numpy(), rtol=1e-12)
    model.train(False)
    theirs.eval()
    np.testing.assert_allclose(ours.running_variance, theirs.running_var.numpy(), rtol=1e-12)
    np.testing.assert_allclose(model(Array(x)).data, theirs(torch.tensor(x)).detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize(("name", "variance"), [
    ("default", 1 / 600), ("he_normal", 2 / 200), ("he_uniform", 2 / 200), ("xavier_normal", 2 / 500),
    ("xavier_uniform", 2 / 500)])  # fmt: skip
def test_an_initialisation_has_its_variance(name, variance):
    weight = INITS[name](np.random.default_rng(0), 300, 200)
    assert weight.shape == (300, 200)
    # the variance of n numbers scatters by sqrt(2/n) = 0.6 %
    assert weight.var() == pytest.approx(variance, rel=0.03)


def test_parameters_are_named_as_in_torch_and_an_unknown_initialisation_is_refused():
    model = MLP([4, 3, 2])
    assert list(model.named_parameters()) == [name for name, _ in in_torch(model).named_parameters()]
    assert Linear(3, 2, bias=False).bias is None
    with pytest.raises(ValueError, match=r"'kaiming'. Known: default, he_normal"):
        Linear(3, 2, init="kaiming")
    model(np.ones((1, 4))).sum().backward()
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_without_zero_grad_gradients_add_up():
    x = Array([2.0])
    sgd = SGD([x], lr=0.0)
    for _ in range(3):
        (x * x).sum().backward()
    assert x.grad.tolist() == [12]
    sgd.zero_grad()
    sgd.step()  # no gradient: nothing to do
    assert (x.grad, x.data.tolist()) == (None, [2.0])


def test_the_digits_are_learned_step_for_step_as_by_torch_and_to_the_same_accuracy():
    """Same initial weights, same order of the data, SGD with momentum: 64-64-64-10 on 1,797 digits."""
    bunch = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(bunch.data))
    x, labels = bunch.data[order] / 16, bunch.target[order]
    train, test = slice(0, 1400), slice(1400, None)
    model = MLP([64, 64, 64, 10], rng=rng)
    network = in_torch(model)
    ours = SGD(model.parameters(), lr=0.1, momentum=0.9)
    theirs = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(6):
        for batch in rng.permutation(1400).reshape(-1, 50):
            ours.zero_grad()
            loss = softmax_cross_entropy(model(x[train][batch]), labels[train][batch])
            loss.backward()
            ours.step()
            theirs.zero_grad()
            outputs = network(torch.tensor(x[train][batch]))
            expected = nn.functional.cross_entropy(outputs, torch.tensor(labels[train][batch]))
            expected.backward()
            theirs.step()
            losses.append((loss.item(), expected.item()))
    np.testing.assert_allclose(*np.array(losses[:50]).T, rtol=1e-10)  # rounding, before training makes much of it
    for array, tensor in zip(model.parameters(), network.parameters(), strict=True):
        np.testing.assert_allclose(array.data, tensor.detach().numpy(), rtol=1e-6, atol=1e-8)
    accuracy = np.mean(model(x[test]).data.argmax(axis=1) == labels[test])
    of_torch = np.mean(network(torch.tensor(x[test])).argmax(dim=1).numpy() == labels[test])
    assert accuracy == of_torch
    assert accuracy > 0.93
