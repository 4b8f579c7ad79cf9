"""Update rules, written out from a trace: compared with the rule itself, called by torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from descend.catalog import OPTIMIZERS
from descend.compiled._trace import UntraceableError, trace
from descend.compiled.rules import LANES, SLOTS, source
from descend.optim import State, UpdateRule

ELEMENTWISE = [name for name in OPTIMIZERS if OPTIMIZERS[name].elementwise]


def _none(param: torch.Tensor) -> State:
    return {}


def rule_of(step) -> UpdateRule:
    return UpdateRule(_none, step, source="a test")


def written(name: str, rule: UpdateRule, lanes: bool):
    """The update that is written for a rule, as plain Python."""
    place: dict = {}
    exec(source(name, rule, lanes), place)
    return place["update"]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_what_is_written_for_a_network_is_the_rule(name):
    rule, options = OPTIMIZERS[name], OPTIMIZERS.options(name)
    hyper = [float(option.default) or 0.05 for option in options.values()]  # a decay of zero would prove nothing
    generator = np.random.default_rng(0)
    param, state = generator.normal(size=7), np.zeros((3, 7))
    expected, kept = torch.from_numpy(param.copy()), rule.init(torch.zeros(7, dtype=torch.float64))
    update = written(name, rule, lanes=False)
    for t in range(1, 6):
        grad = generator.normal(size=7)
        lr = hyper[0] / t
        named = dict(zip(options, hyper, strict=True)) | {"lr": lr}
        expected, kept = rule.step(expected, torch.from_numpy(grad), kept, t, **named)
        update(0, 7, t, lr, np.array(hyper), param, grad, state)
        np.testing.assert_allclose(param, expected, rtol=1e-13)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_what_is_written_for_lanes_is_the_rule_with_hyperparameters_of_each_run(name):
    rule, options = OPTIMIZERS[name], OPTIMIZERS.options(name)
    scale = np.array([1.0, 1.0, 0.5])  # of the hyperparameters of three runs
    hyper = np.outer([float(option.default) or 0.05 for option in options.values()], scale)
    generator = np.random.default_rng(0)
    param, state, alive = generator.normal(size=(4, 3)), np.zeros((3, 4, 3)), np.array([True, True, False])
    dead = param[:, 2].copy()
    expected, kept = torch.from_numpy(param.copy()), rule.init(torch.zeros(4, 3, dtype=torch.float64))
    update = written(name, rule, lanes=True)
    for t in range(1, 6):
        grad = generator.normal(size=(4, 3))
        named = {option: torch.from_numpy(values) for option, values in zip(options, hyper, strict=True)}
        expected, kept = rule.step(expected, torch.from_numpy(grad), kept, t, **named)
        work = np.zeros(SLOTS * LANES), np.zeros(SLOTS * LANES)
        update(0, 4, t, hyper[0], hyper, alive, param, grad, state, *work)
        np.testing.assert_allclose(param[:, :2], expected[:, :2], rtol=1e-13)
        np.testing.assert_array_equal(param[:, 2], dead)


def test_a_rule_of_ones_own_is_written_with_every_operation_it_takes():
    def step(param, grad, state, t, *, lr=0.1, power=2.0):
        bounded = grad.clamp(min=-0.5, max=0.5).abs().maximum(param.exp().tanh()) + (2.0**power) / (3 * t)
        chosen = torch.where(bounded > 0.3, bounded.rsqrt(), param.square().log().reciprocal())
        return torch.add(torch.addcdiv(param, chosen, bounded, value=0.5), grad, alpha=-0.1) - lr * (t - 1) / power, {}

    param, grad = np.linspace(-0.9, 0.8, 6), np.linspace(2, -2, 6)
    expected, _ = step(
        torch.from_numpy(param.copy()), torch.from_numpy(grad), {}, 3, lr=0.2, power=torch.tensor(2.5).double()
    )
    written("mine", rule_of(step), lanes=False)(0, 6, 3, 0.2, np.array([0.2, 2.5]), param, grad, np.zeros((0, 6)))
    np.testing.assert_allclose(param, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda param, grad, state, t, *, lr=0.1: (param - lr * grad / grad.norm(), {}), "calls norm"),
        (lambda param, grad, state, t, *, lr=0.1: (param - grad if lr > 0.5 else param, {}), "calls bool"),
        (lambda param, grad, state, t, *, lr=0.1: (param - lr * grad * torch.rand(1), {}), "computes with a Tensor"),
    ],
)
def test_a_rule_that_is_more_than_arithmetic_on_numbers_says_what_it_does(step, reason):
    with pytest.raises(UntraceableError, match=reason):
        trace(rule_of(step))


def test_a_rule_that_needs_whole_matrices_is_refused():
    with pytest.raises(UntraceableError, match="whole matrices"):
        trace(OPTIMIZERS["muon"])


COMPILE = """
from descend.compiled import rules, network
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, happened): compiled.append(happened.data["dispatcher"].py_func.__name__)
    def on_end(self, happened): pass
with event.install_listener("numba:compile", Listener()):
    rules.rule("sgd", "float32", lanes=False)
print(len(compiled))
"""


def in_a_process(code: str, **variables: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_a_second_process_finds_what_the_first_compiled(tmp_path: Path):
    first, second = (in_a_process(COMPILE, XDG_CACHE_HOME=str(tmp_path)) for _ in range(2))
    assert int(first) == 1
    assert int(second) == 0


def test_a_change_of_any_file_of_the_package_is_compiled_anew(tmp_path: Path):
    changed = COMPILE.replace(
        "with event", "from descend.compiled import _jit; _jit.sources = lambda: 'new'\nwith event"
    )
    assert [int(in_a_process(code, XDG_CACHE_HOME=str(tmp_path))) for code in (COMPILE, changed)] == [1, 1]


def test_where_nothing_can_be_kept_rules_are_compiled_all_the_same(tmp_path: Path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert int(in_a_process(COMPILE, XDG_CACHE_HOME=str(in_the_way))) == 1


PLAIN = """
from descend import Recipe
from descend.sweeping._cohort import cohorts
from descend.sweeping.compiled import CompiledStack
import sys
for recipe in (Recipe(optimizer="adam", lr=0.01), Recipe(data="moons", rows=40, model="mlp", width=4, clip_norm=1.0)):
    [cohort] = cohorts([recipe, recipe.but(seed=1)], lambda parts, recipe: ("compiled", ""))
    losses, _ = CompiledStack(cohort).advance(3)
    print(*(f"{loss:.4e}" for loss in losses.flatten().tolist()))
"""


def test_the_loops_are_ordinary_python_where_nothing_is_compiled(tmp_path: Path):
    plain = in_a_process(PLAIN, NUMBA_DISABLE_JIT="1", XDG_CACHE_HOME=str(tmp_path))
    assert plain == in_a_process(PLAIN)
    assert plain.count("e") == 12
