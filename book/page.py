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
all of them again but the slow ones, which `make nightly` adds, prints each beside its band, and fails outside. This
page is written by `python -m book claims --write`; a test holds it to the code.
"""


def page() -> str:
    """The page as it should stand."""
    numbers: dict[str, dict[str, None]] = defaultdict(dict)
    for chapter, path in documents():
        for text in prose_of(path):
            for one in shown(text, chapter):
                numbers[one.claim][one.number] = None
    lines = [_HEAD]
    for chapter in CHAPTERS:
        lines.append(f"## {chapter.replace('_', ' ').capitalize()}\n")
        lines.append(f"Measured by `book/claims/{chapter}.py`.\n")
        for experiment in experiments(chapter):
            when = " Slow: measured nightly." if experiment.slow else ""
            name = experiment.name.partition(".")[2]
            lines.append(f"**`{name}`** Band: {experiment.why}. Seeds: {experiment.seeds}.{when}\n")
            lines += ["| claim | shown | band |", "| --- | --- | --- |"]
            for key, band in experiment.bands.items():
                lines.append(f"| {key or 'value'} | {', '.join(numbers[experiment.full(key)])} | {band.words} |")
            lines.append("")
    return "\n".join(lines)
