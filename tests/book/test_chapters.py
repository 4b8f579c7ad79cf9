"""The code of the chapters runs as it stands: each chapter from top to bottom, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from book import CHAPTERS, ROOT

CHAPTER_FILES = [path for paths in CHAPTERS.values() for path in paths if path.endswith(".md")]


@pytest.mark.parametrize("name", [name for name in CHAPTER_FILES if (ROOT / name).exists()])
def test_every_block_of_the_chapter_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mpl, "rcParams", mpl.rcParams.copy())
    mpl.use("agg")
    examples = list(Sybil(parsers=[PythonCodeBlockParser()]).parse(ROOT / name).examples())
    assert examples
    for example in examples:
        example.evaluate()
