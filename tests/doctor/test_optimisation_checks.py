"""The checks of learning rate, batches, fit and regularisation: against closed forms, laws, and runs that look sick.

What every check must do is in test_every_check.py, and that their remedies cure is in test_remedies.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import descend
from descend.catalog import CHECKS
from descend.doctor._chart import Chart
from descend.doctor._check import Example, Finding, Unknown
from descend.doctor._training import course, fall, falls, outliers, thirds
from descend.recipe import Recipe
from descend.run import Run, Series

OPTIMISATION = (
    "clipping_always",
    "decay_too_strong",
    "dropout_too_strong",
    "last_batch",
    "loss_spikes",
    "lr_too_high",
    "lr_too_low",
    "noisy_batches",
    "overfitting",
    "plateau",
    "underfitting",
)

RunOf = Callable[[Example], Run]
ChartOf = Callable[..., Chart]
Facts = Mapping[str, Mapping[str, Any]]


class Made(Chart):
    """A chart of arrays: {name: values, or (steps, values)}; plain values are those of steps 1, 2, 3, ..."""

    def __init__(self, facts: Facts | None = None, settings: Mapping[str, Any] | None = None, **series: Any) -> None:
        super().__init__(None, facts)
        self._made = {
            name.replace("__", "/"): Series(*map(_floats, each))
            if isinstance(each, tuple)
            else Series(_floats(range(1, len(each) + 1)), _floats(each))
            for name, each in series.items()
        }
        self.settings = dict(settings or {})
        self.names = tuple(self._made)
        self.status = "finished"
        self.steps = int(max((each.x[-1] for each in self._made.values() if len(each.x)), default=0))

    def series(self, name: str) -> Series:
        return self._made.get(name, Series(np.empty(0), np.empty(0)))


class InOtherUnits(Chart):
    """The chart of a run whose loss is measured in another unit."""

    def __init__(self, run: Run, factor: float) -> None:
        super().__init__(run)
        self._factor = factor

    def series(self, name: str) -> Series:
        series = super().series(name)
        return Series(series.x, series.y * self._factor) if name.startswith("loss/") else series

    def fact(self, topic: str, *path: str) -> Any:
        value = super().fact(topic, *path)
        return value * self._factor if topic == "start" and path in (("loss",), ("expected",)) and value else value


def _floats(values: Iterable[float]) -> np.ndarray:
    return np.asarray(list(values), dtype=np.float64)


def look(check: str, chart: Chart) -> Finding | Unknown | None:
    answer: Finding | Unknown | None = CHECKS[check].look(chart)
    return answer


def found(check: str, chart: Chart) -> Finding:
    answer = look(check, chart)
    assert isinstance(answer, Finding), answer
    return answer


def noise(seed: int, count: int, deviation: float) -> np.ndarray:
    return np.exp(deviation * np.random.default_rng(seed).standard_normal(count))


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e-9, 1e6])
@pytest.mark.parametrize("name", OPTIMISATION)
def test_the_unit_of_the_loss_changes_no_verdict(name: str, factor: float, run_of: RunOf):
    for example in (CHECKS[name].sick, CHECKS[name].near_miss):
        run = run_of(example)
        plain, scaled = look(name, Chart(run)), look(name, InOtherUnits(run, factor))
        assert type(plain) is type(scaled)
        if isinstance(plain, Finding) and isinstance(scaled, Finding):
            assert (plain.since, plain.sure) == (scaled.since, scaled.sure)


HEALTHY = {
    "a batch of one row": Example(
        data="blobs", model="mlp", width=16, optimizer="adam", lr=0.001, batch_size=1, steps=400
    ),
    "batches of four rows": Example(data="digits", model="mlp", width=32, lr=0.03, batch_size=4, steps=900),
    "momentum that swings and converges": Example(
        scale="standard", optimizer="momentum", lr=0.05, momentum=0.97, batch_size="all", steps=400
    ),
    "the edge of stability": Example(
        data="digits", model="mlp", width=32, activation="tanh", lr=1.0, batch_size="all", steps=250
    ),
    "just below the stability limit": Example(scale="standard", lr=0.48, batch_size="all", steps=300),
    "dropout, and a validation loss that is better": Example(
        data="digits", model="mlp", width=128, dropout=0.5, optimizer="adam", lr=0.002, epochs=10
    ),
    "noise that nobody can fit": Example(data="moons", noise=0.5, rows=600, model="mlp", width=16, lr=0.1, epochs=40),
    "a line through classes that overlap": Example(data="blobs", noise=2.0, model="linear", lr=0.1, epochs=40),
    "forty rows": Example(data="moons", rows=40, model="mlp", width=16, optimizer="adam", lr=0.003, epochs=80),
    "a late start": Example(
        data="moons", model="mlp", depth=2, width=32, activation="sigmoid", optimizer="momentum", lr=0.1, epochs=60
    ),
    "a learning rate that falls to nothing": Example(
        data="moons", model="mlp", width=32, optimizer="adam", lr=0.01, schedule="exponential", epochs=40
    ),
    "a warm-up and one cycle": Example(
        data="digits", model="mlp", optimizer="adam", lr=0.003, schedule="one_cycle", warmup=50, epochs=8
    ),
    "weight decay that helps": Example(
        data="digits", model="mlp", optimizer="adamw", lr=0.003, weight_decay=0.1, epochs=10
    ),
    "gradients clipped now and then": Example(data="moons", model="mlp", width=32, lr=0.1, clip_norm=1.0, epochs=40),
    "early stopping in time": Example(
        data="moons", noise=0.4, rows=300, model="mlp", width=64, optimizer="adam", lr=0.003, epochs=200, patience=3
    ),
    "a last batch of one row, weighted": Example(
        rows=49, noise=5.0, scale="standard", lr=0.2, batch_size=12, epochs=60
    ),
    "a network trained to a loss of 1e-5": Example(data="moons", model="mlp", optimizer="adam", lr=0.01, steps=1200),
}
"""Recipes that look odd, and are healthy."""


@pytest.mark.parametrize("what", HEALTHY)
def test_they_are_silent_on(what: str, run_of: RunOf):
    chart = Chart(run_of(HEALTHY[what]))
    assert {name: answer for name in OPTIMISATION if isinstance(answer := look(name, chart), Finding)} == {}


@pytest.mark.parametrize("name", OPTIMISATION)
def test_of_a_few_steps_they_say_at_most_what_they_need(name: str):
    chart = Made(loss__batch=[1.0, 0.9, 1.1], lr__0=[0.1] * 3, update_ratio__all=[0.1, 0.01, 0.01])
    answer = look(name, chart)
    assert answer is None or (isinstance(answer, Unknown) and answer.needs)


# --- the course of the loss -------------------------------------------------------------------------------------------


def test_a_course_is_read_from_evaluations_and_of_few_of_them_from_batches():
    evaluations = (range(0, 50, 10), [5.0, 4.0, 3.0, 2.0, 1.0])
    many, few = Made(loss__train=evaluations), Made(loss__train=([0], [5.0]), loss__batch=[4.0] * 60)
    assert [course(many).series, course(few).series] == ["loss/train", "loss/batch"]  # type: ignore[union-attr]
    assert course(many).start == course(few).start == 5.0  # type: ignore[union-attr]
    assert course(Made()) is None


@given(st.floats(1e-3, 10), st.integers(6, 60))
def test_a_straight_line_falls_as_far_in_its_last_third_as_in_its_first_and_a_converged_curve_does_not(slope, count):
    line = course(Made(loss__train=100.0 - slope * np.arange(count)))
    assert line is not None
    first, last = thirds(line)
    assert first == pytest.approx(last)
    assert falls(line)
    settled = course(Made(loss__train=slope * (1 + 0.5 ** np.arange(3 * count))))
    assert settled is not None
    assert thirds(settled)[1] < 0.2 * thirds(settled)[0]
    assert fall(settled) < 0.05


def test_outliers_stand_alone_and_what_a_spike_leaves_behind_does_not():
    ordinary = 0.1 * noise(0, 200, 0.3)
    alone, lasting = ordinary.copy(), ordinary.copy()
    alone[[40, 90, 150]] = 30.0
    for begin in (40, 90, 150):
        lasting[begin : begin + 3] = 30.0
    assert outliers(alone, 1.0).tolist() == [40, 90, 150]
    assert outliers(lasting, 1.0).tolist() == outliers(ordinary, 1.0).tolist() == []


# --- lr_too_high ------------------------------------------------------------------------------------------------------


@given(st.floats(2.05, 10.0), st.floats(1e-6, 1e6))
def test_a_quadratic_beyond_its_limit_diverges_by_a_known_factor_and_the_remedy_does_not_overshoot(lr_times_c, scale):
    losses = scale * (1 - lr_times_c) ** (2.0 * np.arange(40))
    losses[30:] = np.nan
    finding = found("lr_too_high", Made(loss__batch=losses, lr__0=[0.1] * 40))
    pace = re.search(r"([\d.e+]+)-fold at each step", finding.sentence)
    assert pace is not None, finding.sentence
    assert float(pace[1]) == pytest.approx((1 - lr_times_c) ** 2, rel=0.006)  # three digits are shown
    assert finding.remedies[0].diff == {"lr=...": f"lr=... / {float(f'{lr_times_c:.2g}'):g}"}
    assert finding.since == 1


@given(st.floats(0.02, 1.98))
def test_a_quadratic_below_its_limit_converges_and_nothing_is_said(lr_times_c):
    losses = (1 - lr_times_c) ** (2.0 * np.arange(120)) + 1e-9
    ratios = (range(1, 120, 20), np.abs(1 - lr_times_c) ** np.arange(0.0, 120, 20))
    assert look("lr_too_high", Made(loss__batch=losses, lr__0=[0.1] * 120, update_ratio__all=ratios)) is None


def test_beyond_the_stability_limit_it_is_certain_and_half_the_limit_is_the_remedy(tmp_path):
    recipe = Recipe(scale="standard", lr=0.6, batch_size="all", steps=60)
    run = descend.fit(recipe, runs=tmp_path)
    finding = found("lr_too_high", Chart(run))
    (limit,) = run.notes("limit")
    assert finding.certainty == "certain"
    assert finding.remedies[0].change is not None
    assert finding.remedies[0].change(recipe)["lr"] == pytest.approx(
        limit.details["limit"] / 2, rel=0.05
    )  # of two digits


def test_a_nan_without_growth_is_not_the_learning_rates():
    losses = [1.0, 0.9, 0.8, 0.7, 0.6, np.nan, np.nan]
    assert not isinstance(look("lr_too_high", Made(loss__batch=losses)), Finding)


def test_initial_weights_that_make_a_wild_first_loss_are_not_the_learning_rates():
    losses = [6e4, 6e8, 6e12, 6e16, np.nan]
    assert isinstance(look("lr_too_high", Made(loss__batch=losses)), Finding)
    assert look("lr_too_high", Made({"start": {"loss": 6e4, "expected": 0.69}}, loss__batch=losses)) is None


def test_it_says_since_when_what_was_learned_is_lost():
    up = np.concatenate([np.linspace(2.0, 0.5, 10), np.full(20, 1.8)])
    steps = range(0, 600, 20)
    sick = {"loss__train": (steps, up), "loss__batch": np.full(600, 1.8)}
    finding = found("lr_too_high", Made(**sick, update_ratio__all=(steps, np.full(30, 0.08))))
    assert finding.since == 180
    # slow drift by short updates is something else: weight decay, say
    assert look("lr_too_high", Made(**sick, update_ratio__all=(steps, np.full(30, 0.004)))) is None


@pytest.mark.parametrize(("size", "lower", "fires"), [(32, 0.0, True), (4, 0.0, False), (32, 2.0, False)])
def test_swings_count_that_get_no_lower_and_that_batches_are_too_large_to_explain(size, lower, fires):
    swings = 0.3 * noise(3, 40, 0.4) * np.exp(-lower * np.linspace(0, 1, 40))
    swings[0] = 1.0
    chart = Made(
        {"data": {"train": {"rows": 1000, "batch_size": size}}},
        loss__train=(range(0, 1600, 40), swings),
        loss__batch=np.full(1600, 0.3),
        lr__0=[0.1] * 1600,
    )
    assert isinstance(look("lr_too_high", chart), Finding) is fires


# --- lr_too_low -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "fires"), [(3e-5, True), (3e-3, False)])
def test_a_straight_line_is_too_slow_where_updates_are_short(ratio, fires):
    steps = range(0, 500, 20)
    chart = Made(
        loss__train=(steps, np.linspace(1.0, 0.9, 25)),
        loss__batch=np.linspace(1.0, 0.9, 500),
        update_ratio__all=(range(1, 500, 20), np.full(25, ratio)),
    )
    answer = look("lr_too_low", chart)
    assert isinstance(answer, Finding) is fires
    if isinstance(answer, Finding):
        assert answer.remedies[0].advice == "Raise the learning rate 70 times."  # to updates of 2e-3


def test_short_updates_at_the_bottom_are_convergence():
    steps = range(0, 500, 20)
    settled = 0.6 + 0.4 * 0.5 ** np.arange(25)
    ratios = 1e-2 * 0.5 ** np.arange(25)
    chart = Made(loss__train=(steps, settled), loss__batch=np.full(500, 0.6), update_ratio__all=(steps, ratios))
    assert look("lr_too_low", chart) is None


def test_a_linear_model_far_below_its_limit_is_raised_to_half_of_it(tmp_path):
    recipe = Recipe(scale="standard", lr=2e-4, batch_size="all", steps=300)
    finding = found("lr_too_low", Chart(descend.fit(recipe, runs=tmp_path)))
    change = finding.remedies[0].change
    assert change is not None
    assert change(recipe)["lr"] == pytest.approx(0.25, rel=0.25)  # the limit is 0.4994; the factor has one digit


# --- plateau, underfitting --------------------------------------------------------------------------------------------

NEIGHBOURS = {"rows": 500, "disagree": 0.02, "expected": 0.5}


def stuck(accuracy: float, neighbours: float, parameters: int = 5000, **series: Any) -> Made:
    """A run that stands still with an accuracy, and what its neighbours reach."""
    train = {"rows": 500, "batch_size": 32, "neighbours": NEIGHBOURS | {"disagree": neighbours}}
    steps = range(0, 600, 20)
    flat = 0.5 + 0.2 * 0.3 ** np.arange(30)
    given = {
        "loss__train": (steps, flat),
        "accuracy__train": (steps, np.full(30, accuracy)),
        "loss__batch": np.full(600, 0.5),
    }
    return Made({"data": {"train": train}, "network": {"parameters": parameters}}, **(given | series))


@pytest.mark.parametrize(
    ("accuracy", "neighbours", "fires"), [(0.7, 0.02, True), (0.7, 0.29, False), (0.99, 0.02, False)]
)
def test_a_flat_loss_is_a_plateau_only_where_neighbours_do_better(accuracy, neighbours, fires):
    assert isinstance(look("plateau", stuck(accuracy, neighbours)), Finding) is fires


def test_without_what_neighbours_reach_a_flat_loss_says_nothing():
    chart = Made(loss__train=(range(0, 600, 20), np.full(30, 0.5)), accuracy__train=(range(0, 600, 20), [0.7] * 30))
    assert isinstance(look("plateau", chart), Unknown)
    assert isinstance(look("underfitting", chart), Unknown)


def test_a_learning_rate_that_was_spent_half_way_is_named():
    assert look("plateau", stuck(0.88, 0.02, lr__0=np.full(600, 0.1))) is None
    finding = found("plateau", stuck(0.88, 0.02, lr__0=0.1 * 0.97 ** np.arange(600.0)))
    assert "learning rate was 0.00011 of its highest value" in finding.sentence
    assert "cosine" in finding.remedies[0].advice


def test_a_learning_rate_that_is_gone_for_most_of_training_needs_no_other_witness():
    rates = np.where(np.arange(600) < 30, 0.1, 0.0)
    steps = range(0, 600, 20)
    curve = {"loss__train": (steps, 0.2 + 0.8 * 0.1 ** np.arange(30)), "loss__batch": np.full(600, 0.2)}
    finding = found("plateau", Made(**curve, lr__0=rates))
    assert finding.since == 30
    assert "Since step 30 of 600 the learning rate is as good as zero" in finding.sentence
    assert isinstance(look("plateau", Made(**curve, lr__0=np.linspace(0.1, 0, 600))), Unknown)


def test_a_small_network_underfits_where_a_large_one_is_on_a_plateau():
    small, large = stuck(0.7, 0.02, parameters=20), stuck(0.7, 0.02, parameters=5000)
    assert [isinstance(look("underfitting", each), Finding) for each in (small, large)] == [True, False]
    assert [isinstance(look("plateau", each), Finding) for each in (small, large)] == [False, True]


def test_a_small_network_whose_loss_has_risen_does_not_underfit():
    risen = (range(0, 600, 20), 0.7 * 2.0 ** np.arange(30))
    assert isinstance(look("underfitting", stuck(0.3, 0.02, parameters=20)), Finding)
    assert look("underfitting", stuck(0.3, 0.02, parameters=20, loss__train=risen)) is None


@pytest.mark.parametrize(
    ("lacking", "example"),
    [
        ("capacity", Example(data="circles", model="linear", optimizer="adam", lr=0.03, epochs=40)),
        (
            "capacity",
            Example(data="sines", model="mlp", depth=1, width=2, optimizer="adam", lr=0.01, epochs=80),
        ),
        ("time", Example(data="spirals", model="mlp", width=32, optimizer="adam", lr=0.003, epochs=12)),
        (
            "freedom",
            Example(data="moons", model="mlp", width=16, dropout=0.8, optimizer="adam", lr=0.005, epochs=40),
        ),
    ],
)
def test_it_says_what_the_network_lacks(lacking: str, example: Example, run_of: RunOf):
    finding = found("underfitting", Chart(run_of(example)))
    assert f"for lack of {lacking}" in finding.sentence


# --- overfitting ------------------------------------------------------------------------------------------------------


def curves(validation: Iterable[float], *, rows: int = 200, train: Iterable[float] | None = None) -> Made:
    held = _floats(validation)
    steps = range(0, 20 * len(held), 20)
    fitted = held[0] * 0.85 ** np.arange(len(held)) if train is None else _floats(train)
    count = len(held)
    return Made(
        {"evaluation": {"rows_train": 500, "rows_validation": rows}},
        loss__train=(steps, fitted),
        loss__validation=(steps, held),
        accuracy__train=(steps, np.full(count, 0.99)),
        accuracy__validation=(steps, np.full(count, 0.8)),
    )


FALL_AND_RISE = np.concatenate([np.linspace(1.0, 0.4, 10), np.linspace(0.41, 0.9, 20)])


@given(st.integers(3, 12), st.integers(0, 99))
def test_it_says_when_the_validation_loss_was_lowest(turn, seed):
    v = np.concatenate([np.linspace(1.0, 0.4, turn), np.linspace(0.43, 0.9, 20)]) * noise(seed, turn + 20, 0.01)
    finding = found("overfitting", curves(v))
    assert abs(finding.since - 20 * (turn - 1)) <= 40  # noise of 1 % may move the lowest point by an evaluation or two


@pytest.mark.parametrize(
    ("what", "chart"),
    [
        ("a gap that does not grow", curves(np.maximum(np.linspace(1.0, -1.0, 30), 0.4))),
        ("a rise that the training loss shares", curves(FALL_AND_RISE, train=FALL_AND_RISE)),
        ("a dip, and a recovery", curves(np.concatenate([FALL_AND_RISE, np.linspace(0.9, 0.38, 20)]))),
        ("the scatter of a few rows", curves(0.4 * noise(1, 40, 0.3), rows=10)),
        ("a small rise of few rows", curves(np.concatenate([np.linspace(1, 0.4, 10), np.full(20, 0.5)]), rows=8)),
    ],
)
def test_it_is_not_overfitting(what: str, chart: Made):
    assert look("overfitting", chart) is None


def test_early_stopping_that_kept_the_best_weights_has_done_what_was_to_do():
    chart = curves(FALL_AND_RISE)
    assert isinstance(look("overfitting", chart), Finding)
    chart.status = "early stopped"
    assert look("overfitting", chart) is None


# --- loss_spikes ------------------------------------------------------------------------------------------------------

EPOCH: Facts = {"data": {"train": {"rows": 320, "batch_size": 32}}}  # ten steps


def spiking(at: Iterable[int], height: float, length: int) -> np.ndarray:
    losses = 0.1 * noise(5, 800, 0.3)
    losses[0] = 1.0
    for begin in at:
        losses[begin : begin + length] = height
    return losses


@pytest.mark.parametrize(
    ("at", "height", "length", "fires"),
    [
        ((203, 401, 605), 1.5, 12, True),
        ((203, 401), 1.5, 12, False),  # twice is chance
        ((203, 401, 605), 0.15, 12, False),  # within what is usual
        ((203, 401, 605), 4.0, 1, True),  # single batches beyond all others
        ((203, 401, 605), 0.5, 1, False),  # single batches that are a little high
        ((), 0.0, 0, False),
    ],
)
def test_spikes_are_many_high_and_last_or_single_batches_beyond_all_scatter(at, height, length, fires):
    chart = Made(EPOCH, loss__batch=spiking(at, height, length), lr__0=[0.1] * 800)
    answer = look("loss_spikes", chart)
    assert isinstance(answer, Finding) is fires
    if isinstance(answer, Finding):
        assert answer.since is not None
        assert abs(answer.since - at[0]) <= 10


def test_a_restart_of_the_schedule_is_no_spike():
    at = (200, 400, 600)
    rates = 0.1 * (1 - np.arange(800) % 200 / 200)
    assert look("loss_spikes", Made(EPOCH, loss__batch=spiking(at, 1.5, 12), lr__0=rates)) is None
    assert isinstance(look("loss_spikes", Made(EPOCH, loss__batch=spiking(at, 1.5, 12))), Finding)


def test_rows_that_are_not_like_the_others_are_not_the_learning_rates():
    losses = spiking(range(7, 800, 20), 40.0, 1)
    losses[100:] *= 12  # each of them throws the weights, so that all losses are high
    chart = Made(EPOCH, loss__batch=losses, update_ratio__all=(range(1, 800, 20), np.full(40, 0.2)))
    assert look("lr_too_high", chart) is None
    assert "single batches" in found("loss_spikes", chart).sentence


# --- clipping_always --------------------------------------------------------------------------------------------------


def clipped(norms: Iterable[float], optimizer: str = "SGD", every: int = 1) -> Made:
    """A watched loop that is slow, and how long its gradients were before they were clipped to 0.1."""
    steps = range(1, 401, every)
    return Made(
        settings={"optimizer": optimizer, "clip_norm": 0.1},
        loss__batch=np.linspace(1.0, 0.9, 400),
        grad_norm__all=(steps, np.ones(len(steps))),
        clip__norm_before=(steps, norms),
    )


def test_clipping_is_always_active_where_every_measured_gradient_was_clipped():
    finding = found("clipping_always", clipped(np.full(20, 2.0), every=20))
    assert "100 % of the gradients were clipped; their median norm was 2, 20 times what is left of it (0.1)" in (
        finding.sentence
    )
    assert "raise the clip to 2" in finding.remedies[0].advice


def test_where_nobody_told_the_clip_it_is_the_norm_that_was_left():
    chart = clipped(np.full(20, 2.0), every=20)
    del chart.settings["clip_norm"]
    assert isinstance(look("clipping_always", chart), Unknown)
    chart._made["clip/norm_after"] = Series(chart.series("clip/norm_before").x, np.full(20, 0.1))
    assert "20 times what is left of it (0.1)" in found("clipping_always", chart).sentence


def test_a_clip_that_just_touches_or_that_adam_divides_out_does_no_harm():
    assert look("clipping_always", clipped(np.full(20, 0.12), every=20)) is None
    assert look("clipping_always", clipped(np.full(20, 2.0), optimizer="AdamW", every=20)) is None
    assert look("clipping_always", Made(loss__batch=np.linspace(1.0, 0.9, 400))) is None


def test_a_run_that_learns_may_clip_as_often_as_it_likes():
    chart = clipped(np.full(20, 2.0), every=20)
    chart._made["loss/batch"] = Series(_floats(range(1, 401)), 0.98 ** np.arange(400.0))
    assert look("clipping_always", chart) is None


# --- noisy_batches, last_batch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "rate", "lower", "fires"),
    [(1, 1.0, 0.0, True), (8, 1.0, 0.0, True), (16, 1.0, 0.0, False), (1, 0.1, 0.0, False), (1, 1.0, 2.0, False)],
)
def test_noise_is_to_blame_where_batches_are_small_the_rate_stays_and_the_loss_gets_no_lower(size, rate, lower, fires):
    wandering = 0.3 * noise(4, 40, 0.2) * np.exp(-lower * np.linspace(0, 1, 40))
    wandering[0] = 1.0
    chart = Made(
        {"data": {"train": {"rows": 1000, "batch_size": size}}},
        loss__train=(range(0, 1600, 40), wandering),
        lr__0=np.linspace(0.1, 0.1 * rate, 1600),
    )
    assert isinstance(look("noisy_batches", chart), Finding) is fires


@pytest.mark.parametrize(("ratio", "fires"), [(0.02, True), (0.004, False)])
def test_of_few_evaluations_a_rise_counts_where_updates_are_long(ratio, fires):
    chart = Made(
        {"data": {"train": {"rows": 400, "batch_size": 1}}},
        loss__train=(range(0, 2400, 400), [1.0, 0.45, 0.37, 0.54, 0.22, 0.23]),
        update_ratio__all=(range(1, 2400, 20), np.full(120, ratio)),
    )
    assert isinstance(look("noisy_batches", chart), Finding) is fires


def with_last(place: int, left: int, factor: float = 1.4) -> Made:
    """Forty epochs of 5 batches, after whose `place`-th the loss is higher; the last batch has `left` of 32 rows."""
    losses = (0.5 * noise(6, 200, 0.1)).reshape(40, 5)
    losses[:, place] *= factor
    facts = {"data": {"train": {"rows": 128 + left, "batch_size": 32, "last_batch": left}}}
    return Made(facts, loss__batch=losses.ravel())


def test_the_last_batch_is_to_blame_where_the_loss_jumps_just_after_it():
    finding = found("last_batch", with_last(0, left=1))
    assert "1 row of 32, so each of them counts 32 times as much" in finding.sentence
    assert finding.evidence[1].value == pytest.approx(np.log(1.4), abs=0.1)  # 30 epochs of noise 0.1: errors of 0.02


@pytest.mark.parametrize(
    ("what", "chart"),
    [
        ("the jump is elsewhere", with_last(2, left=1)),
        ("there is no jump", with_last(0, left=1, factor=1.0)),
        ("the last batch is nearly whole", with_last(0, left=30)),
    ],
)
def test_the_last_batch_is_not_to_blame(what: str, chart: Made):
    assert look("last_batch", chart) is None


# --- regularisation ---------------------------------------------------------------------------------------------------


def dropped(accuracy: float, with_dropout: float, share: float) -> Made:
    steps = range(0, 600, 20)
    facts = {
        "data": {"train": {"rows": 500, "neighbours": NEIGHBOURS}},
        "network": {"dropout": share, "stochastic": ["drop.1"] if share else []},
    }
    return Made(
        facts,
        loss__train=(steps, np.concatenate([[0.7], np.full(29, 0.3)])),
        loss__train_mode=(steps, np.full(30, with_dropout)),
        accuracy__train=(steps, np.full(30, accuracy)),
        loss__batch=np.full(600, with_dropout),
    )


@pytest.mark.parametrize(
    ("accuracy", "with_dropout", "share", "fires"),
    [
        (0.85, 0.5, 0.5, True),  # lifted far
        (0.85, 0.3, 0.8, True),  # no lift, since nothing is learned with so few units
        (0.99, 0.5, 0.5, False),  # lifted far, and the rows are fitted: as it should be
        (0.85, 0.32, 0.3, False),  # something else
        (0.85, 0.5, 0.0, False),  # no dropout at all
    ],
)
def test_dropout_is_too_strong_where_the_rows_are_not_fitted_and_it_is_strong_or_lifts_the_loss(
    accuracy, with_dropout, share, fires
):
    assert isinstance(look("dropout_too_strong", dropped(accuracy, with_dropout, share)), Finding) is fires


def decayed(decay: float, end: float, accuracy: float, ratio: float = 1e-3, optimizer: str = "AdamW") -> Made:
    """Weights that go from a norm of 1 to `end`, at a learning rate of 0.01."""
    steps = range(1, 601, 20)
    facts = {
        "data": {"train": {"rows": 500, "neighbours": NEIGHBOURS}},
        "optimizer": {"kind": optimizer, "groups": [{"weight_decay": decay, "lr": 0.01}]},
    }
    return Made(
        facts,
        loss__train=(steps, np.full(30, 0.5)),
        accuracy__train=(steps, np.full(30, accuracy)),
        weight_norm__a__weight=(steps, np.geomspace(1.0, end, 30)),
        update_ratio__all=(steps, np.full(30, ratio)),
        lr__0=np.full(600, 0.01),
    )


@pytest.mark.parametrize(
    ("chart", "sure"),
    [
        (decayed(1.0, 0.01, 0.6), 0.95),  # the weights are gone
        (decayed(1.0, 0.5, 0.6), 0.85),  # the weights have shrunk
        (decayed(1.0, 1.5, 0.6), 0.75),  # decay is an update ten times over
    ],
)
def test_decay_is_too_strong_where_it_takes_away_what_gradients_build(chart: Made, sure: float):
    assert found("decay_too_strong", chart).sure == sure


@pytest.mark.parametrize(
    "chart",
    [
        decayed(1.0, 1.5, 0.99),  # pull and push are equal, and the rows are fitted: convergence
        decayed(0.01, 1.5, 0.6),  # decay is a tenth of an update
        decayed(0.0, 0.5, 0.6),  # there is none
    ],
)
def test_decay_is_not_to_blame(chart: Made):
    assert look("decay_too_strong", chart) is None


def test_momentum_carries_coupled_decay_on_but_not_a_decoupled_one():
    pulls = {}
    for kind in ("Momentum", "AdamW"):
        chart = decayed(0.1, 1.5, 0.6, optimizer=kind)
        chart.settings = {"momentum": 0.9}
        pulls[kind] = found("decay_too_strong", chart).evidence[0].value
    assert pulls["Momentum"] == pytest.approx(10 * pulls["AdamW"])  # 1 / (1 - 0.9)
