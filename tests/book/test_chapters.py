"""The code of the chapters runs as it stands, each from top to bottom; notebooks are stored without what they printed.

The notebooks run in test_ledger.py, as the claims of their conclusions.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from book import CHAPTERS, ROOT

CHAPTER_FILES = [path for paths in CHAPTERS.values() for path in paths if path.endswith(".md")]


@pytest.mark.parametrize("name", CHAPTER_FILES)
def test_every_block_of_the_chapter_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    examples = list(Sybil(parsers=[PythonCodeBlockParser()]).parse(ROOT / name).examples())
    assert examples
    with mpl.rc_context():
        for example in examples:
            example.evaluate()


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"]] == []
