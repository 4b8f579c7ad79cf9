"""The user's own table: what is read, what is inferred, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

from descend.data._columns import _floats, is_number
from descend.data.table import table
from descend.errors import DataError


@pytest.mark.parametrize(
    ("name", "options", "task", "shape", "classes"),
    [
        ("iris", {"duplicates": "together"}, "classification", (150, 4), 3),
        ("wine", {}, "classification", (178, 13), 3),
        ("breast_cancer", {}, "classification", (569, 30), 2),
        ("digits", {"drop": "pixel_0_0,pixel_4_0,pixel_4_7"}, "classification", (1797, 61), 10),
        ("diabetes", {}, "regression", (442, 10), 0),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_scikit_learns_own_sets_load_with_their_task(
    name: str, options: dict[str, str], task: str, shape: tuple[int, int], classes: int, suffix: str, tmp_path: Path
) -> None:
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    file = tmp_path / f"{name}.{suffix}"
    frame.to_csv(file, index=False) if suffix == "csv" else frame.to_parquet(file)
    data = table(file=str(file), target="target", validation=0.0, scale="none", scale_target="none", **options)
    assert (data.task, tuple(data.train.inputs.shape), len(data.classes)) == (task, shape, classes)
    expected = frame.drop(columns=[*filter(None, options.get("drop", "").split(",")), "target"])
    np.testing.assert_array_equal(data.train.inputs, expected.to_numpy(np.float32))
    np.testing.assert_array_equal(data.train.targets.flatten(), frame["target"])


@pytest.mark.parametrize("name", ["iris", "digits"])
def test_a_refusal_names_the_option_with_which_the_table_loads(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.csv"
    getattr(datasets, f"load_{name}")(as_frame=True).frame.to_csv(file, index=False)
    with pytest.raises(DataError) as refusal:
        table(file=str(file), target="target")
    option, value = re.search(r"(drop|duplicates)=([\w,]+)", str(refusal.value)).groups()
    assert table(file=str(file), target="target", **{option: value}).task == "classification"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda text: "\ufeff" + text, "a byte order mark"),
        (lambda text: text.replace("\n", "\r\n"), "Windows line ends"),
        (lambda text: text.replace("\n", "\r"), "old Mac line ends"),
        (lambda text: text.replace(",", ";"), "semicolons"),
        (lambda text: text.replace(",", "\t"), "tabs"),
        (lambda text: text.replace(",", " , "), "blanks around cells"),
        (lambda text: text + "\n\n", "empty lines at the end"),
        (lambda text: text.rstrip(), "no line end at the end"),
        (lambda text: re.sub(r"[^,\n]+", r'"\g<0>"', text), "quotes around every cell"),
    ],
)
def test_the_same_table_is_read_from_every_dialect(change: Callable[[str], str], what: str, tmp_path: Path) -> None:
    plain, other = tmp_path / "plain.csv", tmp_path / "other.csv"
    text = datasets.load_wine(as_frame=True).frame.to_csv(index=False)
    plain.write_text(text)
    other.write_bytes(change(text).encode())
    expected, found = (table(file=str(file), target="target") for file in (plain, other))
    assert found.features == expected.features
    assert torch.equal(found.train.inputs, expected.train.inputs)
    assert torch.equal(found.train.targets, expected.train.targets)


def test_a_parquet_file_refuses_what_a_csv_refuses(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(40) % 7 / 3, "y": ["a", "b"] * 20})
    cases = {
        "row 3, column 'x' has no value": frame.assign(x=frame.x.mask(frame.index == 2)),
        "row 1, column 'day': '2024-01-01 00:00:00' is a date": frame.assign(day=pd.Timestamp(2024, 1, 1)),
        "column 'x' holds list<.*>, but a cell must be": frame.assign(x=[[1.0]] * 40),
    }
    for number, (expected, broken) in enumerate(cases.items()):
        file = tmp_path / f"{number}.parquet"
        broken.to_parquet(file)
        with pytest.raises(DataError, match=expected):
            table(file=str(file), target="y")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "wine.csv").write_text("a,b\n")
    with pytest.raises(DataError, match=r"There is no file .*wines\.csv\. Did you mean 'wine\.csv'\?"):
        table(file=str(tmp_path / "wines.csv"), target="b")
    with pytest.raises(DataError, match=r"is a folder, not a file"):
        table(file=str(tmp_path), target="b")


def made(tmp_path: Path, columns: dict[str, list[object]]) -> str:
    file = tmp_path / "made.csv"
    pd.DataFrame(columns).to_csv(file, index=False)
    return str(file)


NOISE = np.random.default_rng(0).normal(size=1000).round(6).tolist()


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (["yes", "no"] * 30, "classification"),
        ([0, 1] * 30, "classification"),
        ([1.0, 2.0, 3.0] * 20, "classification"),
        ([True, False] * 30, "classification"),
        (list(range(20)) * 3, "regression"),
        ([0.5, 1, 1.5] * 20, "regression"),
        (NOISE[100:160], "regression"),
    ],
)
def test_the_task_follows_from_the_target(target: list[object], task: str, tmp_path: Path) -> None:
    assert table(file=made(tmp_path, {"x": NOISE[:60], "y": target}), target="y").task == task


def test_a_given_task_overrules_the_target(tmp_path: Path) -> None:
    file = made(tmp_path, {"x": NOISE[:60], "grade": [1, 2, 10] * 20})
    graded = table(file=file, target="grade", task="classification", validation=0.0)
    assert graded.classes == ("1", "2", "10")
    assert graded.train.targets[:3].tolist() == [0, 1, 2]
    measured = table(file=file, target="grade", task="regression", validation=0.0, scale_target="none")
    assert measured.train.targets[:3].tolist() == [[1.0], [2.0], [10.0]]
    with pytest.raises(
        DataError, match=r"row [0-9]+, column 'x': .* is not a class, which is a word or a whole number"
    ):
        table(file=file, target="x", task="classification")
    words = made(tmp_path, {"x": NOISE[:60], "y": ["a", "b"] * 30})
    with pytest.raises(DataError, match=r"row 2, column 'y': 'a' is not a number.*or give task=classification"):
        table(file=words, target="y", task="regression")


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_categories_and_scales_come_from_the_training_rows_alone(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    cities = ["Bern", "Oslo", "Rome"] * 20 + ["Ulm"]  # a single Ulm, in training or not
    columns = {"city": cities, "x": NOISE[:61], "y": NOISE[100:161]}
    file = made(tmp_path_factory.mktemp("cities"), columns)
    held_out = table(file=file, target="y", data_seed=seed)
    raw = table(file=file, target="y", data_seed=seed, scale="none", scale_target="none")
    in_training = sorted({feature.removeprefix("city=") for feature in raw.features[:-1]})
    assert held_out.features == raw.features == (*(f"city={city}" for city in in_training), "x")
    one_hot = torch.cat([held_out.train.inputs, held_out.validation.inputs])[:, :-1]
    assert set(one_hot.unique().tolist()) == {0.0, 1.0}
    assert held_out.train.inputs[:, :-1].sum(dim=1).eq(1).all()
    assert (one_hot.sum(dim=1) == 0).sum() == ("Ulm" not in in_training)

    oracle = StandardScaler().fit(raw.train.inputs[:, -1:].double())
    for part, unscaled in ((held_out.train, raw.train), (held_out.validation, raw.validation)):
        np.testing.assert_allclose(part.inputs[:, -1:], oracle.transform(unscaled.inputs[:, -1:].double()), atol=1e-6)
    assert held_out.train.targets.mean() == pytest.approx(0, abs=1e-6)
    assert held_out.train.targets.std(correction=0) == pytest.approx(1, abs=1e-6)


def test_a_column_that_does_not_vary_in_the_training_rows_is_finite_after_scaling(tmp_path: Path) -> None:
    rare = [0.0] * 59 + [1.0]
    file = made(tmp_path, {"rare": rare, "x": NOISE[:60], "y": NOISE[100:160]})
    data = table(file=file, target="y", split="ordered")
    assert data.train.inputs[:, 0].unique().tolist() == [0.0]
    assert data.validation.inputs[-1, 0] == 1.0


def test_numbers_whose_deviation_rounds_to_zero_are_finite_after_scaling(tmp_path: Path) -> None:
    file = made(tmp_path, {"tiny": [1e-200 * x for x in NOISE[:60]], "x": NOISE[:60], "y": NOISE[100:160]})
    assert table(file=file, target="y").train.inputs.isfinite().all()


def test_class_weights_of_a_regression_are_refused(tmp_path: Path) -> None:
    file = made(tmp_path, {"x": NOISE[:60], "y": NOISE[100:160]})
    with pytest.raises(DataError, match=r"class_weights is balanced, but the target 'y' is a regression\. Leave"):
        table(file=file, target="y", class_weights="balanced")


def test_an_ordered_split_holds_out_the_last_rows(tmp_path: Path) -> None:
    file = made(tmp_path, {"x": NOISE[:100], "y": NOISE[100:200]})
    data = table(file=file, target="y", split="ordered", validation=0.2, test=0.1, scale="none", scale_target="none")
    found = torch.cat([data.train.inputs, data.validation.inputs, data.test.inputs])[:, 0]
    assert found.tolist() == pytest.approx(NOISE[:100], rel=1e-6)
    assert [len(part.inputs) for part in (data.train, data.validation, data.test)] == [70, 20, 10]


def test_class_weights_are_scikit_learns_balanced_ones(tmp_path: Path) -> None:
    target = ["rare"] * 6 + ["common"] * 54
    data = table(file=made(tmp_path, {"x": NOISE[:60], "y": target}), target="y", class_weights="balanced")
    labels = data.train.targets.numpy()
    expected = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    np.testing.assert_allclose(data.class_weights, expected, rtol=1e-6)


@given(times=st.lists(st.integers(1, 4), min_size=30, max_size=40), seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_equal_rows_are_kept_in_one_part(tmp_path_factory: pytest.TempPathFactory, times: list[int], seed: int) -> None:
    rows = [(x, y) for (x, y), n in zip(zip(NOISE, NOISE[500:], strict=False), times, strict=False) for _ in range(n)]
    file = made(tmp_path_factory.mktemp("doubled"), {"x": [x for x, _ in rows], "y": [y for _, y in rows]})
    data = table(file=file, target="y", duplicates="together", validation=0.3, data_seed=seed, scale="none")
    assert not set(data.train.inputs[:, 0].tolist()) & set(data.validation.inputs[:, 0].tolist())
    assert len(data.train.inputs) + len(data.validation.inputs) == len(rows)


def test_doubled_rows_are_accepted_where_nothing_is_held_out_and_refused_in_an_ordered_split(tmp_path: Path) -> None:
    file = made(tmp_path, {"x": NOISE[:30] * 2, "y": NOISE[100:130] * 2})
    assert len(table(file=file, target="y", validation=0.0).train.inputs) == 60
    with pytest.raises(DataError, match=r"row 32 is the same as row 2.* an ordered split cannot keep them together"):
        table(file=file, target="y", split="ordered", duplicates="together")


@pytest.mark.parametrize(
    ("copy", "how"),
    [
        (lambda y: y, "every cell is equal"),
        (lambda y: round(1.8 * y + 32, 4), "it lies on a straight line"),
        (lambda y: -y, "it lies on a straight line"),
        (lambda y: y**3, "it puts the rows in the same order"),
    ],
)
def test_a_copy_of_a_numeric_target_is_refused_unless_it_is_named(
    copy: Callable[[float], float], how: str, tmp_path: Path
) -> None:
    y = [100 * value for value in NOISE[100:160]]
    file = made(tmp_path, {"x": NOISE[:60], "twin": [copy(value) for value in y], "y": y})
    with pytest.raises(
        DataError, match=f"column 'twin' is the target 'y' over again: {how}.*drop=twin, or keep it with"
    ):
        table(file=file, target="y")
    assert table(file=file, target="y", numeric="twin").features == ("x", "twin")
    assert table(file=file, target="y", drop="twin").features == ("x",)


@pytest.mark.parametrize("rows", [4, 15, 20])
@pytest.mark.parametrize("times", [1, 2])
def test_a_column_is_no_copy_only_because_every_row_is_different(rows: int, times: int, tmp_path: Path) -> None:
    file = made(tmp_path, {"x": NOISE[:rows] * times, "y": NOISE[100 : 100 + rows] * times})
    assert table(file=file, target="y", duplicates="together", validation=0.0).features == ("x",)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"drop": "ages"}, r"no column 'ages', which drop names\. Did you mean 'age'\?"),
        ({"categorical": "nothing"}, r"no column 'nothing', which categorical names"),
        ({"drop": "bought"}, r"drop names the column 'bought', which is the target"),
        ({"drop": "age,height,city"}, r"has no feature left beside the target 'bought'"),
        ({"categorical": "age", "numeric": "height, age"}, r"categorical and numeric both name 'age'"),
        ({"numeric": "city"}, r"row 2, column 'city': 'Bern' is not a number.*or give categorical=city"),
    ],
)
def test_options_that_do_not_fit_the_table_are_refused(options: dict[str, str], expected: str, people: Path) -> None:
    with pytest.raises(DataError, match=expected):
        table(file=str(people), target="bought", **options)


def test_a_column_of_numbers_can_be_made_categorical(people: Path) -> None:
    data = table(file=str(people), target="bought", categorical="age", validation=0.0)
    assert data.features[:2] == ("age=20", "age=21")
    assert data.train.inputs[0, 0] == 1


def test_a_class_that_is_held_out_entirely_is_refused(tmp_path: Path) -> None:
    file = made(tmp_path, {"x": NOISE[:60], "y": ["a", "b"] * 28 + ["c"] * 4})
    with pytest.raises(DataError, match="row 58, column 'y': no row of the class 'c' is left to train on"):
        table(file=file, target="y", split="ordered")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_that_python_or_numpy_prints_is_a_number(value: float) -> None:
    for text in (repr(value), f"{value:e}", f"{value:+.3f}", np.format_float_positional(value, trim="-")):
        assert is_number(text)


@given(st.lists(st.text("0123456789.eE+-", max_size=5), min_size=1, max_size=3))
@settings(max_examples=1000)
def test_a_column_is_one_of_numbers_where_every_cell_is_a_number(cells: list[str]) -> None:
    assert (_floats(cells) is not None) == all(map(is_number, cells))


@given(st.text(st.characters(exclude_characters="0123456789"), max_size=8))
def test_nothing_without_a_digit_is_a_number(text: str) -> None:
    assert not is_number(text)
