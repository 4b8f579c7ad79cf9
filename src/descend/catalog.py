"""A folder is a catalog: the file x.py defines x, and x is what users type.

A catalog is read from its source, without importing it, so that names, options and defaults are
known in milliseconds (`descend --help` never waits for torch). An entry is imported when it is used.

The options of an entry are the keyword-only parameters of one function, and their annotations say
what is allowed:

    def moons(*, rows: Count = 200, noise: NonNegative = 0.1, data_seed: Whole = 0) -> Dataset: ...
"""

from __future__ import annotations

import ast
import importlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from descend.errors import RecipeError, did_you_mean, nearest

Value = bool | int | float | str | None

Task = Literal["regression", "classification"]
"""What a data set asks for: its losses, its outputs and its measurements follow from it."""

# The vocabulary of options. Each says what it allows; `allowed` turns it into words.
Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]
Count = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]

_KINDS: Final = {
    "Positive": Positive,
    "NonNegative": NonNegative,
    "Fraction": Fraction,
    "Count": Count,
    "Whole": Whole,
    "Literal": Literal,
}
_WORDS: Final = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
REQUIRED: Final = "(required)"  # the default of an option that must be given


@dataclass(frozen=True)
class Option:
    """One thing a user may set: `name`, what it may be (`kind`, a type), and what it is if not set."""

    name: str
    kind: Any
    default: Value

    def check(self, value: object) -> Value:
        """`value` as this option's kind; text, as it comes from a command line or a URL, is converted.

        Numbers of NumPy and torch become plain ones; the text "none" unsets what may be unset.
        Raises RecipeError with the name, the value and what is allowed.
        """
        plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
        if isinstance(plain, str) and plain == "none" and _may_be_unset(self.kind):
            return None
        try:
            checked: Value = msgspec.convert(plain, self.kind, strict=not isinstance(plain, str))
        except msgspec.ValidationError:
            raise self._refusal(value) from None
        if isinstance(checked, float) and not math.isfinite(checked):
            raise self._refusal(value)
        if isinstance(checked, str) and any("\ud800" <= letter <= "\udfff" for letter in checked):
            raise RecipeError(f"{self.name} is {value!r}, which holds bytes that are not UTF-8.")
        return checked

    def _refusal(self, value: object) -> RecipeError:
        near = nearest(str(value), _choices(self.kind))
        hint = f" Did you mean '{near}'?" if near else ""
        return RecipeError(f"{self.name} is {value!r}, but must be {allowed(self.kind)}.{hint}")


def _may_be_unset(kind: Any) -> bool:
    """Whether the text "none" means None: not where it is a choice of its own, or free text."""
    return type(None) in get_args(kind) and str not in get_args(kind) and "none" not in _choices(kind)


def _choices(kind: Any) -> list[str]:
    """The words that a kind admits, if it lists them."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return [choice for part in get_args(kind) for choice in _choices(part)]


def allowed(kind: Any) -> str:
    """What a kind allows, in words: 'a number of at least 0 and below 1', "'relu', 'tanh'", 'text, or none'."""
    if get_origin(kind) is Annotated:
        base, meta = get_args(kind)
        return meta.description or f"{allowed(base)} {_bounds(meta)}"
    if get_origin(kind) is Literal:
        return ", ".join(repr(choice) for choice in get_args(kind))
    if parts := get_args(kind):
        words = " or ".join(allowed(part) for part in parts if part is not type(None))
        return f"{words}, or none" if type(None) in parts else words
    return _WORDS[kind]


def _bounds(meta: Meta) -> str:
    limits = {"of at least": meta.ge, "above": meta.gt, "of at most": meta.le, "below": meta.lt}
    return " and ".join(f"{words} {limit}" for words, limit in limits.items() if limit is not None)


class Catalog:
    """The entries of a folder (`descend.optim`: one a file) or of a module (`descend.losses`: one a function).

    `what` is the singular noun for messages; `function` is the function whose keyword-only parameters
    are an entry's options, where it is not called like the entry.
    """

    def __init__(self, location: str, what: str, function: str | None = None) -> None:
        self.what = what
        self._location = location
        self._function = function
        path = Path(__file__).parent.joinpath(*location.split(".")[1:])
        self._folder = path if path.is_dir() else None
        self._file = path.with_suffix(".py")

    def __repr__(self) -> str:
        return f"<Catalog {self._location}: {', '.join(self.names())}>"

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def names(self) -> tuple[str, ...]:
        """What users may type, sorted."""
        return _entries(self._folder or self._file)

    def __getitem__(self, name: str) -> Any:
        """The entry itself, imported now. Raises RecipeError for an unknown name."""
        self.require(name)
        module = f"{self._location}.{name}" if self._folder else self._location
        return getattr(importlib.import_module(module), name)

    def require(self, name: str) -> None:
        """Raise RecipeError, with what is known, unless `name` is an entry."""
        if name not in self:
            article = "an" if self.what[0] in "aeiou" else "a"
            raise RecipeError(f"'{name}' is not {article} {self.what}. {did_you_mean(name, self.names())}")

    def options(self, name: str) -> Mapping[str, Option]:
        """The options of an entry with their defaults, read from its source."""
        self.require(name)
        return _declared(self._source(name), self._function or name)

    def summary(self, name: str) -> str:
        """The first line of an entry's documentation."""
        return self.documentation(name).partition("\n")[0]

    def documentation(self, name: str) -> str:
        """What an entry's file (in a module: its function) says of itself, read from the source."""
        self.require(name)
        if self._folder:
            return ast.get_docstring(_parsed(self._source(name))) or ""
        return ast.get_docstring(_functions(self._file)[name]) or ""

    def _source(self, name: str) -> Path:
        return self._folder / f"{name}.py" if self._folder else self._file


@cache
def _entries(place: Path) -> tuple[str, ...]:
    names = (file.stem for file in place.glob("[!_]*.py")) if place.is_dir() else _functions(place)
    return tuple(sorted(names))


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _functions(file: Path) -> dict[str, ast.FunctionDef]:
    """The public functions that a file defines at its top level."""
    functions = (node for node in _parsed(file).body if isinstance(node, ast.FunctionDef))
    return {function.name: function for function in functions if not function.name.startswith("_")}


@cache
def _declared(file: Path, function: str) -> Mapping[str, Option]:
    """The options that the keyword-only parameters of a function declare."""
    if function not in (functions := _functions(file)):
        return MappingProxyType({})
    arguments = functions[function].args
    options = [
        Option(
            argument.arg,
            eval(ast.unparse(argument.annotation), _KINDS) if argument.annotation else str,
            REQUIRED if default is None else ast.literal_eval(default),
        )
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return MappingProxyType({option.name: option for option in options})


DATA: Final = Catalog("descend.data", "data set")
MODELS: Final = Catalog("descend.models", "model")
INITS: Final = Catalog("descend.models._init", "initialisation")
LOSSES: Final = Catalog("descend.losses", "loss")
OPTIMIZERS: Final = Catalog("descend.optim", "optimizer", function="step")
SCHEDULES: Final = Catalog("descend.schedules", "schedule")
MONITORS: Final = Catalog("descend.monitors", "monitor", function="measure")
CHECKS: Final = Catalog("descend.doctor", "check")
FAULTS: Final = Catalog("descend.faults._bugs", "fault")
LOOK_ALIKES: Final = Catalog("descend.faults._look_alikes", "look-alike")
