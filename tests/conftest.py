"""Every test runs with shapes checked: jaxtyping annotations are enforced by beartype."""

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("descend", "beartype.beartype")

# the same examples every time; and a first example may import torch, or wait for a busy machine
settings.register_profile("descend", deadline=None, derandomize=True)
settings.load_profile("descend")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests start first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
