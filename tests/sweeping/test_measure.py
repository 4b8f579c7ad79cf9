"""Many runs are evaluated and monitored as `fit` evaluates and monitors each."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import descend
from descend.monitors._monitor import Monitor, Step, chosen
from descend.recipe import Recipe
from descend.run import Floats
from descend.sweeping import _measure
from descend.sweeping._cohort import Cohort, cohorts
from descend.sweeping._measure import Judge, Watcher, watched_at_once
from descend.train.build import optimizer_of
from descend.train.evaluate import evaluate, judge

COMMON = {"dtype": "float64", "monitors": "all", "threads": 1}
SEQUENCES = {"data": "adding", "rows": 200, "length": 6, "test": 0.2}
TOKENS = {"data": "characters", "rows": 200, "context": 8}

# 11 steps: the second measurement of gradient_noise is at the 6th, that of sharpness at the 11th
RECIPES = {
    "linear": Recipe(data="employee_bonus", lr=0.01, steps=11, monitor_every=1, **COMMON),
    "linear on images": Recipe(data="digits", model="linear", lr=0.01, steps=11, monitor_every=2, **COMMON),
    "mlp": Recipe(data="digits", model="mlp", width=8, lr=0.1, steps=13, batch_size=130, monitor_every=1, **COMMON),
    "mlp, an incomplete last batch": Recipe(
        data="moons", rows=100, model="mlp", width=80, activation="tanh", lr=0.1, steps=11, monitor_every=1, **COMMON
    ),
    "mlp with batch norm": Recipe(
        data="digits", model="mlp", width=8, norm="batch", residual=True, lr=0.1, steps=11, monitor_every=1, **COMMON
    ),
    "cnn": Recipe(data="digits", model="cnn", width=4, lr=0.1, steps=11, monitor_every=2, **COMMON),
    "cnn with batch norm": Recipe(
        data="digits", model="cnn", width=4, norm="batch", lr=0.1, steps=6, monitor_every=1, **COMMON
    ),
    "tanh": Recipe(**SEQUENCES, model="rnn", cell="tanh", width=4, lr=0.1, steps=11, monitor_every=1, **COMMON),
    "gru": Recipe(**SEQUENCES, model="rnn", cell="gru", width=4, lr=0.1, steps=6, monitor_every=1, **COMMON),
    "lstm": Recipe(**TOKENS, model="rnn", width=4, lr=0.1, steps=3, monitor_every=2, **COMMON),
    "transformer": Recipe(**TOKENS, model="transformer", width=4, heads=2, lr=0.1, steps=3, monitor_every=2, **COMMON),
}

OF_THE_TRAINER = {"loss/batch", "lr/0"}


class Models:
    """The runs of a cohort as models of their own, each trained by the plain loop."""

    def __init__(self, cohort: Cohort) -> None:
        parameters, buffers = cohort.initial()
        self.cohort, self.step = cohort, 0
        self.models: list[nn.Module] = []
        for run in range(len(cohort)):
            model = copy.deepcopy(cohort.parts.model)
            model.load_state_dict({name: values[run] for name, values in (parameters | buffers).items()}, strict=False)
            self.models.append(model)
        self.optimizers = [
            optimizer_of(recipe, model) for recipe, model in zip(cohort.recipes, self.models, strict=True)
        ]

    def weights(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        def stacked(tensors: Callable[[nn.Module], dict[str, Tensor]]) -> dict[str, Tensor]:
            each = [tensors(model) for model in self.models]
            return {name: torch.stack([one[name].detach() for one in each]) for name in each[0]}

        return stacked(lambda model: dict(model.named_parameters())), stacked(lambda model: dict(model.named_buffers()))

    def lrs(self) -> Tensor:
        return torch.tensor([recipe["lr"] for recipe in self.cohort.recipes], dtype=torch.float64)

    def train(self, inputs: Tensor, targets: Tensor, seed_number: Tensor) -> None:
        weight = self.cohort.parts.batches.weight(inputs.shape[1])
        for model, optimizer, number in zip(self.models, self.optimizers, seed_number, strict=True):
            optimizer.zero_grad()
            (weight * self.cohort.parts.loss(model(inputs[number]), targets[number])).backward()
            optimizer.step()

    def keep(self, runs: list[int]) -> None:
        self.cohort = self.cohort.pick(runs)
        self.models = [self.models[run] for run in runs]
        self.optimizers = [self.optimizers[run] for run in runs]


def cohort_of(recipes: list[Recipe]) -> Cohort:
    (cohort,) = cohorts(recipes, lambda parts, recipe: ("together", ""))
    return cohort


def unasked(sentence: str) -> None:
    raise AssertionError(sentence)


def measured(
    cohort: Cohort, report: Callable[[str], object] = unasked, keep: dict[int, list[int]] | None = None
) -> list[dict[str, dict[int, float]]]:
    """What Judge and Watcher see of each run of a cohort: by name and step. `keep` says which go on after a step."""
    models, judge, watcher = Models(cohort), Judge(cohort), Watcher(cohort, report)
    seen: list[dict[str, dict[int, float]]] = [{} for _ in range(len(cohort))]
    runs, seeds = list(range(len(cohort))), cohort.seed_number

    def note(step: int, values: dict[str, Floats]) -> None:
        for name, column in values.items():
            assert column.dtype == np.float64
            for run, value in zip(runs, column, strict=True):
                seen[run].setdefault(name, {})[step] = value

    note(0, judge.values(*models.weights()))
    feed = cohort.batches_after(0)
    for step in range(1, cohort.parts.steps + 1):
        inputs, targets = next(feed)
        due = watcher.due(step)
        if due:
            watcher.before_update(step, inputs, targets, *models.weights(), models.lrs())
        models.train(inputs, targets, seeds)
        if due:
            note(step, watcher.after_update(models.weights()[0]))
        if step % cohort.parts.evaluate_every == 0 or step == cohort.parts.steps:
            note(step, judge.values(*models.weights()))
        if keep and step in keep:
            models.keep(keep[step])
            watcher.keep(torch.tensor(keep[step]))
            runs, seeds = [runs[run] for run in keep[step]], seeds[keep[step]]
    return seen


def assert_the_series_of_fit(recipe: Recipe, seen: dict[str, dict[int, float]], folder: Path, until: int = 99) -> None:
    run = descend.fit(recipe, runs=folder)
    recorded: dict[str, dict[int, float]] = {}
    for name in run.names():
        if name not in OF_THE_TRAINER and not name.endswith("/test"):
            series = run.series(name)
            if values := {int(x): y for x, y in zip(series.x, series.y, strict=True) if x <= until}:
                recorded[name] = values
    assert seen.keys() == recorded.keys()
    for name, values in seen.items():
        # only the order of sums differs: 1e-9 leaves a condition number of 1e6 (sharpness, gradient_noise)
        assert values == pytest.approx(recorded[name], rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("network", RECIPES)
def test_every_series_is_the_one_that_fit_records(network: str, tmp_path: Path) -> None:
    base = RECIPES[network].but(evaluate_every=5)
    cohort = cohort_of([base, base.but(seed=1, optimizer="adam", lr=0.01)])
    for recipe, seen in zip(cohort.recipes, measured(cohort), strict=True):
        assert_the_series_of_fit(recipe, seen, tmp_path)
    if network == "mlp":
        assert {"dead_units/activations.0", "gradient_noise/scale", "sharpness/of_limit"} <= seen.keys()


def test_runs_that_go_on_alone_are_measured_as_before(tmp_path: Path) -> None:
    base = RECIPES["mlp"]
    cohort = cohort_of([base, base.but(seed=1), base.but(lr=0.01), base.but(seed=2, lr=0.2)])
    seen = measured(cohort, keep={3: [1, 2, 3], 5: [0, 2]})
    for run, until in enumerate([3, 13, 5, 13]):
        assert_the_series_of_fit(cohort.recipes[run], seen[run], tmp_path, until)


def test_runs_of_one_seed_share_their_batches(tmp_path: Path) -> None:
    base = RECIPES["mlp"].but(steps=2)
    cohort = cohort_of([base, base.but(lr=0.01)])
    for recipe, seen in zip(cohort.recipes, measured(cohort), strict=True):
        assert_the_series_of_fit(recipe, seen, tmp_path)


def test_a_run_that_dies_does_not_disturb_what_is_measured_of_the_others(tmp_path: Path) -> None:
    base = RECIPES["mlp"]
    cohort = cohort_of([base, base.but(lr=1e200), base.but(seed=1)])
    seen = measured(cohort)
    for run in (0, 2):
        assert_the_series_of_fit(cohort.recipes[run], seen[run], tmp_path)
    assert np.isnan(seen[1]["sharpness/hessian"][11])


@pytest.mark.parametrize("vmapped", [True, False])
def test_a_monitor_that_raises_is_switched_off_and_reported_once(
    vmapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(step: Step) -> dict[str, Tensor]:
        if step.number > 1:
            raise ValueError("no such thing")
        return {"broken/all": step.loss}

    monitors = {"broken": Monitor(broken, unit="1", vmapped=vmapped), **chosen("grad_norm")}
    monkeypatch.setattr(_measure, "chosen", lambda names: monitors)
    sentences: list[str] = []
    base = RECIPES["mlp"].but(steps=3)
    for seen in measured(cohort_of([base, base.but(seed=1)]), sentences.append):
        assert set(seen["broken/all"]) == {1}
        assert set(seen["grad_norm/all"]) == {1, 2, 3}
    assert sentences == ["Monitor 'broken' failed at step 2 and is switched off: ValueError: no such thing"]


def test_what_a_monitor_remembers_is_each_runs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def total(step: Step) -> dict[str, Tensor]:
        memory = step.memory.setdefault("total", {"sum": None, "steps": []})
        memory["sum"] = step.loss if memory["sum"] is None else memory["sum"] + step.loss
        memory["steps"].append(step.number)
        return {"total/sum": memory["sum"], "total/steps": step.loss.new_tensor(len(memory["steps"]))}

    monitors = {
        "at once": Monitor(total, unit="1"),
        "one by one": Monitor(
            lambda step: {f"slow_{name}": value for name, value in total(step).items()}, "1", vmapped=False
        ),
        "loss": Monitor(lambda step: {"loss": step.loss}, unit="1"),
    }
    monkeypatch.setattr(_measure, "chosen", lambda names: monitors)
    base = RECIPES["mlp"].but(steps=4)
    for seen in measured(cohort_of([base, base.but(seed=1), base.but(lr=0.5)]), keep={2: [0, 2]})[::2]:
        sums = np.cumsum([seen["loss"][step] for step in range(1, 5)])
        for name in ("total", "slow_total"):
            assert list(seen[f"{name}/sum"].values()) == pytest.approx(sums, rel=1e-12)
            assert list(seen[f"{name}/steps"].values()) == [1, 2, 3, 4]


@pytest.mark.parametrize("network", RECIPES)
def test_answers_and_test_values_are_those_of_each_model(network: str) -> None:
    base = RECIPES[network]
    models = Models(cohort_of([base, base.but(seed=1)]))
    judging, parts = Judge(models.cohort), models.cohort.parts
    each = [dataclasses.replace(parts, model=model) for model in models.models]
    assert judging.answers(*models.weights()) == [evaluate(one).predictions for one in each]
    tested = judging.tested(*models.weights())
    assert bool(tested) == bool(parts.dataset.test)
    for name, values in tested.items():
        assert list(values) == [judge(one, parts.dataset.test)[name.removesuffix("/test")] for one in each]


@pytest.mark.parametrize("network", ["linear", "mlp with batch norm"])
def test_judging_does_not_depend_on_how_many_runs_are_judged_at_once(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = RECIPES[network].but(dtype="float32")
    models = Models(cohort_of([base.but(seed=seed) for seed in range(5)]))
    weights = models.weights()
    before = [tensor.clone() for part in weights for tensor in part.values()]
    together = Judge(models.cohort).values(*weights)
    monkeypatch.setattr(_measure, "NUMBERS", 1)
    one_by_one = Judge(models.cohort).values(*weights)
    assert together.keys() == one_by_one.keys()
    for name, values in together.items():
        assert values == pytest.approx(one_by_one[name], rel=1e-5), name  # float32 keeps 7 digits of a row's loss
    assert all(torch.equal(old, new) for old, new in zip(before, (t for p in weights for t in p.values()), strict=True))


def test_so_many_runs_are_measured_at_once_as_bounded_memory_takes() -> None:
    base = Recipe(data="employee_bonus", batch_size=10, optimizer="sgd", lr=0.1)
    inputs, errors = 10 * 3, 2 * 10  # kept for the backward pass: X, and the loss's outputs and targets
    assert watched_at_once(cohort_of([base])) == _measure.KEPT // (inputs + errors)
    assert watched_at_once(cohort_of([base.but(monitors="none"), base.but(monitors="none", seed=1)])) == 2
