"""Numbers in prose: which claim each shows, whether it is the measured one, and which no claim covers.

A marker stands right after its number and is invisible on a page: `0.007863<!--=raw_limit-->`. A claim of another
chapter is named in full, `<!--=gradient_descent.raw_limit-->`. In a formula the marker follows the closing dollar and
covers the last number before it; n markers in a row cover the last n numbers. A number that is not ours has its
source: `8192<!--from: Goyal et al. 2017, abstract-->`. What is in backticks is typed by somebody and claims nothing.
"""

from __future__ import annotations

import bisect
import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Final

from book import CHAPTERS, ROOT
from book.ledger import Band

_NUMBER: Final = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+|(?:\\times|\\cdot) ?10\^\{[-+]?\d+\})?"
MARKER: Final = re.compile(r"<!--(?:=(?P<claim>[\w.-]+)|from: (?P<source>[^>]+?))-->")
_NUMBERS: Final = re.compile(rf"(?<![\w.^_\\])[-−+]?{_NUMBER}(?![\w])")
_BEHIND: Final = re.compile(r"(?:\\?[ %*$`}\])]|\\text\{[^}]*\}|\\%)*")  # may stand between a number and its marker
_FEW: Final = 12  # smaller counts are words of the language: two runs, 5 epochs, 3 layers

_FENCE: Final = re.compile(r"^([ \t>]*)(```+|~~~+).*?^\1?[ \t>]*\2[ \t]*$", re.DOTALL | re.MULTILINE)
_QUOTE: Final = re.compile(r"(?P<head><!--source: (?P<name>[\w.]+)-->\n\n?```python\n)(?P<code>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Shown:
    """A number that a text shows for a claim. start, end: its place in the text."""

    claim: str
    number: str
    start: int
    end: int

    @property
    def value(self) -> float:
        return _value(self.number)

    @property
    def half_digit(self) -> float:
        """Half a unit of the last digit shown: what rounding may have taken or added."""
        mantissa, _, exponent = _plain(self.number).partition("e")
        return 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))

    def shows(self, value: float, band: Band) -> bool:
        """Whether this is the measured value, but for rounding and a tenth of the band: machines differ a little."""
        drift = 0.1 * (band.high - band.low) if band.bound is None else 0.0
        return abs(self.value - band.to_show(value)) <= self.half_digit * (1 + 1e-9) + drift


@cache
def shown(text: str, chapter: str) -> tuple[Shown, ...]:
    """The numbers that carry the marker of a claim. Raises ValueError for a marker without a number before it."""
    return tuple(
        Shown(_full_name(mark["claim"], chapter), number[0], number.start(), number.end())
        for mark, number in _marked(text)
        if mark["claim"]
    )


def bare(text: str) -> list[tuple[int, str]]:
    """The numbers that no marker covers: line (from 1) and the number with what stands around it."""
    covered = {number.start() for _, number in _marked(text)}
    prose = _prose(text)
    return [
        (text.count("\n", 0, number.start()) + 1, " ".join(text[number.start() - 20 : number.end() + 20].split()))
        for number in _NUMBERS.finditer(prose)
        if number.start() not in covered and not _is_language(prose, number)
    ]


def renewed(text: str, chapter: str, values: Mapping[str, float]) -> str:
    """The text with every claim's number replaced by the measured one, in the form in which it stands."""
    for one in reversed(shown(text, chapter)):
        if one.claim in values:
            text = text[: one.start] + formatted(values[one.claim], one.number) + text[one.end :]
    return text


def formatted(value: float, like: str) -> str:
    """A value in the form of another number: its decimals, its grouping, its exponent, its typographic minus."""
    mantissa, _, exponent = _plain(like).partition("e")
    decimals = len(mantissa.partition(".")[2])
    if exponent:
        digits, power = f"{abs(value):.{decimals}e}".split("e")
        times = re.search(r"\\times ?|\\cdot ?", like)
        text = f"{digits}{times[0]}10^{{{int(power)}}}" if times else f"{digits}e{int(power)}"
    else:
        text = f"{abs(value):{',' if ',' in like or abs(value) >= 10_000 else ''}.{decimals}f}"
    sign = "-" if value < 0 and _value(text) != 0 else ""
    return sign.replace("-", "−" if "−" in like else "-") + ("+" if like[0] == "+" and not sign else "") + text


def quotes(text: str) -> list[tuple[str, str]]:
    """The code that a text quotes from descend: the name after <!--source: ...--> and the block below it."""
    return [(quote["name"], quote["code"]) for quote in _QUOTE.finditer(text)]


def with_sources(text: str) -> str:
    """The text with every quoted block as the code stands now."""
    return _QUOTE.sub(lambda quote: f"{quote['head']}{source(quote['name'])}```", text)


def source(name: str) -> str:
    """The source of a function or class of descend, by its full name: `descend.optim.adam.step`."""
    module = name
    parts: list[str] = []
    while True:
        try:
            found = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            parts.insert(0, last)
    return textwrap.dedent(inspect.getsource(reduce(getattr, parts, found)))


def prose_of(path: Path) -> list[str]:
    """The text of a document: of a notebook its Markdown cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return [text]
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]


def documents() -> list[tuple[str, Path]]:
    """The documents of the book, each with the key of its chapter."""
    return [(key, ROOT / path) for key, paths in CHAPTERS.items() for path in paths]


def stale(values: Mapping[str, float], bands: Mapping[str, Band]) -> list[str]:
    """What the documents show that is not what was measured just now, a sentence each."""
    return [
        f"{path.name} shows {one.number} for {one.claim}, but {values[one.claim]:.6g} was measured: "
        "python -m book claims --write"
        for chapter, path in documents()
        for text in prose_of(path)
        for one in shown(text, chapter)
        if one.claim in values and not one.shows(values[one.claim], bands[one.claim])
    ]


def rewrite(path: Path, chapter: str, values: Mapping[str, float]) -> bool:
    """Bring measured numbers and quoted sources up to date in a document; says whether anything changed."""
    before = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        notebook = json.loads(before)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = renewed("".join(cell["source"]), chapter, values).splitlines(keepends=True)
        after = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    else:
        after = with_sources(renewed(before, chapter, values))
    if after != before:
        path.write_text(after, encoding="utf-8")
    return after != before


def _plain(number: str) -> str:
    return re.sub(r"(?:\\times|\\cdot) ?10\^\{([-+]?\d+)\}", r"e\1", number.replace(",", "")).replace("−", "-")


def _value(number: str) -> float:
    return float(_plain(number))


def _full_name(claim: str, chapter: str) -> str:
    return claim if claim.partition(".")[0] in CHAPTERS and "." in claim else f"{chapter}.{claim}"


def _marked(text: str) -> list[tuple[re.Match[str], re.Match[str]]]:
    """Each marker with its number: n markers in a row follow the last n numbers before them. Code holds none."""
    numbers = list(_NUMBERS.finditer(_prose(text)))
    ends = [number.end() for number in numbers]
    rows: list[list[re.Match[str]]] = []
    for mark in MARKER.finditer(_without_code(text)):
        if rows and rows[-1][-1].end() == mark.start():
            rows[-1].append(mark)
        else:
            rows.append([mark])
    pairs: list[tuple[re.Match[str], re.Match[str]]] = []
    for row in rows:
        before = bisect.bisect_right(ends, row[0].start())
        gap = text[ends[before - 1] : row[0].start()] if before else text
        if not _BEHIND.fullmatch(gap):
            line = text.count("\n", 0, row[0].start()) + 1
            raise ValueError(f"Line {line}: no number stands right before {row[0][0]}, only {gap[-30:]!r}.")
        pairs += zip(row, numbers[before - len(row) : before], strict=True)
    return pairs


def _without_code(text: str) -> str:
    """The text with the same length, fences and code in sentences blank."""
    text = _FENCE.sub(_blank, text)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", _blank, text, flags=re.DOTALL)


def _prose(text: str) -> str:
    """The text with the same length, and everything blank that is not prose."""
    text = _without_code(text)
    for what in (
        r"<!--[\s\S]*?-->",
        r"</?(?:details|summary|img|a|b|i|br|p|div|span|sub|sup|kbd)\b[^>]*>",
        r"\]\([^)]*\)",  # where links lead
        r"https?://\S+",
        r"^\[[^\]\n]+\]:.*$",
        r"\bPython \d\.\d+",
        r"^\s*\d+\.(?=\s)",  # numbers of a list
        r"^#+ .*?\d+(?:\.\d+)*\.?(?= )",  # and of headings
    ):
        text = re.sub(what, _blank, text, flags=re.MULTILINE)
    return text


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _is_language(prose: str, number: re.Match[str]) -> bool:
    """Whether a number is part of the language rather than a claim: a small count, a year, an index in a formula."""
    text = number[0].lstrip("+-−")
    if not text.isdigit():
        return False
    behind = prose[number.end() : number.end() + 8]
    if re.match(r" ?(?:%|\\%|×|times\b|-?fold\b|\\times)", behind):
        return False
    return int(text) <= _FEW or 1900 <= int(text) <= 2100 or _in_formula(prose, number.start())


def _in_formula(prose: str, place: int) -> bool:
    paragraph = prose[prose.rfind("\n\n", 0, place) + 1 : place]
    return paragraph.count("$") % 2 == 1 or paragraph.count("$$") % 2 == 1
