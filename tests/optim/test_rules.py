"""Every rule of the catalog: equal to torch.optim or to its paper, pure, and the same under vmap."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta
from torch import Tensor

from descend import optim
from descend.catalog import OPTIMIZERS, Count, Fraction, NonNegative, Option, Positive

RULES = {name: OPTIMIZERS[name] for name in OPTIMIZERS}
# What torch calls an optimizer or an option of ours, where the names differ.
CLASSES = {"momentum": "SGD", "nesterov": "SGD"}
KEYWORDS = {"initial_accumulator": "initial_accumulator_value"}
FIXED = {"nesterov": {"nesterov": True}, "muon": {"adjust_lr_fn": "match_rms_adamw", "eps": 1e-7}}
DRAWN = {
    Positive: st.floats(1e-4, 1e-1),
    NonNegative: st.just(0.0) | st.floats(1e-3, 1e-1),
    Fraction: st.floats(0.01, 0.999),
    Count: st.integers(1, 6),
}

in_torch = [
    name for name in OPTIMIZERS if hasattr(torch.optim, CLASSES.get(name, optim.optimizer_class(name).__name__))
]
every_rule = pytest.mark.parametrize("name", list(OPTIMIZERS))


def hyper_of(name: str) -> st.SearchStrategy[dict[str, float]]:
    """Hyperparameters as the annotations of a rule allow them."""
    return st.fixed_dictionaries({option.name: DRAWN[option.kind] for option in OPTIMIZERS.options(name).values()})


def torch_twin(name: str, params: list[Tensor], hyper: dict[str, float]) -> torch.optim.Optimizer:
    hyper = dict(hyper)
    fixed = FIXED.get(name, {})
    if "beta1" in hyper:
        betas = hyper.pop("beta1"), hyper.pop("beta2")
        hyper |= {} if name == "muon" else {"betas": betas}  # torch's Muon takes matrices only, so no Adam
    keywords = {KEYWORDS.get(key, key): value for key, value in hyper.items()} | fixed
    return getattr(torch.optim, CLASSES.get(name, optim.optimizer_class(name).__name__))(params, **keywords)


def parameters(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def gradients(seed: int, params: list[Tensor]) -> list[tuple[Tensor, ...]]:
    """200 gradients for each parameter, every third of them zero."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn((200, *param.shape), generator=generator, dtype=torch.float64) for param in params]
    for number, grads in enumerate(drawn):
        grads[number::3] = 0.0
    return list(zip(*drawn, strict=True))


def give(params: list[Tensor], grads: tuple[Tensor, ...]) -> None:
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad


def assert_states_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor], hyper: dict[str, float]) -> None:
    """Every tensor that we keep is one that torch keeps (under another name; Adagrad's sum contains its start)."""
    for name, tensor in ours.items():
        if name != "step":
            mine = tensor + hyper.get("initial_accumulator", 0.0)
            gaps = [float((mine - other).abs().max()) for key, other in theirs.items() if key != "step"]
            assert min(gaps) < 1e-10, name


@pytest.mark.parametrize(
    ("name", "flat"),
    [(name, flat) for name in in_torch for flat in (False, True) if RULES[name].elementwise or not flat],
)
def test_200_steps_equal_torch_in_all_parameters_and_states(
    name: str, flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch's Muon rounds its iteration to bfloat16, whatever the parameter; without that it is the same arithmetic.
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self)
    shapes = [(4, 3), (3, 5)] if name == "muon" else [(4, 3), (5,), ()]

    @settings(max_examples=5, deadline=None)
    @given(hyper=hyper_of(name), seed=st.integers(0, 2**16))
    def run(hyper: dict[str, float], seed: int) -> None:
        ours, theirs = parameters(seed, *shapes), parameters(seed, *shapes)
        mine = optim.optimizer(name, ours, flat=flat, **hyper)
        torchs = torch_twin(name, theirs, hyper)
        for grads in gradients(seed, ours):
            give(ours, grads)
            give(theirs, grads)
            mine.step()
            torchs.step()
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-10)
            assert_states_equal(mine.state[p], torchs.state[q], hyper)

    run()


# Slow transcriptions of the papers, for what torch.optim lacks (and Muon, which only newer versions have).


def lion_of_the_paper(w, g, state, h):
    """Chen et al. 2023, Algorithm 2, line by line, number by number."""
    m = state.setdefault("m", np.zeros_like(w))
    for i in np.ndindex(w.shape):
        c = h["beta1"] * m[i] + (1 - h["beta1"]) * g[i]
        w[i] = w[i] - h["lr"] * (np.sign(c) + h["weight_decay"] * w[i])
        m[i] = h["beta2"] * m[i] + (1 - h["beta2"]) * g[i]


def muon_of_the_paper(w, g, state, h):
    """Jordan et al. 2024 with the scale of Liu et al. 2025, equation 4; AdamW (its Algorithm 2) for vectors."""
    t = state["t"] = state.get("t", 0) + 1
    w *= 1 - h["lr"] * h["weight_decay"]
    if w.ndim < 2:
        m = state["m"] = h["beta1"] * state.get("m", 0) + (1 - h["beta1"]) * g
        v = state["v"] = h["beta2"] * state.get("v", 0) + (1 - h["beta2"]) * g**2
        m_hat, v_hat = m / (1 - h["beta1"] ** t), v / (1 - h["beta2"] ** t)
        w -= h["lr"] * m_hat / (np.sqrt(v_hat) + h["eps"])
        return
    mu = h["momentum"]
    b = state["b"] = mu * state.get("b", 0) + (1 - mu) * g
    x = (mu * b + (1 - mu) * g).reshape(len(w), -1)
    rows, columns = x.shape
    u, s, vt = np.linalg.svd(x / max(np.linalg.norm(x), 1e-7), full_matrices=False)
    for _ in range(h["ns_steps"]):  # the iteration acts on singular values one by one
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    w -= h["lr"] * 0.2 * math.sqrt(max(rows, columns)) * (u * s @ vt).reshape(w.shape)


@pytest.mark.parametrize(("name", "paper"), [("lion", lion_of_the_paper), ("muon", muon_of_the_paper)])
def test_200_steps_equal_the_paper(name, paper) -> None:
    @settings(max_examples=4, deadline=None)
    @given(hyper=hyper_of(name), seed=st.integers(0, 2**16))
    def run(hyper: dict[str, float], seed: int) -> None:
        ours = parameters(seed, (4, 3), (2, 5), (5,), (3, 2, 2))
        theirs = [param.detach().numpy().copy() for param in ours]
        states: list[dict] = [{} for _ in ours]
        mine = optim.optimizer(name, ours, **hyper)
        for grads in gradients(seed, ours):
            give(ours, grads)
            mine.step()
            for w, grad, state in zip(theirs, grads, states, strict=True):
                paper(w, grad.numpy(), state, hyper)
        for p, w in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-10, atol=1e-10)

    run()


@every_rule
def test_a_rule_has_a_source_a_summary_and_hyperparameters_in_the_vocabulary(name: str) -> None:
    assert RULES[name].source
    assert OPTIMIZERS.summary(name).endswith(".")
    for option in OPTIMIZERS.options(name).values():
        assert isinstance(option, Option)
        assert option.check(option.default) == option.default
        assert any(isinstance(part, Meta) for part in option.kind.__metadata__)


@every_rule
def test_a_rule_writes_into_no_argument_and_keeps_none(name: str) -> None:
    rule = RULES[name]
    for shape in [(4, 3), (5,)]:
        param, grad = torch.randn(shape), torch.randn(shape)
        state = rule.init(param)
        for t in range(1, 4):
            arguments = [param, grad, *state.values()]
            before = [tensor.clone() for tensor in arguments]
            moved, after = rule.step(param, grad, state, t)
            assert all(torch.equal(tensor, copy) for tensor, copy in zip(arguments, before, strict=True))
            assert after.keys() == state.keys()
            assert all(tensor.shape == param.shape for tensor in after.values())
            overwritten = {param.data_ptr(), grad.data_ptr()}
            assert overwritten.isdisjoint(tensor.data_ptr() for tensor in [moved, *after.values()])
            param, state = moved, after


@every_rule
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (5,)], ids=str)
@pytest.mark.parametrize("shared", [False, True], ids=["own_params", "shared_params"])
def test_vmap_over_hyperparameters_equals_the_loop(name: str, shape: tuple[int, ...], shared: bool) -> None:
    """`shared`: all configurations start from the same parameters, which are not batched on the first step."""
    rule = RULES[name]
    generator = torch.Generator().manual_seed(0)
    options = OPTIMIZERS.options(name)
    hyper = {
        key: option.default * torch.tensor([0.5, 1.0, 0.0 if option.kind is NonNegative else 0.9]).double()
        for key, option in options.items()
        if isinstance(option.default, float)
    }
    params = torch.randn(shape, generator=generator).double()
    params = params if shared else torch.stack([params, params + 1, params - 1])
    states = rule.init(params[0]) if not shared else rule.init(params)
    if not shared:
        states = {key: value.expand(3, *shape) for key, value in states.items()}
    alone = [(params if shared else params[i], rule.init(params if shared else params[i])) for i in range(3)]
    batched = None if shared else 0
    for t in range(1, 4):
        grad = torch.randn(shape, generator=generator).double()

        def together(param, state, hyper, grad=grad, t=t):
            return rule.step(param, grad, state, t, **hyper)

        params, states = torch.vmap(together, in_dims=(batched, batched, 0))(params, states, hyper)
        batched = 0
        for i, (param, state) in enumerate(alone):
            alone[i] = rule.step(param, grad, state, t, **{key: float(value[i]) for key, value in hyper.items()})
            # the sums of a matrix product may be taken in another order: a few roundings of 1e-16
            torch.testing.assert_close(params[i], alone[i][0], rtol=1e-12, atol=1e-12)
            for key, value in alone[i][1].items():
                torch.testing.assert_close(states[key][i], value, rtol=1e-12, atol=1e-12)


# Laws.


def path(name: str, grads: list[Tensor], start: Tensor, **hyper: float) -> list[Tensor]:
    """The parameters after each of the steps along given gradients."""
    rule, param, state = RULES[name], start, RULES[name].init(start)
    points = []
    for t, grad in enumerate(grads, start=1):
        param, state = rule.step(param, grad, state, t, **hyper)
        points.append(param)
    return points


def step_lengths(name: str, grads: list[float], start: float = 0.0, **hyper: float) -> list[float]:
    points = path(name, [torch.tensor([g]).double() for g in grads], torch.tensor([start]).double(), **hyper)
    return torch.cat([torch.tensor([start]).double(), *points]).diff().abs().tolist()


@given(grad=st.floats(1e-2, 1e4), lr=st.floats(1e-5, 1e-1), beta1=st.floats(0, 0.99), beta2=st.floats(0, 0.999))
def test_adam_moves_by_lr_at_first_and_under_a_constant_gradient(grad, lr, beta1, beta2) -> None:
    lengths = step_lengths("adam", [grad] * 20, lr=lr, beta1=beta1, beta2=beta2, eps=1e-12)
    assert lengths == pytest.approx([lr] * 20, rel=1e-9)  # eps / grad is at most 1e-10


@given(alpha=st.floats(0, 0.999), lr=st.floats(1e-5, 1e-1))
def test_the_first_step_of_rmsprop_is_lr_over_the_root_of_1_minus_alpha(alpha, lr) -> None:
    (length,) = step_lengths("rmsprop", [-7.0], lr=lr, alpha=alpha, eps=1e-12)
    assert length == pytest.approx(lr / math.sqrt(1 - alpha), rel=1e-9)


def test_adagrad_steps_shrink_as_1_over_the_root_of_t_under_a_constant_gradient() -> None:
    lengths = step_lengths("adagrad", [3.0] * 2500, lr=1.0)
    assert lengths[99] == pytest.approx(0.1, rel=1e-9)
    assert lengths[2499] == pytest.approx(0.02, rel=1e-9)


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_momentum_multiplies_the_step_by_1_over_1_minus_momentum(name: str) -> None:
    lengths = step_lengths(name, [2.0] * 400, lr=0.1, momentum=0.9)
    assert lengths[-1] == pytest.approx(0.1 * 2.0 / (1 - 0.9), rel=1e-12)  # 0.9**400 is 5e-19


def test_lion_moves_every_number_by_lr() -> None:
    assert step_lengths("lion", [1e-6, 5.0, -1e3], lr=1e-4) == pytest.approx([1e-4] * 3, rel=1e-9)


def test_a_spike_after_silence_moves_adam_by_at_most_3_16_lr() -> None:
    lengths = step_lengths("adam", [0.0] * 7000 + [1.0], lr=1e-3)
    bound = 1e-3 * (1 - 0.9) / math.sqrt(1 - 0.999)
    assert lengths[-1] == pytest.approx(bound, rel=1e-3)  # 0.999**7000 is 9e-4, and its root's effect half of that
    assert lengths[-1] < bound


@pytest.mark.parametrize("decay", [1e-4, 1e-2, 1.0])
def test_without_a_gradient_adam_with_l2_moves_by_lr_and_adamw_by_lr_times_decay(decay: float) -> None:
    (l2,) = step_lengths("adam", [0.0], start=2.0, lr=1e-3, weight_decay=decay)
    (decoupled,) = step_lengths("adamw", [0.0], start=2.0, lr=1e-3, weight_decay=decay)
    assert l2 == pytest.approx(1e-3, rel=1e-4)  # eps is at most 1e-4 of the gradient 2e-4
    assert decoupled == pytest.approx(1e-3 * decay * 2.0, rel=1e-9)


@every_rule
def test_a_gradient_of_zero_moves_nothing_at_the_first_step(name: str) -> None:
    start = torch.randn(4, 3)
    assert torch.equal(path(name, [torch.zeros(4, 3)], start, weight_decay=0.0)[0], start)


def quadratic_path(name: str, rotation: Tensor, **hyper: float) -> Tensor:
    """20 steps on a stretched bowl seen in rotated coordinates, rotated back."""
    hessian = torch.diag(torch.tensor([5.0, 1.0, 0.2]).double())
    rule, x = RULES[name], rotation.T @ torch.tensor([1.0, -2.0, 3.0]).double()
    state = rule.init(x)
    for t in range(1, 21):
        x, state = rule.step(x, rotation.T @ hessian @ rotation @ x, state, t, **hyper)
    return rotation @ x


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_rotating_the_coordinates_changes_nothing_for_gradient_descent(seed: int) -> None:
    torch.manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3).double())
    plain = torch.eye(3).double()
    for name in ("sgd", "momentum", "nesterov"):
        torch.testing.assert_close(
            quadratic_path(name, rotation, lr=0.1), quadratic_path(name, plain, lr=0.1), rtol=1e-10, atol=1e-10
        )


def test_rotating_the_coordinates_changes_where_adam_goes() -> None:
    half = math.sqrt(0.5)
    rotation = torch.tensor([[half, -half, 0], [half, half, 0], [0, 0, 1]]).double()
    gap = quadratic_path("adam", rotation, lr=0.1) - quadratic_path("adam", torch.eye(3).double(), lr=0.1)
    assert gap.norm() > 0.1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_muon_turns_with_its_matrix(seed: int) -> None:
    torch.manual_seed(seed)
    left, right = (torch.linalg.qr(torch.randn(n, n).double())[0] for n in (4, 3))
    grads = [torch.randn(4, 3).double() for _ in range(5)]
    start = torch.randn(4, 3).double()
    plain = path("muon", grads, start, lr=0.1)[-1]
    turned = path("muon", [left @ grad @ right for grad in grads], left @ start @ right, lr=0.1)[-1]
    torch.testing.assert_close(turned, left @ plain @ right, rtol=1e-9, atol=1e-9)


def test_muon_makes_singular_values_about_equal() -> None:
    torch.manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(8, 8).double())[0] for _ in range(2))
    grad = u @ torch.diag(torch.logspace(0, -2, 8).double()) @ v.T
    (moved,) = path("muon", [grad], torch.zeros(8, 8).double(), lr=1.0, weight_decay=0.0)
    values = torch.linalg.svdvals(moved) / (0.2 * math.sqrt(8))
    assert 0.65 < values.min() < values.max() < 1.25  # from a hundredfold range


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "adagrad", "lion", "muon"])
def test_multiplying_the_loss_changes_nothing_where_eps_is_nothing(name: str) -> None:
    torch.manual_seed(0)
    grads = [torch.randn(4, 3).double() for _ in range(50)]
    start = torch.randn(4, 3).double()
    hyper = {key: 1e-200 for key in OPTIMIZERS.options(name) if key == "eps"} | {"weight_decay": 0.0}
    plain = path(name, grads, start, **hyper)[-1]
    scaled = path(name, [1000 * grad for grad in grads], start, **hyper)[-1]
    torch.testing.assert_close(scaled, plain, rtol=1e-10, atol=1e-10)
