"""What the site adds to Sphinx: chapters as notebooks, contents, linked files as pages, figures for both themes.

A Sphinx extension; book/conf.py names it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, Final

import nbformat
from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms import SphinxTransform
from sphinx.util.osutil import relative_uri

from book import ROOT, reference
from book.text import MARKER

MATHJAX: Final = ROOT / "book" / "node_modules" / "mathjax" / "es5" / "tex-svg-full.js"  # all of TeX, one file
PARTS: Final = {
    "The chapters": "docs/[0-9][0-9]-*.md",
    "The notebooks": "notebooks/data*.ipynb notebooks/gradient*.ipynb notebooks/gd*.ipynb",
    "Reference": "docs/problems.md docs/audit.md docs/reference/*.md docs/claims.md",
    "In Python": "docs/reference/*.rst",
    "The project": "ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md",
}
_CELL: Final = re.compile(r"^```python\n(.*?)^```[ ]*$\n?", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"\]\(([^)#\s]+)")
_DEFINED: Final = re.compile(r"<\.\./\.\./files/([^>]+)\.html>`__")
_SCHEME: Final = re.compile(r"@media\s*\(\s*prefers-color-scheme\s*:\s*(light|dark)\s*\)")
_OUTPUT: Final = "What the code above draws"
_INK: Final = {"light": "#24292f", "dark": "#ddd"}  # of a figure that takes its colour from the text around it


def read_chapter(text: str) -> nbformat.NotebookNode:
    """A chapter as a notebook: its Python fences are the cells, whatever else it holds stays Markdown."""
    pieces, end = [], 0
    for fence in _CELL.finditer(text):
        pieces += [(end, text[end : fence.start()], False), (fence.start(1), fence[1], True)]
        end = fence.end()
    pieces.append((end, text[end:], False))
    pieces = [piece for piece in pieces if piece[1].strip()]
    make = {True: nbformat.v4.new_code_cell, False: nbformat.v4.new_markdown_cell}
    return nbformat.v4.new_notebook(
        cells=[make[is_code](source.rstrip("\n")) for _, source, is_code in pieces],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "source_map": [text.count("\n", 0, start) for start, _, _ in pieces],
        },
    )


def only_chapters_are_notebooks(app: Sphinx) -> None:
    """By the ends of their names: as a suffix of source files, ".md" would make a notebook of every document."""
    for path in ROOT.glob(PARTS["The chapters"]):
        app.env.mystnb_config.custom_formats[path.name] = (read_chapter, {}, False)


def write_reference(app: Sphinx) -> None:
    reference.write(Path(app.srcdir) / "docs" / "reference")


def with_the_front_page(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Read the front page again, which holds the table of contents, when a document came or went."""
    return [app.config.root_doc] if added or removed else []


def prepare(app: Sphinx, docname: str, content: list[str]) -> None:
    """Take the markers of claims out; give the front page the table of contents."""
    content[0] = MARKER.sub("", content[0])
    if docname == app.config.root_doc:
        content[0] += "\n" + "\n".join(_contents(title, patterns.split()) for title, patterns in PARTS.items())


def _contents(title: str, patterns: list[str]) -> str:
    paths = [path for pattern in patterns for path in sorted(ROOT.glob(pattern), key=lambda path: path.stem)]
    if not paths:
        return ""
    lines = [_entry(path) for path in paths]
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *lines, "```", ""])


def _entry(path: Path) -> str:
    """A line of the contents; modules are called as after the first dot, which fits beside the page."""
    document = f"/{path.relative_to(ROOT).with_suffix('').as_posix()}"
    short = path.name.removesuffix(".rst").removeprefix("descend.")
    return f"{short} <{document}>" if path.suffix == ".rst" else document


# --- files that the text links to -------------------------------------------------------------------------------------


class FilePages(SphinxTransform):
    """A link to a file of the repository leads to a page that shows the file; a link to a folder becomes text."""

    default_priority = 5  # before the files of download links are collected

    def apply(self, **kwargs: Any) -> None:
        here = self.env.docname
        for node in list(self.document.findall(addnodes.download_reference)):
            path = _in_repository(here, node["reftarget"])
            if path and _lexer(path):
                target = relative_uri(f"{here}.html", f"{_page_of(path)}.html")
                node.replace_self(nodes.reference("", "", *node.children, refuri=target, internal=True))
        for node in list(self.document.findall(addnodes.pending_xref)):
            path = _in_repository(here, node["reftarget"].partition("#")[0]) if node.get("reftype") == "myst" else None
            if path and path.is_dir():
                node.replace_self(node.children)


def _in_repository(docname: str, target: str) -> Path | None:
    """The file or folder that a relative link means; None if there is none."""
    path = (ROOT / docname).parent.joinpath(target).resolve()
    return path if target and path.exists() and path.is_relative_to(ROOT) and path != ROOT else None


def _page_of(path: Path) -> str:
    return f"files/{path.relative_to(ROOT).as_posix()}"


def _lexer(path: Path) -> Any:
    try:
        return get_lexer_for_filename(path.name)
    except ClassNotFound:
        return get_lexer_for_filename("plain.txt") if path.suffix in ("", ".lock") and path.is_file() else None


def linked_files(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file that a document links to."""
    found: set[Path] = set()
    for docname in app.env.found_docs:
        text = Path(app.env.doc2path(docname)).read_text(encoding="utf-8")
        found |= {path for target in _LINK.findall(text) if (path := _in_repository(docname, target))}
        found |= {ROOT / target for target in _DEFINED.findall(text)}
    known = {Path(app.env.doc2path(docname)) for docname in app.env.found_docs}
    formatter = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True, wrapcode=True)
    for path in sorted(found - known):
        if path.is_file() and (lexer := _lexer(path)):
            name = path.relative_to(ROOT).as_posix()
            code = highlight(path.read_text(encoding="utf-8"), lexer, formatter)
            body = f"<h1>{escape(name)}</h1>\n{code}"
            yield _page_of(path), {"title": name, "body": body, "parents": []}, "page.html"


# --- figures ----------------------------------------------------------------------------------------------------------


def for_both_themes(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """Two copies of a figure that follows the system, as a page may be switched to the other theme.

    An output of code is described as such; MyST-NB would give it the name of its file.
    """
    body = re.sub(r'(<img\b[^>]*\balt=")[^"]*_images/[^"]*"', rf'\1{_OUTPUT}"', context.get("body", ""))
    context["body"] = re.sub(r'<img\b[^>]*\bsrc="([^"]+)\.svg"[^>]*>', _twice, body)


def _twice(image: re.Match[str]) -> str:
    tags = []
    for theme in ("light", "dark"):
        tag = re.sub(r'\s*class="[^"]*"', "", image[0]).replace(f"{image[1]}.svg", f"{image[1]}.{theme}.svg")
        tags.append(tag.replace("<img", f'<img class="drawing only-{theme}"', 1))
    return "".join(tags)


def _drawn_for(theme: str, svg: str) -> str:
    """A figure with one of its two looks fixed; alone in its file, it needs a namespace and a colour of its own."""
    head = "" if "xmlns=" in svg else ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = svg.replace("<svg", f"<svg{head}", 1)
    if not _SCHEME.search(svg):
        style = f"<style>svg{{color:{_INK[theme]}}}</style>"
        return re.sub(r"<svg[^>]*>", lambda tag: tag[0] + style, svg, count=1)
    return _SCHEME.sub(lambda query: "@media all" if query[1] == theme else "@media not all", svg)


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Write both copies of every figure; the front page is also what opens a folder."""
    out = Path(app.outdir)
    if exception or app.builder.format != "html":
        return
    for path in out.glob("_images/*.svg"):
        if path.suffixes == [".svg"]:
            for theme in ("light", "dark"):
                drawn = _drawn_for(theme, path.read_text(encoding="utf-8"))
                path.with_suffix(f".{theme}.svg").write_text(drawn, encoding="utf-8")
    shutil.copyfile(out / f"{app.config.root_doc}.html", out / "index.html")
    shutil.copyfile(MATHJAX, out / "_static" / "mathjax.js")


def only_ours(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out members that other packages have documented."""
    return None if str(getattr(value, "__module__", "descend")).startswith("descend") else True


def _require_mathjax(app: Sphinx, config: Config) -> None:
    if not MATHJAX.exists():
        raise FileNotFoundError("MathJax is missing: build the site with `make book`, which installs it.")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", _require_mathjax)
    app.connect("builder-inited", only_chapters_are_notebooks, priority=900)  # after MyST-NB has made its configuration
    app.connect("builder-inited", write_reference, priority=100)
    app.connect("env-get-outdated", with_the_front_page)
    app.connect("autodoc-skip-member", only_ours)
    app.connect("autodoc-process-docstring", reference.as_rst)
    app.connect("source-read", prepare)
    app.add_transform(FilePages)
    app.connect("html-collect-pages", linked_files)
    app.connect("html-page-context", for_both_themes)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
