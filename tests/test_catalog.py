"""Catalogs are read without importing them, and every real one keeps the rules that make one flat set of names."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
import pytest
from msgspec import Meta

from descend import catalog
from descend.catalog import (
    DATA,
    INITS,
    LOSSES,
    MODELS,
    MONITORS,
    OPTIMIZERS,
    REQUIRED,
    SCHEDULES,
    Catalog,
    Count,
    Fraction,
    NonNegative,
    Option,
    Positive,
    Whole,
    allowed,
)
from descend.errors import SHOWN, MissingExtraError, RecipeError, did_you_mean, optional
from descend.recipe import CORE, PARTS

CATALOGS = [DATA, INITS, LOSSES, MODELS, MONITORS, OPTIMIZERS, SCHEDULES]
ENTRIES = [pytest.param(every, name, id=f"{every.what} {name}") for every in CATALOGS for name in every]
OPTIONS = [
    pytest.param(option, id=f"{part}-{entry}-{option.name}")
    for part, every in PARTS.items()
    for entry in every
    for option in every.options(entry).values()
]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that catalogs called "descend.parts..." are looked for in."""
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "catalog.py"))
    (tmp_path / "parts").mkdir()
    return tmp_path / "parts"


def test_the_entries_of_a_folder_are_its_files_without_underscore(parts: Path) -> None:
    for name in ("moons.py", "adding.py", "_machinery.py", "__init__.py", "notes.txt"):
        (parts / name).touch()
    assert Catalog("descend.parts", "part").names() == ("adding", "moons")


def test_the_entries_of_a_module_are_its_public_functions(parts: Path) -> None:
    (parts / "losses.py").write_text("X = 1\ndef mse(): ...\ndef _sum(): ...\nclass Huber: ...\ndef mae(): ...\n")
    assert Catalog("descend.parts.losses", "loss").names() == ("mae", "mse")


def test_options_are_read_from_the_source_without_importing_it(parts: Path) -> None:
    (parts / "moons.py").write_text(
        '"""Two moons.\n\nMore."""\nraise SystemExit\n'
        "def moons(shape, *, rows: Count = 200, file: str, noise: Positive | None = None,"
        ' scale: Literal["none", "unit"] = "unit") -> None: ...\n'
        "def _helper(*, hidden: int = 1) -> None: ...\n"
    )
    moons = Catalog("descend.parts", "part")
    assert moons.options("moons") == {
        "rows": Option("rows", Count, 200),
        "file": Option("file", str, REQUIRED),
        "noise": Option("noise", Positive | None, None),
        "scale": Option("scale", Literal["none", "unit"], "unit"),
    }
    assert moons.summary("moons") == "Two moons."


def test_options_may_belong_to_a_function_that_all_entries_have(parts: Path) -> None:
    (parts / "sgd.py").write_text("def step(param, *, lr: Positive = 0.1): ...\ndef init(param): ...\n")
    (parts / "plain.py").write_text('"""No step."""\n')
    rules = Catalog("descend.parts", "rule", function="step")
    assert list(rules.options("sgd")) == ["lr"]
    assert rules.options("plain") == {}


def test_an_unknown_entry_is_refused_with_the_nearest_name_whatever_its_case(parts: Path) -> None:
    for name in ("momentum", "sgd"):
        (parts / f"{name}.py").touch()
    rules = Catalog("descend.parts", "optimizer")
    for typed, meant in (("momentun", "momentum"), ("SGD", "sgd"), ("Momentum", "momentum")):
        message = f"'{typed}' is not an optimizer. Did you mean '{meant}'? Known: momentum, sgd."
        for ask in (rules.require, rules.options, rules.summary, rules.__getitem__):
            with pytest.raises(RecipeError) as refusal:
                ask(typed)
            assert str(refusal.value) == message
    with pytest.raises(RecipeError, match=r"^'qqq' is not an optimizer. Known: momentum, sgd.$"):
        rules.require("qqq")


@pytest.mark.parametrize("name", ["../errors", "_rule", "__init__", "", ".", "sgd.py", "sgd\0", "/etc/passwd"])
def test_a_name_never_leads_out_of_a_catalog(name: str) -> None:
    with pytest.raises(RecipeError, match="is not an optimizer"):
        OPTIMIZERS[name]


@pytest.mark.parametrize(
    ("kind", "given", "checked"),
    [
        (Positive, 1, 1.0),
        (Positive, "0.1", 0.1),
        (Positive, "1e-300", 1e-300),
        (Positive, np.float32(0.5), 0.5),
        (Positive, np.float64(0.1), 0.1),
        (Count, np.int64(3), 3),
        (Count, "32", 32),
        (Count, 10**30, 10**30),
        (Whole, "0", 0),
        (Count | None, None, None),
        (Count | None, "none", None),
        (Count | Literal["all"], "all", "all"),
        (Count | Literal["all"], "7", 7),
        (Literal["none", "batch"], "none", "none"),
        (Literal["none"] | None, "none", "none"),
        (str | None, "none", "none"),
        (str, "a b\n'c'", "a b\n'c'"),
        (bool, "true", True),
        (bool, "0", False),
        (float, -3, -3.0),
    ],
)
def test_a_value_becomes_its_canonical_form(kind: Any, given: object, checked: object) -> None:
    result = Option("x", kind, None).check(given)
    assert result == checked
    assert type(result) is type(checked)


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (Positive, "abc", "x is 'abc', but must be a number above 0."),
        (Positive, 0, "x is 0, but must be a number above 0."),
        (Positive, True, "x is True, but must be a number above 0."),
        (Positive, None, "x is None, but must be a number above 0."),
        (Positive, [1], r"x is [1], but must be a number above 0."),
        (Positive, 10**400, "but must be a number above 0."),
        (Positive, "1e400", "x is '1e400', but must be a number above 0."),
        (float, float("nan"), "x is nan, but must be a number."),
        (float, "inf", "x is 'inf', but must be a number."),
        (NonNegative, float("-inf"), "x is -inf, but must be a number of at least 0."),
        (Fraction, 1.0, "x is 1.0, but must be a number of at least 0 and below 1."),
        (Count, 0, "x is 0, but must be a whole number of at least 1."),
        (Count, 2.5, "x is 2.5, but must be a whole number of at least 1."),
        (Count, True, "x is True, but must be a whole number of at least 1."),
        (Whole | None, "-1", "x is '-1', but must be a whole number of at least 0, or none."),
        (Count | Literal["all"], "ALL", "must be a whole number of at least 1 or 'all'. Did you mean 'all'?"),
        (Literal["relu", "tanh"], "Relu", "x is 'Relu', but must be 'relu', 'tanh'. Did you mean 'relu'?"),
        (Literal["relu", "tanh"], 3, "x is 3, but must be 'relu', 'tanh'."),
        (bool, 1, "x is 1, but must be true or false."),
        (bool, "yes", "x is 'yes', but must be true or false."),
        (str, 5, "x is 5, but must be text."),
        (str, "caf\udce9.csv", "x is 'caf\\udce9.csv', which holds bytes that are not UTF-8."),
        (str | None, np.zeros(2), "but must be text, or none."),
    ],
)  # fmt: skip
def test_a_refusal_names_the_option_the_value_and_what_is_allowed(kind: Any, given: object, words: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        Option("x", kind, None).check(given)
    assert words in str(refusal.value)


def test_every_bound_has_words() -> None:
    assert allowed(Annotated[int, Meta(gt=1, le=9)]) == "a whole number above 1 and of at most 9"
    assert allowed(Annotated[str, Meta(pattern="^a", description="words with a")]) == "words with a"


def test_a_long_list_of_known_names_is_cut() -> None:
    known = [f"run-{number:04d}" for number in range(1000)]
    message = did_you_mean("run-0500x", known)
    assert message.startswith("Did you mean 'run-0500'? Known: run-0000, ")
    assert message.endswith(f" and {1000 - SHOWN} more.")
    assert did_you_mean("x", []) == "Known: none."


def test_a_missing_package_names_the_extra_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingExtraError) as missing:
        optional("no_such_package.part", "report", "The report")
    assert str(missing.value) == (
        "The report needs no_such_package, which is not installed. Install it with: pip install 'descend[report]'"
    )
    (tmp_path / "broken_package.py").write_text("import missing_inside_it\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="missing_inside_it"):
        optional("broken_package", "report", "The report")


# --- the real catalogs --------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "name"), ENTRIES)
def test_every_entry_can_be_imported_and_says_what_it_is_in_one_line(every: Catalog, name: str) -> None:
    assert every[name] is not None
    assert 10 <= len(every.summary(name)) <= 120
    assert name.isidentifier()
    assert name == name.lower()


@pytest.mark.parametrize("option", OPTIONS)
def test_every_default_is_a_value_its_option_allows(option: Option) -> None:
    if option.default is not REQUIRED:
        checked = option.check(option.default)
        assert checked == option.default
        assert type(checked) is type(option.default)


@pytest.mark.parametrize("option", [*OPTIONS, *CORE.values()])
def test_an_option_that_may_be_none_is_none_by_default_so_that_a_file_may_leave_it_out(option: Option) -> None:
    assert (type(None) in get_args(option.kind)) == (option.default is None)


def test_no_option_name_is_shared_by_two_kinds_of_parts_or_with_a_field_of_every_recipe() -> None:
    owners = {part: {name for entry in every for name in every.options(entry)} for part, every in PARTS.items()}
    names = [*CORE, *chain.from_iterable(owners.values())]
    shared = {name: [part for part in owners if name in owners[part]] for name in names if names.count(name) > 1}
    assert not shared


@pytest.mark.parametrize("part", PARTS)
def test_an_option_name_means_the_same_type_in_every_entry_of_its_kind(part: str) -> None:
    every = PARTS[part]
    kinds: dict[str, set[frozenset[type]]] = {}
    for entry in every:
        for option in every.options(entry).values():
            kinds.setdefault(option.name, set()).add(frozenset(_plain_types(option.kind)))
    assert {name: types for name, types in kinds.items() if len(types) > 1} == {}


def _plain_types(kind: Any) -> set[type]:
    """The Python types of the values a kind admits; that one entry allows none or a wider range is no contradiction."""
    if get_origin(kind) is Annotated:
        return {get_args(kind)[0]}
    if get_origin(kind) is Literal:
        return {type(choice) for choice in get_args(kind)}
    parts = get_args(kind)
    return set().union(*map(_plain_types, parts)) - {type(None)} if parts else {kind}
