"""What went wrong: every message says what came in, what is allowed, and what to do."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence for an unknown name: the nearest known one if there is one, then all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    return f"{hint}Known: {', '.join(known)}."


def optional(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a package of an optional extra, or say which extra to install for which purpose."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs {module.split('.')[0]}, which is not installed. "
            f"Install it with: pip install 'descend[{extra}]'"
        ) from error
