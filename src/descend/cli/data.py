"""descend data: look at a data set, or write it to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from descend.catalog import DATA
from descend.cli._command import json_flag
from descend.cli._fields import DataCommand, Source, fields_of, given
from descend.cli._print import number, print_json, print_table
from descend.recipe import Recipe

if TYPE_CHECKING:
    import torch

    import descend.data._dataset

EXAMPLES = (
    "descend data moons",
    "descend data spirals --classes 3 --noise 0.05 --json",
    "descend data employee_bonus --noise 1 --out bonus.csv",
    "descend data houses.csv --target price",
)

ROWS: Final = 5  # of a preview
COLUMNS: Final = 8


@click.command(
    cls=DataCommand,
    examples=EXAMPLES,
    short_help="Look at a data set, or write it to a CSV.",
)
@click.argument("source", type=Source())
@click.option("--out", metavar="FILE.csv", type=click.Path(path_type=Path), help="Write it, and its truth beside it.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@json_flag
@click.pass_context
def command(ctx: click.Context, source: str, out: Path | None, force: bool, as_json: bool) -> None:
    """Show the first rows of a data set, their shapes and ranges, and the truth where it is known; or write a CSV.

    SOURCE is the name of a data set (`descend list data`; `descend list data moons` shows its options) or a CSV or
    Parquet file of your own, whose column to predict is --target.
    """
    recipe = Recipe(**fields_of(source) | given(ctx))
    dataset = DATA[recipe.data](**recipe.part("data"))
    if out:
        _write(dataset, out, force=force, as_json=as_json)
    elif as_json:
        print_json(_facts(dataset))
    else:
        _print(dataset)


def _write(dataset: descend.data._dataset.Dataset, file: Path, *, force: bool, as_json: bool) -> None:
    from descend.data._write import write_table

    if file.suffix != ".csv":
        raise click.UsageError(
            f"--out writes a CSV, so call it {file.with_suffix('.csv').name} rather than {file.name}."
        )
    if file.exists() and not force:
        raise click.UsageError(f"{file} is there already. Choose another name, or overwrite it with --force.")
    table, truth = write_table(dataset, file)
    if as_json:
        print_json({"table": str(table), "truth": str(truth)})
    else:
        click.echo(f"Wrote {table}, and what is true of it to {truth}.")


def _parts(dataset: descend.data._dataset.Dataset) -> dict[str, descend.data._dataset.Split]:
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {name: part for name, part in parts.items() if part is not None}


def _facts(dataset: descend.data._dataset.Dataset) -> dict[str, Any]:
    """What there is to know of a data set, in plain values; inputs and targets as a model is given them."""
    inputs, targets = dataset.train
    return {
        "name": dataset.name,
        "task": dataset.task,
        "rows": {name: len(part.inputs) for name, part in _parts(dataset).items()},
        "input_shape": list(inputs.shape[1:]),
        "range": [inputs.min().item(), inputs.max().item()],
        "features": {name: [low, high] for name, low, high in _ranges(dataset)},
        "targets": dataset.targets,
        "target_range": [targets.min().item(), targets.max().item()],
        "classes": dataset.classes,
        "standardised": dataset.input_scale is not None,
        "truth": dataset.truth,
        "bayes_error": dataset.bayes_error,
        "first_rows": [
            {"inputs": row.tolist(), "target": target.tolist()}
            for row, target in zip(inputs[:ROWS], targets[:ROWS], strict=True)
        ],
    }


def _ranges(dataset: descend.data._dataset.Dataset) -> list[tuple[str, float, float]]:
    """Name, least and greatest value of each feature over the training rows, where a row is a list of features."""
    inputs = dataset.train.inputs
    if inputs.dim() != 2 or dataset.tokens:
        return []
    names = dataset.features or [f"x{number}" for number in range(1, inputs.shape[1] + 1)]
    return list(zip(names, inputs.amin(0).tolist(), inputs.amax(0).tolist(), strict=True))


def _print(dataset: descend.data._dataset.Dataset) -> None:
    inputs, targets = dataset.train
    parts = ", ".join(f"{len(part.inputs):,} {name}" for name, part in _parts(dataset).items())
    click.echo(f"{dataset.name}: {dataset.task}; rows: {parts}; an input has the shape {_shape(inputs)}.")
    if dataset.classes:
        click.echo(f"Classes: {', '.join(map(repr, dataset.classes))}.")
    else:
        span = f"{number(targets.min().item())} to {number(targets.max().item())}"
        scaled = ", standardised" if dataset.target_scale else ""
        click.echo(f"Target: {', '.join(dataset.targets) or 'one number'}, from {span}{scaled}.")
    if dataset.truth:
        click.echo(f"True weights: {', '.join(f'{name} {value:g}' for name, value in dataset.truth.items())}.")
    if dataset.bayes_error is not None:
        click.echo(f"The least error that any model can reach on fresh rows: {number(dataset.bayes_error)}.")
    if dataset.tokens:
        click.echo(f"The first row:\n{''.join(dataset.classes[token] for token in inputs[0].tolist())}")
    elif ranges := _ranges(dataset):
        _print_columns(dataset, ranges)
    else:
        click.echo(f"Inputs go from {number(inputs.min().item())} to {number(inputs.max().item())}.")


def _print_columns(dataset: descend.data._dataset.Dataset, ranges: list[tuple[str, float, float]]) -> None:
    """The first columns: their ranges and their first values."""
    inputs, targets = (tensor[:ROWS].tolist() for tensor in dataset.train)
    rows = [
        (name, number(low), number(high), *(number(row[column]) for row in inputs))
        for column, (name, low, high) in enumerate(ranges[:COLUMNS])
    ]
    answers = [dataset.classes[target] if dataset.classes else number(target[0]) for target in targets]
    heads = ("feature", "least", "greatest", *(f"row {row}" for row in range(1, len(inputs) + 1)))
    title = "Standardised by the training rows" if dataset.input_scale else None
    print_table(heads, [*rows, ("target", "", "", *answers)], title)
    if len(ranges) > COLUMNS:
        click.echo(f"... and {len(ranges) - COLUMNS} more features.")


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape[1:])) or "one number"
