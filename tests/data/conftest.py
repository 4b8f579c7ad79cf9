"""Options that make every data set of the catalog load: a table needs a file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from descend.catalog import DATA
from descend.data._dataset import Dataset

CITIES = ("Bern", "Oslo", "Rome")


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 60 rows: two number columns, a word column, and two classes."""
    file = tmp_path_factory.mktemp("tables") / "people.csv"
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["age", "height", "city", "bought"])
        for row in range(60):
            height = f"1.{500 + 17 * row % 401}"
            writer.writerow([20 + 7 * row % 41, height, CITIES[row * row % 7 % 3], "no" if 5 * row % 8 < 3 else "yes"])
    return file


@pytest.fixture(scope="session")
def load(people: Path) -> Callable[..., Dataset]:
    """Call an entry of the catalog with options that make it work, and those given."""
    needed: dict[str, dict[str, str]] = {"table": {"file": str(people), "target": "bought"}}

    def call(name: str, **options: object) -> Dataset:
        return DATA[name](**needed.get(name, {}) | options)

    return call
