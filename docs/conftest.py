"""The code of the chapters runs as it stands: each chapter from top to bottom, in an empty folder."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import matplotlib
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

_HERE = os.getcwd()


def _enter(namespace: dict[str, Any]) -> None:
    matplotlib.use("agg")
    namespace["_folder"] = tempfile.TemporaryDirectory()
    os.chdir(namespace["_folder"].name)


def _leave(namespace: dict[str, Any]) -> None:
    os.chdir(_HERE)
    namespace["_folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["0*.md"], setup=_enter, teardown=_leave
).pytest()


def pytest_itemcollected(item: pytest.Item) -> None:
    """The blocks of a chapter follow one another, so one worker takes them all."""
    if item.path.suffix == ".md":
        item.add_marker(pytest.mark.xdist_group(item.path.name))
