"""What the documents say is there: links, files, make targets, names; and what the README shows runs as it stands."""

from __future__ import annotations

import os
import pkgutil
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from descend.cli._main import descend

ROOT = Path(__file__).parent.parent
PATHS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
DOCS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PATHS}
FILES = [path.relative_to(ROOT).as_posix() for top in ("src", "tests", "book") for path in (ROOT / top).rglob("*")]

every_document = pytest.mark.parametrize("name", DOCS)


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def inline(text: str) -> list[str]:
    """What stands between single backticks, on one line."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def shell_lines(text: str) -> list[str]:
    """Every command that a document shows: lines of shell blocks, and code within sentences."""
    return [*(line for block in blocks("sh", text) for line in block.splitlines()), *inline(text)]


@every_document
def test_every_relative_link_leads_to_a_file(name: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", DOCS[name])
    assert [link for link in targets if "://" not in link and not (ROOT / name).parent.joinpath(link).exists()] == []


@every_document
def test_every_file_that_is_named_exists(name: str) -> None:
    """A file may be named by the end of its path; runs/ holds what users make."""
    named = [code for code in inline(DOCS[name]) if re.fullmatch(r"[\w./-]+\.(py|md|txt)", code) and "NAME" not in code]
    known = [*FILES, *(path.name for path in ROOT.iterdir())]
    assert [file for file in named if not any(f"/{path}".endswith(f"/{file}") for path in known)] == []


@every_document
def test_every_make_target_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    commands = [re.fullmatch(r"(?:\w+=\S+ )*make ([a-z-]+)\b.*", line) for line in shell_lines(DOCS[name])]
    assert {command[1] for command in commands if command} <= targets


@every_document
def test_every_name_in_descend_can_be_imported(name: str) -> None:
    for code in inline(DOCS[name]):
        if match := re.match(r"descend(?:\.\w+)+", code):
            pkgutil.resolve_name(match[0])


@every_document
def test_every_command_is_one_that_descend_takes(name: str) -> None:
    for line in shell_lines(DOCS[name]):
        if line.startswith("descend "):
            parse(shlex.split(line, comments=True)[1:])


def parse(words: list[str]) -> None:
    """Read a command line without acting on it. Raises what click raises for a wrong one."""
    group = descend.make_context("descend", [words[0]])
    _, command, flags = descend.resolve_command(group, [*words])
    if command and flags not in ([], ["--help"]):  # alone, its name speaks of a command and is no way to use it
        command.make_context(words[0], flags, parent=group)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_readme_run_one_after_the_other(empty_folder: Path) -> None:
    for line in "".join(blocks("sh", DOCS["README.md"])).splitlines():
        if line.startswith("descend "):
            result = CliRunner().invoke(descend, shlex.split(line, comments=True)[1:])
            assert result.exit_code == 0, f"{line}\n{result.output}"
    assert {"first.csv", "bonus.csv", "runs"} <= set(os.listdir(empty_folder))


@pytest.mark.parametrize("block", blocks("python", DOCS["README.md"]))
def test_the_python_of_the_readme_runs(block: str, empty_folder: Path) -> None:
    exec(compile(block, "README.md", "exec"), {})


def test_the_extras_of_the_readme_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (section,) = re.findall(r"## In an environment you have\n(.*?)\n## ", DOCS["README.md"], flags=re.DOTALL)
    assert set(project["optional-dependencies"]) - {"dev"} <= set(re.findall(r"\w+", section))


def test_ci_runs_what_the_readme_says() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == "exec make test"
