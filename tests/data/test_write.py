from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from descend.catalog import DATA
from descend.data._dataset import Dataset
from descend.data._write import write_table
from descend.data.characters import characters
from descend.data.employee_bonus import employee_bonus
from descend.data.table import table
from descend.errors import DataError


@pytest.mark.parametrize("name", sorted(set(DATA) - {"characters", "table"}))
def test_table_reads_back_what_was_written(name: str, load: Callable[..., Dataset], tmp_path: Path) -> None:
    size = {"rows": 300} if "rows" in DATA.options(name) else {}
    data = load(name, validation=0.0, test=0.0, **size)
    file, _ = write_table(data, tmp_path / f"{name}.csv")
    # An identifier and the pixels that are always 0 are to be left out, as table says.
    options = {"employee_bonus": {"drop": "id"}, "digits": {"drop": "pixel_0_0,pixel_4_0,pixel_4_7"}}.get(name, {})
    raw = {"scale": "none", "scale_target": "none", "validation": 0.0, "duplicates": "together"}
    again = table(file=str(file), target=data.targets[0], task=data.task, **raw, **options)
    varying = data.train.inputs.flatten(1)
    varying = varying[:, (varying != varying[0]).any(dim=0)]
    assert again.task == data.task
    assert torch.equal(again.train.inputs, varying)
    if data.task == "regression":
        assert torch.equal(again.train.targets, data.train.targets)
    else:
        assert [again.classes[k] for k in again.train.targets] == [data.classes[k] for k in data.train.targets]


def test_the_bonus_table_has_employee_ids_and_its_truth_beside_it(tmp_path: Path) -> None:
    file, truth = write_table(employee_bonus(), tmp_path / "bonus.csv")
    lines = file.read_text().splitlines()
    assert lines[0] == "id,performance,years_of_experience,projects_completed,bonus"
    assert lines[1] == "EMP_001,7,2,4,124"
    assert len(lines) == 101
    assert truth.name == "bonus.truth.json"
    assert json.loads(truth.read_text())["weights"] == {
        "performance": 12,
        "years_of_experience": 6,
        "projects_completed": 2,
        "bias": 20,
    }
    with pytest.raises(DataError, match=r"column 'id' \(EMP_001, EMP_002, \.\.\.\) names the rows.*drop=id"):
        table(file=str(file), target="bonus")
    assert table(file=str(file), target="bonus", drop="id").task == "regression"


def test_a_split_and_scaled_data_set_is_written_whole_and_in_raw_units(tmp_path: Path) -> None:
    whole = employee_bonus()
    parts = employee_bonus(validation=0.3, test=0.1, scale="standard")
    file, _ = write_table(parts, tmp_path / "bonus.csv")
    rows = sorted(line.split(",") for line in file.read_text().splitlines()[1:])
    assert [row[0] for row in rows] == list(whole.ids)
    found = torch.tensor([[float(value) for value in row[1:4]] for row in rows])
    torch.testing.assert_close(found, whole.train.inputs, rtol=1e-6, atol=1e-6)


def test_text_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'characters' is text, not a table"):
        write_table(characters(rows=20), tmp_path / "text.csv")
    with pytest.raises(DataError, match=r"There is no folder .*nowhere to write bonus\.csv into"):
        write_table(employee_bonus(), tmp_path / "nowhere" / "bonus.csv")
