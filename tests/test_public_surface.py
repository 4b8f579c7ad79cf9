"""What `descend` offers is what `__all__` says, each name is there, and each says what it is."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import descend

PARTS = {"backprop", "optim"}  # subpackages, public as they are


def test_the_names_are_sorted_and_stand_once() -> None:
    assert len(set(descend.__all__)) == len(descend.__all__)
    assert descend.__all__ == sorted(descend.__all__, key=lambda name: (not name.isupper(), name.islower(), name))


@pytest.mark.parametrize("name", descend.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(descend, name)
    assert name in dir(descend)
    assert len((inspect.getdoc(value) or "").splitlines()[0]) >= 20
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__name__ == name
        assert value.__module__.startswith("descend.")


@pytest.mark.parametrize("name", [name for name in descend.__all__ if inspect.isclass(getattr(descend, name))])
def test_every_public_method_is_documented_unless_its_name_and_type_say_it_all(name: str) -> None:
    plain = {"to_toml", "from_toml", "to_json", "from_json", "from_query", "name", "recipe", "names"}
    members = {key: member for key, member in vars(getattr(descend, name)).items() if key[0] != "_"}
    silent = {
        key
        for key, member in members.items()
        if (callable(member) or isinstance(member, classmethod | property)) and not inspect.getdoc(member)
    }
    assert silent <= plain


def test_the_names_that_type_checkers_see_are_the_public_ones() -> None:
    tree = ast.parse(Path(str(descend.__file__)).read_text(encoding="utf-8"))
    (seen,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {alias.name for node in seen.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported | PARTS == set(descend.__all__)


def test_an_unknown_name_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'descend' has no attribute 'nothing'"):
        descend.nothing  # noqa: B018  # asking is the point


def test_the_version_is_that_of_the_package() -> None:
    assert descend.__version__ == version("descend")


def test_public_names_stay_what_they_are_after_every_module_was_imported() -> None:
    """A module called like a public name would take its place in the package."""
    program = f"""
import descend, pkgutil, importlib, types
for module in pkgutil.walk_packages(descend.__path__, "descend."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
others = set(descend.__all__) - {PARTS}
print(*(name for name in others if isinstance(getattr(descend, name), types.ModuleType)))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
