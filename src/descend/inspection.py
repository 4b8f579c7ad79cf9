"""preflight: what can be known about a training before its first step, on a copy and a few batches."""

from __future__ import annotations

import copy
import math
import tempfile
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from descend.doctor._chart import Chart
from descend.doctor._judge import Diagnosis, judge
from descend.errors import DescendError
from descend.facts import network, optimizer, rows
from descend.facts.network import STOCHASTIC, unwrapped
from descend.watching._arguments import require
from descend.watching._forward import first_tensor
from descend.watching._watch import watch

STEPS: Final = 2  # of the user's own optimizer, on the copy: what the loss is given and which gradients arrive
ONE_BATCH: Final = 16  # rows to learn by heart: few enough for any model that can learn at all
LEARNING_RATES: Final = (1e-2, 1e-3)  # of Adam; a model that fails with both is not held up by its learning rate
TRIES: Final = 150  # steps with each
FITTED: Final = 0.05  # of the first loss: then it has learned the batch

STOPS: Final = frozenset({"label_range", "loss_mismatch", "no_gradient"})
"""Findings that say why a step cannot be taken."""

Loss = Callable[[Any, Any], Tensor]


def preflight(
    model: nn.Module, loss: Loss, optimizer: Optimizer, train: object, validation: object = None
) -> Diagnosis:
    """What is wrong with a training before it starts. Takes seconds, and changes nothing of what it is given.

        descend.preflight(model, nn.CrossEntropyLoss(), optimizer, train_loader, validation_loader)

    `train` and `validation` are a DataLoader, a Dataset or an (inputs, targets) pair. They are not iterated: rows are
    read from their data set, and random numbers are afterwards as they were. Two steps are taken with a copy of model
    and optimizer, and another copy learns 16 rows by heart.

    Raises DescendError where a step cannot be taken (it says why), unless a finding explains it.
    """
    require([model], [optimizer], loss)
    found = rows.read(train)
    if found is None or found.inputs is None or found.targets is None:
        raise DescendError(
            "preflight reads rows of inputs and targets, which this training data does not give by number. "
            "Give a DataLoader over a map-style data set, such a data set, or a pair of tensors (inputs, targets)."
        )
    size = found.batch_size or 32
    batches = [(found.inputs[i * size :][:size], found.targets[i * size :][:size]) for i in range(STEPS)]
    batches = [batch for batch in batches if len(batch[0]) > 1] or batches[:1]
    with rows.undisturbed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch warns of here is what the findings name
        facts, error = _first_steps(model, loss, optimizer, batches, train, validation)
        if error is None and _finite(batches[0][0]):
            facts["one_batch"] = _one_batch(model, loss, batches[0][0][:ONE_BATCH], batches[0][1][:ONE_BATCH])
    diagnosis = judge(Chart(facts=facts))
    if error is not None and not STOPS.intersection(finding.check for finding in diagnosis.findings):
        reason = " ".join(str(error).split())
        also = "".join(f" Found before it: {finding.sentence}" for finding in diagnosis.findings)
        told = f"{type(error).__name__}: {reason.rstrip('.')}."
        raise DescendError(f"The first step cannot be taken: {told}{also}") from error
    return diagnosis


def _first_steps(
    model: nn.Module,
    loss: Loss,
    optimizing: Optimizer,
    batches: list[tuple[Tensor, Tensor]],
    train: object,
    validation: object,
) -> tuple[dict[str, Any], Exception | None]:
    """The facts that a watched loop of two steps on a copy leaves, and what it raised."""
    twin, its_optimizer = copy.deepcopy((unwrapped(model), optimizing))  # together, so that they share the parameters
    place = _place(twin)
    error, heard = None, False
    with tempfile.TemporaryDirectory() as runs:
        watched = watch(twin, its_optimizer, train=train, validation=validation, runs=runs, monitors="none")
        try:
            for inputs, targets in batches:
                its_optimizer.zero_grad()
                outputs = _output(twin(inputs.to(place)))
                heard = True
                loss(outputs, targets.to(place)).backward()
                its_optimizer.step()
        except Exception as raised:
            error = raised
        watched.close()
        assert watched.run is not None, "preflight runs in one process"
        facts = Chart(watched.run).facts
    # names and membership are those of the user's own objects: a parameter that is no part of the model stays strange
    facts["optimizer"] = optimizer.of({"model": model}, optimizing)
    facts["network"] = network.of(model, batches[0][0].to(place) if heard else None)
    for topic in ("gradients", "modes", "predictions"):
        facts.pop(topic, None)  # of two steps in a loop of ours
    return facts, error


def _one_batch(model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> Mapping[str, Any]:
    """Topic "one_batch": how far a copy, without dropout, learns a few rows by heart; the better of two rates."""
    tries = [_by_heart(model, loss, inputs, targets, lr) for lr in LEARNING_RATES]
    return min(tries, key=lambda each: each["loss_last"] if math.isfinite(each["loss_last"]) else math.inf)


def _by_heart(model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor, lr: float) -> dict[str, Any]:
    twin = copy.deepcopy(unwrapped(model)).train()
    for module in twin.modules():
        if isinstance(module, STOCHASTIC):
            module.eval()
    place = _place(twin)
    inputs, targets = inputs.to(place), targets.to(place)
    trained = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    adam = torch.optim.Adam(trained, lr) if trained else None
    losses: list[float] = []
    for _ in range(TRIES if adam else 1):
        value = loss(_output(twin(inputs)), targets)
        losses.append(value.item())
        if adam is None or not value.requires_grad or not losses[-1] > FITTED * losses[0]:
            break
        adam.zero_grad()
        value.backward()
        adam.step()
    return {
        "loss_first": losses[0],
        "loss_last": min(losses[-5:]),
        "steps": len(losses),
        "lr": lr,
        "rows": len(inputs),
    }


def _output(made: Any) -> Any:
    """What the loss is given: the output itself, or the first tensor of several (an LSTM's, a named tuple's)."""
    return made if isinstance(made, Tensor) else first_tensor(made)


def _place(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _finite(values: Tensor) -> bool:
    return bool(values.isfinite().all()) if values.is_floating_point() else True
