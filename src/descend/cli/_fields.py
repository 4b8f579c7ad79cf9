"""Every field of a recipe as a flag: names, kinds and defaults come from the catalogs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import click
from click.shell_completion import CompletionItem

from descend.catalog import DATA, Option, allowed
from descend.cli._command import Command, flag
from descend.errors import RecipeError, did_you_mean
from descend.recipe import AUTO, CORE, PARTS

GROUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "Data": {
        "data": "the data set; a name or FILE before the flags says the same",
        "batch_size": "rows in a batch; 1 is stochastic, all is batch gradient descent",
        "micro_batch": "rows of one backward pass; a batch is accumulated from these",
        "order": "of the rows: reshuffled every epoch, fixed, or drawn with replacement",
        "last_batch": "an epoch's last batch, where it is smaller: weighted by its size, dropped, or counted in full",
        "input_noise": "standard deviation of noise on every training input",
    },
    "Model": {
        "model": "the network",
        "init": "how its weights begin",
        "loss": "what is minimised; auto is mse for numbers and cross_entropy for classes",
    },
    "Optimizer": {
        "optimizer": "the update rule",
        "schedule": "of the learning rate",
        "warmup": "steps over which the learning rate rises to the schedule's",
        "clip_norm": "greatest norm of all gradients together",
        "clip_value": "greatest size of a gradient's numbers",
        "decay_exempt": "what weight decay spares",
        "layer_lrs": "learning rates of some layers, such as hidden.0=0.1,head=0.01",
    },
    "Training": {
        "epochs": "passes over the data; 20 where neither epochs nor steps is given",
        "steps": "updates",
        "seed": "of initial weights, order and noise",
        "dtype": "precision",
        "device": "where to train",
        "threads": "of the CPU; chosen by the size of the work where not given",
    },
    "Stopping": {
        "patience": "evaluations without a better loss before the run stops, with its best weights",
        "min_delta": "by how much a loss must be lower to be better",
        "target_loss": "stop once an evaluation's loss is at most this",
        "non_finite": "on NaN or infinity: stop, skip the batch, or go back and halve the learning rate",
        "rewind_steps": "how far to go back",
    },
    "Recording": {
        "evaluate_every": "steps between evaluations; whole epochs of at least 25 steps where not given",
        "monitors": "what to measure: default, none, all, or names with commas",
        "monitor_every": "steps between measurements; 20, or a 100th of a longer run, where not given",
        "checkpoint_every": "steps between checkpoints; every 30 seconds where not given",
    },
}
"""The fields that every recipe has, as the help shows them, and what each means."""


class _FieldCommand(Command):
    """A command with a flag for each of some fields; `given` has those that were typed."""

    def __init__(self, *args: Any, fields: Iterable[Option], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.own = list(self.params)
        self.field_flags = flags(fields)
        self.params += self.field_flags

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        Command(self.name, params=self.own, examples=self.examples).format_options(ctx, formatter)
        self.format_fields(formatter)

    def format_fields(self, formatter: click.HelpFormatter) -> None:
        """Write what the help says of the fields."""
        raise NotImplementedError


class DataCommand(_FieldCommand):
    """A command that takes any data set."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        options = [option for entry in DATA for option in DATA.options(entry).values()]
        super().__init__(*args, fields=options, **settings)

    def format_fields(self, formatter: click.HelpFormatter) -> None:
        with formatter.section("Options of data sets (`descend list data` shows which has which)"):
            formatter.write_text(", ".join(option.opts[0] for option in self.field_flags))


class RecipeCommand(_FieldCommand):
    """A command that takes any recipe; its help shows the core fields in groups."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, fields=every_option(), **settings)

    def format_fields(self, formatter: click.HelpFormatter) -> None:
        for title, meanings in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(flag(name), f"{meaning}{_limits(CORE[name])}") for name, meaning in meanings.items()]
                )
        with formatter.section("Options of the chosen data set, model, initialisation, loss, optimizer and schedule"):
            formatter.write_text(
                "are flags as well: --rows, --width, --lr, ... `descend list optimizers` shows those of every "
                "optimizer; so do data, models, inits, losses and schedules."
            )


def every_option() -> list[Option]:
    """The core fields, and the options of every entry that a recipe can name."""
    options = (catalog.options(entry) for catalog in PARTS.values() for entry in catalog)
    return [*CORE.values(), *(option for each in options for option in each.values())]


def given(ctx: click.Context) -> dict[str, str]:
    """The fields of a recipe that were typed, as text."""
    fields: dict[str, str] = ctx.meta.get(__name__, {})
    return fields


def flags(options: Iterable[Option]) -> list[click.Option]:
    """A flag for each name; options of several entries may share one."""
    kinds: dict[str, list[Any]] = {}
    for option in options:
        kinds.setdefault(option.name, []).append(option.kind)
    return [_flag(name, of) for name, of in kinds.items()]


def _flag(name: str, kinds: list[Any]) -> click.Option:
    settings: Any = {"type": _Value(name, kinds), "callback": _collect, "expose_value": False}
    if bool in kinds:
        settings |= {"is_flag": False, "flag_value": "true"}  # --residual is --residual true
    return click.Option([flag(name), name], **settings)


def _limits(option: Option) -> str:
    """What an option allows and what it is if not given: ": a number above 0 [0.01]"."""
    words = ", ".join(_words(option.name, [option.kind])) if option.name in PARTS else allowed(option.kind)
    words = words.removesuffix(", or none").replace("'", "")
    default = "" if option.default is None else f" [{option.default if option.default != '' else 'nothing'}]"
    return f": {words}{default}" if words != "text" else default


def _collect(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None and parameter.name:
        ctx.meta.setdefault(__name__, {})[parameter.name] = value


def fields_of(source: str | None) -> dict[str, str]:
    """The fields of a recipe that a data set's name, or the name of a table file, stands for."""
    if source is None:
        return {}
    if source in DATA:
        return {"data": source}
    if "." not in source and "/" not in source and not Path(source).exists():
        raise RecipeError(f"'{source}' is neither a data set nor a file. {did_you_mean(source, DATA)}")
    return {"data": "table", "file": source}


class Source(click.ParamType[str]):
    """The name of a data set, or a table file."""

    name = "source"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(name) for name in DATA if name.startswith(incomplete)]
        return names or [CompletionItem(incomplete, type="file")]

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return f"Name one of {', '.join(DATA)}, or a table file."


class _Value(click.ParamType[str]):
    """The text of a value: the recipe checks it. Knows the words that it may be, for completion."""

    name = "value"

    def __init__(self, field: str, kinds: list[Any]) -> None:
        self._field, self._kinds = field, kinds
        self.allowed = " or ".join(dict.fromkeys(allowed(kind) for kind in kinds))

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value.startswith("--"):
            raise click.UsageError(f"{flag(self._field)} needs a value: {self.allowed}.")
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")  # several values, for `compare` and for --monitors
        words = _words(self._field, self._kinds)
        return [CompletionItem(f"{before}{comma}{word}") for word in words if word.startswith(last)]


def _words(field: str, kinds: Iterable[Any]) -> list[str]:
    """The words that a field may be, where they are known."""
    if field in PARTS:
        return [*([AUTO] if field == "loss" else []), *PARTS[field]]
    return sorted({word for kind in kinds for word in _choices(kind)})


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return ["true", "false"] if kind is bool else [word for part in get_args(kind) for word in _choices(part)]
