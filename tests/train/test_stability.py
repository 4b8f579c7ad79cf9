import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from descend.catalog import DATA, OPTIMIZERS
from descend.train.stability import mse_hessian_eigenvalues, stability_limit


def test_the_employee_bonus_limit_is_the_published_one():
    inputs = DATA["employee_bonus"]().train.inputs
    limit = stability_limit("sgd", {"lr": 0.01}, inputs)
    assert mse_hessian_eigenvalues(inputs).tolist() == pytest.approx([0.1134, 1.038, 24.37, 254.36], rel=1e-3)
    assert limit.limit == pytest.approx(0.007863, rel=1e-4)
    assert limit.beyond
    assert "0.01 is beyond the stability limit 0.007863" in limit.sentence


@pytest.mark.slow
@settings(max_examples=15)
@given(st.sampled_from(["sgd", "momentum", "nesterov"]), st.floats(0.1, 0.9), st.integers(0, 99), st.booleans())
def test_gradient_descent_converges_just_below_the_limit_and_diverges_just_above(optimizer, momentum, seed, decayed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(12, 2, generator=generator, dtype=torch.float64)
    design = torch.cat([inputs, torch.ones(12, 1, dtype=torch.float64)], dim=1)
    hyper = {"weight_decay": 0.3 * decayed} | ({} if optimizer == "sgd" else {"momentum": momentum})
    limit = stability_limit(optimizer, {"lr": 1.0} | hyper, inputs).limit
    rule = OPTIMIZERS[optimizer]

    def distance_after(lr: float, steps: int) -> float:
        """From the optimum (zero targets: the origin), started in the direction that diverges first."""
        weights = torch.linalg.eigh(design.T @ design).eigenvectors[:, -1]
        state = rule.init(weights)
        for t in range(1, steps + 1):
            gradient = 2 / 12 * design.T @ (design @ weights)
            weights, state = rule.step(weights, gradient, state, t, lr=lr, **hyper)
        return weights.norm().item()

    # at 1 % from the limit the slowest of these rules changes by 0.1 % a step or more: 8,000 steps tell e^-8 from e^8
    assert distance_after(0.99 * limit, 8000) < 0.1
    assert not distance_after(1.01 * limit, 8000) <= 10, "growth beyond float64 ends in NaN"


def test_an_optimizer_without_a_known_limit_has_none():
    assert stability_limit("adam", {"lr": 0.1}, torch.ones(3, 1)) is None
