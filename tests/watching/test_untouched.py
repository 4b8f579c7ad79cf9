"""Whatever goes wrong in watching, training goes on as if nobody watched; and nothing is left behind."""

from __future__ import annotations

import copy
import gc
import io
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import FAMILIES, criterion, mlp, sentences
from torch import Tensor, nn

import descend
from descend.monitors._monitor import Monitor
from descend.run import Run
from descend.watching import _backward
from descend.watching._watch import Watch

Watching = Callable[..., Watch]


def hooks(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """All that watching could leave on a model, an optimizer or torch."""
    found = [vars(module) for module in model.modules()]
    modules = [len(each[name]) for each in found for name in each if name.endswith("_hooks")]
    steps = len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)
    graph = sum(len(parameter._backward_hooks or ()) for parameter in model.parameters())
    return sum(modules) + steps + graph + hasattr(torch.autograd.backward, "tells") + len(_backward._LISTENERS)


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor], steps: int = 5
) -> list[float]:
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = criterion(model(data[0]), data[1])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def loop() -> tuple[nn.Module, torch.optim.Optimizer, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    model, data = mlp(), FAMILIES["mlp with dropout"][1]()
    return model, torch.optim.Adam(model.parameters(), lr=0.01), data


@pytest.fixture
def weights() -> list[Tensor]:
    """What five steps make of the model, unwatched."""
    model, optimizer, data = loop()
    train(model, optimizer, data)
    return list(model.parameters())


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError("broken on purpose")


def unwritten(*_: object, **__: object) -> None:
    raise OSError("broken on purpose")


PLACES = {
    "monitor before the update": ("descend.monitors.grad_norm.grad_norm", Monitor(broken, unit="")),
    "monitor after the update": (
        "descend.monitors.update_ratio.update_ratio",
        Monitor(broken, unit="", needs=frozenset({"updates"})),
    ),
    "monitor of activations": (
        "descend.monitors.activations.activations",
        Monitor(broken, unit="", needs=frozenset({"activations"})),
    ),
    "forward hook": ("descend.watching._forward.Forwards._before", broken),
    "capture": ("descend.monitors._capture.Capture.__enter__", broken),
    "captured activation": ("descend.monitors._capture._kind", broken),
    "loss": ("descend.facts.graph.unscaled", broken),
    "graph": ("descend.facts.graph.read", broken),
    "after the backward pass": ("descend.watching._gradients.Gradients.after_backward", broken),
    "before the update": ("descend.watching._loop.Loop._before_update", broken),
    "after the update": ("descend.watching._gradients.Gradients.updated", broken),
    "row": ("descend.run.Recorder.log", unwritten),
    "note": ("descend.run.Recorder.note", unwritten),
    "reading": ("descend.facts.rows.read", broken),
    "data": ("descend.facts.data.describe", broken),
    "network": ("descend.facts.network.of", broken),
    "evaluation": ("descend.watching._evaluate.Evaluation._run", broken),
    "predictions": ("descend.facts.predictions.of", broken),
    "criterion": ("conftest.criterion", broken),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_error_in_watching_is_reported_once_and_training_goes_on(
    watching: Watching, weights: list[Tensor], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    target, replacement = PLACES[place]
    model, optimizer, data = loop()
    loss = broken if place == "criterion" else criterion
    if place != "criterion":
        began = watching(model, optimizer) if place == "note" else None
        if began is not None:
            began.close()  # what is imported at the first use is imported unbroken
        monkeypatch.setattr(target, replacement)
    with pytest.warns(UserWarning, match="broken on purpose") as warned:  # noqa: PT031
        watched = watching(model, optimizer, loss=loss, train=data, every=2, evaluate_every=2)
        train(model, optimizer, data)
        watched.close()
    monkeypatch.undo()
    assert [torch.equal(seen, alone) for seen, alone in zip(model.parameters(), weights, strict=True)] == [True] * 4
    assert len([each for each in warned if "broken on purpose" in str(each.message)]) == 1
    assert len(sentences(watched)) == (0 if place in ("note", "row") else 1)
    assert hooks(model, optimizer) == 0


def test_where_warnings_are_errors_training_goes_on_too(
    watching: Watching, weights: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer, data = loop()
    monkeypatch.setattr("descend.watching._gradients.Gradients.updated", broken)
    with watching(model, optimizer) as watched:
        train(model, optimizer, data)
    assert [torch.equal(seen, alone) for seen, alone in zip(model.parameters(), weights, strict=True)] == [True] * 4
    assert ["broken on purpose" in sentence for sentence in sentences(watched)] == [True]


class Failing(nn.Module):
    """Fails in the second forward pass, inside."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act, self.calls, self.error = nn.Linear(8, 3), nn.ReLU(), 0, ArithmeticError("the user's own")

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise self.error
        return self.act(self.layer(inputs))


def test_an_error_of_the_users_code_passes_unchanged_and_is_noted(watching: Watching) -> None:
    model, data = Failing(), FAMILIES["mlp with dropout"][1]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ArithmeticError) as raised, watching(model, optimizer, every=1) as watched:
        train(model, optimizer, data)
    assert raised.value is model.error
    assert (watched.run.status, watched.run.steps) == ("failed", 2), "calls of ours do not count"
    assert watched.run.notes("ended")[0].details["error"] == "ArithmeticError: the user's own"
    assert hooks(model, optimizer) == 0


def test_an_error_in_the_backward_pass_passes_too(watching: Watching) -> None:
    model, optimizer, data = loop()
    loss = criterion(model(data[0]), data[1])
    with watching(model, optimizer) as watched:
        loss.backward()
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()
        train(model, optimizer, data, 2)
    assert (watched.run.steps, sentences(watched)) == (2, [])


def test_an_interrupted_run_says_so(watching: Watching) -> None:
    model, optimizer, data = loop()
    with pytest.raises(KeyboardInterrupt), watching(model, optimizer) as watched:  # noqa: PT012
        train(model, optimizer, data, 1)
        raise KeyboardInterrupt
    assert watched.run.status == "interrupted"


def test_a_hundred_watches_leave_no_hook(watching: Watching) -> None:
    model, optimizer, data = loop()
    original = torch.autograd.backward
    for _ in range(100):
        watched = watching(model, optimizer, monitors="none")
        watched.close()
        watched.close()
    assert (hooks(model, optimizer), torch.autograd.backward) == (0, original)
    train(model, optimizer, data, 1)
    assert watched.run.steps == 0


def test_two_loops_are_watched_side_by_side(watching: Watching) -> None:
    (one, first, data), (other, second, _) = loop(), loop()
    outer, inner = watching(one, first), watching(other, second)
    losses, others = [], []
    for _ in range(6):
        losses += train(one, first, data, 3)
        others += train(other, second, data, 2)
    outer.close()
    others += train(other, second, data, 2)
    inner.close()
    assert outer.run.series("loss/batch").y.tolist() == losses
    assert inner.run.series("loss/batch").y.tolist() == others
    assert outer.run.series("loss/batch", x="examples").x[-1] == 18 * len(data[0])
    assert hooks(one, first) + hooks(other, second) == 0


def test_a_watched_model_is_copied_and_saved_as_if_it_were_not_watched(watching: Watching) -> None:
    model, optimizer, data = loop()
    with watching(model, optimizer) as watched:
        saved = io.BytesIO()
        torch.save(model, saved)
        twins = [copy.deepcopy(model), torch.load(io.BytesIO(saved.getvalue()), weights_only=False)]
        train(model, optimizer, data, 1)
        for twin in twins:
            train(twin, torch.optim.Adam(twin.parameters(), lr=0.01), data, 1)
    assert b"descend" not in saved.getvalue(), "it can be loaded where descend is not installed"
    assert watched.run.series("loss/batch", x="examples").x.tolist() == [len(data[0])]
    assert hooks(twins[1], optimizer) == 1, "of the standard library, doing nothing"


def test_a_watch_that_was_forgotten_lasts_as_long_as_the_model(tmp_path: Path) -> None:
    def forgetful() -> None:
        model, optimizer, data = loop()
        descend.watch(model, optimizer, runs=tmp_path, name="run")
        gc.collect()
        train(model, optimizer, data, 3)

    forgetful()
    gc.collect()
    assert (Run(tmp_path / "run").status, Run(tmp_path / "run").steps) == ("finished", 3)
    assert not hasattr(torch.autograd.backward, "tells")


SCRIPT = """
import os, random, sys
import torch, descend
random.seed(1)
before = random.getstate()
inputs, targets = torch.randn(40, 3), torch.randint(2, (40,))
model = torch.nn.Linear(3, 2)
optimizer = torch.optim.AdamW(model.parameters())
loss = torch.nn.CrossEntropyLoss()
data = {"loss": loss, "train": (inputs, targets)}
watched = descend.watch(model, optimizer, monitors="all", runs=sys.argv[1], name="run", **data)
for step in range(4):
    optimizer.zero_grad()
    loss(model(inputs), targets).backward()
    optimizer.step()
    if step == 1 and os.fork() == 0:
        optimizer.step()
        sys.exit(0)
assert random.getstate() == before, "Python's random numbers are the user's"
if sys.argv[2] == "fails":
    raise ArithmeticError("the user's own")
"""


@pytest.mark.parametrize(("how", "status", "returns"), [("ends", "finished", 0), ("fails", "failed", 1)])
def test_a_script_that_ends_closes_its_record_and_a_fork_leaves_it_alone(
    tmp_path: Path, how: str, status: str, returns: int
) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == returns, done.stderr
    run = Run(tmp_path / "run")
    assert (run.status, run.steps, len(run.notes("ended"))) == (status, 4, 1)
    assert run.series("loss/train").x.tolist() == ([0, 4] if status == "finished" else [0])


def test_a_full_disk_does_not_stop_training(
    watching: Watching, weights: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    model, optimizer, data = loop()
    watched = watching(model, optimizer)
    monkeypatch.setattr("descend.files.os.write", full)
    with pytest.warns(UserWarning, match="No space left"):  # noqa: PT031
        train(model, optimizer, data)
        watched.close()
    monkeypatch.undo()
    assert [torch.equal(seen, alone) for seen, alone in zip(model.parameters(), weights, strict=True)] == [True] * 4


def test_a_step_holds_no_batch_longer_than_the_loop_does(watching: Watching) -> None:
    model, optimizer, (inputs, targets) = loop()
    seen: list[weakref.ref[Tensor]] = []

    with watching(model, optimizer, every=1):
        for _ in range(3):
            batch = inputs.clone()
            optimizer.zero_grad()
            criterion(model(batch), targets).backward()
            optimizer.step()
            seen.append(weakref.ref(batch))
            del batch
            gc.collect()
    assert [each() for each in seen] == [None] * 3
