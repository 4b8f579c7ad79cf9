"""When monitors are due, what happens when one fails, and how their values are read."""

import pytest
import torch
from torch import Tensor

from descend.monitors._monitor import Monitor, Step
from descend.monitors._panel import Panel, read


def step_at(number: int) -> Step:
    nothing = torch.zeros(1, 1)
    return Step(number, torch.tensor(0.5), nothing, nothing, nothing, "regression", 0.1, {"weight": torch.ones(3)}, {})


def loss_seen(step: Step) -> dict[str, Tensor]:
    return {"loss_seen/batch": step.loss}


def broken(step: Step) -> dict[str, Tensor]:
    raise ZeroDivisionError("no rows")


CHEAP = Monitor(loss_seen, unit="loss")
DEAR = Monitor(loss_seen, unit="loss", needs=frozenset({"activations"}), every=3)
LATE = Monitor(lambda step: {"late/all": step.loss}, unit="loss", needs=frozenset({"updates"}))


def test_a_panel_measures_the_first_update_and_every_few_after_it() -> None:
    panel = Panel({"cheap": CHEAP, "dear": DEAR}, every=20)
    assert [number for number in range(1, 150) if "cheap" in panel.due(number)] == list(range(1, 150, 20))
    assert [number for number in range(1, 150) if "dear" in panel.due(number)] == [1, 61, 121]
    assert panel.needs(1) == {"activations"}
    assert panel.needs(21) == panel.needs(2) == frozenset()


def test_monitors_of_updates_are_measured_after_the_update_and_the_others_before_it() -> None:
    panel = Panel({"cheap": CHEAP, "late": LATE})
    step = step_at(1)
    assert list(panel.measure(step, "before")) == ["loss_seen/batch"]
    step.parameters["weight"].sub_(0.25)
    assert list(panel.measure(step, "after")) == ["late/all"]
    assert torch.equal(step.updates["weight"], torch.full((3,), -0.25))


def test_a_monitor_that_fails_is_reported_once_and_switched_off_while_the_others_go_on() -> None:
    sentences: list[str] = []
    panel = Panel({"broken": Monitor(broken, unit="1"), "cheap": CHEAP}, report=sentences.append)
    for number in (1, 2, 3):
        assert list(panel.measure(step_at(number), "before")) == ["loss_seen/batch"]
    assert sentences == ["Monitor 'broken' failed at step 1 and is switched off: ZeroDivisionError: no rows"]
    with pytest.warns(UserWarning, match="'broken' failed"):
        Panel({"broken": Monitor(broken, unit="1")}).measure(step_at(1), "before")


def test_read_gives_floats_of_all_types_and_keeps_what_is_not_finite() -> None:
    values = {"a": torch.tensor(3), "b": torch.tensor(0.1, dtype=torch.float64), "c": torch.tensor(torch.inf)}
    assert read(values) == {"a": 3.0, "b": 0.1, "c": torch.inf}
    assert read({}) == {}
