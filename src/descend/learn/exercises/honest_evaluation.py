"""5.6 An evaluation that does not depend on its batches and leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from descend.learn import Answer, Exercise, Observation, expect_close, expect_true


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, sizes = ((30, (7, 1)), (23, (8, 3)), (50, (16, 49)))[variant]
    inputs = torch.from_numpy(draw.normal(1, 2, size=(rows, 5))).float()
    labels = torch.from_numpy(draw.integers(3, size=rows))
    torch.manual_seed(int(draw.integers(1000)))
    last = nn.Linear(8, 3)
    with torch.no_grad():
        last.weight.mul_(4)
    body, head = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU()), nn.Sequential(nn.Dropout(0.5), last)
    model = nn.Sequential(body, head)
    loss_of = nn.CrossEntropyLoss()
    loss_of(model(inputs), labels).backward()  # gradients that a loop has not used yet
    body.eval()  # frozen on purpose
    truth = _truth(model, inputs, labels)
    before = _state(model)
    random = torch.get_rng_state()
    for size in sizes:
        batches = list(zip(inputs.split(size), labels.split(size), strict=True))
        answer = yours.evaluate(model, loss_of, batches)
        graph = isinstance(answer, Tensor) and answer.requires_grad
        yield expect_true(
            "the loss", not graph, observed="a tensor with a graph behind it", expected="a number without one"
        )
        yield expect_close(f"the mean loss of {rows} rows in batches of {size}", answer, truth, rel=1e-4)
        modes, tensors = _state(model)
        changed = [name for name in modes if modes[name] != before[0][name]]
        where = changed[0] if changed else ""
        yield expect_true(
            "the mode of each module afterwards",
            not changed,
            observed=f"{'training' if modes.get(where) else 'evaluation'} mode in '{where or 'the model'}'",
            expected="the mode that it was in before",
        )
        yield expect_close("weights, statistics and gradients afterwards", tensors, before[1], rel=0)
    yield expect_true(
        "torch's random numbers afterwards",
        torch.equal(random, torch.get_rng_state()),
        observed="numbers have been drawn",
        expected="none drawn",
    )


def _truth(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """The mean loss in evaluation mode; the modes are afterwards as they were."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(model(inputs), labels))
    for module, mode in modes:
        module.training = mode
    return loss


def _state(model: nn.Module) -> tuple[dict[str, bool], Any]:
    """The mode of each module by name, and all numbers that belong to the model."""
    gradients = [part.grad for part in model.parameters() if part.grad is not None]
    tensors = [*model.state_dict().values(), *gradients]
    return (
        {name: module.training for name, module in model.named_modules()},
        torch.cat([part.detach().double().flatten() for part in tensors]),
    )


honest_evaluation = Exercise(
    number="5.6",
    title="An evaluation that leaves no trace",
    anchor="evaluation-that-changes-nothing",
    minutes=15,
    task="""
Mend evaluate(model, loss_of, batches), so that it returns the mean loss over all rows as the trained model answers
them in use: the same number however the rows are cut into batches, and without a trace. Weights, running statistics,
gradients and random numbers must stay what they were, and every module must be in the mode it was in before (a part of
the model may be frozen in evaluation mode on purpose).

`batches` is a list of pairs (inputs, targets); loss_of(outputs, targets) gives the mean loss of a batch, a tensor.
""",
    starter='''
import torch


def evaluate(model, loss_of, batches):
    """The mean loss over all rows, a number."""
    losses = [loss_of(model(inputs), targets) for inputs, targets in batches]
    return sum(losses) / len(losses)
''',
    hints=(
        "Which batch is smaller than the others, and how much does each of its rows count?",
        "Dropout and batch norm behave differently in training mode, and batch norm learns in it.",
        "model.train() at the end is wrong where the model was not in training mode, or a part of it was not.",
        "Remember module.training for each of model.modules(), and put it back, even after an exception.",
    ),
    explanation="""
A validation loss that moves with the batch size is no property of the model. The mean of batch means counts the rows of
a short last batch more; batch norm in training mode normalises by the neighbours, and lets validation rows into the
running statistics; dropout draws random numbers, so that training goes on differently after an evaluation than without
it. model.train() afterwards undoes a frozen part, which is why the mode of each module is put back.
""",
    untouched="the loss",
    check=check,
)
