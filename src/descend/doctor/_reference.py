"""The reference of all checks, made of what their own files say: docs/problems.md, and `descend list checks NAME`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from descend.catalog import CHECKS
from descend.doctor._check import Check, Finding
from descend.doctor._report import EXPLAINED, bullets, plain, told

INTRODUCTION: Final = """\
# What can be wrong with a training run

`descend doctor RUN` looks for everything below in the record of a run, yours or one of `descend train`. Each section
says what the problem is, what is healthy and looks the same, and what the doctor says of a run that has the problem;
`descend break NAME` trains that run. In a run of your own the doctor names its layers, its steps and its numbers.

This page is written by `make docs` from the files in `src/descend/doctor/`.
"""

BEGIN, END = "<!-- example -->", "<!-- end of example -->"


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


def in_markdown(examples: Mapping[str, Finding] = MappingProxyType({})) -> str:
    """All pages: a table of what one sees, then a section for each check, with what is found in its sick run."""
    rows = [f"| {CHECKS[name].symptom} | [{name}](#{name}) |" for name in CHECKS]
    table = "\n".join(["| what you see | may be |", "| --- | --- |", *rows])
    return "\n".join([INTRODUCTION, table, "", *(_section(page(name), examples.get(name)) for name in CHECKS)])


def without_examples(text: str) -> str:
    """What is known without training."""
    return re.sub(f"{BEGIN}.*?{END}\n\n", "", text, flags=re.DOTALL)


def _section(page: Page, example: Finding | None) -> str:
    linked = page.facts | {
        title: ", ".join(f"[{name}](#{name})" for name in page.facts[title].split(", "))
        for title in ("It may also cause",)
        if title in page.facts
    }
    facts = "\n".join(f"- **{title}.** {text}" for title, text in linked.items())
    parts = [f"## {page.name}", page.summary, *page.paragraphs, *([_example(example)] if example else []), facts]
    return "\n\n".join(parts) + "\n"


def _example(finding: Finding) -> str:
    _, sentence, lists = told(finding)
    lists.pop(EXPLAINED)
    head = f"The doctor, of the run of `descend break {finding.check}`: {plain(sentence)}"
    return f"{BEGIN}\n{head}\n\n{bullets(lists)}{END}"
