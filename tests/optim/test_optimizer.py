"""RuleOptimizer in anybody's loop: groups, state dicts, schedulers, hooks, refusals. Each law holds eager and flat."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from descend import optim
from descend.catalog import OPTIMIZERS
from descend.errors import RecipeError
from descend.optim import OptimizerError, RuleOptimizer, UpdateRule
from descend.optim._optimizer import declared
from descend.optim._rule import Positive, State

KINDS = [(name, flat) for name in OPTIMIZERS for flat in (False, True) if OPTIMIZERS[name].elementwise or not flat]
every_optimizer = pytest.mark.parametrize(("name", "flat"), KINDS)
eager_and_flat = pytest.mark.parametrize("flat", [False, True], ids=["eager", "flat"])


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for t in steps:
        inputs = torch.randn(7, 3, generator=torch.Generator().manual_seed(t)).double()
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()


def assert_same_weights(one: nn.Module, other: nn.Module, tolerance: float = 0.0) -> None:
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)


def saved_and_loaded(state_dict: dict) -> dict:
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@eager_and_flat
def test_a_loop_with_parameter_groups_equals_torch(flat: bool) -> None:
    models = network(), network()
    optimizers = [
        make([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "weight_decay": 0.2}])
        for model, make in zip(
            models, (lambda groups: optim.AdamW(groups, lr=0.01, flat=flat), torch.optim.AdamW), strict=True
        )
    ]
    optimizers[1].param_groups[1]["lr"] = 0.01
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, range(50))
    assert_same_weights(*models, tolerance=1e-12)


@every_optimizer
def test_a_saved_optimizer_goes_on_as_if_never_stopped(name: str, flat: bool) -> None:
    uncut = network()
    train(uncut, optim.optimizer(name, uncut.parameters(), lr=0.01, flat=flat), range(20))

    first = network()
    optimizer = optim.optimizer(name, first.parameters(), lr=0.01, flat=flat)
    train(first, optimizer, range(9))
    weights, state = saved_and_loaded(first.state_dict()), saved_and_loaded(optimizer.state_dict())

    second = network()
    resumed = optim.optimizer(name, second.parameters(), lr=0.5, flat=flat)
    train(second, resumed, range(3))  # what it did before is forgotten
    second.load_state_dict(weights)
    resumed.load_state_dict(state)
    train(second, resumed, range(9, 20))
    assert_same_weights(second, uncut)


@every_optimizer
def test_a_copied_or_pickled_optimizer_goes_on_as_if_never_stopped(name: str, flat: bool) -> None:
    uncut = network()
    train(uncut, optim.optimizer(name, uncut.parameters(), flat=flat), range(12))
    for again in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        model = network()
        optimizer = optim.optimizer(name, model.parameters(), flat=flat)
        train(model, optimizer, range(5))
        model, optimizer = again((model, optimizer))
        train(model, optimizer, range(5, 12))
        assert_same_weights(model, uncut)


@eager_and_flat
@pytest.mark.parametrize(
    "schedule",
    [
        lambda optimizer: lr_scheduler.StepLR(optimizer, 5),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 30),
        lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda t: min(t / 10, 1.0)),  # starts from zero
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=31),  # moves momentum too
    ],
    ids=["step", "cosine", "warm_up", "one_cycle"],
)
def test_torch_schedulers_work(flat: bool, schedule) -> None:
    ours, theirs = network(), network()
    pairs = [
        (ours, optim.Momentum(ours.parameters(), lr=0.1, momentum=0.8, flat=flat)),
        (theirs, torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.8)),
    ]
    for model, optimizer in pairs:
        scheduler = schedule(optimizer)
        for t in range(30):
            train(model, optimizer, range(t, t + 1))
            scheduler.step()
    assert_same_weights(ours, theirs, tolerance=1e-12)


@eager_and_flat
def test_step_hooks_are_called_once_a_step_and_a_profiler_sees_the_step(flat: bool) -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1, flat=flat)
    calls: list[str] = []
    handles = [
        optimizer.register_step_pre_hook(lambda *_: calls.append("pre")),
        optimizer.register_step_post_hook(lambda *_: calls.append("post")),
        register_optimizer_step_pre_hook(lambda *_: calls.append("any pre")),
        register_optimizer_step_post_hook(lambda *_: calls.append("any post")),
    ]
    train(model, optimizer, range(2))
    assert calls == ["any pre", "pre", "post", "any post"] * 2
    for handle in handles:
        handle.remove()
    train(model, optimizer, range(1))
    assert len(calls) == 8
    with torch.profiler.profile() as profile:
        optimizer.step()
    assert "Optimizer.step#SGD.step" in {event.key for event in profile.key_averages()}


@eager_and_flat
def test_gradient_scaling_for_mixed_precision_works(flat: bool) -> None:
    ours, theirs = network(), network()
    for model, optimizer in (
        (ours, optim.Adam(ours.parameters(), flat=flat)),
        (theirs, torch.optim.Adam(theirs.parameters())),
    ):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for _ in range(5):
            optimizer.zero_grad()
            scaler.scale(model(torch.ones(2, 3).double()).square().mean()).backward()
            scaler.step(optimizer)
            scaler.update()
    assert_same_weights(ours, theirs, tolerance=1e-12)


def test_a_parameter_without_a_gradient_is_left_alone_and_its_steps_are_not_counted() -> None:
    used, unused = (torch.ones(2, requires_grad=True) for _ in range(2))
    optimizer = optim.AdamW([used, unused], lr=0.1)
    used.sum().backward()
    optimizer.step()
    assert torch.equal(unused, torch.ones(2))
    assert optimizer.state[used]["step"] == 1
    assert unused not in optimizer.state


@eager_and_flat
@pytest.mark.parametrize("set_to_none", [False, True])
def test_zero_grad_forgets_the_gradients(flat: bool, set_to_none: bool) -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), flat=flat)
    model(torch.ones(1, 3).double()).sum().backward()
    optimizer.zero_grad(set_to_none=set_to_none)
    for param in model.parameters():
        assert (param.grad is None) if set_to_none and not flat else (param.grad.count_nonzero() == 0)


@eager_and_flat
def test_a_group_added_later_trains_with_its_own_hyperparameters(flat: bool) -> None:
    ours, theirs = network(), network()
    for model, make in ((ours, lambda p: optim.Adam(p, flat=flat)), (theirs, torch.optim.Adam)):
        optimizer = make(model[0].parameters())
        train(model, optimizer, range(3))
        optimizer.add_param_group({"params": model[2].parameters(), "lr": 0.05})
        model.zero_grad()
        train(model, optimizer, range(3, 10))
    assert_same_weights(ours, theirs, tolerance=1e-12)


def test_named_parameters_are_taken() -> None:
    optimizer = optim.SGD(network().named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"][0] == "0.weight"


# Refusals.


@eager_and_flat
def test_a_closure_is_refused_with_what_to_do(flat: bool) -> None:
    optimizer = optim.Adam(network().parameters(), flat=flat)
    with pytest.raises(OptimizerError, match=r"Adam takes no closure.*Call loss\.backward\(\), then step\(\)"):
        optimizer.step(lambda: 0.0)


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"betas1": 0.9}, r"'betas1' is not a hyperparameter of Adam\. Did you mean 'beta1'\?"),
        ({"lr": -1.0}, r"lr is -1\.0, but must be a number above 0"),
        ({"beta2": 1.0}, r"beta2 is 1\.0, but must be a number of at least 0 and below 1"),
        ({"eps": float("nan")}, r"eps is nan"),
    ],
)
def test_a_hyperparameter_that_is_unknown_or_out_of_range_is_refused(hyper: dict, message: str) -> None:
    params = list(network().parameters())
    optimizer = optim.Adam(params[:1])
    with pytest.raises(RecipeError, match=message):
        optim.Adam(params, **hyper)
    with pytest.raises(RecipeError, match=message):
        optimizer.add_param_group({"params": params[1:], **hyper})
    assert len(optimizer.param_groups) == 1


def test_a_sparse_gradient_is_refused_with_what_to_do() -> None:
    layer = nn.Embedding(4, 2, sparse=True)
    optimizer = optim.SGD(layer.parameters())
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(OptimizerError, match=r"shape \[4, 2\] is sparse.*sparse=False"):
        optimizer.step()


@eager_and_flat
def test_a_complex_parameter_is_refused_and_its_group_not_added(flat: bool) -> None:
    weight = torch.ones(2, dtype=torch.complex64, requires_grad=True)
    optimizer = optim.SGD([torch.ones(2, requires_grad=True)], flat=flat)
    with pytest.raises(OptimizerError, match=r"shape \[2\] is complex"):
        optimizer.add_param_group({"params": [weight]})
    assert len(optimizer.param_groups) == 1


@eager_and_flat
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (torch.optim.Adam, "has no beta1, beta2, which Adam needs"),
        (optim.Lion, "has no eps, which Adam needs"),
    ],
    ids=["torch", "lion"],
)
def test_the_state_of_another_optimizer_is_refused_and_nothing_is_changed(flat: bool, other, message) -> None:
    model = network()
    saver = other(model.parameters())
    train(model, saver, range(1))
    adam = optim.Adam(model.parameters(), flat=flat)
    train(model, adam, range(2))
    with pytest.raises(OptimizerError, match=message):
        adam.load_state_dict(saver.state_dict())
    assert adam.state[model[0].weight]["step"] == 2


@eager_and_flat
def test_a_state_with_other_tensors_is_refused(flat: bool) -> None:
    model = network()
    momentum = optim.Momentum(model.parameters())
    train(model, momentum, range(1))
    with pytest.raises(OptimizerError, match="holds step, velocity, but SGD keeps step"):
        optim.SGD(model.parameters(), flat=flat).load_state_dict(momentum.state_dict())


def test_a_rule_that_needs_shapes_is_not_laid_flat() -> None:
    with pytest.raises(OptimizerError, match=r"Muon needs the shape of each parameter.*flat=False"):
        optim.Muon(network().parameters(), flat=True)


# Classes.


def test_every_entry_is_a_class_spelled_as_in_torch_with_the_documentation_of_its_file() -> None:
    for name in OPTIMIZERS:
        kind = optim.optimizer_class(name)
        assert kind.__name__ in dir(optim)
        assert getattr(optim, kind.__name__) is kind
        assert kind.__name__.lower() == name
        assert kind.__doc__.startswith(OPTIMIZERS.summary(name))
        assert repr(kind([torch.ones(1, requires_grad=True)])).startswith(f"{kind.__name__} (")
    assert {"SGD", "RMSprop", "AdamW"} <= set(dir(optim))
    with pytest.raises(AttributeError, match="Adma"):
        optim.Adma  # noqa: B018  # the look-up is the test
    with pytest.raises(RecipeError, match="Did you mean 'adam'"):
        optim.optimizer("adma", [torch.ones(1, requires_grad=True)])


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_the_hyperparameters_of_a_class_are_those_of_the_catalog(name: str) -> None:
    assert declared(OPTIMIZERS[name]) == OPTIMIZERS.options(name)


def sign_step(param: Tensor, grad: Tensor, state: State, t: int, *, lr: Positive) -> tuple[Tensor, State]:
    return param - lr * grad.sign(), {}


class SignDescent(RuleOptimizer):
    rule = UpdateRule(lambda param: {}, sign_step, source="this test")


@eager_and_flat
def test_a_rule_of_ones_own_becomes_an_optimizer(flat: bool) -> None:
    param = torch.zeros(3, requires_grad=True)
    (param * torch.tensor([5.0, -2.0, 0.0])).sum().backward()
    optimizer = SignDescent([param], lr=0.1, flat=flat)
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.tensor([-0.1, 0.1, 0.0]))
    with pytest.raises(RecipeError, match="SignDescent has no default for lr"):
        SignDescent([param])
