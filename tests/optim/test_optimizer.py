from __future__ import annotations

import copy

import pytest
import torch

from descend import optim


@pytest.mark.parametrize("flat", [False, True])
def test_adam_equals_torch(flat):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).double()
    twin = copy.deepcopy(model)
    a = optim.Adam(model.parameters(), lr=1e-2, flat=flat)
    b = torch.optim.Adam(twin.parameters(), lr=1e-2)
    x = torch.randn(8, 4).double()
    for _ in range(50):
        for m, o in ((model, a), (twin, b)):
            o.zero_grad()
            m(x).square().mean().backward()
            o.step()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-12)
