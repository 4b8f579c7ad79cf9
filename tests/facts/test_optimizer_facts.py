"""What the optimizers hold, against what the models have."""

import torch
from torch import nn

from descend.facts import optimizer


def model():
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def test_all_parameters_in_one_optimizer_is_nothing_to_say():
    net = model()
    facts = optimizer.of({"model": net}, torch.optim.Adam(net.parameters(), lr=3e-4, betas=(0.8, 0.9)))
    assert (facts["missing"], facts["twice"], facts["foreign"], facts["kind"]) == ([], [], 0, "Adam")
    (group,) = facts["groups"]
    assert (group["lr"], group["betas"], group["parameters"]) == (3e-4, [0.8, 0.9], 26)


def test_a_replaced_head_is_missing_and_the_old_one_foreign():
    net = model()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    net[1] = nn.Linear(4, 2)
    facts = optimizer.of({"model": net}, sgd)
    assert facts["missing"] == ["1.weight", "1.bias"]
    assert facts["foreign"] == 2
    assert not facts["missing_first"]


def test_frozen_parameters_are_not_missing():
    net = model()
    net[0].requires_grad_(False)
    assert optimizer.of({"model": net}, torch.optim.SGD(net[1].parameters(), lr=0.1))["missing"] == []


def test_only_the_last_layer_trained_is_told_from_a_hole_in_the_middle():
    net = model()
    assert optimizer.of({"model": net}, torch.optim.SGD(net[1].parameters(), lr=0.1))["missing_first"]
    assert not optimizer.of({"model": net}, torch.optim.SGD(net[0].parameters(), lr=0.1))["missing_first"]


def test_a_parameter_of_two_optimizers_is_named_with_its_model():
    first, second = model(), model()
    optimizers = [
        torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1),
        torch.optim.Adam(second[1].parameters()),
    ]
    facts = optimizer.of({"a": first, "b": second}, optimizers)
    assert facts["twice"] == ["b.1.weight", "b.1.bias"]
    assert facts["kind"] == "SGD, Adam"
