"""`recommend`, in a world whose truth is known: what a run comes to is a formula of learning rate and seed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from descend.cli.recommend import command, contestants
from descend.comparison import paired_ratio
from descend.errors import RecipeError
from descend.recipe import Recipe
from descend.recommending import _recommend
from descend.recommending._recommend import entered, recommend
from descend.recommending._recommendation import Recommendation
from descend.recommending._window import window_of
from descend.sweeping._outcomes import Outcomes, Table

START = 2.0
STEPS = 100
AT = np.arange(0.0, STEPS + 1, 5)


def noise(recipe: Recipe) -> float:
    """A standard normal number that is this seed's and learning rate's own, and partly the seed's alone."""
    shared = np.random.default_rng(recipe.seed).normal()
    own = np.random.default_rng([recipe.seed, int(1e12 * recipe.options["lr"])]).normal()
    return float(0.6 * shared + 0.8 * own)


def world(losses: Callable[[Recipe], float]) -> Callable[..., Outcomes]:
    """Outcomes in which a run falls evenly on a log scale, from START to the loss that its recipe has; a loss of
    infinity dies in the first step."""

    def outcomes(recipes: Sequence[Recipe], *, progress: bool = False) -> Outcomes:
        ends = np.array([losses(recipe) for recipe in recipes])
        dead = ~np.isfinite(ends)
        safe = np.where(dead, START, ends)
        values = START * (safe[:, None] / START) ** (AT / STEPS)
        evaluated = np.where(dead[:, None], AT == 0, True)
        places = tuple((0, row) for row in range(len(recipes)))
        table = Table(AT, {"loss/validation": values, "accuracy/validation": 1 - values / START}, evaluated)
        steps = np.where(dead, 1, STEPS)
        return Outcomes(tuple(recipes), dead.astype(np.int64), steps, 0.0, (), (table,), places)

    return outcomes


def bowl(centre: float, least: float, spread: float = 0.1) -> Callable[[Recipe], float]:
    """A loss whose logarithm is a parabola of log10(lr) around `centre`, with noise; above 100 times that it dies."""

    def loss(recipe: Recipe) -> float:
        away = math.log10(recipe.options["lr"]) - centre
        return math.inf if away > 2 else min(START, least * math.exp(away**2 + spread * noise(recipe)))

    return loss


@pytest.fixture
def in_world(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recommendation]:
    """Recommend in a world where every contestant has a loss of its own, by optimizer."""

    def run(losses: dict[str, Callable[[Recipe], float]], **budget: Any) -> Recommendation:
        monkeypatch.setattr(_recommend, "outcomes", world(lambda recipe: losses[recipe.optimizer](recipe)))
        budget = {"repeats": 8, "configurations": 12, "fresh": 2, "timed": False} | budget
        return recommend(entered(Recipe(data="moons", model="mlp"), list(losses)), **budget)

    return run


def test_a_difference_that_is_there_is_found_and_one_that_is_not_is_not(in_world):
    result = in_world({"adam": bowl(-3, 0.1), "rmsprop": bowl(-3, 0.1), "sgd": bowl(-1, 0.2)})
    loss = result.standings[0]
    assert loss.leader in ("adam", "rmsprop")
    assert loss.ratios["sgd"].low < 2 < loss.ratios["sgd"].high
    assert loss.tied == [label for label in ("adam", "rmsprop") if label != loss.leader]
    assert "Behind it beyond chance: sgd" in result.sentences[1]
    assert "No difference that chance would not explain: rmsprop" in result.sentences[1].replace("adam", "rmsprop")


def test_an_optimizer_beside_itself_is_told_apart_in_at_most_5_percent_of_trials(monkeypatch):
    """The whole procedure: draws, tuning, fresh runs, verdict. Beside itself an optimizer has other learning rates."""
    monkeypatch.setattr(_recommend, "outcomes", world(bowl(-2, 0.1, spread=0.3)))
    told_apart = 0
    for trial in range(200):
        twin = Recipe(data="moons", model="mlp", optimizer="adam", seed=1000 * trial)
        result = recommend(
            {"one": twin, "other": twin}, repeats=4, configurations=4, fresh=1, timed=False, lr_range=(1e-4, 1.0)
        )
        told_apart += result.different
    assert told_apart <= 10


def test_many_seeds_of_one_tuning_would_tell_an_optimizer_from_itself(monkeypatch):
    """Why the tuning is repeated: two tunings of one optimizer come to different learning rates, and that shows."""
    monkeypatch.setattr(_recommend, "outcomes", world(bowl(-2, 0.1, spread=0.3)))
    told_apart = 0
    for trial in range(50):
        twin = Recipe(data="moons", model="mlp", optimizer="adam", seed=1000 * trial)
        result = recommend({"one": twin, "other": twin}, repeats=1, configurations=8, fresh=20, timed=False)
        one, other = (contestant.losses[0] for contestant in result.contestants.values())
        told_apart += paired_ratio(one, other, comparisons=1).different
    assert told_apart > 5  # 5 % of 50 is 2.5; it is 27 % in 200 trials


def test_the_loss_is_judged_on_fresh_seeds_and_not_by_the_best_of_many(in_world):
    """Where all learning rates are alike, the best of 12 has 1.63 standard deviations of luck, and a fresh run none."""
    flat = {name: lambda recipe: 0.1 * math.exp(0.2 * noise(recipe)) for name in ("adam", "sgd")}
    result = in_world(flat, repeats=40, fresh=8)
    luck = np.log(np.concatenate([one.tuned.min(1) for one in result.contestants.values()]) / 0.1).mean() / 0.2
    fresh = np.log(np.concatenate([one.loss for one in result.contestants.values()]) / 0.1).mean() / 0.2
    # shared noise is not chosen from: 0.8 * 1.63 = 1.3, give or take 0.1
    assert luck == pytest.approx(-1.3, abs=0.3)
    assert fresh == pytest.approx(0, abs=0.15)


def test_no_seed_is_tuned_on_and_judged_by(monkeypatch):
    asked: list[set[int]] = []
    truth = world(bowl(-2, 0.1))

    def outcomes(recipes: Sequence[Recipe], *, progress: bool = False) -> Outcomes:
        asked.append({recipe.seed for recipe in recipes})
        return truth(recipes)

    monkeypatch.setattr(_recommend, "outcomes", outcomes)
    recommend(Recipe(data="moons", model="mlp", seed=7), repeats=3, configurations=2, fresh=2, timed=False)
    tuned, judged = asked
    assert tuned == {7, 8, 9}
    assert judged == {10, 11, 12, 13, 14, 15}


def test_every_contestant_has_as_many_learning_rates_in_every_part_of_the_range(in_world):
    result = in_world({"adam": bowl(-3, 0.1), "sgd": bowl(-1, 0.2)}, configurations=6, repeats=5, lr_range=(1e-5, 10))
    for one in result.contestants.values():
        decades = np.floor(np.log10(one.lrs) + 1e-9)
        assert (decades == np.arange(-5, 1)).all()
    adam, sgd = (one.lrs for one in result.contestants.values())
    assert not (adam == sgd).any()
    assert len(np.unique(adam)) == adam.size


@settings(max_examples=20)
@given(
    centre=st.floats(-3, -1), width=st.floats(0.3, 3), tolerance=st.floats(0.05, 1), configurations=st.integers(60, 80)
)
def test_the_window_of_a_parabola_is_where_the_formula_says(centre, width, tolerance, configurations):
    """log loss = (x - centre)^2 / width in decades x: within `tolerance` for |x - centre| < sqrt(width log(1 + it))."""
    parts = (np.arange(configurations) + np.array([[0.2], [0.5], [0.7]])) / configurations
    decades = -5 + 6 * parts
    window = window_of(10**decades, np.exp((decades - centre) ** 2 / width), (1e-5, 10.0), tolerance)
    half = math.sqrt(width * math.log1p(tolerance))
    # straight lines between points h = 0.1 decades apart are too high by up to h^2 / 4 / width, at the bottom as well
    slack = 2 * (0.1**2 / 4 / width) * width / (2 * half) + 0.1 / 2
    assert math.log10(window.low) == pytest.approx(centre - half, abs=slack)
    assert math.log10(window.high) == pytest.approx(centre + half, abs=slack)
    assert not window.edges
    assert window.interval[0] <= window.factor * 1.1
    assert window.interval[1] >= window.factor / 1.1


def test_a_window_ends_at_the_first_bad_learning_rate_and_not_at_a_good_one_beyond():
    decades = np.array([[-4.0, -3, -2, -1, 0]])
    losses = np.array([[0.1, 9.0, 0.09, 9.0, 0.1]])
    window = window_of(10**decades, losses, (1e-4, 1.0), 0.25)
    assert 1e-3 < window.low < 1e-2 < window.high < 1e-1


def test_a_window_by_a_loss_that_nobody_reaches_is_empty_and_one_by_a_greater_loss_is_wider():
    decades = np.linspace(-4, 0, 41) + np.zeros((3, 1))
    losses = 0.1 * np.exp((decades + 2) ** 2)
    empty, own, wide = (
        window_of(10**decades, losses, (1e-4, 1.0), **of)
        for of in ({"limit": 0.09}, {"tolerance": 0.5}, {"limit": 0.3})
    )
    assert empty.factor == 1
    assert own.factor == pytest.approx(10 ** (2 * math.sqrt(math.log(1.5))), rel=0.05)
    assert wide.factor == pytest.approx(10 ** (2 * math.sqrt(math.log(3))), rel=0.05)


def test_a_window_that_reaches_the_end_of_the_range_says_so(in_world):
    result = in_world({"adam": bowl(-3, 0.1), "sgd": bowl(1, 0.2)}, lr_range=(1e-5, 10))
    assert result.windows["sgd"].edges
    assert not result.windows["adam"].edges
    assert any("reaches the end of the range 1e-05 to 10 for sgd" in sentence for sentence in result.sentences)


def test_updates_are_counted_to_a_loss_that_each_reaches_in_half_of_its_runs(in_world):
    result = in_world({"adam": bowl(-3, 0.01), "sgd": bowl(-1, 0.2)})
    medians = [np.median(one.losses) for one in result.contestants.values()]
    assert result.target == pytest.approx(max(medians))
    for one in result.contestants.values():
        assert np.isfinite(one.updates).mean() >= 0.5
    # to 0.2 from 2, on the way to 0.01: log(10) / log(200) of 100 updates, at an evaluation
    assert np.median(result.contestants["adam"].updates) == pytest.approx(45, abs=5)


def test_one_that_does_not_learn_sets_no_target_and_is_not_ranked_by_updates(in_world):
    result = in_world({"adam": bowl(-3, 0.1), "rmsprop": bowl(-3, 0.12), "sgd": lambda recipe: START})
    assert result.target < 0.2
    assert "sgd (0 of 8 repeats)" in result.sentences[2]


def test_the_target_loss_of_the_recipes_is_the_target_and_ends_no_run(monkeypatch):
    truth = world(bowl(-2, 0.1))

    def outcomes(recipes: Sequence[Recipe], *, progress: bool = False) -> Outcomes:
        assert {recipe.target_loss for recipe in recipes} == {None}
        return truth(recipes)

    monkeypatch.setattr(_recommend, "outcomes", outcomes)
    base = Recipe(data="moons", model="mlp", target_loss=0.5)
    assert recommend(entered(base, ["adam", "sgd"]), repeats=2, configurations=4, timed=False).target == 0.5


def test_runs_that_die_keep_what_they_had_and_are_counted(in_world):
    def fragile(recipe: Recipe) -> float:
        return math.inf if recipe.seed >= 8 and recipe.seed % 5 == 0 else bowl(-3, 0.1)(recipe)

    result = in_world({"adam": bowl(-3, 0.1), "sgd": fragile})
    sgd = result.contestants["sgd"]
    assert sgd.died == sum(seed % 5 == 0 for seed in range(8, 24))
    assert (sgd.losses == START).sum() == sgd.died
    assert any(f"diverged: sgd {sgd.died}" in sentence for sentence in result.sentences)


def test_one_repeat_cannot_tell_a_difference_from_chance(in_world):
    result = in_world({"adam": bowl(-3, 0.1), "sgd": bowl(-1, 0.9)}, repeats=1)
    assert result.standings[0].tied == ["sgd"]
    assert "one repeat cannot tell that from chance" in result.sentences[1]
    assert result.tables


def test_too_few_repeats_are_told(in_world):
    everyone = {name: bowl(-3, 0.1) for name in ("adam", "adamw", "lion", "sgd")}
    few, enough = in_world(everyone, repeats=3), in_world(everyone, repeats=10)
    assert any("With 3 repeats and 12 comparisons only differences of" in sentence for sentence in few.sentences)
    assert not any("standard deviations" in sentence for sentence in enough.sentences)


def test_a_wider_window_makes_up_for_hardly_more_loss_but_not_for_ignorance(in_world):
    def wide(least: float) -> Callable[[Recipe], float]:
        return lambda recipe: least * math.exp((math.log10(recipe.options["lr"]) + 3) ** 2 / 9 + 0.2 * noise(recipe))

    assert in_world({"adam": bowl(-3, 0.1, 0.2), "lion": wide(0.1)}).best == "lion"
    unsure = in_world({"adam": bowl(-3, 0.1, 0.2), "lion": wide(0.17)}, repeats=3, fresh=1)
    assert unsure.standings[0].tied == ["lion"]
    assert unsure.best == "adam"


def test_seconds_are_updates_times_what_an_update_takes_alone(in_world, monkeypatch):
    monkeypatch.setattr(
        _recommend, "_paces", lambda recipes, repeats, lr: np.array([[1e-3], [3e-3]]).repeat(repeats, 1)
    )
    result = in_world({"adam": bowl(-3, 0.1, 0.01), "sgd": bowl(-1, 0.1, 0.01)}, timed=True)
    updates, seconds = result.standings[1:]
    assert (seconds.costs["sgd"] == updates.costs["sgd"] * 3e-3).all()
    assert "sgd" not in seconds.tied


def test_paces_are_those_of_short_runs_and_take_turns():
    recipes = list(entered(Recipe(data="moons", model="mlp"), ["sgd", "adam"]).values())
    paces = _recommend._paces(recipes, 2, 1e-5)
    assert paces.shape == (2, 2)
    assert ((paces > 1e-6) & (paces < 1)).all()


def test_a_recommendation_in_plain_values_is_json(in_world):
    result = in_world({"adam": bowl(-3, 0.1), "sgd": bowl(-1, 0.2)})
    facts = json.loads(json.dumps(result.facts))
    assert facts["best"] == "adam"
    assert facts["contestants"]["sgd"]["against_the_least"]["loss"]["low"] > 1
    assert np.array(facts["contestants"]["adam"]["tuning"]["loss"]).shape == (8, 12)


def test_the_figure_has_a_panel_for_each_and_its_window(in_world):
    result = in_world({name: bowl(-3, 0.1) for name in ("adam", "sgd", "lion", "muon")})
    svg = result.figure().svg()
    assert all(f"{name}: a factor of" in svg for name in result.contestants)


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ({"repeats": 0}, "repeats is 0, but must be at least 1"),
        ({"configurations": 0}, "configurations is 0"),
        ({"lr_range": (1.0, 0.1)}, "Learning rates go from 1 to 0.1, but must go from"),
        ({"tolerance": 0.0}, "tolerance is 0, but must be a number above 0"),
    ],
)
def test_a_budget_of_nothing_is_refused(budget, sentence):
    with pytest.raises(RecipeError, match=sentence):
        recommend(Recipe(data="moons", model="mlp"), **budget)


def test_early_stopping_and_unequal_lengths_are_refused():
    base = Recipe(data="moons", model="mlp")
    with pytest.raises(RecipeError, match="patience is 3 for adam"):
        recommend(entered(base.but(patience=3), ["adam", "sgd"]))
    with pytest.raises(RecipeError, match="The same budget means the same epochs or steps"):
        recommend({"short": base.but(epochs=1), "long": base})


def test_options_go_to_the_optimizers_that_have_them():
    made = contestants(
        {"data": "moons", "model": "mlp", "optimizer": "adam,momentum", "momentum": "0.8", "beta1": "0.7"}
    )
    assert made["momentum"].options["momentum"] == 0.8
    assert made["adam"].options["beta1"] == 0.7
    with pytest.raises(RecipeError, match="None of adam has an option 'momentum'"):
        contestants({"optimizer": "adam", "momentum": "0.8"})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["moons", "mlp", "--lr", "0.1"], "--lr is 0.1, but learning rates are drawn from a range: --lr 1e-5..10"),
        (["moons", "mlp", "--model", "cnn"], "model is given twice, as mlp and as --model cnn"),
        (["moons", "mlp", "--out", "report.html"], "--out is report.html, but a figure ends in .svg, .png, .pdf"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(arguments, sentence):
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())


def test_the_command_trains_and_recommends(tmp_path):
    """Real training, through the lanes: Adam at its best learning rates is far ahead of gradient descent kept slow."""
    arguments = ["moons", "mlp", "--optimizer=sgd,adam", "--epochs=10", "--rows=100", "--batch-size=20", "--untimed"]
    budget = ["--repeats=4", "--configurations=5", "--fresh=2", "--lr=1e-4..0.1"]
    figure = tmp_path / "rates.svg"
    result = CliRunner().invoke(command, [*arguments, *budget, "--out", str(figure)])
    assert result.exit_code == 0, result.output
    assert "By validation loss, adam has the least" in result.stdout
    assert "Behind it beyond chance: sgd" in result.stdout
    assert figure.read_text().startswith("<svg")
