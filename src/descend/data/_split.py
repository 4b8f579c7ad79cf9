"""Which rows to train on, and which to judge by: disjoint, stratified, and the same for the same seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped

from descend.errors import DataError

Rows = Int[np.ndarray, " chosen"]

LEAST = 2  # rows of a part: the R2 of a single row is 0 / 0


class Parts(NamedTuple):
    """Row numbers, ascending; together they are all rows, and no row is in two."""

    train: Rows
    validation: Rows
    test: Rows


def split_rows(
    same: Int[np.ndarray, " rows"],
    strata: Shaped[np.ndarray, " rows"],
    *,
    source: str,
    validation: float,
    test: float,
    seed: int,
) -> Parts:
    """Draw the parts at random. Rows with the same number in `same` stay in one part.

    Each class in `strata` (all equal: none) gives each part its share to within one row, or one group of same
    rows: the rows are put in random order, then by class, and every k-th goes to the part.
    Raises DataError, which begins with `source`, where a part that is asked for would have fewer than two rows.
    """
    _check_shares(validation, test)
    generator = np.random.default_rng([seed, 1])  # apart from the stream that draws the data
    order = generator.permutation(np.unique(same))
    order = order[np.argsort(strata[order], kind="stable")]
    held = _every(len(order), validation)
    rest = order[~held]
    probe = _every(len(rest), test / (1 - validation))
    return _checked(
        Parts(*(np.flatnonzero(np.isin(same, chosen)) for chosen in (rest[~probe], order[held], rest[probe]))),
        source,
        validation,
        test,
    )


def split_in_order(rows: int, *, source: str, validation: float, test: float) -> Parts:
    """The first rows train, the next validate, the last test: for rows in the order of time."""
    _check_shares(validation, test)
    last, middle = round(rows * test), round(rows * validation)
    return _checked(Parts(*np.split(np.arange(rows), [rows - last - middle, rows - last])), source, validation, test)


def first_equal(*blocks: Float64[np.ndarray, "rows _"]) -> Int[np.ndarray, " rows"]:
    """For each row, the number of the first row that is equal to it in every column of every block."""
    table = np.ascontiguousarray(np.concatenate(blocks, axis=1) + 0.0)  # -0.0 + 0.0 is 0.0, and so are its bytes
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(row.tobytes(), number) for number, row in enumerate(table)], dtype=np.intp)


def _check_shares(validation: float, test: float) -> None:
    """Raise DataError where the two shares leave nothing to train on."""
    if validation + test >= 1:
        raise DataError(
            f"validation is {validation:g} and test is {test:g}, which leaves no rows to train on. "
            "Give two shares that add up to less than 1."
        )


def _every(rows: int, share: float) -> Bool[np.ndarray, " rows"]:
    """A mask of `share * rows` entries, as evenly spread as they can be."""
    reached = np.floor(np.arange(rows + 1) * share + 0.5)
    picked: Bool[np.ndarray, " rows"] = np.diff(reached) > 0
    return picked


def _checked(parts: Parts, source: str, validation: float, test: float) -> Parts:
    if not validation and not test:
        return parts
    wanted = {"train": 1 - validation - test, "validation": validation, "test": test}
    for (name, share), chosen in zip(wanted.items(), parts, strict=True):
        if share and len(chosen) < LEAST:
            rows = sum(map(len, parts))
            raise DataError(
                f"{source} has too few rows ({rows}): a share of {share:g} leaves {len(chosen)} for {name}, "
                f"which takes at least {LEAST}. Give more rows, or another share for validation and test."
            )
    return parts
