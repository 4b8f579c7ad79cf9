"""The range test suggests rates that train well, turns where theory says, and gives back what it borrowed."""

from __future__ import annotations

import copy
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import descend.optim
from descend.cli._main import descend as cli
from descend.errors import DataError, DescendError, RecipeError
from descend.optim import decay_groups
from descend.optim import optimizer as catalog_optimizer
from descend.range_test._curve import read
from descend.range_test._lr_range import lr_range
from descend.recipe import Recipe
from descend.train.build import build
from descend.train.evaluate import judge

BACK = 12.595  # where the dilogarithm's real part is zero again: the error of a quadratic has its first size there


class Quadratic(nn.Module):
    """Weights, times what they are given; with `half_square` a loss of 0.5 sum of curvature w^2."""

    def __init__(self, *curvatures: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(len(curvatures), dtype=torch.float64))
        self.register_buffer("curvatures", torch.tensor(curvatures, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        return 0.5 * self.curvatures * self.w.square()


def total(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.sum()


ONE_BATCH = [(torch.zeros(1, 1), torch.zeros(1, 1))]


# --- the law ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curvature", [0.137, 7.13, 441.0])
@pytest.mark.parametrize("per_decade", [25, 60])
def test_on_a_quadratic_the_loss_turns_at_the_stability_limit_and_is_back_at_6_3_times_it(
    curvature: float, per_decade: int
) -> None:
    model = Quadratic(curvature)
    found = lr_range(
        model, ONE_BATCH, total, optimizer=torch.optim.SGD(model.parameters(), lr=1), per_decade=per_decade, repeats=1
    )
    step = 10 ** (1 / per_decade)  # a step of the rate is by how much its places may be off
    place, losses = found.rates * curvature, found.losses[0]
    beyond = place > 1.5  # at 1 the error is nearly 0 for one step, by Newton's luck
    assert place[beyond][losses[beyond].argmin()] == pytest.approx(2, rel=step - 1)
    assert place[beyond][(losses[beyond] > losses[0]).argmax()] == pytest.approx(BACK, rel=step**2 - 1)
    assert found.turn is not None
    assert found.lr is not None
    assert found.turn * curvature == pytest.approx(2, rel=0.25)  # a kernel's width, as Newton's luck pulls it down
    assert found.lr * curvature < 2


@settings(max_examples=10)
@given(condition=st.floats(2, 1000), seed=st.integers(0, 100))
def test_with_several_curvatures_it_turns_between_1_and_6_3_times_the_limit_and_the_suggestion_is_stable(
    condition: float, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    curvatures = np.exp(draw.uniform(0, math.log(condition), 5)).tolist()
    model = Quadratic(*curvatures)
    found = lr_range(model, ONE_BATCH, total, optimizer=torch.optim.SGD(model.parameters(), lr=1), repeats=1)
    limit = 2 / max(curvatures)
    assert found.turn is not None
    assert found.lr is not None
    assert 0.9 * limit < found.turn < 6.3 * limit
    assert found.lr < limit


def test_read_finds_the_places_of_a_made_curve() -> None:
    rates = 10 ** np.arange(-6, 2, 0.02)
    place = np.log10(rates)
    curve = 1 - 0.9 * np.exp(-((place + 2) ** 2) / 0.5) + 5 * np.exp(3 * (place - 1))
    noise = np.random.default_rng(0).normal(0, 0.01, (3, len(rates)))
    found = read(rates, curve + noise, ended=False)
    assert found.turn == pytest.approx(10**-2, rel=0.15)
    assert found.fastest is not None
    assert found.fastest < found.turn < (found.exploded or 0)
    assert all(turn == pytest.approx(10**-2, rel=0.3) for turn in found.turns)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_noise_alone_is_no_fall(seed: int) -> None:
    rates = 10 ** np.arange(-6, 1, 0.02)
    losses = np.random.default_rng(seed).normal(2, 0.3, (3, len(rates)))
    assert read(rates, losses, ended=False).turn is None


# --- the suggestion trains well ---------------------------------------------------------------------------------------


def trained(recipe: Recipe, lr: float) -> float:
    """The training loss after a recipe at a constant rate; infinite where it diverged."""
    torch.manual_seed(recipe.seed)
    parts = build(recipe.but(lr=lr))
    for inputs, targets in itertools.islice(parts.batches.after(0), parts.steps):
        parts.optimizer.zero_grad()
        loss = parts.loss(parts.model(inputs), targets)
        (loss * parts.batches.weight(len(inputs))).backward()
        parts.optimizer.step()
        if not math.isfinite(loss.item()):
            return math.inf
    loss = judge(parts, parts.dataset.train)["loss"]
    return loss if math.isfinite(loss) else math.inf


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "factor"),
    [
        (Recipe(steps=400), 1.5),
        (Recipe(steps=300, batch_size="all"), 1.5),
        (Recipe(data="digits", model="mlp", epochs=4), 2.0),
        (Recipe(data="digits", model="mlp", optimizer="adam", epochs=4), 2.0),
        (Recipe(data="digits", model="cnn", optimizer="adam", steps=60), 2.0),
        # to be within a factor of a loss that goes to zero means little: that of the rate is asked for below
        (Recipe(data="moons", model="mlp", epochs=15), 8.0),
    ],
    ids=["bonus", "bonus, full batch", "digits", "digits, adam", "digits, cnn", "moons"],
)
def test_training_at_the_suggestion_ends_within_a_factor_of_the_best_rate_of_a_grid(
    recipe: Recipe, factor: float
) -> None:
    recipe = recipe.but(threads=1)
    found = lr_range(recipe).lr
    assert found is not None
    best = min(trained(recipe, found * 2.0**power) for power in (-4, -2, -1, 0.5, 1, 2, 4))
    assert trained(recipe, found) <= factor * best


def test_the_suggestions_of_other_seeds_are_near() -> None:
    found = [lr_range(Recipe(seed=10 * seed, threads=1)).lr or 0.0 for seed in range(4)]
    assert max(found) < 1.5 * min(found)


def test_a_rate_that_only_a_warm_up_makes_possible_is_halved_until_it_holds() -> None:
    class Narrow(nn.Module):
        """A valley whose walls are steep where training begins, and which a slow start leaves: the curvature falls."""

        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.tensor([4.0, 4.0], dtype=torch.float64))

        def forward(self, inputs: Tensor) -> Tensor:
            return 0.05 * self.a.pow(4).sum() + 0.5 * self.a.square().sum()

    model = Narrow()
    found = lr_range(
        model,
        ONE_BATCH,
        lambda outputs, targets: outputs,
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
        per_decade=15,
        repeats=1,
    )
    assert found.lr is not None
    assert found.halvings > 0
    assert any("did not: a constant rate lacks the warm-up" in sentence for sentence in found.sentences)


# --- nothing is changed -----------------------------------------------------------------------------------------------


class Busy(nn.Module):
    """Everything that may be left changed: running statistics, dropout, a counter, a buffer that is replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
        self.register_buffer("mean", torch.zeros(4), persistent=False)
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * inputs.mean(0)
        return self.body(inputs - self.mean)


class Noisy(TensorDataset):
    """Rows with noise from a generator of their own."""

    def __init__(self, *tensors: Tensor) -> None:
        super().__init__(*tensors)
        self.draw = np.random.default_rng(0)

    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        inputs, targets = super().__getitem__(row)
        return inputs + 0.01 * float(self.draw.normal()), targets


def everything(model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any) -> dict[str, Any]:
    """All state there is, copied."""
    state: dict[str, Any] = {
        "parameters": list(model.named_parameters()),
        "buffers": list(model.named_buffers()),
        "gradients": [parameter.grad for parameter in model.parameters()],
        "modules": [(name, module.training, getattr(module, "calls", None)) for name, module in model.named_modules()],
        "optimizer": optimizer.state_dict(),
        "loader": [loader.generator.get_state(), loader.dataset.draw.bit_generator.state],
        "threads": torch.get_num_threads(),
    }
    return copy.deepcopy(state)


def randoms() -> list[Any]:
    """Asked for right before and after: beartype, which checks the tests, draws from Python's numbers itself."""
    return [torch.get_rng_state(), random.getstate(), np.random.get_state()[1:]]


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [name for name in before if not same(before[name], after[name])]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor | np.ndarray):
        return type(one) is type(other) and one.dtype == other.dtype and bool((one == other).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def busy() -> tuple[Busy, DataLoader[Any]]:
    torch.manual_seed(0)
    rows = torch.randn(60, 4)
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(Noisy(rows, (rows[:, 0] > 0).long()), 16, shuffle=True, generator=generator)
    return Busy(), loader


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "torch adam": lambda model: torch.optim.Adam(model.parameters(), lr=1e-3),
    "torch sgd, groups": lambda model: torch.optim.SGD(decay_groups(model, 0.1), lr=0.01, momentum=0.9),
    "torch, rate a tensor": lambda model: torch.optim.AdamW(model.parameters(), lr=torch.tensor(1e-3)),
    "ours, flat": lambda model: catalog_optimizer("adam", model.parameters(), flat=True, lr=1e-3),
    "ours": lambda model: catalog_optimizer("muon", [model.body[0].weight, model.body[4].weight], lr=0.01),  # type: ignore[union-attr, index]
}


@pytest.mark.parametrize("begun", [False, True], ids=["fresh", "in the middle of training"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_users_own_things_come_back_bit_for_bit(name: str, begun: bool) -> None:
    model, loader = busy()
    optimizer = OPTIMIZERS[name](model)
    if begun:
        model.body[2].eval()
        for inputs, targets in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    held = [parameter.grad for parameter in model.parameters()]
    groups = optimizer.param_groups
    twin = copy.deepcopy((model, optimizer))
    reading = iter(loader)  # somebody is in the middle of an epoch
    first = next(reading)
    before, drawn = everything(model, optimizer, loader), randoms()
    found = lr_range(
        model, loader, nn.CrossEntropyLoss(), optimizer=optimizer, low=1e-5, high=1.0, per_decade=8, repeats=2
    )
    assert same(drawn, randoms())
    assert np.isfinite(found.losses).sum() > 30
    assert not changed(before, everything(model, optimizer, loader))
    assert all(parameter.grad is grad for parameter, grad in zip(model.parameters(), held, strict=True))
    assert optimizer.param_groups is groups
    assert first[0].shape[0] == 16
    assert len(list(reading)) == 3
    for both in ((model, optimizer), twin):  # and training goes on as if nothing had been
        torch.manual_seed(5)
        both[1].zero_grad()
        nn.functional.cross_entropy(both[0](first[0]), first[1]).backward()
        both[1].step()
    assert same(list(model.state_dict().values()), list(twin[0].state_dict().values()))


def test_an_error_and_ctrl_c_change_nothing_either() -> None:
    model, loader = busy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = everything(model, optimizer, loader)
    for error, told in ((ValueError("no\nway."), DescendError), (KeyboardInterrupt(), KeyboardInterrupt)):
        left = iter(range(25))

        def loss(outputs: Tensor, targets: Tensor, left: Iterator[int] = left, error: BaseException = error) -> Tensor:
            if next(left, None) is None:
                raise error
            return nn.functional.cross_entropy(outputs, targets)

        with pytest.raises(told) as raised:
            lr_range(model, loader, loss, optimizer=optimizer)
        if told is DescendError:
            assert str(raised.value) == "A step cannot be taken: ValueError: no way."
        assert not changed(before, everything(model, optimizer, loader))


def test_parameter_groups_stay_in_proportion() -> None:
    seen = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            seen.append([group["lr"] for group in self.param_groups])
            super().step()

    model = Quadratic(1.0, 2.0)
    other = nn.Parameter(torch.ones(1))
    optimizer = Watched([{"params": [model.w], "lr": 0.2}, {"params": [other], "lr": 0.05}])
    found = lr_range(model, ONE_BATCH, total, optimizer=optimizer, repeats=1)
    assert all(second == pytest.approx(first / 4) for first, second in seen)
    assert found.shares == (1.0, 0.25)
    assert any(f"the rates of all, in proportion: {found.lr:.2g}, " in sentence for sentence in found.sentences)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.05]


def test_an_optimizer_may_be_named() -> None:
    model, loader = busy()
    found = lr_range(model, loader, nn.CrossEntropyLoss(), optimizer="adam", repeats=1)
    assert found.lr is None or 1e-4 < found.lr < 1


def test_a_recipe_leaves_the_random_numbers_alone() -> None:
    before = torch.get_rng_state(), torch.get_num_threads()
    found = lr_range(Recipe(), repeats=1, per_decade=10)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == torch.get_num_threads()
    again = lr_range(Recipe(), repeats=1, per_decade=10)
    np.testing.assert_array_equal(found.losses, again.losses)


# --- ranges that do not fit, and curves that say nothing --------------------------------------------------------------


def test_a_range_that_ends_too_early_is_widened() -> None:
    found = lr_range(Recipe(threads=1), high=1e-4)
    assert found.exploded is not None
    assert found.exploded > 1e-4
    assert any("widened upwards" in sentence for sentence in found.sentences)


def test_a_range_that_begins_too_late_is_begun_anew() -> None:
    found, plain = lr_range(Recipe(threads=1), low=0.02), lr_range(Recipe(threads=1))
    assert found.rates[0] == pytest.approx(2e-5)
    assert found.lr == pytest.approx(plain.lr, rel=0.3)
    assert any("begun at 2e-05" in sentence for sentence in found.sentences)


def test_where_nothing_can_be_learned_there_is_no_suggestion() -> None:
    model = nn.Linear(3, 2)
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(rows, rows[:, 0]), 8)
    flat = lr_range(model, loader, lambda outputs, targets: outputs.sum() * 0 + 1, optimizer="sgd", repeats=1)
    assert flat.lr is None
    assert flat.exploded is None
    assert "never fell clearly" in flat.sentences[0]
    assert "never exploded, up to 1e+04" in flat.sentences[1]


def test_a_loss_that_is_not_finite_from_the_start_is_told() -> None:
    model = nn.Linear(1, 1)
    found = lr_range(model, ONE_BATCH, lambda outputs, targets: outputs.sum() * math.nan, optimizer="sgd", repeats=1)
    assert (found.lr, found.turn) == (None, None)
    assert found.figure().blank


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"low": 1.0, "high": 0.1}, RecipeError, "low is 1 and high is 0.1, but a range needs 0 < low < high."),
        ({"low": 0.0}, RecipeError, "low is 0 and high is 10, but"),
        ({"per_decade": 4}, RecipeError, "per_decade is 4, but a curve needs at least 5 steps"),
        ({"repeats": 0}, RecipeError, "repeats is 0, but must be at least 1."),
        ({"loader": iter(ONE_BATCH)}, DataError, "The loader is an iterator, whose batches would be gone"),
        ({"loader": 3}, DataError, "int gives none: give a DataLoader or a list"),
        ({"loader": []}, DataError, "The loader gives no batch at all."),
        ({"loader": [torch.zeros(1, 1)]}, DataError, "A batch must be a pair of tensors"),
        ({"loader": None}, RecipeError, "A model needs a loader, a loss and an optimizer"),
        ({"optimizer": "sdg"}, RecipeError, "Did you mean 'sgd'?"),
        ({"model": nn.ReLU()}, DescendError, "The model has no parameter to train"),
        ({"model": nn.LazyLinear(2)}, DescendError, "show it one batch first"),
        ({"model": nn.Linear(5, 1)}, DescendError, "A step cannot be taken: RuntimeError: mat1 and mat2"),
        ({"model": Recipe()}, RecipeError, "give lr_range the recipe alone"),
    ],
)
def test_what_cannot_be_tested_is_refused_in_one_sentence(
    change: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    given: dict[str, Any] = {"model": nn.Linear(1, 1), "loader": ONE_BATCH, "loss": nn.MSELoss(), "optimizer": "sgd"}
    with pytest.raises(error) as raised:
        lr_range(**given | change)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_optimizer_that_searches_its_own_steps_or_rests_is_refused() -> None:
    model = nn.Linear(1, 1)
    for optimizer, sentence in (
        (torch.optim.LBFGS(model.parameters()), "LBFGS needs a closure"),
        (torch.optim.SGD(model.parameters(), lr=0.0), "has the learning rate 0"),
    ):
        with pytest.raises(DescendError, match=sentence):
            lr_range(model, ONE_BATCH, nn.MSELoss(), optimizer=optimizer)


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_the_command_prints_places_suggestion_and_what_to_do_and_draws(tmp_path: Path) -> None:
    figure = tmp_path / "rates.svg"
    line = ["lr-range", "--threads", "1", "--repeats", "1", "--out", str(figure)]
    result = CliRunner().invoke(cli, line)
    assert result.exit_code == 0, result.output
    found = lr_range(Recipe(threads=1), repeats=1)
    for word in ("falls fastest", "suggested", "turns", "explodes", *found.sentences):
        assert word in result.output
    assert result.output.endswith(f"Next: descend train --threads 1 --lr {found.lr:g}\n")
    assert "suggested" in figure.read_text()
    told = json.loads(CliRunner().invoke(cli, [*line[:5], "--json"]).output)
    assert told["lr"] == found.lr
    assert told["sentences"] == list(found.sentences)


def test_the_command_refuses_a_wrong_file_and_a_wrong_range() -> None:
    for more, sentence in ((["--out", "rates.txt"], "is none of these"), (["--low", "20"], "a range needs")):
        result = CliRunner().invoke(cli, ["lr-range", *more])
        assert result.exit_code == 2
        assert sentence in result.stderr


def test_the_figure_marks_what_was_found() -> None:
    figure = lr_range(Recipe(threads=1), repeats=1).figure()
    assert figure.caption.startswith("Train with a learning rate of about")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [label.split()[0] for label in labels] == ["batch", "suggested", "turns", "explodes"]


def test_it_is_public() -> None:
    assert descend.lr_range is lr_range
