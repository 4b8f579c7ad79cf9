"""Imports point down, and nothing heavy is imported before it is used."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from importlinter import cli

from descend.recipe import Recipe
from descend.run import Recorder

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "matplotlib", "pandas", "scipy", "sklearn", "pyarrow", "plotext", "rich", "tensorboardX")


def test_imports_point_down(capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), cache_dir=None)
    assert status == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out


def loaded(program: str, *arguments: object) -> set[str]:
    """The packages that a program has loaded at its end, in a fresh interpreter."""
    tell = "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", textwrap.dedent(program) + tell, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


def test_importing_descend_loads_nothing_heavy() -> None:
    assert not loaded("import descend; dir(descend); descend.RecipeError") & {*HEAVY, "numpy", "msgspec"}


def test_catalogs_and_recipes_load_nothing_heavy() -> None:
    program = """
        import descend
        every = (descend.DATA, descend.MODELS, descend.INITS, descend.LOSSES, descend.OPTIMIZERS, descend.SCHEDULES)
        for catalog in (*every, descend.MONITORS):
            for entry in catalog:
                catalog.options(entry), catalog.summary(entry)
        recipe = descend.Recipe(data="moons", model="mlp", optimizer="adam", monitors="all")
        recipe.but(lr=0.1).to_toml(), recipe._repr_html_()
    """
    assert not loaded(program) & {*HEAVY, "numpy"}


def test_reading_a_run_loads_nothing_heavy(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", Recipe(data="moons")) as recorder:
        for step in range(100):
            recorder.log(step, step, float(step), {"loss": 1.0})
        recorder.note("ended", 99, why="finished")
    program = """
        import sys
        import descend
        run = descend.Run(sys.argv[1])
        run.series("loss", x="seconds").downsample(10), run.notes(), run.recipe, list(run.follow()), repr(run)
        run.to_csv(sys.argv[1] + ".csv"), descend.list_runs(".")
    """
    assert not loaded(program, tmp_path / "run") & {*HEAVY}


def test_the_doctor_and_all_its_checks_load_nothing_heavy(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", Recipe(data="moons")) as recorder:
        for step in range(1, 300):
            recorder.log(step, step, float(step), {"loss/batch": 1.0, "lr/0": 0.1})
        recorder.note("ended", 299, why="finished")
    program = """
        import sys
        from descend.catalog import CHECKS
        from descend.doctor._judge import diagnose
        from descend.run import Run
        assert len(diagnose(Run(sys.argv[1])).checked) > 10 and len([CHECKS[name].symptom for name in CHECKS]) > 40
    """
    assert not loaded(program, tmp_path / "run") & {*HEAVY}
