"""The command line: what it answers, how it ends, and that every example of its help works."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

import descend.comparison
from descend.catalog import DATA, OPTIMIZERS
from descend.cli._curve import HEIGHT, MARGIN, draw
from descend.cli._fields import GROUPS
from descend.cli._main import COMMANDS, EXAMPLES
from descend.cli._main import descend as cli
from descend.cli.compare import variants
from descend.cli.list import CATALOGS
from descend.cli.sweep import at_random, on_grid
from descend.recipe import CORE, PARTS, Recipe
from descend.run import Recorder, Run, Series, list_runs
from descend.train.fit import fit

CONTEXT = click.Context(cli)
HEAVY = ("torch", "numpy", "rich", "matplotlib", "pandas", "scipy")


def command(name: str) -> click.Command:
    found = cli.get_command(CONTEXT, name)
    assert found is not None
    return found


def run(line: str) -> Result:
    return CliRunner().invoke(cli, shlex.split(line.removeprefix("descend")))


def ok(line: str) -> str:
    result = run(line)
    assert result.exit_code == 0, f"{line}: {result.stderr or result.exception!r}"
    return result.stdout


def refusal(line: str) -> str:
    """The one line that a wrong command gets, and nothing on standard output."""
    result = run(line)
    assert result.exit_code == 2, f"{line}: {result.exception!r} {result.output}"
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("Error: ").rstrip("\n")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as it is after some days: tables, runs that ended, and runs that were cut."""
    folder = tmp_path_factory.mktemp("days")
    moons = Recipe(data="moons", model="mlp", width=8, steps=40, evaluate_every=10, lr=0.1)
    fit(moons, runs=folder / "runs")
    (folder / "moons.toml").write_text(moons.to_toml())
    fit(moons.but(optimizer="adam", lr=0.01), runs=folder / "runs")
    fit(Recipe(lr=0.005), runs=folder / "runs")
    for name in ("stopped-001", "stopped-002"):
        Recorder(folder / "runs" / name, Recipe(steps=5, lr=0.005)).close()
    draw = np.random.default_rng(0)
    with (folder / "houses.csv").open("w", newline="") as file:
        rows = draw.normal(size=(60, 2)).tolist()
        csv.writer(file).writerows([("rooms", "age", "price"), *((a, b, 3 * a - b + 7) for a, b in rows)])
    return folder


@pytest.fixture
def days(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, to work in."""
    shutil.copytree(made, tmp_path / "days")
    monkeypatch.chdir(tmp_path / "days")
    return tmp_path / "days"


# --- help -------------------------------------------------------------------------------------------------------------


def test_help_version_completion_and_a_wrong_flag_import_nothing_heavy() -> None:
    program = f"""
import sys
from descend.cli._main import descend
for line in ({["--help"]}, {["--version"]}, {["train", "--help"]}, {["train", "--lrr"]}, {["trian"]}, {[]}):
    try:
        descend.main(line, prog_name="descend")
    except SystemExit:
        pass
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_list_needs_neither_torch_nor_numpy() -> None:
    program = f"""
import sys
from descend.cli import main
try:
    main()
finally:
    print([name for name in {HEAVY[:2]} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program, "list", "adam"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_file_of_the_folder_is_a_command() -> None:
    files = Path(sys.modules["descend.cli"].__file__ or "").parent.glob("[!_]*.py")
    assert sorted(file.stem.rstrip("_").replace("_", "-") for file in files) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_begins_with_examples_and_explains_every_flag_of_its_own(name: str) -> None:
    text = ok(f"{name} --help")
    assert all(example in text for example in command(name).examples)
    own = getattr(command(name), "own", command(name).params)
    assert all(parameter.help for parameter in own if isinstance(parameter, click.Option))


def test_descend_alone_is_its_help() -> None:
    assert ok("descend") == ok("--help") == ok("-h")


def test_the_help_of_train_shows_every_field_with_what_it_allows_and_its_default() -> None:
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(CORE)
    text = " ".join(ok("train --help").split())
    for name in CORE:
        assert f"--{name.replace('_', '-')} " in text
    assert (
        "rows in a batch; 1 is stochastic, all is batch gradient descent: a whole number of at least 1 or all [32]"
        in text
    )
    assert f"the update rule: {', '.join(OPTIMIZERS)} [sgd]" in text
    assert "descend list optimizers" in text


@pytest.mark.parametrize("name", ["train", "compare"])
def test_no_flag_of_a_command_hides_a_field_of_a_recipe(name: str) -> None:
    flags = [flag for parameter in command(name).params for flag in parameter.opts if flag.startswith("--")]
    assert len(flags) == len(set(flags))
    every = {option for catalog in PARTS.values() for entry in catalog for option in catalog.options(entry)}
    assert {f"--{field.replace('_', '-')}" for field in {*CORE, *every}} <= set(flags)


def test_every_example_of_every_help_works(days: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {name: recipe.but(epochs=1, target_loss=None) for name, recipe in descend.comparison.BATCH_SIZES.items()}
    monkeypatch.setattr(descend.comparison, "BATCH_SIZES", short)
    monkeypatch.setattr(
        descend.comparison.Comparison, "report", lambda self, file: file
    )  # tests/test_report.py draws it
    for example in dict.fromkeys([*(example for name in COMMANDS for example in command(name).examples), *EXAMPLES]):
        ok(example)


# --- train ------------------------------------------------------------------------------------------------------------


def test_train_makes_the_run_that_fit_makes(days: Path) -> None:
    ok("train moons --model mlp --width 8 --optimizer adam --lr 0.01 --steps 30 --name here")
    recipe = Recipe(data="moons", model="mlp", width=8, optimizer="adam", lr=0.01, steps=30)
    there = fit(recipe, runs="elsewhere")
    assert Run("runs/here").recipe == recipe
    np.testing.assert_array_equal(Run("runs/here").series("loss/batch").y, there.series("loss/batch").y)


def test_the_flags_of_a_recipe_make_that_recipe_again(days: Path) -> None:
    recipe = Recipe(data="digits", model="cnn", residual=True, clip_norm=1.0, optimizer="lion", steps=1, lr=1e-4)
    ok(f"train {shlex.join(recipe.to_flags())} --name again")
    assert Run("runs/again").recipe == recipe


def test_flags_change_a_recipe_file(days: Path) -> None:
    Path("mine.toml").write_text(Recipe(data="moons", steps=3, lr=0.1).to_toml())
    ok("train --recipe mine.toml --lr 0.2 --name changed")
    assert Run("runs/changed").recipe == Recipe(data="moons", steps=3, lr=0.2)


def test_a_flag_without_a_value_switches_something_on(days: Path) -> None:
    ok("train moons --model mlp --residual --steps 1 --name on")
    assert Run("runs/on").recipe["residual"] is True


def test_a_table_of_your_own_is_named_like_any_data_set(days: Path) -> None:
    ok("train houses.csv --target price --steps 3 --name houses")
    recipe = Run("runs/houses").recipe
    assert (recipe.data, recipe["file"], recipe["target"]) == ("table", "houses.csv", "price")


def test_after_training_stand_the_ending_the_limit_the_truth_and_what_to_do_next(days: Path) -> None:
    text = ok("train --lr 0.0075 --epochs 50 --name done")
    done = Run("runs/done")
    assert "done: finished after 200 steps" in text
    assert "below the stability limit 0.007863" in text
    for name, value in (("performance", 12), ("years_of_experience", 6), ("projects_completed", 2), ("bias", 20)):
        assert re.search(rf"{name} +{done.last(f'learned/{name}'):.6g} +{value}\b", text)
    assert f"loss/train {done.last('loss/train'):.4g}" in text
    assert "Next: descend report runs/done" in text


def test_a_rate_beyond_the_limit_ends_badly_with_exit_code_1_and_advice(days: Path) -> None:
    result = run("train --lr 0.1 --epochs 50 --name badly")
    assert result.exit_code == 1
    assert "The learning rate 0.1 is beyond the stability limit 0.007863" in result.stdout
    assert re.search(r"At step \d+ .* (infinite|NaN)\b", result.stdout)
    found, next_ = result.stderr.splitlines()[0], result.stderr.splitlines()[-1]
    assert re.match(r"At step \d+ the doctor finds ", found)
    assert next_ == "What is wrong, and what to do: descend doctor runs/badly"


def test_quiet_prints_nothing(days: Path) -> None:
    result = run("train --steps 2 --lr 0.001 --quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_json_of_a_training_is_all_that_is_printed(days: Path) -> None:
    told = json.loads(ok("train moons --steps 3 --json --name told"))
    assert (told["name"], told["status"], told["steps"]) == ("told", "finished", 3)
    assert told["recipe"] == Run("runs/told").recipe.fields()
    assert told["last"]["loss/train"] == Run("runs/told").last("loss/train")
    assert [note["kind"] for note in told["notes"] if note["kind"] != "facts"] == ["started", "ended"]


def test_json_says_infinity_in_a_way_that_every_reader_takes(days: Path) -> None:
    def never(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    result = run("train --lr 0.1 --epochs 50 --json")
    assert json.loads(result.stdout, parse_constant=never)["last"]["loss/batch"] in ("Infinity", "NaN")


def test_the_curve_is_drawn_when_asked_for_and_not_for_another_program(days: Path) -> None:
    assert "(log scale)" not in ok("runs moons-mlp-sgd-001")
    assert "── loss/train   ╌╌ loss/validation (log scale)" in ok("runs moons-mlp-sgd-001 --curve")


# --- resume -----------------------------------------------------------------------------------------------------------


def test_resume_goes_on_by_name_or_by_path(days: Path) -> None:
    assert "stopped-001: finished after 5 steps" in ok("resume stopped-001")
    assert "stopped-002: finished after 5 steps" in ok("resume runs/stopped-002")
    assert json.loads(run("runs stopped-001 --json").stdout)["status"] == "finished"


def test_ctrl_c_ends_a_training_with_130_and_it_can_be_resumed(days: Path) -> None:
    line = [sys.executable, "-m", "descend", "train", "moons", "--steps", "100000000", "--name", "long"]
    training = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _wait_for_steps(Path("runs/long"), training)
        training.send_signal(signal.SIGINT)
        _, errors = training.communicate(timeout=60)
    finally:
        training.kill()
    assert training.returncode == 130
    assert errors == "Interrupted, with everything saved. Go on: descend resume runs/long\n"
    assert Run("runs/long").status == "interrupted"
    assert len(Run("runs/long").series("loss/batch").x) == Run("runs/long").steps


def _wait_for_steps(folder: Path, training: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not (folder / "recipe.toml").exists() or Run(folder).steps < 10:
        assert training.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_before_anything_runs_is_quiet_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(descend.comparison, "compare", interrupt)
    result = run("compare --optimizer sgd,adam --quiet")
    assert (result.exit_code, result.stderr.strip()) == (130, "Error: Interrupted.")


# --- compare ----------------------------------------------------------------------------------------------------------


def test_values_with_commas_make_a_variant_for_every_combination() -> None:
    made = variants({"data": "moons", "lr": "0.1,0.2", "batch_size": "8,all"}, {}, {})
    assert list(made) == [
        "lr=0.1, batch_size=8",
        "lr=0.1, batch_size=all",
        "lr=0.2, batch_size=8",
        "lr=0.2, batch_size=all",
    ]
    assert made["lr=0.2, batch_size=all"] == Recipe(data="moons", lr=0.2, batch_size="all")


def test_an_option_counts_for_the_variants_that_have_it() -> None:
    made = variants({"optimizer": "sgd,momentum,adam", "momentum": "0.5,0.9", "lr": "0.01"}, {}, {})
    assert list(made) == ["sgd", "momentum, momentum=0.5", "momentum, momentum=0.9", "adam"]
    assert made["sgd"] == Recipe(lr=0.01)


def test_names_with_commas_in_a_text_field_are_no_variants() -> None:
    made = variants({"monitors": "accuracy,grad_norm", "lr": "0.1,0.2"}, {}, {})
    assert [recipe.monitors for recipe in made.values()] == ["accuracy,grad_norm"] * 2


def test_learning_rates_of_layers_are_one_value() -> None:
    made = variants({"layer_lrs": "hidden.0=0.1,head=0.01", "lr": "0.1,0.2"}, {}, {})
    assert [recipe.layer_lrs for recipe in made.values()] == ["hidden.0=0.1,head=0.01"] * 2


def test_flags_without_commas_change_the_three_ways_to_descend() -> None:
    made = variants({"lr": "0.001"}, {}, descend.comparison.BATCH_SIZES)
    assert {label: recipe.batch_size for label, recipe in made.items()} == {
        label: recipe.batch_size for label, recipe in descend.comparison.BATCH_SIZES.items()
    }
    assert {recipe["lr"] for recipe in made.values()} == {0.001}


def test_recipe_files_are_variants_too() -> None:
    files = {"small": Recipe(lr=0.001), "large": Recipe(lr=0.005)}
    assert variants({"steps": "7"}, files, {}) == {name: recipe.but(steps=7) for name, recipe in files.items()}
    assert "small, batch_size=1" in variants({"batch_size": "1,2"}, files, {})


def test_compare_prints_its_verdict_and_says_where_the_report_is(days: Path) -> None:
    text = ok("compare --lr 0.001,0.005 --epochs 3 --seeds 2 --name rates")
    for sentence in descend.comparison.Comparison.of(list_runs("runs/rates")).sentences:
        assert sentence in text
    assert re.search(r"performance +12 ", text)
    assert "The report is in runs/rates/report.html." in text
    assert "<svg" in Path("runs/rates/report.html").read_text()


def test_the_recipes_of_two_runs_are_two_variants(days: Path) -> None:
    recipes = [f"--recipe runs/moons-mlp-{optimizer}-001/recipe.toml" for optimizer in ("sgd", "adam")]
    ok(f"compare {' '.join(recipes)} --steps 4 --evaluate-every 2 --seeds 1 --name again")
    assert sorted(folder.name for folder in Path("runs/again").iterdir() if folder.is_dir()) == [
        "moons-mlp-adam-001-seed0",
        "moons-mlp-sgd-001-seed0",
    ]
    assert "Folders of runs (descend runs again): again\n" in ok("runs")
    assert "moons-mlp-sgd-001-seed0" in ok("runs again")
    assert complete("descend report ag") == ["again"]


@pytest.mark.parametrize(("source", "data"), [("moons --model mlp", "moons"), ("houses.csv --target price", "table")])
def test_compare_takes_a_data_set_or_a_file_as_train_does(days: Path, source: str, data: str) -> None:
    told = json.loads(ok(f"compare {source} --lr 0.001,0.005 --epochs 2 --seeds 1 --json --name by-{data}"))
    assert [each["recipe"]["data"] for each in told["runs"]] == [data, data]


def test_a_grid_holds_each_configuration_once() -> None:
    rates = on_grid({"lr": "0.1,0.1"}, Recipe())
    assert rates == on_grid({"lr": "0.1"}, Recipe()) == [Recipe(lr=0.1)]
    layers = {"data": "moons", "model": "mlp", "layer_lrs": "hidden.0=0.1,head=0.01"}
    assert on_grid(layers, Recipe()) == at_random(layers, Recipe(), 3, 0) == [Recipe(**layers)]
    assert set(at_random({"lr": "0.1,0.2"}, Recipe(), 50, 0)) == {Recipe(lr=0.1), Recipe(lr=0.2)}


def test_a_table_of_ones_own_is_swept(days: Path) -> None:
    told = json.loads(ok("sweep houses.csv --target price --lr 1e-3..1e-2:3 --steps 2 --name houses --json"))
    assert sorted(standing["recipe"]["lr"] for standing in told["standings"]) == [0.001, 0.00316227766017, 0.01]


def test_the_json_of_a_sweep_has_a_number_for_every_run(days: Path) -> None:
    line = "sweep moons --model mlp --rows 60 --steps 3 --lr 0.1,1e300 --seeds 2 --name numbers"
    best, worst = json.loads(ok(f"{line} --json"))["standings"]
    assert (best["recipe"]["lr"], best["seeds"], best["diverged"]) == (0.1, [0, 1], 0)
    assert best["values"]["loss/validation"] == [
        Run(f"runs/numbers/{run}").last("loss/validation") for run in best["runs"]
    ]
    assert (worst["values"]["loss/train"], worst["diverged"]) == (["Infinity"] * 2, 2)


def test_existing_runs_are_compared_without_training(days: Path) -> None:
    before = sorted(Path("runs").iterdir())
    told = json.loads(ok("compare moons-mlp-adam-001 moons-mlp-sgd-001 --json --out both.html"))
    assert [each["name"] for each in told["runs"]] == ["moons-mlp-adam-001", "moons-mlp-sgd-001"]
    assert told["report"] == "both.html"
    assert sorted(Path("runs").iterdir()) == before


# --- data, list, runs, export, report ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in DATA if name != "table"])
def test_every_data_set_has_a_preview_of_its_rows(name: str) -> None:
    text = ok(f"data {name}")
    dataset = DATA[name]()
    assert text.startswith(f"{name}: {dataset.task}; rows: {len(dataset.train.inputs):,} train")
    told = json.loads(ok(f"data {name} --json"))
    assert told["rows"]["train"] == len(dataset.train.inputs)
    assert told["first_rows"][0]["inputs"] == dataset.train.inputs[0].tolist()
    assert told["truth"] == dict(dataset.truth)


def test_data_writes_a_table_and_its_truth_and_overwrites_only_when_forced(days: Path) -> None:
    ok("data employee_bonus --rows 50 --out bonus.csv")
    assert json.loads(Path("bonus.truth.json").read_text())["weights"]["performance"] == 12
    first = Path("bonus.csv").read_bytes()
    assert refusal("data employee_bonus --rows 60 --out bonus.csv") == (
        "bonus.csv is there already. Choose another name, or overwrite it with --force."
    )
    assert Path("bonus.csv").read_bytes() == first
    written = json.loads(ok("data employee_bonus --rows 60 --out bonus.csv --force --json"))
    assert written == {"table": "bonus.csv", "truth": "bonus.truth.json"}
    assert len(Path("bonus.csv").read_text().splitlines()) == 61


def test_list_shows_every_entry_of_every_catalog_with_its_options() -> None:
    told = json.loads(ok("list --json"))
    for name, catalog in CATALOGS.items():
        assert [entry["name"] for entry in told[name]] == list(catalog)
        for entry in told[name]:
            assert entry["summary"] == catalog.summary(entry["name"])
            assert [option["name"] for option in entry["options"]] == list(catalog.options(entry["name"]))
    [adam] = json.loads(ok("list adam --json"))["optimizers"]
    assert {
        "name": "beta1",
        "allowed": "a number of at least 0 and below 1",
        "required": False,
        "default": 0.9,
    } in adam["options"]


@pytest.mark.parametrize("line", ["list optimizers adam", "list optimizer adam", "list adam"])
def test_the_options_of_an_entry_are_found_by_its_name(line: str) -> None:
    assert re.search(r"--beta1 +a number of at least 0 and below 1 +0\.9\b", ok(line))


def test_runs_lists_what_was_trained_and_how_it_went(days: Path) -> None:
    text = ok("runs")
    assert re.search(r"moons-mlp-sgd-001 +moons, mlp, sgd, .*lr=0\.1.* +finished +40 ", text)
    assert re.search(r"stopped-001 .* killed ", text)
    told = {each["name"]: each for each in json.loads(ok("runs --json"))}
    assert told["moons-mlp-sgd-001"]["loss"] == Run("runs/moons-mlp-sgd-001").last("loss/validation")
    assert told["stopped-001"]["loss"] is None


def test_a_watched_run_is_listed_shown_and_completed_like_any(days: Path) -> None:
    with Recorder("runs/mine", {"model": "Net", "optimizer": "Adam", "lr": 0.1}) as recorder:
        recorder.log(7, 7, 7.0, {"loss/batch": 0.25})
        recorder.note("facts", 0, network={"kinds": ["linear"]})
        recorder.note("ended", 7, why="finished")
    shutil.copytree("runs/mine", "runs/several/mine")
    assert re.search(r"mine +watched, model=Net, optimizer=Adam, lr=0\.1 +finished +7 +0\.25 ", ok("runs"))
    text = ok("runs mine")
    assert "mine: finished after 7 steps" in text
    assert "kinds" not in text, "facts are for the doctor"
    told = json.loads(ok("runs mine --json"))
    assert told["settings"] == {"model": "Net", "optimizer": "Adam", "lr": 0.1}
    assert "recipe" not in told
    assert complete("descend doctor mi") == ["mine"]
    assert complete("descend doctor sev") == ["several"]
    assert "watched a loop of its own" in refusal("compare mine moons-mlp-sgd-001")
    assert refusal("resume mine").endswith("there is nothing to resume.")


def test_a_run_that_cannot_be_read_does_not_hide_the_others(days: Path) -> None:
    Path("runs/broken").mkdir()
    Path("runs/broken/recipe.toml").write_text("nonsense = 1")
    assert re.search(r"broken +runs/broken/recipe.toml: A recipe has no field 'nonsense'.* +unreadable", ok("runs"))
    told = {each["name"]: each["status"] for each in json.loads(ok("runs --json"))}
    assert told["broken"] == "unreadable"
    assert told["moons-mlp-sgd-001"] == "finished"


def test_no_runs_yet_is_not_an_error(days: Path) -> None:
    assert ok("runs --runs nowhere") == "There are no runs in nowhere yet. Make one: descend train\n"
    assert json.loads(ok("runs --runs nowhere --json")) == []


def test_runs_name_shows_the_last_values_and_what_happened(days: Path) -> None:
    text = ok("runs employee_bonus-linear-sgd-001")
    assert re.search(rf"loss/train +{Run('runs/employee_bonus-linear-sgd-001').last('loss/train'):.4g}", text)
    assert re.search(r"ended +80 +why=finished", text)


def test_export_writes_every_format_and_overwrites_only_when_forced(days: Path) -> None:
    ok("export moons-mlp-sgd-001 --csv a.csv --parquet a.parquet --tensorboard events")
    assert Path("a.csv").read_text().startswith("step,examples,seconds,loss/train")
    assert Path("a.parquet").read_bytes().startswith(b"PAR1")
    assert len(list(Path("events").iterdir())) == 1
    assert "a.csv is there already" in refusal("export moons-mlp-sgd-001 --csv a.csv")
    ok("export moons-mlp-sgd-001 --csv a.csv --force")


def test_a_report_stands_in_the_folder_of_the_run_unless_told_otherwise(days: Path) -> None:
    assert ok("report moons-mlp-sgd-001") == "Wrote runs/moons-mlp-sgd-001/report.html. Open it in a browser.\n"
    assert "<svg" in Path("runs/moons-mlp-sgd-001/report.html").read_text()
    assert ok("report moons-mlp-sgd-001 moons-mlp-adam-001") == "Wrote runs/runs.html. Open it in a browser.\n"


# --- wrong commands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("trian", "There is no command 'trian'. Did you mean 'train'?"),
        ("--lr 0.1", "There is no flag --lr before a command. Flags come after it: descend train --lr 0.1."),
        ("train --lr", "--lr needs a value: a number above 0."),
        ("train --name", "--name needs a value: text."),
        ("train --lr --epochs 3", "--lr needs a value: a number above 0."),
        ("train --lr abc", "lr is 'abc', but must be a number above 0."),
        ("train --lr -1", "lr is '-1', but must be a number above 0."),
        ("train -lr 0.1", "There is no flag -lr. Did you mean --lr? See `descend train --help`."),
        ("train --learning-rate=0.1", "There is no flag --learning-rate. Did you mean --lr?"),
        ("train --batchsize 8", "There is no flag --batchsize. Did you mean --batch-size?"),
        ("train --optimizer Adam", "'Adam' is not an optimizer. Did you mean 'adam'?"),
        ("train --momentum 0.9", "The optimizer sgd has no option 'momentum'. It belongs to the optimizer momentum"),
        ("train --epochs 0", "epochs is '0', but must be a whole number of at least 1, or none."),
        ("train --epochs 2 --steps 3", "epochs is 2 and steps is 3: give one of them, not both."),
        ("train moons --data digits", "The data set is given twice, as moons and as --data digits: leave one out."),
        ("train mons", "'mons' is neither a data set nor a file. Did you mean 'moons'?"),
        ("train house.csv --target price", "There is no file house.csv. Did you mean 'houses.csv'?"),
        ("train houses.csv", "The data set 'table' needs target, which is not given."),
        ("train houses.csv --target prize", "houses.csv has no column 'prize', which target names."),
        ("train runs --target price", "runs is a folder, not a file. Name a CSV or Parquet file in it."),
        ("train moons spirals", "Got unexpected extra argument (spirals)"),
        ("train --recipe none.toml", "The recipe none.toml cannot be read: No such file or directory."),
        ("train --recipe houses.csv", "houses.csv: The recipe is not valid TOML"),
        ("train --name ../out", "'../out' cannot name a run"),
        (
            "train --name stopped-001",
            "runs/stopped-001 exists already. Resume it with `descend resume runs/stopped-001`",
        ),
        ("train --runs houses.csv", "houses.csv/employee_bonus-linear-sgd-001 cannot be written"),
        ("resume", "Missing argument 'RUN'. `descend runs` lists them."),
        ("resume moons-mlp-sdg-001", "runs/moons-mlp-sdg-001 is not a run: it has no recipe.toml. Did you mean"),
        ("resume moons-mlp-sgd-001", "Run runs/moons-mlp-sgd-001 has ended (finished): there is nothing to resume."),
        ("resume any --runs nowhere", "There is no run 'any', and no folder nowhere either."),
        ("report nope", "runs/nope is not a run"),
        ("export moons-mlp-sgd-001", "Say what to write: --csv FILE, --parquet FILE or --tensorboard FOLDER."),
        ("compare --lr 0.1 --optimizer sgd --recipe a.toml", "The recipe a.toml cannot be read"),
        ("compare --optimizer sgd,adma", "'adma' is not an optimizer. Did you mean 'adam'?"),
        ("compare --optimizer sgd,adam --momentum 1", "The optimizer sgd has no option 'momentum'."),
        ("compare --seed 3", "A comparison takes the seeds 0, 1, ...: say how many with --seeds"),
        ("compare moons-mlp-sgd-001", "A comparison needs at least two variants"),
        ("compare moons-mlp-sgd-001 --lr 1", "Give runs to compare, or flags to train with, but not both."),
        ("compare --lr 0.1,0.1", "A comparison needs two variants: give values with commas"),
        ("sweep --lr 1e-3..1", "--lr is 1e-3..1: say how many values, as in 1e-3..1:16"),
        ("sweep --lr 1e-3..1:0", "--lr is 1e-3..1:0: a range has at least one value."),
        ("sweep --random 4 --lr 1e-3..1:8", "--lr is 1e-3..1:8, but --random draws from 1e-3..1."),
        ("sweep --lr 0.1,0.2 --device cuda:99", "device is 'cuda:99', which cannot be used here"),
        ("data", "Missing argument 'SOURCE'. Name one of adding, "),
        ("data moons --out moons.txt", "--out writes a CSV, so call it moons.csv rather than moons.txt."),
        ("data moons --lr 0.1", "There is no flag --lr. "),
        ("list adma", "Nothing is called 'adma'. Did you mean 'adam'?"),
        ("list optimizers adma", "'adma' is not an optimizer. Did you mean 'adam'?"),
        ("list optimisers adam", "There is no catalog 'optimisers'. Did you mean 'optimizers'?"),
        ("list a b c", "Name a catalog, or an entry, or both, but not 3 things."),
    ],
)
def test_a_wrong_command_is_answered_by_one_helpful_line(days: Path, line: str, sentence: str) -> None:
    before = sorted(Path("runs").rglob("*"))
    assert refusal(line).startswith(sentence)
    assert sorted(Path("runs").rglob("*")) == before


def test_what_the_operating_system_refuses_is_one_line_with_the_place(days: Path) -> None:
    Path("taken").write_text("")
    assert refusal("report moons-mlp-sgd-001 --out taken/report.html").startswith("taken")


# --- terminals and pipes ----------------------------------------------------------------------------------------------


def test_a_broken_pipe_is_quiet() -> None:
    line = f"{sys.executable} -m descend train --help | true; {sys.executable} -m descend list optimizers | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_terminal_without_unicode_gets_no_traceback(days: Path) -> None:
    line = [sys.executable, "-m", "descend", "runs", "moons-mlp-sgd-001", "--curve"]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(line, capture_output=True, text=True, env=ascii_only, check=True)
    assert "* loss/train   o loss/validation (log scale)" in done.stdout


def test_a_terminal_gets_bold_heads_and_no_colour_where_no_color_is_set_and_a_pipe_gets_neither() -> None:
    told = _in_a_terminal(["list", "sgd"], {"NO_COLOR": "1", "TERM": "xterm-256color"})
    assert "\x1b[1m" in told
    assert not re.search(r"\x1b\[[\d;]*[349]\d", told)  # 30 to 49 and 90 to 107 are colours
    assert "\x1b" not in ok("list sgd")


def _in_a_terminal(arguments: list[str], settings: dict[str, str]) -> str:
    """What a command prints where standard output is a terminal."""
    master, slave = os.openpty()
    line = [sys.executable, "-m", "descend", *arguments]
    with subprocess.Popen(line, stdout=slave, stderr=slave, env=os.environ | settings) as process:
        os.close(slave)
        told = b""
        while True:
            try:
                block = os.read(master, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not block:
                break
            told += block
    os.close(master)
    assert process.returncode == 0
    return told.decode()


# --- completion -------------------------------------------------------------------------------------------------------


def complete(line: str) -> list[str]:
    *before, last = shlex.split(line) if not line.endswith(" ") else [*shlex.split(line), ""]
    found = ShellComplete(cli, {}, "descend", "_DESCEND_COMPLETE").get_completions(before[1:], last)
    return [item.value for item in found]


def test_the_shell_completes_commands_flags_and_names(days: Path) -> None:
    assert complete("descend re") == ["recommend", "resume", "report"]
    assert complete("descend train --optimizer ad") == ["adagrad", "adam", "adamw"]
    assert complete("descend train --batch") == ["--batch-size"]
    assert complete("descend train mo") == ["moons"]
    assert complete("descend train --residual ") == ["false", "true"]
    assert complete("descend train --order re") == ["replacement", "reshuffled"]
    assert complete("descend compare --optimizer sgd,mo") == ["sgd,momentum"]
    assert complete("descend list opt") == ["optimizers"]
    assert complete("descend list optimizers ad") == ["adagrad", "adam", "adamw"]
    assert complete("descend resume stop") == ["stopped-001", "stopped-002"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_line_that_the_help_gives_switches_completion_on(shell: str) -> None:
    assert f"_DESCEND_COMPLETE={shell}_source descend" in ok("--help")
    script = CliRunner().invoke(cli, [], prog_name="descend", env={"_DESCEND_COMPLETE": f"{shell}_source"})
    assert "_DESCEND_COMPLETE" in script.stdout


# --- the curve --------------------------------------------------------------------------------------------------------


def rows_of(text: str) -> list[int]:
    """In which of the picture's lines each column has its topmost mark."""
    picture = [line[MARGIN:].ljust(100) for line in text.splitlines()[1:-1]]
    marked = [[row for row in range(HEIGHT) if picture[row][column] != " "] for column in range(100 - MARGIN)]
    return [min(rows) for rows in marked if rows]


def test_on_a_log_scale_a_geometric_decay_is_a_straight_line() -> None:
    x = np.arange(1001.0)
    text = draw({"loss/train": Series(x, 10.0 ** (-x / 100))}, 100)
    assert "(log scale)" in text
    expected = (np.arange(100 - MARGIN) * HEIGHT / (100 - MARGIN)).astype(int)
    assert np.abs(np.array(rows_of(text)) - expected).max() <= 1


def test_a_curve_that_is_not_positive_is_drawn_on_a_linear_scale() -> None:
    text = draw({"loss/train": Series(np.arange(3.0), np.array([1.0, 0.0, -1.0]))}, 100)
    assert "log" not in text
    assert text.splitlines()[1].split()[0] == "1"
    assert text.splitlines()[HEIGHT].split()[0] == "-1"


def test_a_spike_of_one_step_among_many_is_seen() -> None:
    y = np.ones(100_000)
    y[54_321] = 100.0
    curve = Series(np.arange(100_000.0), y).downsample(200)
    assert min(rows_of(draw({"loss/train": curve}, 100))) == 0


def test_what_is_not_finite_is_left_out_and_nothing_is_drawn_of_nothing() -> None:
    y = np.array([3.0, np.nan, np.inf, 1.0])
    assert draw({"loss/train": Series(np.arange(4.0), y)}, 100) == draw(
        {"loss/train": Series(np.array([0.0, 3.0]), np.array([3.0, 1.0]))}, 100
    )
    assert draw({"loss/train": Series(np.arange(2.0), np.full(2, np.nan))}, 100) == ""
    assert draw({}, 100) == ""


@pytest.mark.parametrize("width", [60, 80, 300])
def test_a_curve_fits_the_terminal(width: int) -> None:
    text = draw({"loss/train": Series(np.arange(9.0), np.arange(9.0)[::-1] + 1)}, width)
    assert max(map(len, text.splitlines())) <= min(width, 100)


def test_a_constant_curve_is_a_line_with_its_value() -> None:
    text = draw({"loss/train": Series(np.arange(5.0), np.full(5, 2.5))}, 60)
    assert text.splitlines()[HEIGHT].startswith(f"{'2.5':>{MARGIN - 1}} ⣀")
