"""The site of the book: what makes it, what checks it, and that it builds from the checkout and passes those checks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from book import ROOT, browser, links, website

CHAPTER = """\
# A chapter

```python
a = 1
```

Text with 0.5<!--=name--> in it.

```sh
make demo
```

```python
a + 1
```
"""
GOOD = '<html><head><title>A page</title></head><body id="top"><article>{}</article></body></html>'


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Path]:
    """A site of one page, whose article is given, with a search that finds something."""

    def make(article: str) -> Path:
        (tmp_path / "page.html").write_text(GOOD.format(article))
        (tmp_path / "search.html").write_text(GOOD.format('<ul id="search-results"><li>momentum</li></ul>'))
        return tmp_path

    return make


def checked(site: Path) -> list[str]:
    return list(links.faults(site, links.read(site)))


def test_the_python_fences_of_a_chapter_are_the_cells_of_its_notebook() -> None:
    notebook = website.read_chapter(CHAPTER)
    assert [cell.source for cell in notebook.cells if cell.cell_type == "code"] == ["a = 1", "a + 1"]
    lines = CHAPTER.splitlines()
    for cell, line in zip(notebook.cells, notebook.metadata.source_map, strict=True):
        assert "\n".join(lines[line:]).strip().startswith(cell.source.strip().splitlines()[0])


@pytest.mark.parametrize(
    ("article", "fault"),
    [
        ('<a href="gone.html">x</a>', "leads nowhere"),
        ('<a href="search.html#gone">x</a>', "no such place"),
        ('<a href="#gone">x</a>', "no such place"),
        ('<a href=".">x</a>', "leads to a folder"),
        ('<a href="http://example.com">x</a>', "no https address"),
        ('<img src="data:," alt="">', "no description"),
        ('<img src="page.html" alt="page.html">', "no description"),
        ('<img src="gone.png" alt="x">', "not there"),
        ('<img src="https://example.com/a.png" alt="x">', "from elsewhere"),
        ('<script src="//example.com/a.js"></script>', "from elsewhere"),
        ('<link rel="stylesheet" href="https://example.com/a.css">', "from elsewhere"),
        ('<p style="background: url(https://example.com/a.png)">x</p>', "from elsewhere"),
        ("<style>@import 'https://example.com/a.css';</style>", "from elsewhere"),
        ('<span class="math">x</span>', "no MathJax"),
    ],
)
def test_a_fault_of_a_page_is_named(site: Callable[..., Path], article: str, fault: str) -> None:
    (found,) = checked(site(article))
    assert found.startswith("page.html")
    assert fault in found


def test_a_page_without_faults_passes(site: Callable[..., Path]) -> None:
    good = '<a href="search.html#top">x</a><a href="https://example.com/a">y</a><img src="page.html" alt="a figure">'
    assert checked(site(good)) == []


@pytest.mark.skipif(browser.chromium() is None and "CI" not in os.environ, reason="there is no Chromium")
def test_the_browser_names_what_is_cut_off_and_what_is_fetched(site: Callable[..., Path]) -> None:
    article = '<pre style="width: 800px">wide</pre><img src="https://example.com/a.png" alt="x">'
    chromium = browser.chromium()
    assert chromium, "CI has no Chromium; .ci/run installs it, as root with apt-get"
    found = browser.faults(site(article), chromium)
    assert any("page.html at 390 pixels: pre ends at 808" in fault for fault in found)
    assert not any("page.html at 1200 pixels: pre" in fault for fault in found)
    assert "the browser asked for https://example.com/a.png" in found
    scrolls = '<div style="overflow-x: auto"><pre style="width: 800px">wide</pre></div>'
    assert browser.faults(site(scrolls), chromium) == []


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_its_pages_are_whole(tmp_path: Path) -> None:
    """Every chapter and notebook is executed, nothing is taken from a cache."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-c", "book", "-b", "html", "-q", "-j", "2", "-W", "--keep-going"]
    built = subprocess.run(
        [*command, "-d", str(tmp_path / "doctrees"), ".", str(site)],
        cwd=ROOT,
        env=os.environ | {"BOOK_EXECUTION": "force", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert checked(site) == []
    assert not any("<!--=" in page.read_text(encoding="utf-8") for page in site.glob("docs/*.html"))
    if found := browser.chromium():
        assert browser.faults(site, found) == []
    else:
        assert "CI" not in os.environ, "there is no Chromium to look at the pages"
