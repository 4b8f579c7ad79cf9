"""The ledger: every number of the book, what measures it, the band it must lie in, and why that band.

@claim(near(0.007863, rel=1e-3), why="a closed form of fixed data; the eigenvalue solver rounds")
def raw_limit() -> float: ...
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from book import CHAPTERS


@dataclass(frozen=True)
class Band:
    """Where a measured value must lie; `bound` is what the text shows instead of it, for "below" and "above"."""

    low: float
    high: float
    words: str
    bound: float | None = None

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def to_show(self, measured: float) -> float:
        """What a text shows of a measured value: the value, or the bound that it keeps."""
        return measured if self.bound is None else self.bound


def near(value: float, *, rel: float = 0.0, abs: float = 0.0) -> Band:
    """`value`, give or take a part of it (`rel`) or an amount (`abs`), whichever is more."""
    give = max(rel * math.fabs(value), abs)
    if not give > 0:
        raise ValueError(f"near({value}) needs rel or abs; a value that must be met to the last digit is exactly(...).")
    return Band(value - give, value + give, f"{value:,} ± {give:.2g}")


def exactly(value: float) -> Band:
    """This value and no other: counts, and sums without rounding."""
    return Band(value, value, f"exactly {value:,}")


def between(low: float, high: float) -> Band:
    """From `low` to `high`: for values that chance moves; say in `why` how far."""
    if not low < high:
        raise ValueError(f"between({low}, {high}) holds nothing: the first must be the smaller.")
    return Band(low, high, f"{low:,} to {high:,}")


def below(bound: float) -> Band:
    """At most `bound`, which the text shows: for rounding errors and other values that differ by machine."""
    return Band(-math.inf, bound, f"at most {bound:,}", bound)


def above(bound: float) -> Band:
    """At least `bound`, which the text shows."""
    return Band(bound, math.inf, f"at least {bound:,}", bound)


@dataclass(frozen=True)
class Experiment:
    """One function that measures one claim, or several by key.

    name: `chapter.function`; bands: by key, the one of a lone claim is "".
    """

    name: str
    bands: Mapping[str, Band]
    why: str
    seeds: str
    slow: bool
    measure: Callable[[], float | Mapping[str, float]] = field(repr=False)

    def full(self, key: str) -> str:
        """The full name of a claim, `chapter.function` or `chapter.function.key`."""
        return f"{self.name}.{key}" if key else self.name

    @property
    def claims(self) -> dict[str, Band]:
        """The band of each claim by its full name."""
        return {self.full(key): band for key, band in self.bands.items()}

    def run(self) -> dict[str, float]:
        """Measure, and give each claim's value by its full name. Raises if another set of keys is measured."""
        measured = self.measure()
        values = dict(measured) if isinstance(measured, Mapping) else {"": measured}
        if values.keys() != self.bands.keys():
            raise ValueError(f"{self.name} measured {sorted(values)}, but has bands for {sorted(self.bands)}.")
        return {self.full(key): float(value) for key, value in values.items()}


_EXPERIMENTS: Final[dict[str, Experiment]] = {}

M = TypeVar("M", bound=Callable[[], float] | Callable[[], Mapping[str, float]])


def claim(band: Band | Mapping[str, Band], *, why: str, seeds: str = "none", slow: bool = False) -> Callable[[M], M]:
    """Enter a function in the ledger: it takes nothing and measures a number, or several by key.

    band: where it must lie, for each key. why: why the band is as wide as it is. seeds: those that it uses.
    slow: it takes more than about five seconds, and is measured nightly.
    """

    def enter(measure: M) -> M:
        name = f"{measure.__module__.rpartition('.')[2]}.{measure.__name__}"
        bands = {"": band} if isinstance(band, Band) else dict(band)
        _EXPERIMENTS[name] = Experiment(name, bands, why, seeds, slow, measure)
        return measure

    return enter


def experiments(chapter: str | None = None) -> list[Experiment]:
    """All that is in the ledger, or in one chapter's, in the order in which the files have it."""
    chapters = [chapter] if chapter else list(CHAPTERS)
    for key in chapters:
        importlib.import_module(f"book.claims.{key}")
    return [one for key in chapters for one in _EXPERIMENTS.values() if one.name.startswith(f"{key}.")]


def bands() -> dict[str, Band]:
    """The band of every claim by its full name."""
    return {name: band for one in experiments() for name, band in one.claims.items()}
