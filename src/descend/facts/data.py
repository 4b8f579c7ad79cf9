"""What the data are: facts about the rows of each split, and about the two together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from descend.facts.predictions import classes_of
from descend.facts.rows import Rows, read

COLUMNS: Final = 256  # that are described; of more, as many evenly spaced
NEIGHBOURS: Final = 5
NEIGHBOUR_ROWS: Final = 1000  # whose distances are taken: a share is then known to 1.6 %
PERMUTATIONS: Final = 5
NUMBERS: Final = 4_000_000  # of the training inputs that are looked through for validation rows: 20 ms
WILD: Final = 10.0  # deviations from the median: of normal values none, of an exponential distribution one in 4,000
SOME: Final = 200  # rows whose nearest others are counted in columns
FINE: Final = 20  # values at least, to say whether they lie on a grid
APART: Final = 4  # columns; that as many agree by chance where three do not is rare
VALUES: Final = 500_000  # of the inputs that are described: their mean is then known to 0.14 % of a deviation
QUARTILES: Final = 500  # values that are put in order: their quartiles are then known to 6 % of a deviation
MANY: Final = 100  # classes, columns or pairs that a fact lists


def of(train: object, validation: object = None, *, features: Sequence[str] = ()) -> dict[str, Any]:
    """Topic "data", of DataLoaders, Datasets or (inputs, targets) pairs; a split that cannot be read is left out.

    `features` are the names of the input columns, where known. Costs some milliseconds for small data and at most
    about 0.3 s otherwise.
    """
    given = {"train": read(train), "validation": read(validation)}
    return describe({name: rows for name, rows in given.items() if rows is not None}, features)


def describe(splits: dict[str, Rows], features: Sequence[str] = ()) -> dict[str, Any]:
    """Topic "data" of rows that have been read."""
    facts: dict[str, Any] = {name: _split(rows) for name, rows in splits.items()}
    if features:
        facts["features"] = list(features)[:COLUMNS]
    if len(splits) == 2:
        facts |= _shared(splits["train"], splits["validation"])
        if across := _across(splits["train"], splits["validation"]):
            facts["validation"]["train_neighbours"] = across
    return facts


def _split(rows: Rows) -> dict[str, Any]:
    some = rows.inputs if rows.inputs is not None else rows.targets
    facts: dict[str, Any] = {
        "rows": rows.total,
        "sampled": 0 if some is None else len(some),
        "batch_size": rows.batch_size,
        "batches": rows.batches,
        "last_batch": rows.last_batch,
        "shuffled": rows.shuffled,
        "non_finite": _non_finite(rows),
    }
    if rows.inputs is not None:
        facts |= _inputs(rows.inputs)
    if rows.targets is not None:
        facts |= _targets(rows)
    if rows.inputs is not None and rows.targets is not None and len(rows.inputs) == len(rows.targets):
        facts["task"] = task_of(rows.targets)
        facts["neighbours"] = _neighbours(rows.inputs, rows.targets, facts["task"])
        if facts["task"] == "regression" and (left := _linear(rows.inputs, rows.targets)) is not None:
            facts["linear"] = {"unexplained": left}
    return facts


def task_of(targets: Tensor) -> str:
    """ "classification", "regression", "sequence" (a label per position, or several a row)."""
    labels = classes_of(targets)
    if labels is None:
        return "regression"
    return "classification" if labels.dim() == 1 else "sequence"


# --- inputs -----------------------------------------------------------------------------------------------------------


def columns_of(inputs: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "values columns"]:
    """Float inputs as a table: a column per feature of the last axis, or per channel of images."""
    if inputs.dim() >= 4:
        inputs = inputs.movedim(1, -1)
    return inputs.reshape(-1, inputs.shape[-1] if inputs.dim() > 1 else 1).double()


def _inputs(inputs: Tensor) -> dict[str, Any]:
    tokens = not inputs.is_floating_point() and inputs.dtype != torch.uint8
    facts: dict[str, Any] = {
        "input_shape": list(inputs.shape[1:]),
        "input_dtype": str(inputs.dtype).removeprefix("torch."),
        "tokens": tokens,
    }
    if inputs.numel() == 0:
        return facts
    facts["duplicate_rows"] = len(inputs) - len(_hashes(inputs).unique())
    some = inputs[:: -(-inputs.numel() // VALUES)]
    facts |= {f"input_{name}": value for name, value in _summary(some).items()}
    if tokens:
        return facts
    table = columns_of(some)
    low, high = table.min(0).values, table.max(0).values
    constant = (low == high).nonzero().flatten().tolist()
    index = torch.arange(table.shape[1])
    if len(index) > COLUMNS:
        index = index[:: -(-len(index) // COLUMNS)]
    chosen = table[:, index]
    described = {"mean": chosen.mean(0), "std": chosen.std(0, correction=0), "min": low[index], "max": high[index]}
    described |= dict(zip(("median", "spread"), _middle(chosen), strict=True))
    facts["columns"] = {name: values.tolist() for name, values in described.items()}
    if len(index) < table.shape[1]:
        facts["columns"]["index"] = index.tolist()
    facts["constant_columns"] = constant[:COLUMNS]
    facts["curvature"] = _curvature(chosen, described["median"], described["spread"])
    if inputs.dim() == 2:
        facts["duplicate_columns"] = _duplicate_columns(inputs, set(constant))
    return facts


def _middle(table: Float[Tensor, "values columns"]) -> tuple[Tensor, Tensor]:
    """The median of each column, and a deviation that a few wild values cannot move: 0.741 of the quartiles' distance.

    The factor makes it the standard deviation where the values are normal. It is 0 where half of the values are equal.
    """
    ranked = table[:: -(-len(table) // QUARTILES)].sort(0).values
    lower, median, upper = (ranked[round(share * (len(ranked) - 1))] for share in (0.25, 0.5, 0.75))
    return median, 0.741 * (upper - lower)


def _curvature(
    table: Float[Tensor, "values columns"], median: Float[Tensor, " columns"], middle: Float[Tensor, " columns"]
) -> dict[str, float] | None:
    """The largest curvature of a linear model's squared error on the columns as they are, and on standardised ones.

    It is the largest eigenvalue of (2/n) X'X with a column of ones: gradient descent needs lr < 2 / curvature. A few
    wild values are taken for smaller ones: they are another problem than the scale.
    """
    bound = torch.where(middle > 0, WILD * middle, torch.inf)
    table = table.clamp(median - bound, median + bound)
    spread = table.std(0, correction=0)
    table, spread = table[:, spread > 0], spread[spread > 0]
    if not len(spread) or not bool(table.isfinite().all()):
        return None
    scaled = (table - table.mean(0)) / spread
    designs = {"raw": torch.cat([table, torch.ones(len(table), 1)], 1), "standardised": scaled}
    return {name: float(torch.linalg.eigvalsh(2 / len(x) * x.T @ x)[-1]) for name, x in designs.items()}


def _summary(values: Tensor) -> dict[str, float]:
    exact = values.double()
    return {
        "mean": float(exact.mean()),
        "std": float(exact.std(correction=0)),
        "min": float(exact.min()),
        "max": float(exact.max()),
    }


def _duplicate_columns(inputs: Tensor, constant: set[int]) -> list[list[int]]:
    """Pairs of equal columns, each with the first of its kind."""
    first: dict[int, int] = {}
    pairs = []
    for column, key in enumerate(_hashes(inputs.T.contiguous()).tolist()):
        if column not in constant and first.setdefault(key, column) != column:
            pairs.append([first[key], column])
    return pairs[:MANY]


def _hashes(inputs: Shaped[Tensor, "rows ..."]) -> Int[Tensor, " rows"]:
    """A 64-bit number per row, the same for the same bytes: a random combination, modulo 2**64."""
    lanes = inputs.reshape(len(inputs), -1).contiguous().view(torch.uint8)
    wide = next(
        kind for kind in (torch.int64, torch.int32, torch.int16, torch.uint8) if lanes.shape[1] % kind.itemsize == 0
    )
    words = lanes.view(wide)
    draw = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (words.shape[1],), generator=draw) * 2 + 1  # odd: no information is lost
    return (words.long() * factors).sum(1)


def _non_finite(rows: Rows) -> dict[str, Any] | None:
    """The first value that is not a finite number: of all rows where they are in memory, else of those read."""
    inputs, targets = (rows.whole.inputs, rows.whole.targets) if rows.whole else (rows.inputs, rows.targets)
    for part, values in (("inputs", inputs), ("targets", targets)):
        # one sum, which any NaN or infinity spoils; only where it is not finite is each value looked at
        if values is None or not values.is_floating_point() or bool(values.sum().isfinite()):
            continue
        chosen = values if rows.whole is None or rows.whole.index is None else values[rows.whole.index]
        bad = (~chosen.isfinite()).nonzero()
        if len(bad):
            row, *place = bad[0].tolist()
            return {
                "count": len(bad),
                "part": part,
                "row": row,
                "column": place[0] if len(place) == 1 else place or None,
                "value": str(chosen[tuple(bad[0])].item()),
            }
    return None


# --- targets ----------------------------------------------------------------------------------------------------------


def _targets(rows: Rows) -> dict[str, Any]:
    targets = rows.targets
    assert targets is not None
    facts: dict[str, Any] = {
        "target_shape": list(targets.shape[1:]),
        "target_dtype": str(targets.dtype).removeprefix("torch."),
    }
    if targets.numel() == 0:
        return facts
    facts |= {f"target_{name}": value for name, value in _summary(targets).items()}
    labels = classes_of(targets)
    if labels is None:
        numbers = targets.double().reshape(len(targets), -1)[:, 0]
        centred = numbers - numbers.mean()
        if len(numbers) > 2 and float(centred.square().sum()):
            facts["target_order"] = float((centred[1:] * centred[:-1]).sum() / centred.square().sum())
        return facts
    values, counts = labels.unique(return_counts=True)
    if len(values) <= MANY:
        facts["classes"] = {str(value): count for value, count in zip(values.tolist(), counts.tolist(), strict=True)}
    if labels.dim() == 1 and len(labels) > 1:
        facts["label_changes"] = float((labels[1:] != labels[:-1]).double().mean())
        facts["label_changes_expected"] = 1 - float((counts / counts.sum()).square().sum())
    return facts


def _neighbours(inputs: Tensor, targets: Tensor, task: str) -> dict[str, Any] | None:
    """Whether near rows have near targets; `expected` is what there would be if targets were permuted.

    `own` says of each class what share of its rows' neighbours are of the class too.
    """
    if not _comparable(inputs, targets, task):
        return None
    some = slice(None, None, -(-len(inputs) // NEIGHBOUR_ROWS))
    table = _standardised(inputs[some], inputs[some])
    nearest = torch.cdist(table, table).fill_diagonal_(float("inf")).topk(NEIGHBOURS, largest=False).indices
    labels = classes_of(targets)
    chosen = (targets if labels is None else labels)[some]
    draw = torch.Generator().manual_seed(0)
    permuted = [chosen[torch.randperm(len(chosen), generator=draw)] for _ in range(PERMUTATIONS)]
    measure = _unexplained if labels is None else _disagreeing
    expected = sum(measure(each, each[nearest]) for each in permuted) / PERMUTATIONS
    facts: dict[str, Any] = {"rows": len(table), "disagree": measure(chosen, chosen[nearest]), "expected": expected}
    if labels is not None and len(kinds := chosen.unique()) <= MANY:
        same = (chosen[nearest] == chosen[:, None]).double().mean(1)
        facts["own"] = {str(int(kind)): float(same[chosen == kind].mean()) for kind in kinds}
    return facts


def _across(train: Rows, validation: Rows) -> dict[str, Any] | None:
    """The same of validation rows among the training rows: neighbours with wrong labels, or of another kind, show."""
    pairs = [(rows.inputs, rows.targets) for rows in (train, validation)]
    (inputs, targets), (queries, answers) = pairs
    if inputs is None or targets is None or queries is None or answers is None:
        return None
    task = task_of(targets)
    if task != task_of(answers) or not all(_comparable(*pair, task) for pair in pairs):
        return None
    if inputs.shape[1:] != queries.shape[1:] or targets.shape[1:] != answers.shape[1:]:
        return None
    known, asked = (slice(None, None, -(-len(rows) // NEIGHBOUR_ROWS)) for rows in (inputs, queries))
    table, points = _standardised(inputs[known], inputs[known]), _standardised(queries[asked], inputs[known])
    nearest = torch.cdist(points, table).topk(NEIGHBOURS, largest=False).indices
    labels, right = classes_of(targets), classes_of(answers)
    if labels is None or right is None:
        share = _unexplained(answers[asked], targets[known][nearest])
    else:
        share = _disagreeing(right[asked], labels[known][nearest])
    return {"rows": len(points), "disagree": share}


def _linear(inputs: Tensor, targets: Tensor) -> float | None:
    """The share of the targets' variance that the best linear model leaves, in closed form; None of too few rows."""
    if inputs.dim() != 2 or not _comparable(inputs, targets, "regression"):
        return None
    if inputs.shape[1] > COLUMNS or len(inputs) < 3 * inputs.shape[1]:
        return None
    table, numbers = _standardised(inputs, inputs), targets.double().reshape(len(targets), -1)
    centred = numbers - numbers.mean(0)
    # the normal equations of standardised columns, where equal columns share their weight
    weights = torch.linalg.pinv(table.T @ table, hermitian=True) @ (table.T @ centred)
    deviations = centred.square().sum()
    return float((centred - table @ weights).square().sum() / deviations) if float(deviations) else None


def _comparable(inputs: Tensor | None, targets: Tensor | None, task: str) -> bool:
    """Whether rows have distances and targets that can be compared."""
    if task not in ("classification", "regression") or inputs is None or targets is None:
        return False
    enough = inputs.is_floating_point() and len(inputs) >= 4 * NEIGHBOURS
    return enough and bool(inputs.isfinite().all()) and bool(targets.isfinite().all())


def _standardised(inputs: Tensor, by: Tensor) -> Float[Tensor, "rows columns"]:
    """Rows as vectors whose columns have the mean 0 and the deviation 1 in the rows of `by`; of many columns some."""
    table, reference = (rows.reshape(len(rows), -1) for rows in (inputs, by))
    spaced = slice(None, None, -(-table.shape[1] // COLUMNS))
    table, reference = table[:, spaced].double(), reference[:, spaced].double()
    spread = reference.std(0, correction=0)
    return (table - reference.mean(0)) / torch.where(spread > 0, spread, 1)


def _disagreeing(labels: Tensor, of_neighbours: Int[Tensor, "rows neighbours"]) -> float:
    """The share of rows whose label is not the most frequent one among their neighbours."""
    return float((of_neighbours.mode(1).values != labels).double().mean())


def _unexplained(numbers: Tensor, of_neighbours: Shaped[Tensor, "rows neighbours ..."]) -> float:
    """The share of the variance that is left after taking the neighbours' mean."""
    numbers, near = numbers.double(), of_neighbours.double().mean(1)
    deviations = (numbers - numbers.mean(0)).square().sum()
    return float((numbers - near).square().sum() / deviations) if float(deviations) else 1.0


# --- both splits ------------------------------------------------------------------------------------------------------


def _shared(train: Rows, validation: Rows) -> dict[str, Any]:
    """Rows of the validation split that are training rows too, and how many would be by chance."""
    if train.inputs is None or validation.inputs is None or train.inputs.shape[1:] != validation.inputs.shape[1:]:
        return {}
    if train.inputs.dtype != validation.inputs.dtype:
        return {}
    searched = train.inputs
    if train.whole is not None:
        most = max(len(searched), NUMBERS // max(1, searched[0].numel()))
        searched, _ = train.whole.at(torch.arange(min(most, train.total)))
    known, looked_for = _hashes(searched), _hashes(validation.inputs)
    count = int(torch.isin(looked_for, known).sum())
    expected = 0.0
    if count and _repeats(searched):
        _, index, counts = known.unique(return_inverse=True, return_counts=True)
        expected = float((counts[index] > 1).double().mean())
    return {
        "shared_rows": {
            "count": count,
            "of": len(looked_for),
            "share": count / len(looked_for),
            "searched": len(searched) / train.total,
        },
        "shared_rows_expected": expected,
    }


def _repeats(inputs: Tensor) -> bool:
    """Whether rows of such data may be equal by chance, so that the share of twins within train is what to expect.

    Not where some column is of numbers that hardly ever take a value twice, nor where even the nearest other row
    differs in many columns: rows of whole numbers differ in one or two from their nearest, images of 64 pixels in 30.
    """
    rows = inputs.reshape(len(inputs), -1)
    rows = rows[:: -(-len(rows) // NEIGHBOUR_ROWS)].double().unique(dim=0)
    if len(rows) < 2:
        return True
    if any(_continuous(column, len(rows)) for column in rows.T[:COLUMNS]):
        return False
    some = rows[:: -(-len(rows) // SOME)]
    apart = torch.cdist(some, rows, p=0)  # the number of columns in which they differ
    nearest = torch.where(apart > 0, apart, float("inf")).min(1).values
    return float(nearest.median()) < APART


def _continuous(column: Float[Tensor, " rows"], rows: int) -> bool:
    """Whether different rows have different values, which do not lie on a grid as whole numbers do.

    The smallest of the gaps between n numbers drawn from a range is about a 1 / n**2 of it, that of a grid 1 / n.
    """
    values = column.unique()
    if len(values) < FINE or len(values) < 0.9 * rows:
        return False
    return bool((values[-1] - values[0]) / values.diff().min() > 10 * len(values))
