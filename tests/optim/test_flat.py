"""Flat mode: one buffer for many parameters, and the same numbers as without."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from descend import optim
from descend.catalog import OPTIMIZERS
from descend.optim import OptimizerError, _flat

elementwise = pytest.mark.parametrize("name", [name for name in OPTIMIZERS if OPTIMIZERS[name].elementwise])


def params_of(shapes: list[tuple[int, ...]], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def step(optimizer: torch.optim.Optimizer, params: list[Tensor], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer.zero_grad()
    loss = sum((param * torch.randn(param.shape, generator=generator).to(param.dtype)).sum() for param in params)
    loss.backward()
    optimizer.step()


def assert_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert all(torch.equal(p, q) for p, q in zip(ours, theirs, strict=True))


@elementwise
def test_flat_equals_eager_bit_for_bit_whatever_the_shapes_and_the_chunks(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = st.lists(st.integers(0, 7), max_size=3).map(tuple)

    @settings(max_examples=15, deadline=None)
    @given(shapes=st.lists(shape, min_size=1, max_size=5), chunk=st.integers(1, 100))
    def run(shapes: list[tuple[int, ...]], chunk: int) -> None:
        monkeypatch.setattr(_flat, "CHUNK", chunk)
        eager, flat = params_of(shapes), params_of(shapes)
        one, other = optim.optimizer(name, eager), optim.optimizer(name, flat, flat=True)
        for t in range(4):
            step(one, eager, t)
            step(other, flat, t)
        assert_equal(eager, flat)
        for p, q in zip(eager, flat, strict=True):
            kept = other.state[q]
            assert all(torch.equal(torch.as_tensor(kept[key]), torch.as_tensor(v)) for key, v in one.state[p].items())

    run()


@elementwise
@pytest.mark.parametrize("first", [False, True], ids=["eager_to_flat", "flat_to_eager"])
def test_a_state_saved_in_one_mode_goes_on_in_the_other(name: str, first: bool) -> None:
    shapes = [(4, 3), (5,), ()]
    uncut, cut = params_of(shapes), params_of(shapes)
    whole = optim.optimizer(name, uncut)
    before = optim.optimizer(name, cut, flat=first)
    for t in range(5):
        step(whole, uncut, t)
        step(before, cut, t)
    after = optim.optimizer(name, cut, flat=not first)
    after.load_state_dict(before.state_dict())
    for t in range(5, 9):
        step(whole, uncut, t)
        step(after, cut, t)
    assert_equal(cut, uncut)


def test_parameters_and_gradients_are_views_of_the_buffers_and_stay_so() -> None:
    params = params_of([(4, 3), (5,)])
    before = [param.detach().clone() for param in params]
    optimizer = optim.Adam(params, flat=True)
    assert_equal(params, before)
    ((values, grads),) = optimizer.flats
    gradients = [param.grad for param in params]
    for t in range(3):
        step(optimizer, params, t)
        assert all(param.grad is grad for param, grad in zip(params, gradients, strict=True))
    optimizer.load_state_dict(optimizer.state_dict())
    step(optimizer, params, 4)
    assert optimizer.flats[0][0] is values
    assert optimizer.flats[0][1] is grads
    values.fill_(7.0)
    grads.fill_(8.0)
    assert all(bool((param == 7.0).all()) and bool((param.grad == 8.0).all()) for param in params)


def test_each_parameter_starts_on_a_cache_line_and_the_gaps_stay_zero() -> None:
    params = params_of([(3,), (5, 5), (1,)])
    optimizer = optim.Adam(params, lr=1.0, weight_decay=0.1, flat=True)
    step(optimizer, params, 0)
    ((values, grads),) = optimizer.flats
    assert all((param.data_ptr() - values.data_ptr()) % 64 == 0 for param in params)
    for buffer, views in ((values, params), (grads, [param.grad for param in params])):
        assert buffer.count_nonzero() == sum(int(view.count_nonzero()) for view in views)


def test_gradients_present_before_the_optimizer_are_kept() -> None:
    (param,) = params_of([(3,)])
    param.grad = torch.ones(3)
    before = param.detach().clone()
    optim.SGD([param], lr=0.5, flat=True).step()
    torch.testing.assert_close(param.detach(), before - 0.5)


def test_gradients_put_elsewhere_are_taken_over() -> None:
    eager, flat = nn.Linear(3, 2), nn.Linear(3, 2)
    flat.load_state_dict(eager.state_dict())
    for model, optimizer in (
        (eager, optim.Adam(eager.parameters())),
        (flat, optim.Adam(flat.parameters(), flat=True)),
    ):
        for t in range(1, 5):
            model.zero_grad()  # sets every gradient to None, so that backward makes new ones
            model(torch.full((1, 3), float(t))).square().sum().backward()
            optimizer.step()
    assert_equal(list(flat.parameters()), list(eager.parameters()))


def test_zero_grad_forgets_gradients_put_elsewhere() -> None:
    (param,) = params_of([(3,)])
    optimizer = optim.SGD([param], lr=1.0, flat=True)
    param.grad = torch.ones(3)
    before = param.detach().clone()
    optimizer.zero_grad()
    param.sum().backward()
    optimizer.step()
    torch.testing.assert_close(param.detach(), before - 1.0)


def test_a_parameter_that_backward_did_not_reach_steps_with_a_gradient_of_zero() -> None:
    used, unused = params_of([(3,), (2,)])
    before = unused.detach().clone()
    optimizer = optim.AdamW([used, unused], lr=0.1, weight_decay=0.5, flat=True)
    for forget in (lambda: optimizer.zero_grad(), lambda: setattr(unused, "grad", None)):
        forget()
        used.sum().backward()
        optimizer.step()
    torch.testing.assert_close(unused.detach(), before * (1 - 0.1 * 0.5) ** 2)


def test_frozen_parameters_stay_where_they_are_and_train_alone_once_unfrozen() -> None:
    models = [nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, flat in zip(models, (False, True), strict=True):
        model[0].requires_grad_(False)
        address = model[0].weight.data_ptr()
        optimizer = optim.Adam(model.parameters(), lr=0.1, flat=flat)
        for t in range(6):
            model[0].requires_grad_(t >= 3)
            optimizer.zero_grad()
            model(torch.full((2, 3), t + 1.0)).square().sum().backward()
            optimizer.step()
        assert model[0].weight.data_ptr() == address
        assert optimizer.state[model[0].weight]["step"] == 3
        assert optimizer.state[model[1].weight]["step"] == 6
    assert_equal(list(models[1].parameters()), list(models[0].parameters()))


def test_each_dtype_has_a_buffer_of_its_own() -> None:
    eager, flat = ([*params_of([(3,), (2, 2)]), *params_of([(4,)], torch.float64)] for _ in range(2))
    one, other = optim.Adam(eager), optim.Adam(flat, flat=True)
    assert [values.dtype for values, _ in other.flats] == [torch.float32, torch.float64]
    for t in range(3):
        step(one, eager, t)
        step(other, flat, t)
    assert_equal(flat, eager)


def test_the_state_can_be_read_and_written_between_steps() -> None:
    eager, flat = params_of([(3,), (2, 2)]), params_of([(3,), (2, 2)])
    for params, optimizer in ((eager, optim.Momentum(eager)), (flat, optim.Momentum(flat, flat=True))):
        step(optimizer, params, 0)
        optimizer.state[params[1]]["velocity"].zero_()
        step(optimizer, params, 1)
    assert_equal(flat, eager)


def test_a_backward_through_the_graph_of_before_the_step_is_refused_as_by_torch() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimizer = optim.SGD(model.parameters(), flat=True)
    loss = model(torch.ones(1, 2)).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    "leave",
    [
        lambda model: model.double(),
        lambda model: setattr(model.weight, "data", model.weight.data.clone()),
    ],
    ids=["to", "data"],
)
def test_a_parameter_that_left_the_buffer_is_refused(leave) -> None:
    model = nn.Linear(3, 2)
    params = list(model.parameters())
    optimizer = optim.SGD(params, flat=True)
    leave(model)
    model(torch.ones(1, 3, dtype=model.weight.dtype)).sum().backward()
    with pytest.raises(OptimizerError, match=r"has left the optimizer's flat buffer.*flat=False"):
        optimizer.step()


def test_a_parameter_frozen_afterwards_is_refused() -> None:
    params = params_of([(3,), (2,)])
    optimizer = optim.SGD(params, flat=True)
    params[1].requires_grad_(False)
    with pytest.raises(OptimizerError, match=r"shape \[2\] was frozen.*flat=False"):
        optimizer.step()


def test_states_of_different_ages_are_refused() -> None:
    one, other = params_of([(3,), (2,)])
    eager = optim.Adam([one, other])
    step(eager, [one], 0)
    with pytest.raises(OptimizerError, match=r"some have made 0 steps and some 1.*flat=False"):
        optim.Adam([one, other], flat=True).load_state_dict(eager.state_dict())
