"""What is wrong with a built site: `python -m book.links build/book`. No browser, no network.

Every link of the site must lead to a page and an anchor that are there; nothing may be fetched from elsewhere; every
page has a title and every image a description; a page with formulas loads the MathJax that is here. Links to other
sites cannot be followed: their form is checked, and `--external` lists them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_FETCHED: Final = frozenset({("link", "href"), ("image", "href"), ("use", "href"), ("object", "data")})
_URL: Final = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""")


@dataclass
class Page(HTMLParser):
    """What a page links to, what it fetches, and where one can link into it."""

    title: str = ""
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    inside: str = ""
    formulas: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        for name, value in values.items():
            if name in ("src", "poster") or (tag, name) in _FETCHED:
                self.fetched.append(value)
            elif name == "srcset":
                self.fetched += [choice.split()[0] for choice in value.split(",")]
            elif name == "style":
                self.fetched += _URL.findall(value)
        self.formulas |= "math" in values.get("class", "").split()
        if tag in ("a", "area") and "href" in values:
            self.links.append(values["href"])
        if tag == "img" and values.get("alt", "").strip() in ("", values.get("src", "").strip()):
            self.unnamed.append(values.get("src", ""))

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "title":
            self.title += data
        elif self.inside == "style":
            self.fetched += _URL.findall(data)


def read(site: Path) -> dict[Path, Page]:
    """Every page of a site, by its file."""
    pages = {}
    for path in sorted(site.resolve().rglob("*.html")):
        if "_static" not in path.parts:  # parts of pages, which the theme leaves there
            pages[path] = Page()
            pages[path].feed(path.read_text(encoding="utf-8"))
    return pages


def faults(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """One sentence for each thing that is wrong."""
    for path, page in pages.items():
        where = path.relative_to(site.resolve()).as_posix()
        if not page.title.strip():
            yield f"{where} has no title"
        yield from (f"{where}: the image {source} has no description" for source in page.unnamed)
        for target in page.fetched:
            if _foreign(target):
                yield f"{where} fetches {target} from elsewhere"
            elif target and not target.startswith("data:") and not _file(path, target).is_file():
                yield f"{where} needs {target}, which is not there"
        if page.formulas and not any("mathjax" in target for target in page.fetched):
            yield f"{where} has formulas and no MathJax"
        for link in page.links:
            yield from (f"{where}: {fault}" for fault in _broken(path, link, pages))
    for style in sorted(site.rglob("*.css")):
        for target in _URL.findall(re.sub(r"/\*.*?\*/", "", style.read_text(encoding="utf-8"), flags=re.DOTALL)):
            if _foreign(target):
                yield f"{style.relative_to(site)} fetches {target} from elsewhere"


def external(pages: dict[Path, Page]) -> list[str]:
    """Where the site links to that is not in it."""
    return sorted({link for page in pages.values() for link in page.links if _foreign(link)})


def _foreign(target: str) -> bool:
    parts = urlsplit(target)
    return bool(parts.netloc) or parts.scheme not in ("", "data", "mailto")


def _file(page: Path, target: str) -> Path:
    return page.parent.joinpath(unquote(urlsplit(target).path)).resolve() if urlsplit(target).path else page


def _broken(page: Path, link: str, pages: dict[Path, Page]) -> Iterator[str]:
    parts = urlsplit(link)
    if _foreign(link):
        if parts.scheme != "https" or "." not in parts.netloc or re.search(r"\s", link):
            yield f"{link} is no https address"
        return
    if parts.scheme == "mailto":
        return
    file = _file(page, link)
    if file.is_dir():
        yield f"{link} leads to a folder, which a page opened from disk cannot show"
    elif not file.is_file():
        yield f"{link} leads nowhere"
    elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].anchors:
        yield f"{link}: that page has no such place"


def main() -> None:
    site = Path(sys.argv[1])
    pages = read(site)
    found = list(faults(site, pages))
    if "--external" in sys.argv:
        print("\n".join(external(pages)))
    print("\n".join(found), end="\n" if found else "")
    links = sum(len(page.links) for page in pages.values())
    print(f"{len(pages)} pages, {links} links, {len(external(pages))} of them to other sites; {len(found)} faults.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
