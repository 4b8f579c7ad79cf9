"""The reference of all checks, made of what their own files say: docs/problems.md, and `descend list checks NAME`."""

from __future__ import annotations

from typing import NamedTuple

from descend.catalog import CHECKS
from descend.doctor._check import Check

INTRODUCTION = """\
# What can be wrong with a training run

`descend doctor RUN` looks for everything below in the record of a run, yours or one of `descend train`. Each section
says what the problem is and how it is told from what is healthy and looks the same. What to do depends on the run, so
that a finding says it, with the numbers of the run; `descend break NAME` shows a run that has the problem.

This page is written by `make docs` from the files in `src/descend/doctor/`.
"""


class Page(NamedTuple):
    """What is known of a problem without looking at a run."""

    name: str
    summary: str
    paragraphs: list[str]
    facts: dict[str, str]


def page(name: str) -> Page:
    """The page of a check. Raises RecipeError for an unknown name."""
    check: Check = CHECKS[name]
    summary, *paragraphs = CHECKS.documentation(name).split("\n\n")
    facts = {
        "What you see": check.symptom,
        "Healthy, and looks the same": check.look_alike,
        "It may also cause": ", ".join(sorted(check.explains)),
        "Source": check.source,
    }
    return Page(name, summary, paragraphs, {title: text for title, text in facts.items() if text})


def in_markdown() -> str:
    """All pages: a table of what one sees, then a section for each check."""
    rows = [f"| {CHECKS[name].symptom} | [{name}](#{name}) |" for name in CHECKS]
    table = "\n".join(["| what you see | may be |", "| --- | --- |", *rows])
    return "\n".join([INTRODUCTION, table, "", *map(_section, map(page, CHECKS))])


def _section(page: Page) -> str:
    linked = page.facts | {
        title: ", ".join(f"[{name}](#{name})" for name in page.facts[title].split(", "))
        for title in ("It may also cause",)
        if title in page.facts
    }
    facts = [f"- **{title}.** {text}" for title, text in linked.items()]
    return "\n\n".join([f"## {page.name}", page.summary, *page.paragraphs, "\n".join(facts)]) + "\n"
