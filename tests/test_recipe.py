"""A Recipe is the same in every form, cannot be changed, and refuses what a run could not be made from."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descend.catalog import LOSSES, MONITORS, REQUIRED
from descend.errors import RecipeError
from descend.recipe import AUTO, CORE, PARTS, Device, LayerRates, Recipe

OPTIONS = {part: {entry: dict(every.options(entry)) for entry in every} for part, every in PARTS.items()}
OPTIONS["loss"][AUTO] = {}
KNOWN_MONITORS = MONITORS.names()
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """What an option of a kind may be."""
    if kind is Device:
        return st.sampled_from(["auto", "cpu", "mps", "cuda", "cuda:1", "cuda:13"])
    if kind is LayerRates:
        return st.sampled_from(["", "head=0.1", "hidden.0=1e-3,head=2", "blocks.1.mix=.5"])
    if get_origin(kind) is Annotated:
        base, meta = get_args(kind)
        least = meta.ge if meta.gt is None else meta.gt
        if base is int:
            return st.integers(least, meta.le)
        return st.floats(
            least, meta.lt, exclude_min=meta.gt is not None, exclude_max=meta.lt is not None, allow_infinity=False
        )
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_args(kind):
        return st.one_of([values(part) for part in get_args(kind)])
    finite = st.floats(allow_nan=False, allow_infinity=False)
    return {int: st.integers(), float: finite, bool: st.booleans(), str: TEXT, type(None): st.none()}[kind]


@st.composite
def settings(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of a recipe over the real catalogs: some parts, some of their options, some of the other fields."""
    fields: dict[str, Any] = {part: draw(st.sampled_from(list(entries))) for part, entries in OPTIONS.items()}
    own = {name: option for part in PARTS for name, option in OPTIONS[part][fields[part]].items()}
    free = [name for name in CORE if name not in {*PARTS, "epochs", "steps", "monitors"}]
    wanted = draw(st.lists(st.sampled_from([*free, *own]), unique=True))
    required = [name for name, option in own.items() if option.default is REQUIRED]
    for name in {*wanted, *required}:
        fields[name] = draw(values((own | dict(CORE))[name].kind))
    fields |= draw(st.sampled_from([{}, {"epochs": 3}, {"steps": 1000}, {"epochs": None, "steps": 7}]))
    names = st.lists(st.sampled_from(["default", "all", *KNOWN_MONITORS]), min_size=1, unique=True).map(",".join)
    return fields | {"monitors": draw(st.sampled_from(["none", "default"]) | names)}


# --- one recipe, many forms ---------------------------------------------------------------------------


@given(fields=settings())
def test_a_recipe_is_the_same_after_every_form(fields: dict[str, Any]) -> None:
    recipe = Recipe(**fields)
    back = {
        "toml": Recipe.from_toml(recipe.to_toml()),
        "json": Recipe.from_json(recipe.to_json()),
        "query": Recipe.from_query(recipe.to_query()),
        "?query": Recipe.from_query("?" + recipe.to_query()),
        "flags": Recipe.from_flags(recipe.to_flags()),
        "fields": Recipe(**recipe.fields()),
        "repr": eval(repr(recipe)),
        "pickle": pickle.loads(pickle.dumps(recipe)),
        "copy": copy.deepcopy(recipe),
        "but": recipe.but(),
    }
    for form, again in back.items():
        assert again == recipe, form
        assert hash(again) == hash(recipe), form
        for name, value in recipe.fields().items():
            assert type(again[name]) is type(value), (form, name)


@given(fields=settings(), name=st.sampled_from(["recipe.toml", "recipe.json"]))
def test_a_recipe_is_the_same_after_a_file(
    fields: dict[str, Any], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    recipe = Recipe(**fields)
    file = tmp_path_factory.mktemp("recipe") / name
    file.write_text(recipe.to_toml() if name.endswith("toml") else recipe.to_json(), encoding="utf-8")
    assert Recipe.load(file) == recipe


@given(fields=settings())
def test_every_default_is_written_out_so_that_a_recipe_outlives_a_change_of_defaults(fields: dict[str, Any]) -> None:
    recipe = Recipe(**fields)
    for part in PARTS:
        for name, option in OPTIONS[part][str(recipe[part])].items():
            assert recipe[name] is None or name in recipe.fields()
            assert type(recipe[name]) in (type(option.default), float, int, str, bool)


def test_the_forms_look_as_users_write_them() -> None:
    recipe = Recipe(data="moons", model="mlp", residual=True, optimizer="adam", lr=3e-3, epochs=50)
    assert {"--data=moons", "--batch-size=32", "--residual=true", "--lr=0.003"} <= set(recipe.to_flags())
    assert "data=moons&model=mlp" in recipe.to_query()
    assert 'data = "moons"\n' in recipe.to_toml()
    assert repr(recipe) == (
        "Recipe(data='moons', model='mlp', init='default', loss='auto', optimizer='adam', schedule='constant',"
        " epochs=50, residual=True, lr=0.003)"
    )
    typed = ["--data", "moons", "--residual", "--model=mlp", "--optimizer", "adam", "--lr", "3e-3", "--epochs", "50"]
    assert Recipe.from_flags(typed) == recipe


def test_flags_change_a_base_recipe_and_unset_what_may_be_unset() -> None:
    base = Recipe(data="moons", clip_norm=1.0, steps=100)
    assert Recipe.from_flags(["--batch-size", "8"], base) == base.but(batch_size=8)
    assert Recipe.from_flags(["--clip-norm", "none"], base) == base.but(clip_norm=None)


def test_without_epochs_and_steps_a_recipe_trains_20_epochs() -> None:
    assert (Recipe().epochs, Recipe().steps) == (20, None)
    assert (Recipe(steps=5).epochs, Recipe(steps=5).steps) == (None, 5)


# --- what users get wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": "abc"}, "lr is 'abc', but must be a number above 0."),
        ({"lr": float("nan")}, "lr is nan, but must be a number above 0."),
        ({"lr": float("inf")}, "lr is inf, but must be a number above 0."),
        ({"lr": True}, "lr is True, but must be a number above 0."),
        ({"lr": None}, "lr is None, but must be a number above 0."),
        ({"min_delta": float("inf")}, "min_delta is inf, but must be a number of at least 0."),
        ({"batch_size": 0}, "batch_size is 0, but must be a whole number of at least 1 or 'all'."),
        ({"batch_size": True}, "batch_size is True, but must be a whole number of at least 1 or 'all'."),
        ({"batch_size": 32.5}, "batch_size is 32.5, but must be a whole number of at least 1 or 'all'."),
        ({"batch_size": "al"}, "must be a whole number of at least 1 or 'all'. Did you mean 'all'?"),
        ({"epochs": 3, "steps": 100}, "epochs is 3 and steps is 100: give one of them, not both."),
        ({"dtype": "float16"}, "dtype is 'float16', but must be 'float32', 'float64'. Did you mean 'float64'?"),
        ({"device": "gpu"}, "device is 'gpu', but must be auto, cpu, cuda, cuda:1 or mps."),
        ({"device": "cuda:1\n"}, "device is 'cuda:1\\n', but must be auto, cpu, cuda, cuda:1 or mps."),
        ({"seed": -1}, "seed is -1, but must be a whole number of at least 0 and of at most 9223372036854775807."),
        ({"seed": 2**63}, "seed is 9223372036854775808, but must be a whole number of at least 0 and of at most"),
        ({"patience": "soon"}, "patience is 'soon', but must be a whole number of at least 1, or none."),
        ({"optimizer": "Adam"}, "'Adam' is not an optimizer. Did you mean 'adam'?"),
        ({"optimizer": "SGD"}, "'SGD' is not an optimizer. Did you mean 'sgd'?"),
        ({"optimizer": 3}, "optimizer is 3, but must be text."),
        ({"data": AUTO}, "'auto' is not a data set."),
        ({"loss": "mean_squared"}, "'mean_squared' is not a loss."),
        ({"monitors": "grad_norm,foo"}, "monitors names 'foo', which is not a monitor. Known: "),
        ({"monitors": "grad-norm"}, "monitors names 'grad-norm', which is not a monitor. Did you mean 'grad_norm'?"),
        ({"monitors": ""}, "monitors names '', which is not a monitor."),
        ({"monitors": "none,grad_norm"}, "monitors is 'none,grad_norm', but 'none' stands alone."),
        ({"batchsize": 3}, "A recipe has no field 'batchsize'. Did you mean 'batch_size'? Known: "),
        ({"Learning_Rate": 3}, "A recipe has no field 'Learning_Rate'."),
        ({"options": {}}, "A recipe has no field 'options'."),
        ({"self": "x"}, "A recipe has no field 'self'."),
        ({"beta1": 0.9}, "The optimizer sgd has no option 'beta1'. It belongs to the optimizer adam"),
        ({"delta": 1.0}, "The loss auto has no option 'delta'. It belongs to the loss huber."),
        ({"model": "mlp", "width": 0}, "width is 0, but must be a whole number of at least 1."),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_what_is_allowed_and_the_nearest(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        Recipe(**fields)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_required_option_is_asked_for_by_name() -> None:
    required = [
        (part, entry, option.name)
        for part, entries in OPTIONS.items()
        for entry, options in entries.items()
        for option in options.values()
        if option.default is REQUIRED
    ]
    for part, entry, _ in required:
        with pytest.raises(RecipeError, match=f"{PARTS[part].what} '{entry}' needs .*, which is not given"):
            Recipe(**{part: entry})


def test_a_number_may_be_written_as_a_whole_one_or_come_from_numpy() -> None:
    for lr in (1, 1.0, np.float64(1), np.float32(1), np.int64(1), "1"):
        recipe = Recipe(lr=lr)
        assert recipe == Recipe(lr=1.0)
        assert type(recipe["lr"]) is float


def test_blanks_between_monitors_do_not_matter() -> None:
    first, second = KNOWN_MONITORS[:2]
    assert Recipe(monitors=f" {first} , {second}").monitors == f"{first},{second}"


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: Recipe.from_query("lr=0.1&lr=0.2"), "lr is given twice: 0.1 and 0.2."),
        (lambda: Recipe.from_flags(["--lr=0.1", "--lr", "0.2"]), "lr is given twice: 0.1 and 0.2."),
        (lambda: Recipe.from_flags(["--batch-size=1", "--batch_size=2"]), "batch_size is given twice: 1 and 2."),
        (lambda: Recipe.from_json('{"lr": 0.1, "lr": 0.2}'), "lr is given twice: 0.1 and 0.2."),
        (lambda: Recipe.from_toml("lr = 0.1\nlr = 0.2\n"), "The recipe is not valid TOML: "),
        (lambda: Recipe.from_flags(["-x"]), "'-x' is not a flag; flags look like --lr=0.1 or --lr 0.1."),
        (lambda: Recipe.from_flags(["--lr"]), "lr is 'true', but must be a number above 0."),
        (lambda: Recipe.from_flags(["--lr", "-1"]), "lr is '-1', but must be a number above 0."),
        (lambda: Recipe.from_query("lr="), "lr is '', but must be a number above 0."),
        (lambda: Recipe.from_query("batch-size=3"), "Did you mean 'batch_size'?"),
        (lambda: Recipe.from_json("[1]"), "A recipe is a JSON object of fields, but this is list."),
        (lambda: Recipe.from_json("{"), "The recipe is not valid JSON: "),
        (lambda: Recipe.from_json('{"lr": NaN}'), "lr is nan, but must be a number above 0."),
        (lambda: Recipe.from_json('{"lr": 1e999}'), "lr is inf, but must be a number above 0."),
        (lambda: Recipe.from_json('{"lr": {"start": 1}}'), "lr is {'start': 1}, but must be a number above 0."),
        (lambda: Recipe.from_toml("lr = 1979-05-27"), "but must be a number above 0."),
        (lambda: Recipe.from_toml("[optimizer]\nlr = 1\n"), "optimizer is {'lr': 1}, but must be text."),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(read: Any, message: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        read()
    assert message in str(refusal.value)


@given(name=TEXT, value=TEXT)
def test_any_query_is_a_recipe_or_a_refusal(name: str, value: str) -> None:
    try:
        recipe = Recipe.from_query(urlencode({name: value}))
    except RecipeError:
        return
    assert not name or name in recipe.fields() or value == "none"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b"optimiser = 'adam'\n", "A recipe has no field 'optimiser'. Did you mean 'optimizer'?"),
        ("a.json", b'{"lr": 0}', "lr is 0, but must be a number above 0."),
        ("a.toml", b"lr = \n", "The recipe is not valid TOML: "),
        ("a.toml", b"\xff\xfe", "cannot be read: it is not UTF-8 text."),
        ("missing.toml", None, "cannot be read: No such file or directory."),
    ],
)
def test_a_mistake_in_a_file_is_reported_with_its_path(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RecipeError) as refusal:
        Recipe.load(file)
    assert str(file) in str(refusal.value)
    assert message in str(refusal.value)


# --- values that never change -------------------------------------------------------------------------


@given(fields=settings())
def test_nothing_about_a_recipe_can_be_changed(fields: dict[str, Any]) -> None:
    recipe = Recipe(**fields)
    with pytest.raises(FrozenInstanceError):
        recipe.seed = 3  # type: ignore[misc]  # that it cannot be assigned is the point
    with pytest.raises(FrozenInstanceError):
        del recipe.seed
    with pytest.raises(TypeError):
        recipe.options["lr"] = 0.1  # type: ignore[index]  # a read-only mapping
    before = hash(recipe)
    recipe.fields()["seed"] = 3
    recipe.part("optimizer")["lr"] = 3
    assert hash(recipe) == before


@given(one=settings(), other=settings())
def test_recipes_are_equal_when_their_fields_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = Recipe(**one), Recipe(**other)
    assert (first == second) == (first.fields() == second.fields())
    assert len({first, second, first.but(), second.but()}) == (1 if first == second else 2)


@given(fields=settings())
def test_any_field_is_found_by_name(fields: dict[str, Any]) -> None:
    recipe = Recipe(**fields)
    assert list(recipe) == list(recipe.fields())
    for name, value in recipe.fields().items():
        assert recipe[name] == value
    for part in PARTS:
        assert recipe.part(part) == {name: recipe[name] for name in OPTIONS[part][str(recipe[part])]}
    with pytest.raises(RecipeError, match="has no field 'no_such_thing'"):
        recipe["no_such_thing"]


# --- but ----------------------------------------------------------------------------------------------


@given(fields=settings(), seed=st.integers(0, 99))
def test_but_changes_what_it_is_told_and_nothing_else(fields: dict[str, Any], seed: int) -> None:
    recipe = Recipe(**fields)
    changed = recipe.but(seed=seed)
    assert changed.fields() == recipe.fields() | {"seed": seed}
    assert changed.but(seed=recipe.seed) == recipe


def test_a_new_part_brings_its_own_defaults_and_keeps_what_the_user_had_set() -> None:
    adam = Recipe(optimizer="adam")
    assert adam.but(optimizer="sgd") == Recipe(optimizer="sgd")
    chosen = Recipe(optimizer="adam", lr=0.05, beta1=0.5)
    assert chosen.but(optimizer="sgd") == Recipe(optimizer="sgd", lr=0.05)
    assert chosen.but(optimizer="sgd", lr=0.2) == Recipe(optimizer="sgd", lr=0.2)
    assert chosen.but(optimizer="adam", seed=1) == Recipe(optimizer="adam", lr=0.05, beta1=0.5, seed=1)
    assert chosen.but(batch_size=1) == Recipe(optimizer="adam", lr=0.05, beta1=0.5, batch_size=1)
    with pytest.raises(RecipeError, match="The optimizer sgd has no option 'beta1'"):
        chosen.but(optimizer="sgd", beta1=0.5)


def test_epochs_and_steps_take_each_others_place() -> None:
    assert Recipe(epochs=5).but(steps=100) == Recipe(steps=100)
    assert Recipe(steps=100).but(epochs=5) == Recipe(epochs=5)
    assert Recipe(steps=100).but(seed=1) == Recipe(steps=100, seed=1)


@given(fields=settings(), loss=st.sampled_from(LOSSES.names()))
def test_but_leaves_its_recipe_alone(fields: dict[str, Any], loss: str) -> None:
    recipe = Recipe(**fields)
    before = recipe.fields()
    recipe.but(loss=loss)
    assert recipe.fields() == before


@pytest.mark.parametrize("changes", [{"optimizer": "Adam"}, {"optimizer": ["adam"]}, {"lr": 0}, {"self": 1}, {"x": 1}])
def test_but_refuses_what_a_recipe_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        Recipe().but(**changes)


# --- a notebook ---------------------------------------------------------------------------------------


def test_a_notebook_shows_what_was_chosen_and_folds_the_rest() -> None:
    recipe = Recipe(data="moons", batch_size=8)
    shown, _, folded = recipe._repr_html_().partition("<details>")
    assert "<th>data</th><td>moons</td>" in shown
    assert "<th>batch_size</th><td>8</td>" in shown
    assert "<th>seed</th><td>0</td>" in folded
    assert all(f"<th>{name}</th>" in shown + folded for name in recipe.fields())


def test_text_of_a_recipe_cannot_become_markup() -> None:
    free = [
        (part, entry, option.name)
        for part, entries in OPTIONS.items()
        for entry, options in entries.items()
        for option in options.values()
        if str in (option.kind, *get_args(option.kind))
    ]
    for part, entry, name in free:
        needed = {option.name: "x" for option in OPTIONS[part][entry].values() if option.default is REQUIRED}
        recipe = Recipe(**{part: entry} | needed | {name: "<script>alert(1)</script>"})
        assert "<script>" not in recipe._repr_html_()
        assert json.loads(recipe.to_json())[name] == "<script>alert(1)</script>"


@given(fields=settings(), seed=st.integers(0, 99), lr=st.floats(1e-6, 1.0))
def test_a_few_fields_changed_give_the_recipe_that_all_fields_give(
    fields: dict[str, Any], seed: int, lr: float
) -> None:
    recipe = Recipe(**fields)
    changed = recipe.but(seed=seed, lr=lr)
    assert changed == Recipe(**recipe.fields() | {"seed": seed, "lr": lr})
    assert hash(changed) == hash(Recipe(**changed.fields()))
    assert recipe == Recipe(**fields)
