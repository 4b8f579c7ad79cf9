"""Every test runs with shapes checked: jaxtyping annotations are enforced by beartype."""

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from beartype import BeartypeConf, beartype
from hypothesis import settings
from jaxtyping import install_import_hook

# the hook takes a name to import; an int will do for a float, as PEP 484 and mypy have it
sys.modules["checked"] = SimpleNamespace(annotations=beartype(conf=BeartypeConf(is_pep484_tower=True)))
install_import_hook("descend", "checked.annotations")

# the same examples every time; and a first example may import torch, or wait for a busy machine
settings.register_profile("descend", deadline=None, derandomize=True)
settings.load_profile("descend")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests start first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


class _Checks(dict[str, object]):
    """A catalog of checks that a test has made up."""

    def require(self, name: str) -> None:
        assert name in self


@pytest.fixture
def let_look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let these functions, by name, be all that the doctor looks with; `explains` says what each explains."""

    def use(explains: dict[str, frozenset[str]] | None = None, **looks: Callable[..., object]) -> None:
        from descend.doctor._check import Check, Example

        of = explains or {}
        made = {
            name: Check(look, "", Example(), Example(), "", "", of.get(name, frozenset()))
            for name, look in looks.items()
        }
        monkeypatch.setattr("descend.doctor._judge.CHECKS", _Checks(made))

    return use
