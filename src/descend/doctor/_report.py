"""A diagnosis in words: for the terminal, as Markdown, and as HTML for notebooks and reports."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

from descend.catalog import CHECKS
from descend.doctor._check import Finding, Remedy

if TYPE_CHECKING:
    import descend.doctor._judge

MARKUP: Final = re.compile(r"[\\`*<>\[\]]|(?<!\w)_|_(?!\w)")
"""What Markdown would take for markup: names of columns may hold any of it."""


EXPLAINED: Final = "Explained in"


class Item(NamedTuple):
    """One thing of a list, and the lines of code that belong to it."""

    text: str
    code: Sequence[str] = ()


class Passage(NamedTuple):
    """A finding as it is told: every face only lays this out."""

    head: str
    sentence: str
    lists: dict[str, list[Item]]


def told(finding: Finding) -> Passage:
    """What is said of a finding, in the order in which it is said."""
    place = [f"at {finding.where}"] if finding.where else []
    since = [f"since step {finding.since:,}"] if finding.since is not None else []
    lists = {
        "Evidence": [Item(piece.says) for piece in finding.evidence],
        "It explains": [Item(f"{each.check}. {each.sentence}") for each in finding.symptoms],
        "What to do": [_advice(remedy) for remedy in finding.remedies],
        EXPLAINED: [Item(f"{finding.page}, or: descend list checks {finding.check}")],
    }
    head = f"{finding.check}: {', '.join([how_sure(finding), *place, *since])}"
    return Passage(head, finding.sentence, {title: items for title, items in lists.items() if items})


def how_sure(finding: Finding) -> str:
    """ "certain", or with the share: "likely (80 % sure)"."""
    share = "" if finding.certainty == "certain" else f" ({finding.sure:.0%} sure)".replace("%", " %")
    return f"{finding.certainty}{share}"


def _advice(remedy: Remedy) -> Item:
    warning = " (This changes the result.)" if remedy.safety == "changes the result" else ""
    code = [line for old, new in remedy.diff.items() for line in (*_marked("-", old), *_marked("+", new))]
    return Item(remedy.advice + warning, code)


def _marked(sign: str, lines: str) -> list[str]:
    return [f"{sign} {line}" for line in lines.splitlines()]


def left(diagnosis: descend.doctor._judge.Diagnosis) -> dict[str, list[Item]]:
    """What was not found: what could not be checked and why, what raised, and what is in order."""
    found = {each.check for finding in diagnosis.findings for each in (finding, *finding.symptoms)}
    fine = ", ".join(name for name in diagnosis.checked if name not in found)
    lists = {
        "Could not be checked": [Item(f"{name}: it needs {needs}") for name, needs in diagnosis.unknown.items()],
        "Failed to look (please report it)": [Item(f"{name}: {error}") for name, error in diagnosis.failed.items()],
        "Looked for and not there": [Item(fine)] if fine else [],
    }
    return {title: items for title, items in lists.items() if items}


def in_terminal(diagnosis: descend.doctor._judge.Diagnosis, width: int, *, everything: bool = False) -> str:
    """Plain text in lines of at most `width` characters, but for code and long names, which stay whole.

    `everything`: all findings instead of the first, and what was not found too.
    """
    return "\n".join(_lines(diagnosis, width, everything))


def _lines(diagnosis: descend.doctor._judge.Diagnosis, width: int, everything: bool) -> Iterator[str]:
    yield diagnosis.sentence
    for number, finding in enumerate(diagnosis.findings if everything else diagnosis.first, start=1):
        head, sentence, lists = told(finding)
        yield ""
        yield from _wrapped(f"{number}. {head}", width, hang=3)
        yield from _wrapped(sentence, width, indent=3)
        yield from _listed(lists, width, indent=3)
    rest = left(diagnosis) if everything else {}
    if rest:
        yield ""
        yield from _listed(rest, width, indent=0)


def _listed(lists: dict[str, list[Item]], width: int, indent: int) -> Iterator[str]:
    for title, items in lists.items():
        if len(items) == 1 and not items[0].code:
            yield from _wrapped(f"{title}: {items[0].text}", width, indent, hang=2)
            continue
        yield f"{' ' * indent}{title}:"
        for item in items:
            yield from _wrapped(f"- {item.text}", width, indent=indent + 2, hang=2)
            yield from (f"{' ' * (indent + 6)}{line}" for line in item.code)


def _wrapped(text: str, width: int, indent: int = 0, hang: int = 0) -> list[str]:
    """Lines that break between words only: names and commands stay whole."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        break_long_words=False,
        break_on_hyphens=False,
    )


def as_markdown(diagnosis: descend.doctor._judge.Diagnosis, *, everything: bool = False) -> str:
    """The verdict in bold, then a heading of the third level for each finding; `everything` as in `in_terminal`."""
    return "\n".join(_blocks(diagnosis, everything))


def _blocks(diagnosis: descend.doctor._judge.Diagnosis, everything: bool) -> Iterator[str]:
    yield f"**{plain(diagnosis.sentence)}**\n"
    for number, finding in enumerate(diagnosis.findings if everything else diagnosis.first, start=1):
        head, sentence, lists = told(finding)
        yield f"### {number}. {plain(head)}\n\n{plain(sentence)}\n\n{bullets(lists)}"
    if everything:
        yield bullets(left(diagnosis))


def bullets(lists: dict[str, list[Item]]) -> str:
    """Lists as Markdown, each with its title in bold, and code as a difference."""
    return "\n".join(_bullets(lists))


def _bullets(lists: dict[str, list[Item]]) -> Iterator[str]:
    for title, items in lists.items():
        yield f"**{title}**\n"
        for item in items:
            yield f"- {plain(item.text)}"
            if item.code:
                yield "\n".join(["", "  ```diff", *(f"  {line}" for line in item.code), "  ```"])
        yield ""


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def as_html(diagnosis: descend.doctor._judge.Diagnosis) -> str:
    """A fragment for notebooks and reports: the verdict, the first findings, and all else folded away."""
    first, others = diagnosis.first, diagnosis.findings[len(diagnosis.first) :]
    more = "".join(map(_article, others)) + _html_lists(left(diagnosis))
    summary = f"{len(others)} more problem{'s' * (len(others) > 1)}, and what" if others else "What"
    fold = f"<details><summary>{summary} else was looked for</summary>{more}</details>" if more else ""
    return f"<p><strong>{escape(diagnosis.sentence)}</strong></p>{''.join(map(_article, first))}{fold}"


def _article(finding: Finding) -> str:
    head, sentence, lists = told(finding)
    (link,) = lists.pop(EXPLAINED)
    explained = "".join(f"<p>{escape(text)}</p>" for text in CHECKS.documentation(finding.check).split("\n\n"))
    fold = f"<details><summary>{EXPLAINED}: {escape(link.text)}</summary>{explained}</details>"
    return f"<article><h3>{escape(head)}</h3><p>{escape(sentence)}</p>{_html_lists(lists)}{fold}</article>"


def _html_lists(lists: dict[str, list[Item]]) -> str:
    return "".join(_html_list(title, items) for title, items in lists.items())


def _html_list(title: str, items: Sequence[Item]) -> str:
    if len(items) == 1 and not items[0].code:
        return f"<p>{escape(title)}: {escape(items[0].text)}</p>"
    return f"<p>{escape(title)}:</p><ul>{''.join(map(_html_item, items))}</ul>"


def _html_item(item: Item) -> str:
    code = f"<pre>{escape(chr(10).join(item.code))}</pre>" if item.code else ""
    return f"<li>{escape(item.text)}{code}</li>"
