import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descend.comparison import BATCH_SIZES, Comparison, _stems, compare, paired_ratio
from descend.errors import RunError
from descend.recipe import Recipe
from descend.run import Recorder, Run, run_folder

COSTS = st.lists(st.floats(1, 1e6), min_size=2, max_size=12)


def made_up(folder, label: str, seed: int, losses: list[float], *, rows: int = 10, pace: float = 1e-3) -> Run:
    """A run with the given training losses, one evaluation an update."""
    recipe = Recipe(seed=seed, batch_size=rows, lr=ord(label[0]) / 1e4)
    name = f"{ord(label[0])}-{seed}"
    with Recorder(folder / name, recipe) as recorder:
        recorder.note("label", 0, text=label)
        for step, loss in enumerate(losses, start=1):
            recorder.log(step, step * rows, step * pace, {"loss/batch": loss})
            recorder.log(step, step * rows, step * pace, {"loss/train": loss})
        recorder.note("ended", len(losses), why="finished" if np.isfinite(losses[-1]) else "non-finite")
    return Run(folder / name)


def falling(steps: float, to: float = 1e-3, total: int = 60) -> list[float]:
    """Losses that fall from 1 and reach `to` after `steps` updates."""
    return [to ** (step / steps) for step in range(1, total + 1)]


def test_each_axis_has_its_own_leader(tmp_path):
    runs = [
        made_up(tmp_path, label, seed, falling(steps + seed), rows=rows, pace=pace)
        for label, steps, rows, pace in (("large", 20, 100, 0.01), ("small", 40, 1, 0.001))
        for seed in range(4)
    ]
    comparison = Comparison.of(runs)
    updates, examples, seconds = comparison.standings
    assert (updates.leader, examples.leader, seconds.leader) == ("large", "small", "small")
    assert not updates.tied
    assert not examples.tied
    assert examples.ratios["large"].mean == pytest.approx(50, rel=0.1)
    assert "By updates, large is ahead: large needs " in comparison.sentences[0]


def test_variants_that_differ_by_chance_are_not_told_apart(tmp_path):
    steps = {"one": [20, 25, 30, 22], "two": [24, 21, 29, 26]}
    runs = [
        made_up(tmp_path, label, seed, falling(count))
        for label, counts in steps.items()
        for seed, count in enumerate(counts)
    ]
    comparison = Comparison.of(runs)
    assert comparison.standings[0].tied
    assert "By updates, there is no difference that chance would not explain" in comparison.sentences[0]


def test_one_seed_decides_nothing(tmp_path):
    comparison = Comparison.of([made_up(tmp_path, label, 0, falling(steps)) for label, steps in (("a", 10), ("b", 50))])
    assert "one seed cannot tell that from chance" in comparison.sentences[0]


def test_a_variant_that_diverges_is_listed_and_not_ranked(tmp_path):
    runs = [made_up(tmp_path, "good", seed, falling(20 + seed)) for seed in range(3)]
    runs += [made_up(tmp_path, "bad", seed, [1.0, 1e9, math.inf, math.nan]) for seed in range(3)]
    comparison = Comparison.of(runs)
    standing = comparison.standing("step")
    assert standing.leader == "good"
    assert "bad" not in standing.ratios
    assert np.isinf(standing.costs["bad"]).all()
    (row,) = [row for row in comparison.tables[0].rows if row[0] == "bad"]
    assert row[1:4] == ("not reached",) * 3
    assert "0 of 3" in row


def test_where_nothing_reaches_the_target_it_says_so(tmp_path):
    runs = [made_up(tmp_path, label, 0, [math.nan, math.inf]) for label in ("a", "b")]
    assert "no variant reached" in Comparison.of(runs).sentences[0]


@given(COSTS, st.floats(0.01, 100))
def test_the_ratio_of_proportional_costs_is_the_factor_with_no_doubt(costs, factor):
    ratio = paired_ratio(np.array(costs) * factor, np.array(costs), comparisons=1)
    # the logarithms are rounded to 1e-16 of values below 20
    assert (ratio.low, ratio.mean, ratio.high) == pytest.approx((factor, factor, factor), rel=1e-9)


@given(COSTS, COSTS)
def test_a_ratio_and_its_inverse_agree(costs, others):
    count = min(len(costs), len(others))
    a, b = np.array(costs[:count]), np.array(others[:count])
    there, back = paired_ratio(a, b, comparisons=1), paired_ratio(b, a, comparisons=1)
    assert there.mean * back.mean == pytest.approx(1)
    assert there.low * back.high == pytest.approx(1)
    assert there.different == back.different


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        noise = np.exp(draw.normal(0, 0.3, size=(2, 5)))
        ratio = paired_ratio(1.5 * noise[0], noise[1], comparisons=1)
        covered += ratio.low <= 1.5 <= ratio.high
    # the standard deviation of a count with probability 0.95 in 2000 is 9.7
    assert covered / 2000 == pytest.approx(0.95, abs=5 * 9.7 / 2000)


def test_the_more_variants_are_compared_the_wider_their_intervals(tmp_path):
    draw = np.random.default_rng(0)
    a, b = np.exp(draw.normal(0, 0.3, size=(2, 5)))
    widths = [math.log(ratio.high / ratio.low) for ratio in (paired_ratio(a, b, comparisons=count) for count in (1, 2))]
    # Student's t with 4 degrees of freedom, at 97.5 % and, for two comparisons, at 98.75 %; from a table
    assert widths[1] / widths[0] == pytest.approx(3.4954 / 2.7764, rel=1e-4)
    runs = [
        made_up(tmp_path, label, seed, falling(10 * n + seed)) for n, label in enumerate("abc", 1) for seed in (0, 1)
    ]
    standing = Comparison.of(runs).standing("step")
    assert standing.ratios["c"] == paired_ratio(standing.costs["c"], standing.costs["a"], comparisons=2)


def test_compare_trains_every_recipe_with_every_seed_and_reports(tmp_path):
    recipes = {
        f"lr {lr:g}": Recipe(batch_size="all", lr=lr, steps=200, scale="standard", target_loss=100.0, evaluate_every=1)
        for lr in (0.02, 0.1, 0.6)
    }
    comparison = compare(recipes, seeds=3, runs=tmp_path, name="rates")
    assert {label: len(group) for label, group in comparison.variants.items()} == dict.fromkeys(recipes, 3)
    assert [run.recipe.seed for run in comparison.runs] == [0, 1, 2] * 3
    assert comparison.standing("step").leader == "lr 0.1"
    assert any("up to the learning rate 0.4994" in sentence for sentence in comparison.sentences)
    truth = {row[0]: row[1] for row in comparison.tables[1].rows}
    assert truth["performance"] == "12"
    page = comparison.report(tmp_path / "report.html").read_text()
    assert "lr 0.1 is ahead" in page
    again = Comparison.of(comparison.runs)
    assert again.sentences == comparison.sentences, "the runs alone say it all"
    with pytest.raises(RunError, match="exists already"):
        compare(recipes, seeds=1, runs=tmp_path, name="rates")


def test_a_notebook_shows_verdict_and_tables_with_labels_escaped(tmp_path):
    runs = [made_up(tmp_path, label, seed, falling(20)) for label in ("<b>", "a") for seed in range(2)]
    shown = Comparison.of(runs)._repr_html_()
    assert "<p>By updates" in shown
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown


def test_the_demo_stops_at_a_loss_that_proves_the_weights():
    # |error|^2 <= 2 loss / lambda_min for every weight, and 1e-3 is promised
    for recipe in BATCH_SIZES.values():
        assert math.sqrt(2 * recipe.target_loss / 0.1134) < 1e-3


def test_one_variant_is_no_comparison(tmp_path):
    with pytest.raises(RunError, match="at least two variants"):
        Comparison.of([made_up(tmp_path, "a", seed, [1.0]) for seed in range(2)])
    with pytest.raises(RunError, match="at least two variants"):
        compare({"a": Recipe()}, runs=tmp_path)


def test_runs_are_paired_by_seed_and_those_without_a_partner_are_left_out(tmp_path):
    a = [made_up(tmp_path, "a", seed, falling(10 + seed)) for seed in (2, 0, 1)]
    b = [made_up(tmp_path, "b", seed, falling(20 + 2 * seed)) for seed in (0, 2, 3)]
    comparison = Comparison.of(a + b)
    assert [[run.recipe.seed for run in group] for group in comparison.variants.values()] == [[0, 2], [0, 2]]
    # twice the steps for each seed, so the ratio of the pairs is exact whatever differs between seeds
    ratio = comparison.standing("step").ratios["b"]
    assert (ratio.low, ratio.high) == pytest.approx((2, 2))
    with pytest.raises(RunError, match=r"a has 2, 0, 1; b has 3\."):
        Comparison.of([*a, b[2]])


@pytest.mark.parametrize(("field", "one", "other"), [("data", "moons", "circles"), ("loss", "auto", "huber")])
def test_losses_that_mean_different_things_are_not_compared(tmp_path, field, one, other):
    with pytest.raises(RunError, match=rf"where {field} is another \({one}, {other}\)"):
        compare({name: Recipe(**{field: name}) for name in (one, other)}, runs=tmp_path)
    assert not list(tmp_path.iterdir()), "it is refused before anything is trained"


def test_a_cost_of_nothing_has_a_ratio():
    costs = np.array([0.0, 96.0])
    ratio = paired_ratio(costs, costs[::-1], comparisons=1)
    assert (ratio.low, ratio.high) == (0, math.inf)


def test_a_variant_that_learns_nothing_sets_no_target_and_is_named(tmp_path):
    learns = {"fast": falling(10, total=30), "slow": falling(30, total=30), "not at all": [1.0] * 30}
    runs = [made_up(tmp_path, label, seed, losses) for label, losses in learns.items() for seed in range(2)]
    comparison = Comparison.of(runs)
    assert comparison.target == pytest.approx(1e-3)
    verdict, *_, lowest = comparison.sentences
    assert "fast is ahead: fast needs 10 to a loss of 1.0e-03" in verdict.replace("0.001", "1.0e-03")
    assert "Not reached by not at all (0 of 2 seeds)." in verdict
    assert lowest == "Lowest train loss, median over seeds: 1.0e-09 (fast), 0.001 (slow), 1 (not at all)."


def test_ctrl_c_ends_the_whole_comparison(tmp_path, monkeypatch):
    trained = []

    def interrupted(recipe, *, name, **_):
        trained.append(name)
        with Recorder(tmp_path / name, recipe) as recorder:
            recorder.note("ended", 0, why="interrupted")
        return Run(tmp_path / name)

    monkeypatch.setattr("descend.train.fit.fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(runs=tmp_path)
    assert trained == ["batch-GD-seed0"]


def test_every_label_gives_a_folder_of_its_own():
    names = _stems(["a b", "a-b", "Größe=ä", "é", "", "../x", "y" * 200])
    assert len(set(names.values())) == len(names)
    for name in names.values():
        run_folder("runs", f"{name}-seed0")


@pytest.mark.parametrize("lambda_min", [0.0, -1e-17, 3.0])
def test_a_rate_that_theory_does_not_give_is_not_given(tmp_path, lambda_min):
    runs = [made_up(tmp_path, label, seed, falling(20)) for label in ("a", "b") for seed in range(2)]
    for run in runs:
        with Recorder(run.folder, run.recipe) as recorder:
            limit = {"lr": 0.5, "limit": 0.5, "formula": "2 / lambda_max", "lambda_max": 4.0, "lambda_min": lambda_min}
            recorder.note("limit", 0, beyond=False, **limit)
    assert "Why" not in Comparison.of(runs).sentences[0]


def test_a_watched_run_has_no_recipe_to_compare_by(tmp_path) -> None:
    Recorder(tmp_path / "mine", {"model": "Net"}).close()
    runs = [made_up(tmp_path, "a", 0, falling(10)), Run(tmp_path / "mine")]
    with pytest.raises(RunError, match="but mine watched a loop of its own"):
        Comparison.of(runs)
