"""descend: a Recipe says what to train, training writes a Run, and everything else reads the Run.

    import descend

    recipe = descend.Recipe(data="moons", model="mlp", optimizer="adam", lr=3e-3)
    run = descend.fit(recipe)
    run.series("loss/validation", x="seconds")

Nothing is imported until it is used: `import descend` loads neither torch nor matplotlib nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from descend.catalog import CHECKS, DATA, FAULTS, INITS, LOSSES, MODELS, MONITORS, OPTIMIZERS, SCHEDULES
    from descend.comparison import Comparison, compare
    from descend.curing._cure import Cure, cure
    from descend.doctor._judge import Diagnosis, diagnose
    from descend.errors import (
        CheckpointError,
        DataError,
        DescendError,
        MissingExtraError,
        RecipeError,
        RunBusyError,
        RunError,
    )
    from descend.inspection import preflight
    from descend.mapping._map import Map, survey
    from descend.probing import probe
    from descend.range_test._lr_range import lr_range
    from descend.range_test._result import RangeTest
    from descend.recipe import Recipe
    from descend.recommending._recommend import recommend
    from descend.recommending._recommendation import Recommendation
    from descend.run import Recorder, Run, Series, list_runs
    from descend.surgery import insert_norms, reinitialise, swap_activations
    from descend.sweeping._outcomes import Outcomes, outcomes
    from descend.sweeping._space import grid, sample
    from descend.sweeping._sweep import Sweep, sweep
    from descend.train.fit import fit, load_model, resume
    from descend.watching._watch import watch

__all__ = [
    "CHECKS",
    "DATA",
    "FAULTS",
    "INITS",
    "LOSSES",
    "MODELS",
    "MONITORS",
    "OPTIMIZERS",
    "SCHEDULES",
    "CheckpointError",
    "Comparison",
    "Cure",
    "DataError",
    "DescendError",
    "Diagnosis",
    "Map",
    "MissingExtraError",
    "Outcomes",
    "RangeTest",
    "Recipe",
    "RecipeError",
    "Recommendation",
    "Recorder",
    "Run",
    "RunBusyError",
    "RunError",
    "Series",
    "Sweep",
    "backprop",
    "compare",
    "cure",
    "diagnose",
    "fit",
    "grid",
    "insert_norms",
    "list_runs",
    "load_model",
    "lr_range",
    "optim",
    "outcomes",
    "preflight",
    "probe",
    "recommend",
    "reinitialise",
    "resume",
    "sample",
    "survey",
    "swap_activations",
    "sweep",
    "watch",
]

_PARTS: Final = ("backprop", "optim")  # subpackages with a public surface of their own
_HOMES: Final = {
    "catalog": ("CHECKS", "DATA", "FAULTS", "INITS", "LOSSES", "MODELS", "MONITORS", "OPTIMIZERS", "SCHEDULES"),
    "comparison": ("Comparison", "compare"),
    "curing._cure": ("Cure", "cure"),
    "doctor._judge": ("Diagnosis", "diagnose"),
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
    "inspection": ("preflight",),
    "mapping._map": ("Map", "survey"),
    "probing": ("probe",),
    "range_test._lr_range": ("lr_range",),
    "range_test._result": ("RangeTest",),
    "recipe": ("Recipe",),
    "recommending._recommend": ("recommend",),
    "recommending._recommendation": ("Recommendation",),
    "run": ("Recorder", "Run", "Series", "list_runs"),
    "sweeping._outcomes": ("Outcomes", "outcomes"),
    "sweeping._space": ("grid", "sample"),
    "sweeping._sweep": ("Sweep", "sweep"),
    "surgery": ("insert_norms", "reinitialise", "swap_activations"),
    "train.fit": ("fit", "load_model", "resume"),
    "watching._watch": ("watch",),
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home, when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version  # 30 ms

        return version("descend")
    if name in _PARTS:
        return importlib.import_module(f"descend.{name}")
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(importlib.import_module(f"descend.{home}"), name)
            return value
    raise AttributeError(f"module 'descend' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
