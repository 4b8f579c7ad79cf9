"""A claim that cannot fail proves nothing. Here they are broken: in the library behind them, and in their bands."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from dataclasses import replace
from functools import reduce
from typing import Any, Final, NamedTuple

import pytest

from book import ledger
from book.ledger import Band, Experiment, experiments
from book.page import PAGE, page


class Break(NamedTuple):
    """A claim, a function of descend behind it, and the mistake that is put into its source."""

    claim: str
    module: str
    function: str
    right: str
    wrong: str


BREAKS: Final = [
    Break(
        "backpropagation.difference_table", "descend.backprop.differences", "central_difference", "i, -h", "i, -h / 2"
    ),
    Break("gradient_descent.raw_limit", "descend.train.stability", "mse_hessian", "2 / len", "1 / len"),
    Break(
        "gradient_descent.factor_two",
        "descend.losses",
        "mse",
        "mse_loss(outputs, targets)",
        "mse_loss(outputs, targets) / 2",
    ),
    Break("gd_variants.last_batch", "descend.train.batches", "Batches.weight", "rows / self.size", "1.0"),
    Break("optimizers.rmsprop_start", "descend.optim.rmsprop", "step", "1 - alpha", "1 - alpha / 2"),
    Break("optimizers.adagrad_decay", "descend.optim.adagrad", "step", ".sqrt()", ""),
    Break("optimizers.decay_alone", "descend.optim.adamw", "step", "lr * weight_decay", "weight_decay"),
    Break("monitoring.early_stop", "descend.train.stop", "EarlyStopping.see", ".clone()", ""),
    Break("monitoring.clipping", "descend.optim._clip", "clip_by_norm", "max_norm / (norm", "1 / (norm"),
    Break("notebooks.data_generation", "descend.data.employee_bonus", "employee_bonus", "+ _BIAS", ""),
]

every_break = pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.claim)


def experiment(broken: Break) -> Experiment:
    (found,) = [one for one in experiments(broken.claim.partition(".")[0]) if one.name == broken.claim]
    return found


def measured(one: Experiment) -> dict[str, float]:
    """The values measured anew; none where that raises."""
    forget(one)
    try:
        return one.run()
    except AssertionError:  # a notebook that compares its own results stops there
        return {}
    finally:
        forget(one)


def forget(one: Experiment) -> None:
    """Let what the claims of a chapter share be measured anew."""
    for value in vars(inspect.getmodule(one.measure)).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


def holds(values: dict[str, float], bands: dict[str, Band]) -> bool:
    return all(name in values and values[name] in band for name, band in bands.items())


@every_break
def test_a_moved_band_and_a_mistake_in_the_library_turn_the_claim_red(
    broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = experiment(broken)
    values = measured(one)
    assert holds(values, one.claims)
    for factor in (2.0, 0.5):
        moved = {name: Band(band.low * factor, band.high * factor, "") for name, band in one.claims.items()}
        assert not holds(values, moved)
    module = importlib.import_module(broken.module)
    function: Any = inspect.unwrap(reduce(getattr, broken.function.split("."), module))
    source = textwrap.dedent(inspect.getsource(function))
    assert broken.right in source
    made: dict[str, Any] = {}
    body = source[source.index("def ") :].replace(broken.right, broken.wrong)
    exec(compile(f"from __future__ import annotations\n{body}", broken.module, "exec"), vars(module) | {}, made)
    monkeypatch.setattr(function, "__code__", made[function.__name__].__code__)
    assert not holds(measured(one), one.claims)


@every_break
@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_band_made_wider_or_narrower_by_a_factor_of_two_turns_the_ledger_red(
    broken: Break, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = experiment(broken)
    assert page() == PAGE.read_text(encoding="utf-8")
    changed = replace(one, bands=rescaled(one, factor))
    monkeypatch.setitem(ledger._EXPERIMENTS, one.name, changed)
    assert page() != PAGE.read_text(encoding="utf-8")


def rescaled(one: Experiment, factor: float) -> dict[str, Band]:
    """The bands as they would be with every number that sets their width multiplied, in the source of the claim."""
    module = inspect.getmodule(one.measure)
    assert module is not None
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(one.measure)))).body
    assert isinstance(function, ast.FunctionDef)
    (decorator,) = function.decorator_list
    assert isinstance(decorator, ast.Call)
    for call in ast.walk(decorator.args[0]):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("near", "below", "above"):
            widths = [word.value for word in call.keywords] or call.args
            for width in widths:
                width.value *= factor  # type: ignore[attr-defined]
    bands = eval(compile(ast.Expression(decorator.args[0]), "", "eval"), vars(module))
    return {"": bands} if isinstance(bands, Band) else bands
