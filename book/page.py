"""docs/claims.md: the ledger as a page, written from the ledger and the texts. A test holds it to them."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from book import CHAPTERS, ROOT
from book.ledger import experiments
from book.text import documents, prose_of, shown

PAGE: Final = ROOT / "docs" / "claims.md"

_HEAD: Final = """\
# The ledger of claims

Every number in the chapters, the notebooks and the README that we measured ourselves is listed here: what the text
shows, the band in which the measured value has to lie, and why the band is as wide as it is. `make claims` measures
all of them again, prints each beside its band, and fails outside. This page is written by
`python -m book claims --write`; a test holds it to the code.
"""


def page() -> str:
    """The page as it should stand."""
    texts: dict[str, dict[str, None]] = defaultdict(dict)
    for chapter, path in documents():
        for text in prose_of(path):
            for one in shown(text, chapter):
                texts[one.claim][one.number] = None
    lines = [_HEAD]
    for key in CHAPTERS:
        of_chapter = experiments(key)
        if not of_chapter:
            continue
        lines.append(f"## {key.replace('_', ' ').capitalize()}\n")
        lines.append(f"Measured by `book/claims/{key}.py`.\n")
        for one in of_chapter:
            when = " Slow: measured nightly." if one.slow else ""
            lines.append(f"**`{one.name.partition('.')[2]}`** Band: {one.why}. Seeds: {one.seeds}.{when}\n")
            lines += ["| claim | shown | band |", "| --- | --- | --- |"]
            for key_of, band in one.bands.items():
                name = f"{one.name}.{key_of}" if key_of else one.name
                lines.append(f"| {key_of or 'value'} | {', '.join(texts[name]) or 'in words'} | {band.words} |")
            lines.append("")
    return "\n".join(lines)
