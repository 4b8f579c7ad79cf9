"""Every figure draws every run: empty, of one row, recorded, diverged, of many seeds, with hostile names."""

from __future__ import annotations

import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descend.plots import PLOTS
from descend.plots._curves import middle, smooth
from descend.plots._runs import course, differing, ends, number, variants
from descend.plots._style import Figure, canvas, log_where_wide
from descend.recipe import Recipe
from descend.run import Recorder, Run, Series

Losses = Callable[[int], float]


def record(
    folder: Path,
    *,
    loss: Losses = lambda step: 100 * 0.9**step,
    steps: int = 60,
    layers: int = 3,
    names: tuple[str, ...] = ("performance", "bias"),
    label: str = "",
    **fields: str | float | None,
) -> Run:
    """A run with every series that a figure draws."""
    with Recorder(folder, Recipe(**fields)) as recorder:
        recorder.note("truth", 0, values={name: 12.0 - index for index, name in enumerate(names)})
        recorder.note("limit", 0, lr=0.01, limit=0.00786, lambda_max=254.4, beyond=True, sentence="Beyond the limit.")
        if label:
            recorder.note("label", 0, text=label)
        for step in range(1, steps + 1):
            clock = (step, 32 * step, 0.01 * step)
            recorder.log(*clock, {"loss/batch": loss(step), "lr/0": 0.01})
            if step % 3 == 1:
                where = [f"layers.{index}" for index in range(layers)]
                measures = ("grad_norm", "update_ratio", "dead_units", "saturation", "input_variance")
                values = {
                    f"{measure}/{place}": abs(loss(step)) / 10**i
                    for measure in measures
                    for i, place in enumerate(where)
                }
                recorder.log(*clock, values | {"grad_norm/all": abs(loss(step))})
                learned = {f"learned/{name}": 12.0 - index + loss(step) / 100 for index, name in enumerate(names)}
                recorder.log(
                    *clock,
                    {
                        "loss/train": loss(step),
                        "loss/validation": loss(step) * 1.1,
                        "r2/train": 1 - loss(step),
                        **learned,
                    },
                )
        recorder.note(
            "ended", steps, why="finished" if np.isfinite(loss(steps)) else "non-finite", seconds=0.01 * steps
        )
    return Run(folder)


def sick(step: int) -> float:
    return 10.0**step if step < 30 else np.inf if step < 40 else np.nan


SITUATIONS: Mapping[str, Callable[[Path], list[Run]]] = {
    "recorded": lambda at: [record(at / "a")],
    "one row": lambda at: [record(at / "a", steps=1)],
    "diverging": lambda at: [record(at / "a", loss=sick)],
    "NaN throughout": lambda at: [record(at / "a", loss=lambda step: np.nan)],
    "near the greatest float": lambda at: [record(at / "a", loss=lambda step: 1.7e308 / (61 - step))],
    "reaching zero": lambda at: [record(at / "a", loss=lambda step: 0.0 if step > 20 else 1.0 / step)],
    "all zero": lambda at: [record(at / "a", loss=lambda step: 0.0)],
    "negative": lambda at: [record(at / "a", loss=lambda step: -float(step))],
    "many layers": lambda at: [record(at / "a", layers=30)],
    "many layers, diverging": lambda at: [record(at / "a", layers=30, loss=sick)],
    "many layers, one row": lambda at: [record(at / "a", layers=30, steps=1)],
    "hostile names": lambda at: [
        record(at / "a", names=("$x_{", "<script>alert(1)</script>", "面积 🙂", "w" * 90), label="$<b>&")
    ],
    "twelve parameters": lambda at: [record(at / "a", names=tuple(f"column_{i}" for i in range(12)))],
    "three seeds of two variants": lambda at: [
        record(
            at / f"{size}-{seed}",
            batch_size=size,
            seed=seed,
            steps=20 * size,
            loss=lambda step, seed=seed: 100 * 0.9**step + seed,
        )
        for size in (1, 32)
        for seed in range(3)
    ],
    "one variant diverging": lambda at: [record(at / "a"), record(at / "b", lr=0.3, loss=sick)],
    "one variant empty": lambda at: [record(at / "a"), record(at / "b", lr=0.3, steps=0)],
    "eight variants": lambda at: [
        record(at / str(i), lr=0.1 / 2**i, layers=10 * (i % 2) + 1, steps=9) for i in range(8)
    ],
}


@pytest.fixture(scope="module", params=SITUATIONS)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return SITUATIONS[request.param](tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("name", PLOTS.names())
def test_every_figure_draws_every_run_as_whole_svg_without_cut_labels(runs: list[Run], name: str) -> None:
    figure = PLOTS[name](runs)
    root = ET.fromstring(figure.svg())
    assert figure.caption.endswith(".")
    identities = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(identities) == len(set(identities))
    targets = [value for element in root.iter() for key, value in element.items() if key.endswith("href")]
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in targets)
    assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph .* missing"
        )  # this machine's fonts measure the text; the reader's draw it
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    slack = 0.03  # inches: half a line's width and a marker's edge
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= -slack


@pytest.mark.parametrize("name", PLOTS.names())
def test_a_figure_is_blank_exactly_where_nothing_was_recorded(tmp_path: Path, name: str) -> None:
    Recorder(tmp_path / "empty", Recipe()).close()
    assert PLOTS[name]([Run(tmp_path / "empty")]).blank
    assert PLOTS[name]([]).blank
    # tests/plots/test_evidence.py draws that one: it takes a run with a problem
    assert name == "evidence" or not PLOTS[name]([record(tmp_path / "full")]).blank


@pytest.mark.parametrize("name", PLOTS.names())
def test_the_same_run_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    run = record(tmp_path / "a", steps=9)
    assert PLOTS[name]([run]).svg() == PLOTS[name]([run]).svg()


def test_drawing_leaves_matplotlibs_settings_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    PLOTS["loss"]([record(tmp_path / "a")]).svg()
    assert dict(matplotlib.rcParams) == before


def test_ink_follows_the_page_and_text_stays_text(tmp_path: Path) -> None:
    svg = PLOTS["loss"]([record(tmp_path / "a")]).svg()
    assert "currentColor" in svg
    assert "#000000" not in svg
    assert ">updates</text>" in svg


def test_a_figure_is_saved_by_its_files_ending(tmp_path: Path) -> None:
    figure = PLOTS["loss"]([record(tmp_path / "a")])
    assert figure.save(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert figure.save(tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert "prefers-color-scheme" in ET.parse(figure.save(tmp_path / "a.svg")).getroot()[0].text


def test_the_clock_is_an_option(tmp_path: Path) -> None:
    run = record(tmp_path / "a")
    (axes,) = PLOTS["loss"]([run], x="examples").axes
    assert axes.get_xlabel() == "examples seen"
    assert axes.get_lines()[0].get_xdata()[-1] == 32 * 60


@pytest.mark.parametrize("layers", [3, 12])
def test_layers_are_drawn_from_the_first_to_the_last_measurement(tmp_path: Path, layers: int) -> None:
    axes = PLOTS["gradient_norms"]([record(tmp_path / "a", layers=layers)]).axes[0]
    left, right = axes.get_xlim()
    assert left <= 1 < 58 <= right < 64


def test_a_loss_that_stops_being_finite_is_marked_where_it_does(tmp_path: Path) -> None:
    figure = PLOTS["loss"]([record(tmp_path / "a", loss=sick)])
    (axes,) = figure.axes
    assert axes.collections[0].get_offsets().tolist() == [[30.0, 1.0]]
    assert [text.get_text() for text in axes.texts] == ["infinite"]
    assert figure.caption == "Batch loss rises from 10 to 1.0e+29 over 29 updates; it is infinite at update 30."


def test_several_variants_have_one_colour_each_and_their_labels_in_the_legend(tmp_path: Path) -> None:
    runs = [record(tmp_path / f"{lr}-{seed}", lr=lr, seed=seed) for lr in (0.1, 0.2) for seed in range(2)]
    figure = PLOTS["three_axes"](runs)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["lr=0.1", "lr=0.2"]
    assert [len({line.get_color() for line in axes.get_lines()}) for axes in figure.axes] == [2, 2, 2]


# --- words and numbers --------------------------------------------------------------------------------


def test_a_caption_says_from_where_to_where_the_loss_went() -> None:
    fall = Series(np.array([0.0, 15000.0]), np.array([18509.0, 3.1e-7]))
    assert course("Training loss", fall) == "Training loss falls from 18,509 to 3.1e-07 over 15,000 updates."
    assert course("Loss", Series(np.array([1.0]), np.array([2.5]))) == "Loss is 2.5 after 1 update."


def test_captions_of_variants_give_the_median_and_say_what_diverged(tmp_path: Path) -> None:
    runs = [
        record(tmp_path / str(seed), lr=0.5, seed=seed, steps=1, loss=lambda step, seed=seed: float(seed))
        for seed in (1, 2, 9)
    ]
    runs.append(record(tmp_path / "b", lr=5.0, loss=sick))
    assert (
        ends("Loss", runs, lambda run: "loss/batch")
        == "Loss at the end, median over the seeds: 2 (lr=0.5); diverged (lr=5.0)."
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (18509.2, "18,509"),
        (12.0, "12"),
        (0.05214, "0.0521"),
        (3.14e-7, "3.1e-07"),
        (2e9, "2.0e+09"),
        (0.0, "0"),
        (np.nan, "NaN"),
        (-np.inf, "minus infinite"),
    ],
)
def test_numbers_are_written_for_people(value: float, words: str) -> None:
    assert number(value) == words


def test_runs_that_differ_in_the_seed_alone_are_one_variant(tmp_path: Path) -> None:
    recipes = [Recipe(optimizer=rule, seed=seed) for rule in ("adam", "sgd") for seed in range(3)]
    for index, recipe in enumerate(recipes):
        Recorder(tmp_path / str(index), recipe).close()
    runs = [Run(tmp_path / str(index)) for index in range(6)]
    groups = variants(runs)
    assert [len(members) for members in groups.values()] == [3, 3]
    assert [label.split(",")[0] for label in groups] == ["adam", "sgd"]
    assert differing([recipe.fields() for recipe in recipes[:3]]) == []


def test_variants_that_differ_in_an_option_that_others_lack_stay_apart(tmp_path: Path) -> None:
    recipes = (("a", {"momentum": 0.5}), ("b", {"momentum": 0.9}), ("c", {"optimizer": "nesterov", "momentum": 0.9}))
    runs = [record(tmp_path / name, **({"optimizer": "momentum"} | fields)) for name, fields in recipes]
    runs.append(record(tmp_path / "d", optimizer="sgd"))
    assert list(variants(runs)) == ["momentum, momentum=0.5", "momentum, momentum=0.9", "nesterov, momentum=0.9", "sgd"]


def test_labels_name_the_variants_where_each_has_its_own(tmp_path: Path) -> None:
    own = [record(tmp_path / str(lr), lr=lr, steps=1, label=f"rate {lr}") for lr in (0.1, 0.2)]
    shared = [record(tmp_path / f"s{lr}", lr=lr, steps=1, label="same") for lr in (0.1, 0.2)]
    assert list(variants(own)) == ["rate 0.1", "rate 0.2"]
    assert list(variants(shared)) == ["lr=0.1", "lr=0.2"]


def test_a_watched_run_is_a_variant_of_its_own_called_by_its_name_or_label(tmp_path: Path) -> None:
    for folder in ("a/net", "b/net"):
        Recorder(tmp_path / folder, {"model": "Net"}).close()
    Recorder(tmp_path / "trained", Recipe()).close()
    first, second, trained = (Run(tmp_path / name) for name in ("a/net", "b/net", "trained"))
    assert variants([first]) == {"net": [first]}
    assert variants([first, trained]) == {"net": [first], "linear, sgd": [trained]}
    assert list(variants([first, second])) == [str(first.folder), str(second.folder)]
    for run, label in ((first, "old"), (second, "new")):
        with Recorder(run.folder, {"model": "Net"}) as recorder:
            recorder.note("label", 0, text=label)
    assert list(variants([first, second])) == ["old", "new"]


def test_what_a_watched_run_does_not_tell_is_no_difference() -> None:
    recipe = Recipe(data="moons", lr=0.1)
    assert differing([recipe.fields(), {"model": "Net", "lr": 0.1}]) == ["model"]
    assert differing([recipe.fields(), recipe.but(clip_norm=1.0).fields()]) == ["clip_norm"]


def test_after_early_stopping_the_best_weights_are_what_was_learned(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a", Recipe(patience=2)) as recorder:
        recorder.note("truth", 0, values={"w": 1.0})
        for step, value in enumerate([3.0, 1.25, 5.0, 9.0]):
            recorder.log(step, step, float(step), {"learned/w": value})
        recorder.note("ended", 3, why="early stopped", best_step=1)
    assert PLOTS["learned"]([Run(tmp_path / "a")]).caption == "The learned parameters end within 0.25 of the true ones."


# --- curves -------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=500))
def test_smoothing_keeps_the_mean(values: list[float]) -> None:
    x = np.arange(len(values), dtype=float)
    means = smooth(Series(x, np.array(values)))
    edges = np.arange(len(means.x)) * len(x) // len(means.x)
    lengths = np.diff(np.append(edges, len(x)))
    # float64 sums of at most 500 numbers below 1e6 are exact to 500 * 1e6 * 2e-16 = 1e-7
    assert (means.y * lengths).sum() == pytest.approx(np.sum(values), abs=1e-6)
    assert (means.x * lengths).sum() == pytest.approx(x.sum(), abs=1e-6)


def test_the_median_of_exponentials_is_exact_between_their_points() -> None:
    # log y is linear in x, so interpolation makes no error but rounding
    members = [
        Series(np.array([0.0, 2.0]), np.array([1.0, 4.0])),
        Series(np.array([0.0, 1.0, 2.0]), np.array([2.0, 4.0, 8.0])),
    ]
    x, (median, least, greatest) = middle(members)
    assert x.tolist() == [0, 1, 2]
    assert least == pytest.approx([1, 2, 4])
    assert greatest == pytest.approx([2, 4, 8])
    assert median == pytest.approx([1.5, 3, 6])


def test_a_run_that_ended_keeps_its_last_loss_and_one_that_diverged_counts_as_infinite() -> None:
    ended = Series(np.array([0.0, 1.0]), np.array([8.0, 1.0]))
    longer = Series(np.array([0.0, 1.0, 2.0]), np.array([8.0, 4.0, 3.0]))
    lost = Series(np.array([0.0, 1.0, 2.0]), np.array([8.0, np.nan, np.nan]))
    x, (median, least, greatest) = middle([ended, longer, lost])
    assert x.tolist() == [0, 1, 2]
    assert median == pytest.approx([8, 4, 3])
    assert least == pytest.approx([8, 1, 1])
    assert np.isinf(greatest).tolist() == [False, True, True]


@settings(max_examples=30)
@given(st.floats(-12, 12), st.floats(1.1, 12))
def test_log_axes_hold_all_data_and_have_two_to_nine_distinct_labels(low: float, decades: float) -> None:
    _, (axes,) = canvas()
    least, greatest = 10**low, 10 ** (low + decades)
    axes.plot([0, 1], [least, greatest])
    log_where_wide(axes)
    assert axes.get_yscale() == "log"
    bottom, top = axes.get_ylim()
    assert bottom < least < greatest < top
    shown = [tick for tick in axes.get_yticks() if bottom <= tick <= top]
    labels = {axes.yaxis.get_major_formatter()(tick) for tick in shown}
    assert 2 <= len(labels) == len(shown) <= 9


def test_a_log_axis_leaves_out_nothing_where_a_line_is_zero() -> None:
    _, (axes,) = canvas()
    axes.plot(range(10), [1.0, 0.01, *[0.0] * 8])
    log_where_wide(axes)
    assert axes.get_yscale() == "log"
    assert axes.get_xlim()[1] >= 9


@pytest.mark.parametrize("values", [[1.0, 5.0], [-1.0, 1e6], [0.0, 0.0], [np.nan, np.nan], []])
def test_axes_stay_linear_where_the_data_span_no_decade_or_are_negative(values: list[float]) -> None:
    _, (axes,) = canvas()
    axes.plot(range(len(values)), values)
    log_where_wide(axes)
    assert axes.get_yscale() == "linear"


# --- what is loaded -----------------------------------------------------------------------------------


def test_the_catalog_of_figures_is_read_without_matplotlib() -> None:
    code = """
import sys
from descend.plots import PLOTS
import descend.report
print(*PLOTS)
assert not {"matplotlib", "jinja2", "torch"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "three_axes" in done.stdout.split()


def test_a_missing_matplotlib_is_named_with_its_extra() -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
from descend.errors import MissingExtraError
from descend.plots import PLOTS
for name in PLOTS:
    try:
        PLOTS[name]
    except MissingExtraError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install 'descend[report]'") == len(PLOTS.names())


def test_every_figure_is_described_in_the_catalog() -> None:
    assert all(PLOTS.summary(name).endswith((".", "?")) for name in PLOTS)
    assert isinstance(PLOTS["loss"]([]), Figure)
