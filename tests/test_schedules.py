"""Every schedule against torch's own scheduler where it has one, and the laws that all of them keep."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from descend.catalog import SCHEDULES
from descend.schedules import (
    Schedule,
    constant,
    cosine,
    exponential,
    inverse_sqrt,
    inverse_time,
    linear,
    one_cycle,
    step,
)

ROUNDING = 1e-9  # torch multiplies the last rate by a ratio at each step, so rounding adds up over some 100 steps
STEPS = st.integers(1, 120)
FINAL = st.floats(1e-3, 1)

every_schedule = pytest.mark.parametrize("name", list(SCHEDULES))


def torchs(steps, make):
    """The factors at steps 0, 1, ... of the scheduler that `make` puts on an optimizer with base rate 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for now in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if now + 1 < steps:
            scheduler.step()
    return pytest.approx(factors, rel=ROUNDING, abs=1e-12)


def ours(function, steps, warmup=0, **options):
    schedule = Schedule(function, steps, warmup, options)
    return [schedule(now) for now in range(steps)]


@every_schedule
@settings(max_examples=50)
@given(steps=STEPS)
def test_a_factor_is_above_zero_and_never_above_the_base_rate(name, steps):
    assert all(0 < factor <= 1 for factor in ours(SCHEDULES[name], steps))


@every_schedule
@settings(max_examples=50)
@given(steps=STEPS, warmup=st.integers(0, 130))
def test_warm_up_rises_linearly_to_the_schedules_first_factor_and_then_it_runs_its_course(name, steps, warmup):
    remaining = max(steps - warmup, 1)
    alone = ours(SCHEDULES[name], remaining)
    rise = [alone[0] * (now + 1) / warmup for now in range(warmup)]
    assert ours(SCHEDULES[name], steps, warmup) == pytest.approx((rise + alone)[:steps], rel=1e-15)


@given(warmup=st.integers(2, 50), steps=STEPS)
def test_warm_up_is_torchs_linear_lr(warmup, steps):
    expected = torchs(steps, lambda optimizer: lr_scheduler.LinearLR(optimizer, 1 / warmup, total_iters=warmup - 1))
    assert ours(constant, steps, warmup) == expected


@given(drops=st.integers(1, 5), stage=st.integers(1, 20), factor=st.floats(0.05, 1))
def test_step_is_torchs_step_lr(drops, stage, factor):
    steps = stage * (drops + 1)
    expected = torchs(steps, lambda optimizer: lr_scheduler.StepLR(optimizer, stage, factor))
    assert ours(step, steps, drops=drops, drop_factor=factor) == expected


@given(steps=STEPS, final=FINAL)
def test_exponential_is_torchs_exponential_lr(steps, final):
    expected = torchs(steps, lambda optimizer: lr_scheduler.ExponentialLR(optimizer, final ** (1 / steps)))
    assert ours(exponential, steps, final_factor=final) == expected


@given(steps=STEPS, final=FINAL)
def test_linear_is_torchs_linear_lr(steps, final):
    expected = torchs(steps, lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, final, total_iters=steps))
    assert ours(linear, steps, final_factor=final) == expected


@given(steps=STEPS, final=FINAL)
def test_cosine_is_torchs_cosine_annealing_lr(steps, final):
    expected = torchs(steps, lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=final))
    assert ours(cosine, steps, final_factor=final) == expected


@given(steps=st.integers(10, 120), rise=st.floats(0.2, 0.9), first=st.floats(0.01, 1), final=FINAL)
def test_one_cycle_is_torchs_one_cycle_lr(steps, rise, first, final):
    def one_cycle_lr(optimizer):
        return lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=1.0,
            total_steps=steps,
            pct_start=rise,
            cycle_momentum=False,
            div_factor=1 / first,
            final_div_factor=first / final,
        )

    expected = torchs(steps, one_cycle_lr)
    assert ours(one_cycle, steps, rise=rise, first_factor=first, final_factor=final) == expected


@given(steps=STEPS, rate=st.floats(0, 1))
def test_inverse_time_and_inverse_sqrt_are_their_formulas_under_torchs_lambda_lr(steps, rate):
    for function, formula in (
        (inverse_time, lambda now: 1 / (1 + rate * now)),
        (inverse_sqrt, lambda now: (1 + rate * now) ** -0.5),
    ):
        expected = torchs(steps, lambda optimizer, formula=formula: lr_scheduler.LambdaLR(optimizer, formula))
        assert ours(function, steps, decay_rate=rate) == expected


@given(warmup=st.integers(1, 60), steps=st.integers(61, 120))
def test_inverse_sqrt_after_warm_up_is_the_schedule_of_the_transformer_paper(warmup, steps):
    # Equation 3 counts from step 1 and peaks at warmup; here it is divided by that peak.
    paper = [min(t**-0.5, t * warmup**-1.5) * warmup**0.5 for t in range(1, steps + 1)]
    factors = ours(inverse_sqrt, steps, warmup, decay_rate=1 / warmup)
    # Ours stays at the peak for one step more: the first of the schedule after the last of the warm-up.
    assert factors[:warmup] + factors[warmup + 1 :] == pytest.approx(paper[:-1], rel=1e-12)


@given(steps=st.integers(2, 120))
def test_one_cycle_ends_at_its_final_factor(steps):
    assert one_cycle(steps - 1, steps, final_factor=1e-3) == pytest.approx(1e-3, rel=1e-12)


def test_constant_is_one():
    assert ours(constant, 5) == [1.0] * 5


@given(steps=st.integers(1, 100))
def test_cosine_halves_the_rate_half_way(steps):
    assert cosine(steps, 2 * steps) == pytest.approx(0.5, rel=1e-12)
    assert math.isclose(cosine(0, steps), 1.0)
