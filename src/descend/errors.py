"""What went wrong: every message says what came in, what is allowed, and what to do."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Final


class DescendError(Exception):
    """Something the user can put right. The command line prints it as one line, without a traceback."""


class RecipeError(DescendError, ValueError):
    """A field of a recipe is unknown, of the wrong type or out of range."""


class DataError(DescendError, ValueError):
    """A data set cannot be trained on; the message names file, row and column."""


class RunError(DescendError):
    """A run folder is missing, damaged, or not a run."""


class RunBusyError(RunError):
    """Another process is writing this run."""


class CheckpointError(RunError):
    """A checkpoint is damaged, or there is none."""


class MissingExtraError(DescendError, ImportError):
    """A feature needs an optional package that is not installed."""


SHOWN: Final = 60  # names in one message: all fields of a recipe, but not a folder of a thousand runs


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence for an unknown name: the nearest known one if there is one, then what is known."""
    known = sorted(known)
    near = nearest(name, known)
    hint = f"Did you mean '{near}'? " if near else ""
    rest = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f"{hint}Known: {', '.join(known[:SHOWN]) or 'none'}{rest}."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, whatever its case; None if none is near."""
    by_lower = {word.lower(): word for word in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else None


def optional(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a package of an optional extra, or say which extra to install for which purpose."""
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise  # it is there and broken: its own message says more
        raise MissingExtraError(
            f"{purpose} needs {package}, which is not installed. Install it with: pip install 'descend[{extra}]'",
            name=package,
        ) from None
