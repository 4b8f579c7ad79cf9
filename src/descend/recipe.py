"""Recipe: everything needed to repeat a run, and nothing else."""

from __future__ import annotations

import dataclasses
import html
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, get_type_hints
from urllib.parse import parse_qsl, urlencode

import tomli_w
from msgspec import Meta

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
    NonNegative,
    Option,
    Positive,
    Value,
    Whole,
)
from descend.errors import RecipeError, did_you_mean

PARTS: Final[Mapping[str, Catalog]] = MappingProxyType(
    {"data": DATA, "model": MODELS, "init": INITS, "loss": LOSSES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}
)
"""The fields that name an entry of a catalog; the options of the chosen entries are fields of the recipe too."""

AUTO: Final = "auto"

Device = Annotated[str, Meta(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)\Z", description="auto, cpu, cuda, cuda:1 or mps")]

Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # what torch.manual_seed takes

LayerRates = Annotated[
    str,
    Meta(
        pattern=r"^(|[A-Za-z_][\w.]*=[0-9.]+(e[+-]?[0-9]+)?(,[A-Za-z_][\w.]*=[0-9.]+(e[+-]?[0-9]+)?)*)\Z",
        description="layers and their learning rates, such as hidden.0=0.1,head=0.01, or nothing",
    ),
]


@dataclass(frozen=True, init=False, repr=False)
class Recipe:
    """Everything needed to repeat a run: frozen, plain values, one flat set of names.

        Recipe(data="moons", rows=500, model="mlp", width=32, optimizer="adam", lr=3e-3, epochs=50)

    The fields are those below and the options of the chosen data set, model, initialisation, loss, optimizer
    and schedule (`descend list` shows them). Options that are not given take the entry's default and are
    recorded, so that a recipe means the same when a default changes. Vary one with `but`:

        recipe.but(lr=0.1)

    Raises RecipeError for an unknown field, a wrong type or a value out of range.
    """

    data: str = "employee_bonus"
    model: str = "linear"
    init: str = "default"
    loss: str = AUTO  # mse for regression, cross_entropy for classification
    optimizer: str = "sgd"
    schedule: str = "constant"
    warmup: Whole = 0  # steps over which the learning rate rises linearly to the schedule's
    batch_size: Count | Literal["all"] = 32
    micro_batch: Count | None = None  # rows of one backward pass; a batch is accumulated from these
    order: Literal["reshuffled", "fixed", "replacement"] = "reshuffled"
    last_batch: Literal["weighted", "dropped", "unweighted"] = "weighted"
    epochs: Count | None = None  # 20 where neither epochs nor steps is given
    steps: Count | None = None
    input_noise: NonNegative = 0.0  # standard deviation of Gaussian noise on every training input
    clip_norm: Positive | None = None
    clip_value: Positive | None = None
    decay_exempt: Literal["none", "biases_and_norms"] = "none"
    layer_lrs: LayerRates = ""  # learning rates of some layers, by name; the others take lr
    evaluate_every: Count | None = None  # steps; whole epochs of 25 steps or more where not given
    patience: Count | None = None  # evaluations without a better loss before early stopping
    min_delta: NonNegative = 0.0  # by how much a loss must be lower to be better
    target_loss: NonNegative | None = None  # stop once an evaluation's loss is at most this
    non_finite: Literal["stop", "skip", "rewind"] = "stop"
    rewind_steps: Count = 100
    monitors: str = "default"  # "default", "none", "all", or names with commas
    monitor_every: Count | None = None  # steps between measurements; where not given 20, or a 100th of a longer run
    checkpoint_every: Count | None = None  # steps; every 30 seconds where not given
    seed: Seed = 0
    dtype: Literal["float32", "float64"] = "float32"
    device: Device = AUTO  # the GPU where there is one and the work is worth it; or cpu, cuda, cuda:1, mps
    threads: Count | None = None  # CPU threads; one for small work and all cores for large where not given

    options: Mapping[str, Value] = dataclasses.field(default_factory=dict)

    def __init__(self, /, **fields: object) -> None:
        settings = _checked(CORE, fields)
        for part, catalog in PARTS.items():
            if (part, settings[part]) != ("loss", AUTO):
                catalog.require(str(settings[part]))
        if settings["epochs"] is not None and settings["steps"] is not None:
            raise RecipeError(
                f"epochs is {settings['epochs']} and steps is {settings['steps']}: give one of them, not both."
            )
        if settings["epochs"] is None and settings["steps"] is None:
            settings["epochs"] = 20
        settings["monitors"] = _monitors(str(settings["monitors"]))
        taken = options_of(settings)
        for name in fields:
            if name not in CORE and name not in taken:
                raise RecipeError(_unknown(name, settings, taken))
        for name, option in taken.items():
            if option.default is REQUIRED and name not in fields:
                raise RecipeError(f"{_owner(name, settings)} needs {name}, which is not given.")
        for name, value in (settings | {"options": MappingProxyType(_checked(taken, fields))}).items():
            object.__setattr__(self, name, value)

    def __getitem__(self, name: str) -> Value:
        """Any field by name, options included."""
        if name in CORE:
            value: Value = getattr(self, name)
            return value
        if name in self.options:
            return self.options[name]
        raise RecipeError(_unknown(name, self._settings(), self.options))

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields())

    def __repr__(self) -> str:
        return f"Recipe({', '.join(f'{name}={value!r}' for name, value in self.chosen().items())})"

    def _repr_html_(self) -> str:
        """A table for notebooks: what was chosen, and the other fields folded away."""
        rest = {name: value for name, value in self.fields().items() if name not in self.chosen()}
        return f"{_table(self.chosen())}<details><summary>{len(rest)} defaults</summary>{_table(rest)}</details>"

    def __hash__(self) -> int:
        return hash(tuple(self.fields().items()))

    def __reduce__(self) -> tuple[Callable[[str], Recipe], tuple[str]]:
        return Recipe.from_json, (self.to_json(),)  # a read-only mapping cannot be pickled

    def but(self, /, **changes: object) -> Recipe:
        """This recipe with some fields changed: the only way to vary one.

        A changed part (optimizer, model, ...) takes its own defaults; of the old part's options those live on
        that had been set to something else than the default and that the new part has too.
        """
        if not changes.keys() & {*PARTS, "epochs", "steps", "monitors"}:
            return self._with(changes)
        kept: dict[str, object] = {**self._settings()}
        if {"epochs", "steps"} & changes.keys():
            kept |= {"epochs": None, "steps": None}
        for part in PARTS:
            new = changes.get(part, kept[part])
            old_options = _options(part, str(kept[part]))
            new_options = _options(part, str(new)) if new in PARTS[part] else {}
            kept |= {
                name: self.options[name]
                for name, option in old_options.items()
                if new == kept[part] or (name in new_options and self.options[name] != option.default)
            }
        return Recipe(**(kept | changes))

    def _with(self, changes: Mapping[str, object]) -> Recipe:
        """This recipe with other values of fields that it has: only those are checked (30 us less a field)."""
        known = {**CORE, **options_of(self._settings())}
        for name in changes:
            if name not in known:
                raise RecipeError(_unknown(name, self._settings(), self.options))
        checked = {name: known[name].check(value) for name, value in changes.items()}
        other = object.__new__(Recipe)
        fields = vars(self) | {name: value for name, value in checked.items() if name in CORE}
        options = {name: checked.get(name, value) for name, value in self.options.items()}
        vars(other).update(fields | {"options": MappingProxyType(options)})
        return other

    def part(self, name: str) -> dict[str, Value]:
        """The options of one part: recipe.part("optimizer") is {"lr": 0.01}."""
        return {option: self.options[option] for option in _options(name, str(self[name]))}

    def fields(self) -> dict[str, Value]:
        """Every field that is set, flat, in a fixed order."""
        flat = self._settings() | dict(self.options)
        return {name: value for name, value in flat.items() if value is not None}

    def chosen(self) -> dict[str, Value]:
        """What tells this recipe from others: the parts, and every other field that is not at its default."""
        required = self._required()
        default = Recipe(**{part: self[part] for part in PARTS}, **required)
        return {
            name: value
            for name, value in self.fields().items()
            if name in PARTS or name in required or value != default[name]
        }

    def _settings(self) -> dict[str, Value]:
        return {name: getattr(self, name) for name in CORE}

    def _required(self) -> dict[str, Value]:
        taken = options_of(self._settings())
        return {name: self.options[name] for name, option in taken.items() if option.default is REQUIRED}

    # Every form below is this one flat mapping, written and read back.

    def to_toml(self) -> str:
        return tomli_w.dumps(self.fields())

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        try:
            return cls(**tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"The recipe is not valid TOML: {error}.") from None

    def to_json(self) -> str:
        return json.dumps(self.fields())

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        try:
            fields = json.loads(text, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            raise RecipeError(f"The recipe is not valid JSON: {error}.") from None
        if not isinstance(fields, dict):
            raise RecipeError(f"A recipe is a JSON object of fields, but this is {type(fields).__name__}.")
        return cls(**fields)

    def to_query(self) -> str:
        """A URL query: data=moons&rows=500&..."""
        return urlencode({name: as_text(value) for name, value in self.fields().items()})

    @classmethod
    def from_query(cls, query: str) -> Recipe:
        return cls(**_once(parse_qsl(query.removeprefix("?"), keep_blank_values=True)))

    def to_flags(self) -> list[str]:
        """Command-line flags: ["--data=moons", "--rows=500", ...]."""
        return [f"--{name.replace('_', '-')}={as_text(value)}" for name, value in self.fields().items()]

    @classmethod
    def from_flags(cls, flags: list[str], base: Recipe | None = None) -> Recipe:
        """Read `--name=value` or `--name value`; a flag without a value is true. `base` is what they change."""
        pairs: list[tuple[str, str]] = []
        waiting = list(flags)
        while waiting:
            flag = waiting.pop(0)
            if not flag.startswith("--"):
                raise RecipeError(f"'{flag}' is not a flag; flags look like --lr=0.1 or --lr 0.1.")
            name, equals, value = flag.removeprefix("--").partition("=")
            if not equals:
                value = waiting.pop(0) if waiting and not waiting[0].startswith("--") else "true"
            pairs.append((name.replace("-", "_"), value))
        fields = _once(pairs)
        return base.but(**fields) if base else cls(**fields)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """A recipe from a .toml or .json file. Raises RecipeError naming the file."""
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise RecipeError(f"The recipe {file} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise RecipeError(f"The recipe {file} cannot be read: it is not UTF-8 text.") from None
        try:
            return cls.from_json(text) if file.suffix == ".json" else cls.from_toml(text)
        except RecipeError as error:
            raise RecipeError(f"{file}: {error}") from None


def _checked(options: Mapping[str, Option], fields: Mapping[str, object]) -> dict[str, Value]:
    """The value of every option: the one given, checked, or the default."""
    return {name: option.check(fields[name]) if name in fields else option.default for name, option in options.items()}


def options_of(settings: Mapping[str, Value]) -> dict[str, Option]:
    """The options that the parts named in `settings` bring, by name."""
    return {name: option for part in PARTS for name, option in _options(part, str(settings[part])).items()}


@cache  # a sweep asks for every one of its recipes
def _options(part: str, entry: str) -> Mapping[str, Option]:
    return PARTS[part].options(entry) if entry != AUTO else MappingProxyType({})


def _owner(option: str, settings: Mapping[str, Value]) -> str:
    part = next(part for part in PARTS if option in _options(part, str(settings[part])))
    return f"The {PARTS[part].what} '{settings[part]}'"


def _unknown(name: str, settings: Mapping[str, Value], taken: Mapping[str, Any]) -> str:
    """The message for a field that this recipe does not have, but that another entry of some catalog may have."""
    for part, catalog in PARTS.items():
        homes = [entry for entry in catalog if name in catalog.options(entry)]
        if homes:
            known = f"It belongs to the {catalog.what} {' or '.join(homes)}"
            return f"The {catalog.what} {settings[part]} has no option '{name}'. {known}."
    return f"A recipe has no field '{name}'. {did_you_mean(name, [*CORE, *taken])}"


def _monitors(names: str) -> str:
    """The names without blanks, all known; "none" stands alone."""
    wanted = [name.strip() for name in names.split(",")]
    known = ("default", "none", "all", *MONITORS)
    for name in wanted:
        if name not in known:
            raise RecipeError(f"monitors names '{name}', which is not a monitor. {did_you_mean(name, known)}")
    if "none" in wanted and len(wanted) > 1:
        raise RecipeError(f"monitors is '{names}', but 'none' stands alone.")
    return ",".join(wanted)


def _table(fields: Mapping[str, Value]) -> str:
    rows = (f"<tr><th>{name}</th><td>{html.escape(as_text(value))}</td></tr>" for name, value in fields.items())
    return f"<table>{''.join(rows)}</table>"


def as_text(value: Value) -> str:
    """A value as flags, URLs and files have it: true, 0.1, all."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise RecipeError(f"{name} is given twice: {fields[name]} and {value}.")
        fields[name] = value
    return fields


CORE: Final[Mapping[str, Option]] = MappingProxyType(
    {
        field.name: Option(field.name, get_type_hints(Recipe, include_extras=True)[field.name], field.default)
        for field in dataclasses.fields(Recipe)
        if field.default is not dataclasses.MISSING
    }
)
"""The fields that every recipe has."""
