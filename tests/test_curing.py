"""What a cure keeps, what it refuses to call a cure, and that all arms see the same."""

import json
import math
import signal
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import descend.doctor._judge
from descend.cli._main import descend as cli
from descend.comparison import Ratio
from descend.curing._arm import MOST, Arm, changes, in_words, judged, measure, ratio
from descend.curing._bench import Bench, _further
from descend.curing._cure import ROUNDS, cure
from descend.curing._trial import best
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy
from descend.errors import RunError
from descend.recipe import Recipe
from descend.run import Recorder, Run, Series, list_runs
from descend.train.fit import fit
from descend.train.stop import EarlyStopping

MOONS = Recipe(data="moons", rows=200, model="mlp", width=8, lr=0.3, epochs=5)
HOT = MOONS.but(lr=1e4)


def check(fires, *remedies: Remedy) -> Check:
    """A check that finds its problem where `fires(chart)` says so."""

    def look(chart):
        if not fires(chart):
            return None
        evidence = Evidence("loss/batch", chart.last("loss/batch"), 0.0, "It is there.")
        return Finding("It is there.", (evidence,), 0.9, remedies=remedies)

    return Check(look, "symptom", Example(data="moons"), Example(data="moons"), "look-alike", "source")


def lower(factor: float = 10.0) -> Remedy:
    return Remedy("Lower the rate.", lambda recipe: recipe.but(lr=recipe["lr"] / factor), "safe")


def hot(chart) -> bool:
    return chart.settings["lr"] > 1


class Known(dict[str, Check]):
    """Checks by name, as the catalog holds them."""

    def require(self, name: str) -> None:
        assert name in self


@pytest.fixture
def checks(monkeypatch):
    """The checks that the doctor knows."""
    known = Known()
    monkeypatch.setattr(descend.doctor._judge, "CHECKS", known)
    return known


# --- arms -------------------------------------------------------------------------------------------------------------


def test_changes_are_told_by_field():
    treated = MOONS.but(lr=0.1, clip_norm=1.0)
    assert changes(MOONS, treated) == {"lr": (0.3, 0.1), "clip_norm": (None, 1.0)}
    assert in_words(changes(MOONS, treated)) == "lr: 0.3 -> 0.1, clip_norm: none -> 1"
    assert changes(MOONS, MOONS.but(optimizer="adam")) == {"optimizer": ("sgd", "adam")}  # the lr was set, and stays
    assert changes(MOONS, MOONS) == {}


@pytest.mark.parametrize(
    ("before", "change", "by"),
    [
        (MOONS, {"lr": 0.1}, "loss/validation"),
        (MOONS, {"scale": "standard"}, "loss/validation"),
        (MOONS, {"dropout": 0.5, "patience": 3}, "loss/validation"),
        (MOONS, {"loss": "bce_with_logits"}, "accuracy/validation"),
        (MOONS.but(loss="cross_entropy"), {"label_smoothing": 0.1}, "accuracy/validation"),
        (MOONS, {"data_seed": 1}, None),
        (MOONS, {"validation": 0.4}, None),
        (MOONS, {"rows": 900}, None),
        (MOONS, {"data": "circles"}, None),
        (MOONS.but(data="sines"), {"loss": "mae"}, "r2/validation"),
    ],
)
def test_arms_are_judged_by_what_means_the_same_in_both(before, change, by, tmp_path):
    run = fit(before.but(epochs=1), runs=tmp_path)
    assert measure(before, before.but(**change), run) == by


def test_weighted_classes_are_judged_by_the_mean_of_their_recalls(tmp_path):
    table = tmp_path / "rare.csv"
    rows = [f"{number / 100},{'rare' if number % 10 == 0 else 'common'}" for number in range(100)]
    table.write_text("\n".join(["x,kind", *rows]) + "\n")
    plain = Recipe(data="table", file=str(table), target="kind", lr=0.1, epochs=50)
    run = fit(plain, runs=tmp_path)
    assert measure(plain, plain.but(class_weights="balanced"), run) == "recall/validation"
    # nothing can be learned here: all rows are called common, so one class is right and one is wrong
    assert judged(run, "accuracy/validation") == pytest.approx(0.1)
    assert judged(run, "recall/validation") == 0.5


def test_data_without_validation_rows_is_judged_by_the_training_loss(tmp_path):
    bonus = Recipe(epochs=1)
    assert measure(bonus, bonus.but(lr=0.002), fit(bonus, runs=tmp_path)) == "loss/train"


@given(losses=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=6), factor=st.floats(0.01, 100))
def test_the_ratio_of_proportional_losses_is_the_factor(losses, factor):
    found = ratio([loss * factor for loss in losses], losses)
    assert (found.mean, found.low, found.high) == pytest.approx((factor,) * 3, rel=1e-6)


def test_a_loss_that_is_not_finite_is_the_worst_and_none_is_better_than_a_thousandth():
    infinite = [math.inf] * 3
    assert ratio([1.0, 2.0, 3.0], infinite).mean == pytest.approx(1 / MOST)
    assert ratio(infinite, [1.0, 2.0, 3.0]).mean == pytest.approx(MOST)
    assert ratio(infinite, infinite).mean == 1
    assert ratio([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]).mean == pytest.approx(1 / MOST)
    assert ratio([0.0] * 2, [0.0] * 2).mean == 1


def arm(what: str, mean: float | None, high: float, *, gone: bool, safety="safe", seeds: int = 3) -> Arm:
    return Arm(
        what,
        MOONS,
        safety=safety,
        fires=(not gone,) * seeds,
        ratio=None if mean is None else Ratio(mean, mean**2 / high, high),
    )


@pytest.mark.parametrize(
    ("arms", "kept"),
    [
        ([arm("a", 0.5, 0.9, gone=True), arm("b", 0.4, 0.9, gone=True)], "b"),
        ([arm("a", 0.41, 0.9, gone=True), arm("b", 0.4, 0.9, gone=True)], "a"),  # within 5 %: the first
        ([arm("a", 0.1, 0.9, gone=False), arm("b", 0.9, 0.95, gone=True)], "b"),  # the evidence decides
        ([arm("a", 0.5, 1.1, gone=False)], None),  # chance
        ([arm("a", 0.5, 1.1, gone=True)], "a"),  # a bug is out, and no harm is done
        ([arm("a", 0.99, 0.995, gone=True, safety="changes the result")], None),  # not worth a change
        ([arm("a", 1.01, 2.0, gone=True, safety="changes the result")], None),
        ([arm("a", 1.1, 2.0, gone=True)], None),  # a cost
        ([arm("a", None, 1.0, gone=True)], "a"),  # cannot be compared, but the bug is out
        ([arm("a", 0.5, 0.9, gone=False)], "a"),  # helps, which is told for what it is
        ([arm("a", 0.1, 0.2, gone=True, seeds=2), arm("b", 0.5, 0.9, gone=True)], "b"),  # was stopped early
    ],
)
def test_what_is_kept_helps_beyond_chance_and_takes_the_evidence_away(arms, kept):
    found = best(tuple(arms), 3)
    assert (found and found.what) == kept


# --- cures ------------------------------------------------------------------------------------------------------------


def test_a_cure_changes_the_recipe_and_says_by_how_much(checks, tmp_path):
    checks["too_hot"] = check(hot, Remedy("Cool.", lambda recipe: recipe.but(lr=0.3), "safe"))
    found = cure(HOT, runs=tmp_path)
    assert found.cured
    assert found.changes == {"lr": (1e4, 0.3)} or found.changes["lr"][1] < 1
    assert found.after.healthy
    (trial,) = found.trials
    assert trial.untreated.fires == (True,) * 3
    assert trial.kept is not None
    assert trial.kept.gone
    assert trial.kept.ratio is not None
    assert trial.kept.ratio.high < 1
    before, after = trial.untreated.loss, trial.kept.loss
    assert after < before or not math.isfinite(before)
    assert "Kept: lr: 1e+04 -> " in trial.sentences[1]
    assert "95 % interval" in trial.sentences[1]
    assert found.verdict.startswith("Cured: lr: 1e+04 -> ")


def test_every_arm_sees_the_same_data_batches_and_first_weights(checks, tmp_path):
    checks["too_hot"] = check(hot, lower(1e5))
    (trial,) = cure(HOT, runs=tmp_path).trials
    assert trial.rival is not None
    assert trial.kept is not None
    for number, untreated in enumerate(trial.untreated.runs):
        for each in (trial.kept, trial.rival):
            if number < len(each.runs):
                run = each.runs[number]
                assert run.recipe.seed == untreated.recipe.seed == number
                assert run.notes("started")[0].details["data"] == untreated.notes("started")[0].details["data"]
                assert run.series("loss/batch").y[0] == untreated.series("loss/batch").y[0]
                assert run.series("loss/validation").y[0] == untreated.series("loss/validation").y[0]


def test_a_run_that_has_ended_stands_for_its_seed(checks, tmp_path):
    checks["too_hot"] = check(hot, lower(1e5))
    run = fit(HOT.but(seed=4), runs=tmp_path)
    (trial,) = cure(run, runs=tmp_path / "cures").trials
    assert trial.untreated.runs[0].folder == run.folder
    assert [each.recipe.seed for each in trial.untreated.runs] == [4, 5, 6]


def test_nothing_is_trained_for_a_healthy_run(checks, tmp_path):
    checks["too_hot"] = check(hot, lower())
    found = cure(fit(MOONS, runs=tmp_path), runs=tmp_path / "cures")
    assert found.verdict == "Nothing to cure. Healthy: 1 thing checked."
    assert (found.trials, found.recipe, found.helped) == ((), MOONS, False)
    assert not (tmp_path / "cures").exists()


def test_nothing_helped_is_an_answer_with_what_was_tried(checks, tmp_path):
    useless = Remedy("Count the epochs in steps.", lambda recipe: recipe.but(min_delta=0.5), "safe")
    harmful = Remedy("Hardly train.", lambda recipe: recipe.but(epochs=1), "changes the result")
    checks["always"] = check(lambda chart: True, useless, harmful)
    found = cure(MOONS, runs=tmp_path)
    assert not found.cured
    assert not found.helped
    assert found.recipe == MOONS
    assert found.verdict == "Nothing helped."
    assert "Nothing helped. Tried: min_delta: 0 -> 0.5 (as much" in found.trials[0].sentences[1]
    assert "epochs: 5 -> 1 (" in found.trials[0].sentences[1]
    assert [len(each.runs) for each in found.trials[0].arms] == [1, 1]  # one seed shows that they do not help


def _faster(recipe: Recipe) -> Recipe:
    """Not in the learning rate alone, which would be searched."""
    return recipe.but(lr=recipe["lr"] * 4, min_delta=recipe.min_delta + 1)


def test_what_only_a_person_can_do_is_told_and_nothing_is_trained(checks, tmp_path):
    checks["labels"] = check(lambda chart: True, Remedy("Look at the labels."))
    found = cure(fit(MOONS, runs=tmp_path), runs=tmp_path / "cures")
    assert found.verdict == "No remedy is a change of the recipe alone, so it is yours to make:"
    assert "Look at the labels." in str(found)
    assert not (tmp_path / "cures").exists()


def test_a_better_loss_is_no_cure_while_the_evidence_is_there(checks, tmp_path, monkeypatch):
    monkeypatch.setattr("descend.curing._bench.judged", lambda run, by: 1 / run.recipe["lr"])
    faster = Remedy("Longer steps.", _faster, "safe")
    checks["always"] = check(lambda chart: True, faster)
    found = cure(MOONS.but(lr=0.02, epochs=1), runs=tmp_path)
    assert found.helped
    assert not found.cured
    assert len(found.trials) == ROUNDS
    assert found.changes["lr"][1] >= 0.02 * 4**ROUNDS
    assert "But the check still finds the problem in 3 of 3 runs." in found.trials[0].sentences[1]
    assert found.verdict.startswith("Better, but not cured: min_delta: 0 -> ")
    assert found.verdict.endswith("Left: always.")


def test_what_chance_leaves_open_is_settled_by_twice_the_seeds(checks, tmp_path, monkeypatch):
    checks["too_hot"] = check(hot, Remedy("Cool.", lambda recipe: recipe.but(lr=0.3), "changes the result"))
    losses = (0.95, 0.4, 0.9, 0.5, 0.6, 0.7)
    said = lambda run, by: 1.0 if run.recipe["lr"] > 1 else losses[run.recipe.seed % 6]  # noqa: E731
    monkeypatch.setattr("descend.curing._bench.judged", said)
    arm = cure(HOT.but(epochs=1), runs=tmp_path).trials[0].kept
    assert arm is not None
    assert ratio(losses[:3], (1.0,) * 3).high > 1
    assert arm.ratio == ratio(losses, (1.0,) * 6)
    assert arm.cures


def test_a_rival_that_does_as_well_speaks_against_the_diagnosis(checks, tmp_path):
    checks["too_hot"] = check(
        lambda chart: not np.isfinite(chart.series("loss/train").y).all() or chart.last("loss/train") > 1,
        Remedy("Cool.", lambda recipe: recipe.but(lr=0.05), "changes the result"),
    )
    checks["no_clipping"] = check(
        lambda chart: chart.settings.get("clip_norm") is None and chart.settings["lr"] > 1,
        Remedy("Clip.", lambda recipe: recipe.but(clip_norm=5e-5), "safe"),
    )
    trial = cure(HOT, runs=tmp_path).trials[0]
    assert trial.rival is not None
    assert trial.rival.what == "clip_norm: none -> 5e-05"
    assert trial.rival.cures
    assert trial.sentences[-1].endswith("does as well, so the better loss does not prove this diagnosis.")


def test_a_rival_that_does_not_help_is_told(checks, tmp_path):
    checks["short"] = check(
        lambda chart: chart.settings["epochs"] < 3,
        Remedy("Train longer.", lambda recipe: recipe.but(epochs=20), "changes the result"),
    )
    trial = cure(MOONS.but(epochs=1), runs=tmp_path).trials[0]
    assert trial.rival is not None
    assert trial.rival.what == "clip_norm: none -> 1"
    assert "The rival remedy (clip_norm: none -> 1) does not help: as much (one seed)." in trial.sentences


def test_one_cure_is_put_upon_the_other(checks, tmp_path):
    checks["too_hot"] = check(hot, lower(1e5))
    checks["too_short"] = check(
        lambda chart: chart.settings["epochs"] < 6,
        Remedy("Train longer.", lambda recipe: recipe.but(epochs=30), "changes the result"),
    )
    found = cure(HOT, runs=tmp_path)
    assert found.cured
    assert found.changes.keys() == {"lr", "epochs"}
    assert [trial.kept is not None for trial in found.trials] == [True, True]
    assert found.trials[1].untreated.runs == found.trials[0].kept.runs  # trained once


def test_where_the_cause_cannot_be_treated_its_symptoms_are(checks, tmp_path):
    useless = Remedy("Count otherwise.", lambda recipe: recipe.but(min_delta=0.1), "safe")
    checks["cause"] = replace(check(hot, useless), explains=frozenset({"effect"}))
    checks["effect"] = check(hot, lower(1e5))
    found = cure(HOT, runs=tmp_path)
    assert [trial.finding.check for trial in found.trials] == ["cause", "effect"]
    assert [trial.kept is not None for trial in found.trials] == [False, True]
    assert found.cured


def test_what_is_safe_comes_first(checks, tmp_path):
    checks["too_hot"] = check(
        hot,
        Remedy("Another optimizer.", lambda recipe: recipe.but(optimizer="adam", lr=0.01), "changes the result"),
        lower(1e5),
    )
    (trial,) = cure(HOT, runs=tmp_path).trials
    assert all(each.recipe.optimizer == "sgd" for each in trial.arms)


def test_a_remedy_that_the_recipe_cannot_take_is_refused_with_the_reason(checks, tmp_path):
    odd = MOONS.but(batch_size=159, epochs=2)  # 160 training rows leave a batch of one
    checks["no_norm"] = check(
        lambda chart: chart.settings["norm"] == "none",
        Remedy("Batch norm.", lambda recipe: recipe.but(norm="batch"), "changes the result"),
    )
    (trial,) = cure(odd, runs=tmp_path).trials
    assert trial.arms == ()
    assert "norm: none -> batch cannot be trained: Batch norm needs two rows" in trial.sentences[1]


def test_a_problem_that_training_anew_does_not_show_is_not_treated(checks, tmp_path):
    checks["cut_off"] = check(lambda chart: chart.status == "killed", lower())
    run = fit(MOONS, runs=tmp_path)
    notes = (run.folder / "notes.jsonl").read_text().splitlines()
    (run.folder / "notes.jsonl").write_text("\n".join(notes[:-1]) + "\n")
    found = cure(run, runs=tmp_path / "cures")
    assert found.trials[0].arms == ()
    assert "does not show when the recipe is trained anew" in found.trials[0].sentences[1]


def test_the_test_rows_are_never_looked_at(checks, tmp_path, monkeypatch):
    checks["too_hot"] = check(hot, lower(1e5))
    asked: list[str] = []
    series, last = Run.series, Run.last
    monkeypatch.setattr(Run, "series", lambda run, name, x="step": asked.append(name) or series(run, name, x))
    monkeypatch.setattr(Run, "last", lambda run, name: asked.append(name) or last(run, name))
    found = cure(HOT.but(test=0.2), runs=tmp_path)
    assert found.cured
    assert "loss/test" in found.runs[-1].names() or found.runs[-1].status == "non-finite"
    assert asked
    assert not [name for name in asked if name.endswith("/test")]


def test_a_long_recipe_is_cut_in_every_arm_and_cured_whole(checks, tmp_path):
    checks["too_hot"] = check(hot, lower(1e5))
    found = cure(HOT.but(epochs=5000), steps=20, runs=tmp_path)
    assert found.cured
    assert found.recipe is not None
    assert found.recipe.epochs == 5000
    assert {run.recipe.steps for run in found.runs} == {20}


def test_a_rival_that_does_better_is_kept_and_the_diagnosis_is_in_doubt(checks, tmp_path):
    checks["slow"] = check(
        lambda chart: (
            chart.last("loss/train") > 0.65 or (chart.settings["epochs"] < 30 and chart.last("loss/train") > 0.5)
        ),
        Remedy("Train longer.", lambda recipe: recipe.but(epochs=120), "changes the result"),
    )
    decayed = MOONS.but(epochs=15, schedule="inverse_time", decay_rate=1.0)
    found = cure(decayed, runs=tmp_path)
    assert found.changes.keys() == {"schedule", "decay_rate"}
    trial = found.trials[0]
    assert trial.kept is trial.rival
    assert "it does better than those of slow, which is then in doubt" in trial.sentences[-1]
    assert trial.table.rows[-1][0] == "rival: schedule: inverse_time -> constant, decay_rate: 1 -> none (kept)"


def test_a_change_made_again_goes_on_by_its_factor(tmp_path):
    treated = MOONS.but(width=32, lr=0.1, activation="tanh", weight_decay=0.01, epochs=15)
    assert _further(MOONS, treated) == treated.but(width=128, lr=0.033)
    assert _further(MOONS, MOONS.but(dropout=0.5, patience=5)) == MOONS.but(dropout=0.5, patience=5)


@pytest.mark.parametrize(("lowest", "kept"), [(128, 128), (1024, 128), (32, 32)])
def test_what_helps_is_made_once_more_if_that_helps_more(lowest, kept, checks, tmp_path, monkeypatch):
    """The loss falls with the width up to the one where it is lowest."""
    checks["narrow"] = check(
        lambda chart: chart.settings["width"] < 20,
        Remedy("Widen.", lambda recipe: recipe.but(width=recipe["width"] * 4), "changes the result"),
    )
    said = lambda run, by: 1 + abs(math.log(run.recipe["width"] / lowest))  # noqa: E731
    monkeypatch.setattr("descend.curing._bench.judged", said)
    found = cure(MOONS.but(epochs=1), runs=tmp_path)
    assert found.changes == {"width": (8, kept)}
    judged_by = {run.recipe.seed for run in found.runs}
    chosen_by = {run.recipe.seed for run in list_runs(found.runs[0].folder.parent)} - judged_by
    assert judged_by == {0, 1, 2}
    assert len(chosen_by) == 1  # the choice is made with a seed of its own


def test_the_search_finds_the_best_rate_of_its_grid_whichever_way_it_lies(tmp_path, monkeypatch):
    bench = Bench(tmp_path, range(3), None, False)
    trained: list[tuple[float, int]] = []

    def pretend(recipe, what, seed):
        trained.append((recipe["lr"], seed))
        folder = tmp_path / f"{best_rate}-{recipe['lr']}"
        with Recorder(folder, recipe) as recorder:
            recorder.log(1, 1, 1.0, {"loss/validation": abs(math.log10(recipe["lr"]) - math.log10(best_rate))})
        return Run(folder)

    monkeypatch.setattr(bench, "train", pretend)
    for best_rate in (1e-3, 0.1, 0.32, 3.2):
        trained.clear()
        assert bench.search(MOONS.but(lr=10.0), 0.1) == best_rate
        assert not {seed for _, seed in trained} & {*bench.seeds}  # no arm is judged by it
        assert len(trained) <= 7


# --- ends -------------------------------------------------------------------------------------------------------------


def interrupting(monkeypatch, after: int, how):
    """Let training be interrupted in the run after `after` others."""
    calls = iter(range(10_000))

    def begin(*args, **options):
        if next(calls) == after:
            how()
        return fit(*args, **options)

    monkeypatch.setattr("descend.train.fit.fit", begin)


def ctrl_c_in_training(monkeypatch):
    see = EarlyStopping.see

    def interrupted(self, *args):
        signal.raise_signal(signal.SIGINT)
        return see(self, *args)

    return lambda: monkeypatch.setattr(EarlyStopping, "see", interrupted)


@pytest.mark.parametrize("where", ["in a run", "between runs"])
def test_ctrl_c_keeps_what_is_done(where, checks, tmp_path, monkeypatch):
    checks["too_hot"] = check(hot, Remedy("Cool.", lambda recipe: recipe.but(lr=0.3, min_delta=0.0001), "safe"))
    how = ctrl_c_in_training(monkeypatch) if where == "in a run" else lambda: signal.raise_signal(signal.SIGINT)
    interrupting(monkeypatch, 6, how)  # 3 untreated, 3 treated: now the rival
    found = cure(HOT, runs=tmp_path)
    assert found.interrupted
    assert found.cured
    assert found.verdict.startswith("Interrupted; the arms that are done are kept. Cured: ")


def test_ctrl_c_before_an_arm_is_done_ends_it(checks, tmp_path, monkeypatch):
    checks["too_hot"] = check(hot, lower())
    interrupting(monkeypatch, 1, ctrl_c_in_training(monkeypatch))
    with pytest.raises(KeyboardInterrupt):
        cure(HOT, runs=tmp_path)


def test_one_seed_is_refused(tmp_path):
    with pytest.raises(RunError, match="needs at least two"):
        cure(MOONS, seeds=1, runs=tmp_path)


def test_a_watched_loop_is_told_its_change(checks, tmp_path):
    forgot = Remedy("Set the gradients to zero.", diff={"loss.backward()": "optimizer.zero_grad()\nloss.backward()"})
    checks["own"] = check(lambda chart: True, forgot)
    with Recorder(tmp_path / "own", {"lr": 0.1}) as recorder:
        recorder.log(1, 1, 1.0, {"loss/batch": 1.0})
    found = cure(Run(tmp_path / "own"), runs=tmp_path / "cures")
    assert not found.cured
    assert found.recipe is None
    lines = [line.strip() for line in str(found).splitlines()]
    assert lines[lines.index("- loss.backward()") :][:3] == [
        "- loss.backward()",
        "+ optimizer.zero_grad()",
        "+ loss.backward()",
    ]


def test_a_cure_is_plain_values_text_and_html(checks, tmp_path):
    checks["too_hot"] = check(hot, lower(1e5))
    found = cure(HOT, runs=tmp_path)
    fields = json.loads(json.dumps(found.fields()))
    assert fields["cured"] is True
    assert Recipe(**fields["recipe"]) == found.recipe
    assert len(fields["trials"][0]["untreated"]["runs"]) == 3
    assert all(sentence in str(found) for sentence in found.sentences)
    assert found._repr_html_().count("<table>") == 1
    assert found.tables[0].rows[0][0] == "untreated"


def test_the_command_ends_with_0_for_a_cure_and_1_for_none(checks, tmp_path):
    checks["too_hot"] = check(hot, lower(1e5))
    fit(HOT, runs=tmp_path, name="hot")
    fit(MOONS, runs=tmp_path, name="fine")

    def run(*arguments: object):
        return CliRunner().invoke(cli, ["cure", *map(str, arguments), "--runs", str(tmp_path)])

    written = run("hot", "--write", tmp_path / "cured.toml")
    assert written.exit_code == 0, written.output
    assert "Cured: lr: 1e+04 -> " in written.stdout
    assert Recipe.load(tmp_path / "cured.toml")["lr"] < 1
    assert run("fine", "--quiet").stdout == ""
    assert json.loads(run("fine", "--json").stdout)["healthy"] is True
    checks["too_hot"] = check(lambda chart: True, replace(lower(), change=None))
    assert run("hot").exit_code == 1
    assert run().exit_code == 2
    assert run("hot", "--recipe", tmp_path / "cured.toml").exit_code == 2


def test_runs_are_in_the_folder_of_cures(checks, tmp_path):
    checks["too_hot"] = check(hot, lower(1e5))
    found = cure(HOT, runs=tmp_path / "cures")
    assert {run.folder.parent for run in found.runs} == {tmp_path / "cures" / "cure-001"}
    assert found.runs[0].name == "01-untreated-seed0"
    assert Series(*found.runs[0].series("loss/batch")).y.size > 0
