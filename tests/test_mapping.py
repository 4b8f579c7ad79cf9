"""Maps: axes are read, each cell is the run that `fit` makes, and the boundary lies where theory has it."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from descend.cli._main import descend as cli
from descend.errors import DescendError, RecipeError
from descend.mapping._axis import Axis
from descend.mapping._map import CLIMB, Map, _distance, climbs, require_shown, survey
from descend.mapping._theory import theory_of
from descend.recipe import Recipe
from descend.train.build import build, load_data
from descend.train.fit import fit
from descend.train.stability import mse_hessian

BALL = Recipe(optimizer="momentum", batch_size="all", steps=100, dtype="float64")
NET = Recipe(data="moons", rows=20, model="mlp", width=3, depth=1, activation="tanh", batch_size="all", steps=20)


@pytest.fixture(scope="module")
def bonus() -> Map:
    """The heavy ball on the bonus data, 100 updates a cell, with a target loss."""
    return survey(BALL.but(target_loss=10.0), "lr=3e-3..0.02:16", "momentum=0..0.99:12")


@pytest.fixture(scope="module")
def short(bonus: Map) -> Map:
    """The same plane with few updates, to zoom into."""
    return survey(bonus.recipe.but(steps=20, evaluate_every=10, target_loss=None), bonus.x, bonus.y)


@pytest.fixture(scope="module")
def net() -> Map:
    """A small network, by the learning rates of its two layers."""
    return survey(NET, "lr@hidden.0=0.1..1000:6", "lr@head=0.1..1000:5")


def line(text: str) -> Result:
    return CliRunner().invoke(cli, shlex.split(text))


# --- axes -------------------------------------------------------------------------------------------------------------


def test_an_axis_has_the_scale_that_suits_its_field() -> None:
    assert Axis.read("lr=1e-3..0.1:3", BALL).values == pytest.approx((0.001, 0.01, 0.1))
    assert Axis.read("momentum=0..0.99:3", BALL).values == pytest.approx((0, 0.9, 0.99))
    assert Axis.read("seed=1..3:3", BALL).values == (1, 2, 3)


def test_the_scale_can_be_chosen() -> None:
    assert Axis.read("lr=1..3:3linear", BALL).values == (1, 2, 3)
    assert Axis.read("momentum=0.1..0.9:3linear", BALL).values == pytest.approx((0.1, 0.5, 0.9))
    assert Axis.read("batch-size=1..100:3log", BALL) == Axis("batch_size", (1, 10, 100), "logarithmic")


def test_an_axis_has_64_values_unless_it_says_and_whole_numbers_stand_once() -> None:
    assert len(Axis.read("lr=1e-3..0.1", BALL)) == len(Axis.read("lr=1e-3..0.1:linear", BALL)) == 64
    assert Axis.read("depth=1..4:50", NET).values == (1, 2, 3, 4)


def test_the_rate_of_a_layer_is_changed_beside_those_of_others() -> None:
    both = survey(NET.but(layer_lrs="head=0.5", steps=1), "lr@hidden.0=0.1..1:2", "lr=1..2:2")
    assert both.cell(1, 0).layer_lrs == "head=0.5,hidden.0=1.0"
    assert both.cell(1, 1)["lr"] == 2
    assert Axis.read("lr@head=0.1..1:2", NET).changes(0.1, NET.but(layer_lrs="head=0.5")) == {"layer_lrs": "head=0.1"}


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ("lr", "momentum=0..0.9", "'lr' is not an axis: write FIELD=LOW..HIGH:COUNT"),
        ("lrr=0.1..1", "momentum=0..0.9", "A recipe has no field 'lrr'. Did you mean 'lr'?"),
        ("beta1=0.1..0.9", "momentum=0..0.9", "The optimizer momentum has no option 'beta1'. It belongs to"),
        ("optimizer=1..2", "momentum=0..0.9", "optimizer is not a number"),
        ("lr=0.1..0.01", "momentum=0..0.9", "lr goes from 0.1 to 0.01, but the second must be greater"),
        ("lr=0..0.1", "momentum=0..0.9", "lr begins at 0, but on a logarithmic scale it must be above 0"),
        ("lr=0.1..1", "momentum=0..1:8linear", "momentum is 1.0, but must be a number of at least 0 and below 1"),
        ("lr=0.1..1", "lr=0.1..1", "Both axes are lr: a map needs two different fields."),
        ("lr=0.1..1:1", "momentum=0..0.9", "lr has 1 values, but the axis of a map has 2 to 4,096."),
        ("lr=0.1..1:5000", "momentum=0..0.9", "lr has 5000 values, but the axis of a map has 2 to 4,096."),
        ("lr=0.1..1:2000", "momentum=0..0.9:2000", "The map has 2,000 x 2,000 cells, but may have 1,048,576"),
        ("seed=0.6..1.4", "momentum=0..0.9", "seed goes from 0.6 to 1.4, where there is one whole number only."),
        ("lr@body=0.1..1:2", "momentum=0..0.9:2", "layer_lrs names 'body', which this model does not have."),
    ],
)
def test_a_wrong_axis_is_refused_with_what_is_allowed(x: str, y: str, said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        survey(BALL, x, y)
    assert str(refused.value).startswith(said)


def test_values_that_the_precision_cannot_tell_apart_are_refused() -> None:
    narrow = "lr=0.01..0.01000001:64"
    with pytest.raises(RecipeError, match="not 64 different numbers in float32: give dtype float64"):
        Axis.read(narrow, BALL.but(dtype="float32"))
    assert len(Axis.read(narrow, BALL)) == 64


# --- cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("column", "row"), [(0, 0), (5, 7), (15, 0), (12, 11)])
def test_a_cell_is_the_run_that_fit_makes(bonus: Map, tmp_path: Path, column: int, row: int) -> None:
    run = fit(bonus.cell(column, row), runs=tmp_path)
    losses = run.series(bonus.measure).y
    died = run.status == "non-finite"
    assert bool(bonus.died[row, column]) == died
    assert bonus.first[row, column] == pytest.approx(losses[0], rel=1e-9)
    assert died or bonus.loss[row, column] == pytest.approx(losses[-1], rel=1e-6)
    assert bonus.steps[row, column] == (run.steps if run.status == "target reached" else math.inf)


def test_x_goes_to_the_right_and_y_upwards(bonus: Map) -> None:
    assert bonus.loss.shape == (len(bonus.y), len(bonus.x)) == (12, 16)
    assert bonus.cell(3, 2)["lr"] == bonus.x.values[3]
    assert bonus.cell(3, 2)["momentum"] == bonus.y.values[2]
    assert bonus.diverged[0, -1]
    assert not bonus.diverged[0, 0]


def test_cells_may_differ_in_what_cannot_be_trained_together(tmp_path: Path) -> None:
    drawn = survey(NET.but(steps=5, dtype="float64"), "batch_size=5..20:2", "depth=1..2:2")
    for row, column in np.ndindex(2, 2):
        run = fit(drawn.cell(column, row), runs=tmp_path)
        assert drawn.loss[row, column] == pytest.approx(run.last(drawn.measure), rel=1e-9)


def test_a_large_map_is_trained_in_parts_and_is_the_same(short: Map, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("descend.mapping._map.AT_ONCE", 16 * 5)
    again = survey(short.recipe, short.x, short.y)
    for name, values in short.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], values)


def test_the_loss_is_that_of_validation_rows_where_there_are_some() -> None:
    drawn = survey(Recipe(data="moons", validation=0.5, steps=2), "lr=0.1..1:2", "seed=0..1:2")
    assert drawn.measure == "loss/validation"


# --- theory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov"])
@pytest.mark.parametrize("y", ["weight_decay=1..50:5", "momentum=0..0.9:5", "seed=0..3:4"])
def test_the_pressure_in_every_cell_is_its_recipes_share_of_the_limit(optimizer: str, y: str) -> None:
    recipe = Recipe(optimizer=optimizer, batch_size="all", weight_decay=3.0)
    if "momentum" in y and optimizer == "sgd":
        return
    x, up = Axis.read("lr=1e-3..0.1:4", recipe), Axis.read(y, recipe)
    theory = theory_of(recipe, x, up)
    assert theory is not None
    for row, column in np.ndindex(theory.pressure.shape):
        limit = build(recipe.but(lr=x.values[column], **up.changes(up.values[row], recipe))).limit()
        assert limit is not None
        assert theory.pressure[row, column] == pytest.approx(limit.lr / limit.limit, rel=1e-6)


@pytest.mark.parametrize("exempt", ["none", "biases_and_norms"])
def test_rates_and_decays_of_their_own_for_weights_and_bias_have_a_limit_too(exempt: str) -> None:
    recipe = Recipe(batch_size="all", weight_decay=20.0, decay_exempt=exempt)
    x, y = Axis.read("lr@weight=1e-3..0.1:5", recipe), Axis.read("lr@bias=0.1..10:5", recipe)
    theory = theory_of(recipe, x, y)
    assert theory is not None
    hessian = mse_hessian(load_data(recipe).train.inputs).numpy()
    decay = np.diag([20.0] * 3 + [20.0 * (exempt == "none")])
    for row, column in np.ndindex(5, 5):
        step = np.eye(4) - np.diag([x.values[column]] * 3 + [y.values[row]]) @ (hessian + decay)
        grows = np.abs(np.linalg.eigvals(step)).max() > 1
        assert grows == (theory.pressure[row, column] > 1)


@pytest.mark.parametrize(
    ("recipe", "x", "y"),
    [
        (BALL, "lr=3e-3..0.05:12", "momentum=0..0.95:12"),
        (BALL.but(optimizer="nesterov"), "momentum=0..0.95:12", "lr=2e-3..0.02:12"),
        (BALL.but(optimizer="sgd"), "lr=1e-3..0.01:12", "weight_decay=1..500:12"),
        (BALL.but(momentum=0.5), "lr@weight=1e-3..0.1:12", "lr@bias=0.1..10:12"),
    ],
)
def test_the_measured_boundary_lies_on_the_line_of_theory(recipe: Recipe, x: str, y: str) -> None:
    drawn = survey(recipe, x, y)
    deviation = drawn.deviation
    assert deviation is not None
    assert drawn.boundary.any()
    # 100 updates tell a rate that is 1 % beyond the limit: the loss has grown by 1.02^200 = 52
    assert deviation.cells <= 1
    assert deviation.rate < 0.01
    assert "The measured boundary" in drawn.sentences[-1] or drawn.sentences[-1].endswith("so it is in every cell.")


def test_a_wrong_theory_is_told_by_how_far_it_is_off(bonus: Map) -> None:
    assert bonus.theory is not None
    wrong = dataclasses.replace(bonus.theory, pressure=bonus.theory.pressure * 1.5)
    deviation = dataclasses.replace(bonus, theory=wrong).deviation
    assert deviation is not None
    # the axis goes from 0.003 to 0.02 in 15 steps: 1.5 is 3.2 of them
    assert deviation.cells in (3, 4)
    assert 0.3 < deviation.rate < 0.5
    assert deviation.wrong >= 3 * 12


@pytest.mark.parametrize(
    "changes",
    [{"batch_size": 32}, {"order": "replacement"}, {"schedule": "cosine"}, {"clip_norm": 1.0}, {"input_noise": 0.1}],
)
def test_where_something_else_decides_too_the_line_is_drawn_but_not_judged(changes: dict[str, object]) -> None:
    recipe = BALL.but(**changes, steps=2)
    drawn = survey(recipe, "lr=3e-3..0.05:3", "momentum=0..0.9:3")
    assert drawn.theory is not None
    assert drawn.deviation is None
    assert drawn.sentences[-1].endswith("(2 + 2 beta) / lambda_max.")


@pytest.mark.parametrize(
    ("recipe", "x"),
    [
        (BALL.but(optimizer="adam"), "lr=0.1..1:2"),
        (NET, "lr=0.1..1:2"),
        (BALL.but(data="moons"), "lr=0.1..1:2"),
        (BALL, "rows=50..100:2"),
        (BALL.but(layer_lrs="bias=0.1"), "lr=0.1..1:2"),
    ],
)
def test_there_is_no_line_where_theory_knows_none(recipe: Recipe, x: str) -> None:
    assert theory_of(recipe, Axis.read(x, recipe), Axis.read("seed=0..1:2", recipe)) is None


@given(st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_the_distance_of_two_half_planes_is_by_how_much_one_is_shifted(one: int, other: int, upright: bool) -> None:
    columns = np.broadcast_to(np.arange(8), (8, 8)) if upright else np.arange(8)[:, None].repeat(8, 1)
    assert _distance(columns > one, columns > other) == abs(one - other)


# --- outcomes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "climb"),
    [
        ([8.0, 4.0, 2.0], 0),
        ([8.0, 2.0, 4.0, 1.0], 1 / 4),  # down by 4 and by 4, up by 2: log 2 of log 16
        ([1.0, 2.0, 4.0], math.inf),
        ([3.0, 3.0], 0),
        ([1.0, 1e-7, 1e-9, 1e-6, 1e-12], 0),  # arrived: what follows is rounding
        ([1.0, 0.0, 0.0], 0),
    ],
)
def test_the_climb_is_the_share_of_the_way_down_that_a_loss_went_up_again(losses: list[float], climb: float) -> None:
    assert climbs([np.array(losses), np.array([1.0])])[0] == pytest.approx(climb)


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=12))
def test_a_loss_that_ends_above_its_start_has_climbed_more_than_it_fell(losses: list[float]) -> None:
    (climb,) = climbs([np.array(losses)])
    if abs(math.log(losses[-1] / losses[0])) > 1e-9:
        assert (climb > 1) == (losses[-1] > losses[0])


@given(st.floats(0.3, 0.9), st.floats(0.01, 3.9))
def test_on_a_quadratic_the_heavy_ball_climbs_exactly_where_it_swings(beta: float, product: float) -> None:
    """The loss is w^2. A pair of complex roots swings; so does a negative root, from one side to the other."""
    roots = np.roots([1, -(1 + beta - product), beta])
    angle = abs(np.angle(roots[0]))
    if max(abs(roots)) > 0.99 or 0 < angle < 0.4 or abs(product - (1 - math.sqrt(beta)) ** 2) < 1e-3:
        return  # diverges, or takes too long to turn back
    weight, velocity, losses = 1.0, 0.0, [1.0]
    for _ in range(40):
        velocity = beta * velocity + product * weight
        weight -= velocity
        losses.append(weight**2)
    swings = np.iscomplex(roots[0]) or min(roots.real) < 0
    assert swings or climbs([np.array(losses)])[0] == 0
    assert not np.iscomplex(roots[0]) or climbs([np.array(losses)])[0] > 0


def test_gradient_descent_never_climbs_below_its_limit() -> None:
    drawn = survey(BALL.but(optimizer="sgd", evaluate_every=1, steps=40), "lr=1e-4..0.0078:8", "seed=0..1:2")
    assert drawn.climb.max() == 0
    assert not drawn.outcome.any()


def test_outcomes_are_what_the_losses_say(bonus: Map) -> None:
    assert set(np.unique(bonus.outcome)) == {0, 1, 2}
    np.testing.assert_array_equal(bonus.outcome == 2, (bonus.died > 0) | (bonus.loss > bonus.first))
    np.testing.assert_array_equal(bonus.outcome == 1, (bonus.climb >= CLIMB) & (bonus.outcome != 2))
    assert np.all(np.isinf(bonus.loss[bonus.died > 0]))


def test_the_sentences_name_the_counts_the_best_cell_and_the_fastest(bonus: Map) -> None:
    counts, best, fastest, _ = bonus.sentences
    assert counts.startswith("Of 192 runs, trained in ")
    assert counts.endswith("diverged.")
    row, column = np.unravel_index(bonus.loss.argmin(), bonus.loss.shape)
    assert f"at lr = {bonus.x.values[column]:.4g} and momentum = {bonus.y.values[row]:.4g}." in best
    assert f"{100 * np.isfinite(bonus.steps).mean():.3g} % of the runs came to a loss of 10" in fastest
    assert f"the first after {bonus.steps.min():,.0f} updates" in fastest


# --- zoom -------------------------------------------------------------------------------------------------------------


def test_a_zoom_is_the_map_of_a_part(short: Map) -> None:
    part = short.zoom(4, (0.01, 0.9))
    assert (len(part.x), len(part.y)) == (16, 12)
    assert math.log(part.x.values[-1] / part.x.values[0]) == pytest.approx(math.log(0.02 / 3e-3) / 4, rel=1e-6)
    assert math.sqrt(part.x.values[0] * part.x.values[-1]) == pytest.approx(0.01, rel=0.01)
    assert part.y.values[0] < 0.9 < part.y.values[-1]


def test_a_zoom_at_an_edge_ends_there(short: Map) -> None:
    part = short.zoom(4, (1.0, 0.0))
    assert part.x.values[-1] == pytest.approx(0.02)
    assert part.y.values[0] == pytest.approx(0)


def test_without_a_point_it_goes_where_the_boundary_is(short: Map) -> None:
    part = short.zoom(4)
    assert 0 < part.diverged.mean() < 1
    assert part.zoom(4).boundary.any()


def test_without_a_boundary_there_is_nothing_to_zoom_into(short: Map) -> None:
    calm = short.zoom(8, (3e-3, 0.5))
    with pytest.raises(RecipeError, match="no boundary to zoom into: no run of this map diverged"):
        calm.zoom(4)
    with pytest.raises(RecipeError, match="factor is 1, but a zoom needs one above 1"):
        calm.zoom(1)


# --- files and pictures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bonus", "net"])
def test_a_saved_map_is_the_same_again(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    drawn: Map = request.getfixturevalue(name)
    again = Map.load(drawn.save(tmp_path / "map.npz"))
    assert (again.recipe, again.x, again.y, again.sentences) == (drawn.recipe, drawn.x, drawn.y, drawn.sentences)
    assert again.draw().svg() == drawn.draw().svg()
    for field, values in drawn.arrays().items():
        np.testing.assert_array_equal(again.arrays()[field], values)


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04torn"])
def test_a_file_that_is_no_map_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "map.npz").write_bytes(content)
    with pytest.raises(DescendError, match=r"map\.npz is not a map"):
        Map.load(tmp_path / "map.npz")


@pytest.mark.parametrize("name", ["bonus", "net", "flat"])
@pytest.mark.parametrize("show", ["loss", "steps", "outcome"])
def test_every_picture_is_whole_and_no_label_is_cut(name: str, show: str, request: pytest.FixtureRequest) -> None:
    drawn: Map = request.getfixturevalue("bonus" if name == "flat" else name)
    if name == "flat":  # nothing diverged, nothing reached, all losses alike
        calm = {"loss": drawn.first * 0.5, "died": drawn.died * 0, "steps": drawn.steps + np.inf}
        drawn = dataclasses.replace(drawn, **calm, climb=drawn.first * 0)
    drawn = dataclasses.replace(drawn, recipe=drawn.recipe.but(target_loss=0.1))
    figure = drawn.draw(show)
    ET.fromstring(figure.svg())
    assert figure.caption == " ".join(drawn.sentences)
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= -0.03  # inches: half a line's width


def test_a_picture_has_names_numbers_the_line_and_what_its_colours_mean(bonus: Map) -> None:
    figure = bonus.draw("outcome")
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "momentum")
    assert axes.get_title(loc="left") == "Where momentum trains linear on employee_bonus: full batch, 100 updates"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "0.5", "0.8", "0.9", "0.95", "0.98", "0.99"]
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys == ["trained", "oscillated", "diverged", "theory's limit (2 + 2 β) / λmax"]
    bar = bonus.draw("steps").axes[1]
    assert bar.get_ylabel() == "updates to a loss of 10"


def test_every_cell_is_one_pixel_of_the_files_image(bonus: Map) -> None:
    (axes,) = bonus.draw("outcome").axes
    assert [image.get_array().shape for image in axes.images] == [(12, 16)] * 3
    shown = np.stack([~np.ma.getmaskarray(image.get_array()) for image in axes.images])
    np.testing.assert_array_equal(shown.argmax(0), bonus.outcome)
    assert np.all(shown.sum(0) == 1)


def test_numbers_on_a_narrow_side_are_told_from_the_middle() -> None:
    narrow = survey(BALL.but(steps=1), "lr=0.01..0.0100001:5", "momentum=0.9..0.90001:9")
    axes = narrow.draw().axes[0]
    assert axes.get_ylabel().startswith("momentum − 0.90000")
    assert all(len(label.get_text()) <= 10 for label in axes.get_yticklabels())


def test_steps_need_a_target(net: Map) -> None:
    with pytest.raises(RecipeError, match="give the recipe that loss as its target_loss"):
        net.draw("steps")
    with pytest.raises(RecipeError, match=r"show is 'lost', which a map cannot show\. Did you mean 'loss'\?"):
        require_shown("lost", net.recipe)


# --- the command line -------------------------------------------------------------------------------------------------

COMMAND = "map --batch-size all --optimizer momentum --steps 30 --x lr=1e-3..0.05:5 --y momentum=0..0.9:4"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_draws_the_map_and_keeps_its_numbers(here: Path) -> None:
    told = line(f"{COMMAND} --out first.svg")
    assert told.exit_code == 0, told.stderr
    assert "Of 20 runs" in told.stdout
    assert told.stdout.endswith("Drawn in first.svg; its numbers are in first.npz.\n")
    assert "</svg>" in Path("first.svg").read_text()
    assert Map.load("first.npz").cell(0, 0)["optimizer"] == "momentum"


def test_a_map_that_was_drawn_is_drawn_differently_without_training(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert line(f"{COMMAND} --quiet").output == ""
    monkeypatch.setattr("descend.mapping._map.survey", None)
    assert "Drawn in other.png" in line("map map.npz --show outcome --out other.png").stdout
    assert Path("map.png").read_bytes() != Path("other.png").read_bytes()


def test_zooms_are_drawn_one_after_the_other(here: Path) -> None:
    told = json.loads(line(f"{COMMAND} --zoom 2 --times 2 --json").stdout)
    assert [facts["picture"] for facts in told] == ["map.png", "map-2.png", "map-3.png"]
    widths = [math.log(facts["x"][-1] / facts["x"][0]) for facts in told]
    assert widths == pytest.approx([widths[0], widths[0] / 2, widths[0] / 4])
    whole = Path("map.npz").read_bytes()
    assert line("map map.npz --zoom 2 --around 0.01,0.5 --out plots/near.png").exit_code == 0
    assert Map.load("plots/near.npz").x.values[0] < 0.01 < Map.load("plots/near.npz").x.values[-1]
    assert "Drawn in map-2.png" in line("map map.npz --zoom 2").stdout
    assert Path("map.npz").read_bytes() == whole


def test_flags_beside_a_map_train_it_again_with_a_change(here: Path) -> None:
    line(f"{COMMAND} --quiet")
    again = json.loads(line("map map.npz --optimizer nesterov --y weight_decay=1..10:3 --json").stdout)
    assert again["axes"]["x"] == {"field": "lr", "scale": "logarithmic"}
    assert np.array(again["loss"]).shape == (3, 5)
    assert again["recipe"]["optimizer"] == "nesterov"
    assert "1 + 2 beta" in again["sentences"][-1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--x lr=0.1..1", "A map needs two axes, such as"),
        ("--x lr=0.1..1 --y seed=0..3 --around 1,2", "--around says where to zoom"),
        ("--x lr=0.1..1 --y seed=0..3 --zoom 2 --around 1", "--around is '1', but must be two numbers"),
        ("--x lr=0.1..1 --y seed=0..3 --out map.gif", "--out is a picture, so its name ends in .png, .svg, .pdf"),
        ("--x lr=0.1..1 --y seed=0..3 --show steps", "A map shows the steps to a loss"),
        ("--x lr=0.1..1 --y beta1=0..3", "The optimizer sgd has no option 'beta1'"),
        ("nothing.npz --show outcome", "nothing.npz"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_is_trained(here: Path, flags: str, said: str) -> None:
    told = line(f"map {flags}")
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr.startswith(f"Error: {said}")
    assert told.stderr.count("\n") == 1
    assert list(here.iterdir()) == []


def test_initial_weights_are_not_disturbed_by_a_map() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    survey(NET.but(steps=1), "lr=0.1..1:2", "seed=0..1:2")
    assert torch.equal(before, torch.random.get_rng_state())
