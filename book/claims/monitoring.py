"""What chapter 5 claims: what is seen of a training, and what may be concluded from it."""

from __future__ import annotations

import contextlib
import copy
import importlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import descend
from book.claims import above, below, between, claim, exactly, near
from book.claims._shared import folder
from descend import DATA, Recipe, Run, diagnose, faults, fit
from descend.doctor._chart import Chart
from descend.facts.non_finite import locate
from descend.optim._clip import clip_by_norm, global_norm
from descend.train.stability import mse_hessian_eigenvalues
from descend.train.stop import EarlyStopping

# --- shared with the figures ------------------------------------------------------------------------------------------


@cache
def trained(recipe: Recipe) -> Run:
    return fit(recipe, runs=folder())


@cache
def broken(problem: str) -> Run:
    """What `descend break PROBLEM` trains."""
    return faults.show(problem, runs=folder()).sick


@cache
def with_fault(recipe: Recipe, fault: str) -> Run:
    """An ordinary PyTorch loop with one bug in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return faults.run(recipe, fault, runs=folder())


@cache
def bonus(scale: str = "none") -> tuple[Tensor, Tensor]:
    """The employee-bonus data in float64: inputs [100, 3] and bonuses [100, 1]."""
    split = DATA["employee_bonus"](scale=scale).train
    return split.inputs.double(), split.targets.double()


@cache
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and validation rows of the digits: [rows, 64] between 0 and 1, and labels."""
    data = DATA["digits"]()
    return (
        data.train.inputs.flatten(1),
        data.train.targets,
        data.validation.inputs.flatten(1),
        data.validation.targets,
    )


def network(*widths: int, seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    """A dense ReLU network with PyTorch's initial weights."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for one, next_ in itertools.pairwise(widths):
        layers += [nn.Linear(one, next_), nn.ReLU()] + ([nn.Dropout(dropout)] if dropout else [])
    return nn.Sequential(*layers[: -2 if dropout else -1])


def series(run: Run, name: str) -> np.ndarray[Any, Any]:
    return run.series(name).y


DIGITS = Recipe(data="digits", model="mlp", optimizer="sgd", lr=0.1, epochs=10, monitors="all", monitor_every=10)
"""The healthy run of the chapter."""

# --- before the first step --------------------------------------------------------------------------------------------


@claim(
    {
        "digits": near(2.314, abs=0.01),
        "ten_classes": near(math.log(10), rel=1e-9),
        "variance": near(1450.6156, rel=1e-6),
        "mean": near(136.62, rel=1e-9),
        "zero": near(20115.64, rel=1e-6),
    },
    why="closed forms of fixed data; the first loss of a network is theirs but for its random answers",
    seeds="0",
)
def first_loss() -> dict[str, float]:
    inputs, labels, _, _ = digits()
    _, y = bonus()
    return {
        "digits": nn.functional.cross_entropy(network(64, 64, 10)(inputs), labels).item(),
        "ten_classes": Chart(trained(DIGITS)).fact("start", "expected"),
        "variance": float(y.var(correction=0)),
        "mean": float(y.mean()),
        "zero": float(nn.functional.mse_loss(torch.zeros_like(y), y)),
    }


@claim(
    {
        "ln2": near(math.log(2), rel=1e-9),
        "prior": near(0.328, rel=0.01),
        "share": near(10.2, rel=0.01),
        "steps": near(17, abs=1),
        "at_prior": near(0.33, rel=0.03),
        "bias": near(-0.317, abs=0.03),
        "bias_prior": near(-2.180, abs=0.005),
    },
    why="closed forms of fixed labels; the steps move by one or two with the seed, and the bias with them",
    seeds="0",
)
def prior() -> dict[str, float]:
    """Is it a three? One in ten is. A bias of zero spends its first steps on finding that out."""
    inputs, labels, _, _ = digits()
    target = (labels == 3).float()[:, None]
    share = float(target.mean())
    guessing = -share * math.log(share) - (1 - share) * math.log(1 - share)

    def losses(bias: float) -> tuple[list[float], list[float]]:
        model = network(64, 64, 1)
        nn.init.constant_(model[-1].bias, bias)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        seen, biases = [], []
        for _ in range(40):
            biases.append(model[-1].bias.item())
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(inputs), target)
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
        return seen, biases

    at_prior = math.log(share / (1 - share))
    (plain, biases), (informed, _) = losses(0.0), losses(at_prior)
    steps = next(step for step, loss in enumerate(plain) if loss < informed[0])
    return {
        "ln2": math.log(2),
        "prior": guessing,
        "share": 100 * share,
        "steps": steps,
        "at_prior": informed[0],
        "bias": biases[steps],
        "bias_prior": at_prior,
    }


def by_heart(model: nn.Module, inputs: Tensor, labels: Tensor, lr: float = 1e-2, most: int = 300) -> tuple[int, float]:
    """Steps of Adam until one batch has a twentieth of its first loss (`most` if never), and the last loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    first = last = math.nan
    for step in range(most):
        loss = nn.functional.cross_entropy(model(inputs), labels)
        last = loss.item()
        first = last if step == 0 else first
        if last < 0.05 * first:
            return step, last
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return most, last


@claim(
    {
        "healthy": near(13, abs=2),
        "shuffled": near(18, abs=3),
        "softmax": near(1.58, abs=0.1),
    },
    why="one batch of 16; the steps move by a few with the seed, and nothing gets below the floor of 1.4612",
    seeds="0",
)
def one_batch() -> dict[str, float]:
    inputs, labels, _, _ = digits()
    draw = torch.Generator().manual_seed(0)
    mixed = labels[torch.randperm(len(labels), generator=draw)]
    twice = nn.Sequential(network(64, 64, 64, 10), nn.Softmax(dim=1))
    return {
        "healthy": by_heart(network(64, 64, 64, 10), inputs[:16], labels[:16])[0],
        "shuffled": by_heart(network(64, 64, 64, 10), inputs[:16], mixed[:16])[0],
        "softmax": by_heart(twice, inputs[:16], labels[:16])[1],
    }


def judged_after(inputs: Tensor, labels: Tensor, held: Tensor, answers: Tensor, steps: int = 150) -> float:
    """The validation loss after some full-batch steps."""
    model = network(64, 64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    with torch.no_grad():
        return nn.functional.cross_entropy(model(held), answers).item()


@claim(
    {
        "inputs": near(0.178, rel=0.15),
        "zeros": near(2.303, abs=0.01),
        "shuffled": above(2.4),
    },
    why="rounding moves the small loss by some per cent; what no input can lower stays at ln 10",
    seeds="0",
)
def baseline() -> dict[str, float]:
    """The same training with the inputs, without them, and with labels that belong to other rows."""
    inputs, labels, held, answers = digits()
    mixed = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    return {
        "inputs": judged_after(inputs, labels, held, answers),
        "zeros": judged_after(inputs * 0, labels, held * 0, answers),
        "shuffled": judged_after(inputs, mixed, held, answers),
    }


@claim(exactly(1), why="a fact: one finding, or not", seeds="0")
def preflight_finds() -> float:
    """Whether the double softmax is all that preflight finds."""
    inputs, labels, held, answers = digits()
    model = nn.Sequential(network(64, 64, 10), nn.Softmax(dim=1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    found = descend.preflight(model, nn.CrossEntropyLoss(), optimizer, (inputs, labels), (held, answers))
    return float([finding.check for finding in found.first] == ["double_softmax"])


# --- signals ----------------------------------------------------------------------------------------------------------


@claim(
    {
        "first": near(3146.2, rel=1e-4),
        "last": near(8.08e-5, rel=0.05),
        "ratio": near(3.9e7, rel=0.05),
        "loss": near(2.87e-8, rel=0.1),
    },
    why="full-batch gradient descent on fixed data from zero; only rounding differs",
)
def bonus_gradient() -> dict[str, float]:
    """The gradient of a run that is healthy from beginning to end, in the units of the data."""
    norms, loss = bonus_norms()
    return {"first": norms[0], "last": norms[-1], "ratio": norms[0] / norms[-1], "loss": loss}


@cache
def bonus_norms(factor: float = 1.0, lr: float = 0.0075, steps: int = 12_000) -> tuple[np.ndarray[Any, Any], float]:
    """Norms of the gradient of `factor` times the mean squared error under descent from zero; and the last loss."""
    x, y = (part.numpy() for part in bonus())
    design = np.column_stack([x, np.ones(len(x))])
    weights, norms = np.zeros((4, 1)), np.empty(steps)
    for step in range(steps):
        gradient = factor * 2 / len(x) * design.T @ (design @ weights - y)
        norms[step] = np.linalg.norm(gradient)
        weights -= lr / factor * gradient
    return norms, float(((design @ weights - y) ** 2).mean())


@claim(
    {
        "gradient": near(1000, rel=1e-3),
        "update": near(1, abs=1e-3),
        "edge": near(1, abs=1e-3),
        "loss": near(1, abs=1e-3),
    },
    why="exact in real numbers; float32 rounds",
    seeds="0",
)
def thousandfold() -> dict[str, float]:
    """A loss multiplied by 1000, a learning rate divided by it: each signal over what it was."""
    inputs, labels, _, _ = digits()

    def watched(factor: float) -> Run:
        model = network(64, 32, 10)
        optimizer = torch.optim.SGD(model.parameters(), 0.1 / factor)
        with descend.watch(model, optimizer, runs=folder(), every=1, monitors="grad_norm,update_ratio") as watching:
            for _ in range(20):
                optimizer.zero_grad()
                (factor * nn.functional.cross_entropy(model(inputs[:256]), labels[:256])).backward()
                optimizer.step()
        assert watching.run is not None
        return watching.run

    def sharp(factor: float) -> float:
        model = network(64, 32, 10)
        names = dict(model.named_parameters())
        flat = torch.cat([part.detach().flatten() for part in names.values()])

        def loss(vector: Tensor) -> Tensor:
            pieces = vector.split([part.numel() for part in names.values()])
            parts = {name: piece.view_as(part) for (name, part), piece in zip(names.items(), pieces, strict=True)}
            outputs = torch.func.functional_call(model, parts, (inputs[:256],))
            return factor * nn.functional.cross_entropy(outputs, labels[:256])

        vector = torch.ones_like(flat) / len(flat) ** 0.5
        size = vector.norm()
        for _ in range(20):
            product = torch.autograd.functional.hvp(loss, flat, vector)[1]
            size = product.norm()
            vector = product / size
        return 0.1 / factor * float(size)

    one, other = watched(1.0), watched(1000.0)
    ends = {name: series(other, name)[-1] / series(one, name)[-1] for name in ("grad_norm/all", "update_ratio/all")}
    return {
        "gradient": ends["grad_norm/all"],
        "update": ends["update_ratio/all"],
        "edge": sharp(1000.0) / sharp(1.0),
        "loss": series(other, "loss/batch")[-1] / series(one, "loss/batch")[-1] / 1000,
    }


@claim(
    {
        "update": near(0.0090, rel=0.2),
        "update_adam": near(0.0021, rel=0.2),
        "edge": near(0.73, rel=0.15),
        "variance": near(0.53, rel=0.2),
        "dead": near(10.9, abs=4),
        "scale": near(39.7, rel=0.25),
        "batches": near(1.24, rel=0.25),
        "gradient": near(0.83, rel=0.2),
        "accuracy": near(92.8, abs=2),
    },
    why="medians of one run of ten epochs; other seeds differ by a fifth, noise and dead units by more",
    seeds="0",
)
def healthy() -> dict[str, float]:
    run, adam = trained(DIGITS), trained(DIGITS.but(optimizer="adam", lr=1e-3))
    scale = float(np.median(series(run, "gradient_noise/scale")))
    return {
        "update": float(np.median(series(run, "update_ratio/all"))),
        "update_adam": float(np.median(series(adam, "update_ratio/all"))),
        "edge": float(series(run, "sharpness/of_limit")[-1]),
        "variance": float(np.median(series(run, "input_variance/activations.1"))),
        "dead": 100 * float(series(run, "dead_units/activations.1")[-1]),
        "scale": scale,
        "batches": scale / 32,
        "gradient": float(np.median(series(run, "grad_norm/all"))),
        "accuracy": 100 * run.last("accuracy/validation"),
    }


@claim(
    {
        "update_low": near(5.2e-07, rel=0.2),
        "edge": near(1.02, rel=0.05),
        "variance": near(2.6e-7, rel=0.2),
        "dead": exactly(100),
    },
    why="runs of `descend break`; each is sick by orders of magnitude",
    seeds="0",
)
def sick() -> dict[str, float]:
    """The same signals in runs that are ill."""
    hot = trained(DIGITS.but(lr=3.0, epochs=1))
    vanishing = broken("vanishing_gradients")
    dead = with_fault(Recipe(data="digits", model="mlp", lr=0.1, epochs=10), "dead_relus")
    name = next(name for name in vanishing.names() if name.startswith("input_variance/activations.7"))
    units = [name for name in dead.names() if name.startswith("dead_units/")]
    return {
        "update_low": float(np.median(series(broken("update_ratio"), "update_ratio/all"))),
        "edge": float(np.nanmax(series(hot, "sharpness/of_limit"))),
        "variance": float(series(vanishing, name)[-1]),
        "dead": 100 * max(float(series(dead, unit)[-1]) for unit in units),
    }


# --- symptoms ---------------------------------------------------------------------------------------------------------


@claim(
    {
        "two": near(0.31326, rel=1e-4),
        "ten": near(1.46115, rel=1e-4),
        "hundred": near(3.62221, rel=1e-4),
        "trained": near(1.503, rel=0.02),
        "accuracy": near(96.9, abs=2),
    },
    why="closed forms; the trained network is one run, and other seeds come as near to the floor",
    seeds="0",
)
def double_softmax() -> dict[str, float]:
    """Cross-entropy of answers that are sure and right, after one softmax too many; and a loop that has it."""
    floors = [float(nn.functional.cross_entropy(torch.eye(k).double(), torch.arange(k))) for k in (2, 10, 100)]
    run = with_fault(Recipe(data="digits", model="mlp", optimizer="adam", lr=3e-3, epochs=10), "double_softmax")
    names = ("two", "ten", "hundred")
    return dict(zip(names, floors, strict=True)) | {
        "trained": run.last("loss/train"),
        "accuracy": 100 * run.last("accuracy/train"),
    }


@claim(
    {
        "loss": near(1450.62, rel=1e-5),
        "least": near(136.62, abs=0.01),
        "most": near(136.62, abs=0.01),
        "right": below(1e-6),
    },
    why="a convex problem of fixed data: both loops converge",
)
def broadcast() -> dict[str, float]:
    """(n, 1) minus (n,), trained to the end; and the same loop with both as columns."""
    x, y = bonus("standard")

    def descended(targets: Tensor) -> tuple[Tensor, float]:
        weight, bias = torch.zeros(3, 1).double().requires_grad_(), torch.zeros(1).double().requires_grad_()
        optimizer = torch.optim.SGD([weight, bias], 0.3)
        for _ in range(1000):
            optimizer.zero_grad()
            loss = ((x @ weight + bias - targets) ** 2).mean()
            loss.backward()
            optimizer.step()
        return (x @ weight + bias).detach(), loss.item()

    answers, loss = descended(y.flatten())
    return {
        "loss": loss,
        "least": float(answers.min()),
        "most": float(answers.max()),
        "right": descended(y)[1],
    }


@claim(
    {
        "predicted": near(62.8056, rel=1e-4),
        "measured": near(62.79, rel=2e-3),
        "loss": near(31.40, rel=2e-3),
        "amplitude": near(1.001, abs=2e-3),
    },
    why="63 crossings and 63 peaks of the loss in 2000 steps, each counted to one step",
)
def never_zeroed() -> dict[str, float]:
    """A loop without zero_grad on x squared / 2, learning rate 0.01: it swings for ever."""
    x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([x], 0.01)
    path = []
    for _ in range(2000):
        (0.5 * x.square()).sum().backward()
        optimizer.step()
        path.append(x.item())
    crossings = [step for step in range(1, 2000) if path[step - 1] * path[step] < 0]
    measured = 2 * (crossings[-1] - crossings[0]) / (len(crossings) - 1)
    size = [abs(place) for place in path]  # of which the loss is half the square
    peaks = [step for step in range(1, 1999) if size[step - 1] < size[step] >= size[step + 1]]
    return {
        "predicted": 2 * math.pi / math.acos(1 - 0.01 / 2),
        "measured": measured,
        "loss": (peaks[-1] - peaks[0]) / (len(peaks) - 1),
        "amplitude": max(map(abs, path)),
    }


BEYOND = Recipe(data="employee_bonus", lr=0.01, batch_size="all", steps=300)
"""The popular learning rate, beyond the stability limit of the data."""


@cache
def descended_too_fast(steps: int = 250) -> tuple[list[float], list[bool]]:
    """Gradient descent with lr=0.01 in float32, as a plain loop goes on with it: losses, and are weights finite?"""
    x, y = (part.float() for part in bonus())
    model = nn.Linear(3, 1)
    for part in model.parameters():
        nn.init.zeros_(part)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    losses, finite = [], []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        finite.append(all(bool(part.isfinite().all()) for part in model.parameters()))
    return losses, finite


@claim(
    {
        "predicted": near(2.3830, rel=1e-3),
        "measured": near(2.3830, rel=2e-3),
        "limit": near(0.0078629, rel=1e-3),
        "finite": near(86, abs=2),
        "last": between(1e36, 3.4e38),
        "until": near(187, abs=2),
        "nan": near(190, abs=2),
        "pace": near(2.38, abs=0.006),
    },
    why="an eigenvalue of fixed data; where float32 overflows, some steps more or less",
    seeds="0",
)
def too_fast() -> dict[str, float]:
    """How long gradient descent explodes before anything is NaN."""
    losses, finite = descended_too_fast()
    top = float(mse_hessian_eigenvalues(bonus()[0])[-1])
    count = int(np.isfinite(losses).sum())
    told = str(diagnose(trained(BEYOND)))
    return {
        "predicted": (1 - 0.01 * top) ** 2,
        "measured": float((losses[60] / losses[10]) ** (1 / 50)),
        "limit": 2 / top,
        "finite": float(count),
        "last": losses[count - 1],
        "until": float(sum(finite)),
        "nan": float(np.isnan(losses).argmax() + 1),
        "pace": float(" ".join(told.split()).partition("-fold at each step")[0].rpartition(" ")[2]),
    }


CAUSES = ("rate", "sign", "zero_grad", "order", "schedule")


@cache
def rising(cause: str, slower: float = 1.0, steps: int = 200) -> dict[str, Any]:
    """Descent on the standardised bonus data, with noise, that goes wrong for one reason; learning rates / `slower`.

    The losses of all rows after each step; the steps at which they rise; and there the cosine of the angle between the
    update and the downhill direction, of the batch and of all rows.
    """
    split = DATA["employee_bonus"](scale="standard", noise=20.0).train
    design = np.column_stack([split.inputs.double().numpy(), np.ones(100)])
    target = split.targets.double().numpy()[:, 0]
    order = np.argsort(target, kind="stable")
    lr = {"rate": 0.55, "sign": 0.01, "zero_grad": 0.01, "order": 0.1, "schedule": 0.1}[cause] / slower
    weights, velocity = np.zeros(4), np.zeros(4)

    def gradient(rows: Any) -> Any:
        return 2 / len(rows) * design[rows].T @ (design[rows] @ weights - target[rows])

    everything = np.arange(100)
    losses = [float(((design @ weights - target) ** 2).mean())]
    ours, all_rows = [], []
    for step in range(steps):
        rows = order[10 * (step % 10) :][:10] if cause == "order" else everything
        rate = lr * 6 if cause == "schedule" and step >= 20 else lr
        downhill, full = -gradient(rows), -gradient(everything)
        velocity = velocity + downhill if cause == "zero_grad" else downhill
        update = -rate * velocity if cause == "sign" else rate * velocity
        weights = weights + update
        losses.append(float(((design @ weights - target) ** 2).mean()))
        ours.append(_cosine(update, downhill))
        all_rows.append(_cosine(update, full))
    rises = np.flatnonzero(np.diff(losses) > 0)
    return {
        "losses": losses,
        "rises": 100 * len(rises) / steps,
        "first": float(rises[0] + 1) if len(rises) else math.nan,
        "batch": float(np.mean([ours[step] for step in rises])) if len(rises) else math.nan,
        "full": float(np.mean([all_rows[step] for step in rises])) if len(rises) else math.nan,
    }


def _cosine(one: Any, other: Any) -> float:
    size = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / size) if size else 1.0


@claim(
    {
        **{f"{cause}.batch": near(1, abs=1e-6) for cause in ("rate", "order", "schedule")},
        **{f"{cause}.full": near(1, abs=1e-6) for cause in ("rate", "schedule")},
        **{f"{cause}.tenth": exactly(0) for cause in ("rate", "schedule")},
        "sign.batch": near(-1, abs=1e-6),
        "sign.full": near(-1, abs=1e-6),
        "sign.tenth": exactly(100),
        "sign.rises": exactly(100),
        "sign.first": exactly(1),
        "rate.rises": near(99, abs=1),
        "rate.first": exactly(3),
        "zero_grad.batch": near(-0.82, abs=0.01),
        "zero_grad.full": near(-0.82, abs=0.01),
        "zero_grad.rises": near(49.5, abs=1),
        "zero_grad.tenth": near(47.5, abs=1),
        "zero_grad.first": exactly(12),
        "order.full": near(0.16, abs=0.01),
        "order.rises": near(36.5, abs=1),
        "order.tenth": near(20.5, abs=1),
        "order.first": exactly(14),
        "schedule.rises": near(79.5, abs=1),
        "schedule.first": between(41, 43),
        "limit": near(0.49936, rel=1e-4),
    },
    why="deterministic descent on fixed data in float64",
)
def causes() -> dict[str, float]:
    """Five reasons for a rising loss, told apart by what the update does."""
    found = {"limit": 2 / float(mse_hessian_eigenvalues(bonus("standard")[0])[-1])}
    for cause in CAUSES:
        seen = rising(cause)
        found |= {f"{cause}.{what}": seen[what] for what in ("batch", "full", "first", "rises")}
        found[f"{cause}.tenth"] = rising(cause, 10.0)["rises"]
    return found


# --- NaN --------------------------------------------------------------------------------------------------------------


@claim(
    {
        "single": near(88.7228, abs=1e-3),
        "half": near(11.0898, abs=1e-3),
        "largest": exactly(65504),
        "brain": near(88.72, abs=0.01),
    },
    why="constants of the formats; the search is to a ten-thousandth",
)
def overflow() -> dict[str, float]:
    """The largest number whose exponential is finite."""

    def threshold(dtype: torch.dtype) -> float:
        top = torch.tensor(torch.finfo(dtype).max, dtype=torch.float64)
        low, high = 0.0, 200.0
        while high - low > 1e-5:
            middle = (low + high) / 2
            finite = bool(torch.tensor(middle, dtype=torch.float64).exp() <= top)
            low, high = (middle, high) if finite else (low, middle)
        assert torch.tensor(low - 0.1, dtype=torch.float64).to(dtype).exp().isfinite()
        return low

    return {
        "single": threshold(torch.float32),
        "half": threshold(torch.float16),
        "largest": torch.finfo(torch.float16).max,
        "brain": threshold(torch.bfloat16),
    }


class Step(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


ROWS = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
WAYS: tuple[tuple[str, Callable[[Tensor], Tensor], Tensor, Callable[[Tensor], Tensor], str, str], ...] = (
    ("log 0", lambda z: z.softmax(1), torch.tensor([[200.0, 0.0]]), lambda p: -p.log().mean(), "operation", "log"),
    ("0 / 0", lambda z: z / z.norm(dim=1, keepdim=True), ROWS, Tensor.mean, "operation", "div"),
    ("exp", lambda z: z.exp() / z.exp().sum(1, keepdim=True), 100 * ROWS[:1], Tensor.mean, "operation", "exp"),
    ("float16", lambda z: (70_000 * z).half().float(), ROWS, Tensor.mean, "operation", "to_copy"),
    ("one row", lambda z: (z - z.mean(0)) / z.std(0), ROWS[:1], Tensor.mean, "operation", "std"),
    ("empty mask", lambda z: z, ROWS, lambda z: z[z > 9].mean(), "operation", "mean"),
    ("root of 0", lambda z: z.square().sum(1).sqrt(), ROWS, Tensor.mean, "gradient", "sqrt"),
    ("where", lambda z: torch.where(z > 0, z.log(), 0 * z), ROWS, Tensor.mean, "gradient", "log"),
    ("bad datum", lambda z: z, torch.tensor([[1.0, math.nan]]), Tensor.mean, "input", ""),
)
"""Ways to a NaN: name, the layer, the rows, the loss, and what descend says is at fault first."""


def located(way: int) -> tuple[str, str]:
    """What is not finite first, and the operation that made it so."""
    _, function, rows, loss_of, _, _ = WAYS[way]
    model = nn.Sequential(nn.Linear(2, 2, bias=False), Step(function))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = loss_of(model(rows))
        loss.backward()
        problem = locate(loss.item(), model, rows, lambda: model(rows), loss_of)
    return problem.what, problem.operation or ""


def anomaly(way: int) -> str:
    """The operation that PyTorch's anomaly mode names; empty where it is silent."""
    _, function, rows, loss_of, _, _ = WAYS[way]
    model = nn.Sequential(nn.Linear(2, 2, bias=False), Step(function))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.autograd.set_detect_anomaly(True):
                loss_of(model(rows)).backward()
        except RuntimeError as error:
            return str(error).split("'")[1].lower()
    return ""


@claim(
    {
        "ways": exactly(9),
        "named": exactly(9),
        "silent": exactly(2),
        "anomaly": exactly(2),
    },
    why="facts, counted",
)
def not_finite() -> dict[str, float]:
    """Nine ways to a NaN, of which descend names the operation, and PyTorch's anomaly mode a few."""
    return {
        "ways": float(len(WAYS)),
        "named": float(sum(located(number) == way[4:] for number, way in enumerate(WAYS))),
        "silent": float(sum(anomaly(number) == "" for number in range(len(WAYS)))),
        "anomaly": float(sum(bool(way[5]) and way[5] in anomaly(number) for number, way in enumerate(WAYS))),
    }


@claim(
    {
        "first": near(2.334, rel=0.01),
        "last": near(0.620, rel=0.05),
        "largest": near(2.00, rel=0.05),
        "step": exactly(45),
    },
    why="one run of one epoch; where the last batch is follows from the number of rows",
    seeds="0",
)
def suddenly() -> dict[str, float]:
    """A healthy run that divides by the deviation of its batch, until a batch has one row."""
    inputs, labels, _, _ = digits()
    dense = network(64, 64, 10)
    model = nn.Sequential(dense[0], Step(lambda z: (z - z.mean(0)) / (z.std(0) + 1e-5)), dense[1], dense[2])
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses, norms = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rows in torch.arange(44 * 32 + 1).split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            norms.append(float(global_norm([part.grad for part in model.parameters()])))
            losses.append(loss.item())
            optimizer.step()
    lost = int(np.isnan(losses).argmax())
    return {"first": losses[0], "last": losses[lost - 1], "largest": max(norms[:lost]), "step": lost + 1.0}


# --- clipping ---------------------------------------------------------------------------------------------------------


@cache
def clipped(share: float | None, error: float = 3000.0) -> dict[str, Any]:
    """SGD on the standardised bonus data in which two rows in a hundred are wrong, clipped at a percentile.

    share: the percentile of the norms of an unclipped run; None for no clipping. What comes back are the errors on the
    true bonuses, and of the steps that were clipped the share that saw a wrong row.
    """
    x, y = bonus("standard")
    draw = torch.Generator().manual_seed(0)
    wrong = y.clone()
    wrong[[17, 71]] += error
    norms, clips, errors = [], [], []
    limit = math.inf if share is None else float(np.percentile(clipped(None, error)["norms"], share))
    weight, bias = torch.zeros(3, 1).double().requires_grad_(), y.mean().reshape(1).clone().requires_grad_()
    optimizer = torch.optim.SGD([weight, bias], 0.02)
    for _ in range(1500):
        rows = torch.randint(100, (4,), generator=draw)
        optimizer.zero_grad()
        ((x[rows] @ weight + bias - wrong[rows]) ** 2).mean().backward()
        gradients = [weight.grad, bias.grad]
        norms.append(float(global_norm(gradients)))
        if norms[-1] > limit:
            clip_by_norm(gradients, limit)
            clips.append(bool(torch.isin(rows, torch.tensor([17, 71])).any()))
        optimizer.step()
        errors.append(float(((x @ weight + bias - y) ** 2).mean().detach()))
    return {
        "late": float(np.mean(errors[500:])),
        "share": len(clips) / 15,
        "bad": 100 * float(np.mean(clips or [0])),
        "norms": norms,
    }


@claim(
    {
        "none": near(8495, rel=0.05),
        "ninety": near(538, rel=0.05),
        "share": near(7.47, abs=0.5),
        "predicted": near(7.763, abs=0.001),
        "bad": near(100, abs=1),
        "half": near(34, rel=0.05),
        "clean": near(0.212, rel=0.05),
        "clean_half": near(542, rel=0.05),
    },
    why="one order of the rows in float64; another order is another experiment",
    seeds="0",
)
def clipping() -> dict[str, float]:
    """Two bad rows, and what is left of their harm when their gradients are clipped."""
    none, ninety, half = clipped(None), clipped(90.0), clipped(50.0)
    return {
        "none": none["late"],
        "ninety": ninety["late"],
        "share": ninety["share"],
        "predicted": 100 * (1 - 0.98**4),
        "bad": ninety["bad"],
        "half": half["late"],
        "clean": clipped(None, 0.0)["late"],
        "clean_half": clipped(50.0, 0.0)["late"],
    }


@claim(
    {
        "share": exactly(100),
        "loss": near(134.63, rel=1e-3),
        "unclipped": near(0.7249, rel=1e-3),
        "same": below(1e-6),
    },
    why="full-batch descent on fixed data",
    seeds="0",
)
def clipped_always() -> dict[str, float]:
    """A limit of 1 on the raw bonus data, and a tenth of it at ten times the learning rate."""
    recipe = Recipe(data="employee_bonus", lr=0.0075, batch_size="all", steps=2000, clip_norm=1.0, dtype="float64")
    run, other = trained(recipe), trained(recipe.but(lr=0.075, clip_norm=0.1))
    loss = run.last("loss/train")
    return {
        "share": 100 * float((series(run, "clip/norm_before") > 1).mean()),
        "loss": loss,
        "unclipped": trained(recipe.but(clip_norm=None)).last("loss/train"),
        "same": abs(other.last("loss/train") / loss - 1),
    }


# --- training and validation ------------------------------------------------------------------------------------------


DROPOUT = Recipe(
    data="digits", model="mlp", dropout=0.5, optimizer="adam", lr=3e-3, epochs=8, evaluate_every=45, monitors="none"
)


@claim(
    {
        "mean": near(2.083, rel=0.02),
        "mode": near(1.646, rel=0.04),
        "train": near(1.475, rel=0.04),
        "validation": near(1.490, rel=0.04),
        "later": near(0.169, rel=0.15),
        "later_mean": near(0.390, rel=0.15),
        "below": exactly(8),
    },
    why="one run; other seeds differ by some per cent",
    seeds="0",
)
def four_losses() -> dict[str, float]:
    """The loss after an epoch, measured in four ways; and how often validation is below what the epoch printed."""
    run = trained(DROPOUT)
    batches = series(run, "loss/batch").reshape(-1, 45).mean(axis=1)
    held = series(run, "loss/validation")[1:]
    return {
        "mean": batches[0],
        "mode": series(run, "loss/train_mode")[1],
        "train": series(run, "loss/train")[1],
        "validation": held[0],
        "later": held[-1],
        "later_mean": batches[-1],
        "below": float((held < batches).sum()),
    }


@claim(
    {
        "above": exactly(10),
        "evaluations": exactly(10),
        "lowest": exactly(10),
        "gap": near(37, abs=10),
    },
    why="counted in one run; the gap moves with the seed",
    seeds="0",
)
def always_above() -> dict[str, float]:
    """A healthy run whose validation loss is above the training loss from the first evaluation to the last."""
    run = trained(DIGITS)
    train, held = series(run, "loss/train")[1:], series(run, "loss/validation")[1:]
    return {
        "above": float((held > train).sum()),
        "evaluations": float(len(held)),
        "lowest": float(held.argmin() + 1),
        "gap": 100 * float(held[-1] / train[-1] - 1),
    }


@claim(
    {
        "leak.train": near(0.084, rel=0.3),
        "leak.validation": near(0.107, rel=0.3),
        "leak.fresh": near(1.36, rel=0.2),
        "linear.train": near(0.23, rel=0.05),
        "linear.validation": near(0.19, rel=0.05),
    },
    why="one run each; a network that learns rows by heart ends elsewhere with another seed",
    seeds="0",
)
def equal_losses() -> dict[str, float]:
    """Training and validation loss close to each other, and both times it is no good sign."""
    data = DATA["moons"](noise=0.4, rows=300, validation=0.5, test=0.0)
    fresh = DATA["moons"](noise=0.4, rows=2000, data_seed=1).train
    inputs, labels = (torch.cat(parts) for parts in zip(data.train, data.validation, strict=True))
    model = network(2, 128, 128, 128, 2)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(400):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    with torch.no_grad():
        losses = [
            nn.functional.cross_entropy(model(rows), answers).item()
            for rows, answers in ((inputs, labels), data.validation, fresh)
        ]
    linear = broken("underfitting")
    names = ("leak.train", "leak.validation", "leak.fresh")
    return dict(zip(names, losses, strict=True)) | {
        "linear.train": linear.last("loss/train"),
        "linear.validation": linear.last("loss/validation"),
    }


# --- early stopping ---------------------------------------------------------------------------------------------------


OVERFITS = descend.CHECKS["overfitting"].sick.recipe


@claim(
    {
        "best": near(0.402, rel=0.03),
        "best_step": exactly(50),
        "stopped": exactly(175),
        "at_stop": near(0.443, rel=0.05),
        "restored": below(1e-6),
        "last": near(1.285, rel=0.1),
        "reference": below(1e-6),
    },
    why="one run of a network that learns rows by heart; the step of the best moves with the seed",
    seeds="0",
)
def early_stop() -> dict[str, float]:
    """What patience=5 keeps of the overfitting run, and what a reference in place of a copy keeps."""
    run = trained(OVERFITS.but(patience=5))
    ended = run.notes("ended")[-1].details
    held = run.series("loss/validation")
    validation = DATA["moons"](**OVERFITS.part("data")).validation
    model = descend.load_model(run)
    with torch.no_grad():
        again = nn.functional.cross_entropy(model(validation.inputs), validation.targets).item()

    # the same with `best = model.state_dict()`, which is no copy
    torch.manual_seed(0)
    model, best = network(2, 8, 2), None
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(validation.inputs), validation.targets).backward()
        optimizer.step()
        best = model.state_dict() if step == 5 else best
    last = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(best)
    moved = max(float((value - last[name]).abs().max()) for name, value in model.state_dict().items())
    return {
        "best": ended["best_loss"],
        "best_step": float(ended["best_step"]),
        "stopped": float(run.steps),
        "at_stop": float(held.y[-1]),
        "restored": abs(again - ended["best_loss"]),
        "last": broken("overfitting").last("loss/validation"),
        "reference": moved,
    }


def stops(curve: np.ndarray[Any, Any], patience: int) -> int:
    """The number of evaluations after which early stopping ends a run with these validation losses."""
    stopper, model = EarlyStopping(patience), nn.Identity()
    for evaluation, loss in enumerate(curve, start=1):
        stopper.see(float(loss), evaluation, model)
        if stopper.exhausted:
            return evaluation
    return len(curve)


@claim(
    {
        "five": near(66.7, abs=1),
        "five_predicted": near(200 / 3, rel=1e-9),
        "twenty": near(33.3, abs=1),
        "twenty_predicted": near(100 / 3, rel=1e-9),
    },
    why="3 standard errors of 20,000 draws are one in a hundred",
    seeds="0",
)
def records() -> dict[str, float]:
    """How often patience ends a run at once, after ten evaluations of nothing but noise: k / (k + p)."""
    draw = np.random.default_rng(0)
    found = {}
    for name, patience in (("five", 5), ("twenty", 20)):
        noise = draw.normal(size=(20_000, 10 + patience))
        ended = noise[:, :10].min(axis=1) < noise[:, 10:].min(axis=1)
        found |= {name: 100 * float(ended.mean()), f"{name}_predicted": 100 * 10 / (10 + patience)}
    return found


def learning_curve(length: float = 20.0, evaluations: int = 200) -> np.ndarray[Any, Any]:
    """What the validation loss would be without noise: it falls from 0.8 to 0.3, by a factor e in `length`."""
    return 0.3 + 0.5 * np.exp(-np.arange(evaluations) / length)


PATIENCES = (1, 2, 5, 10, 20)


SHARES = {
    **dict(zip([(3, patience) for patience in PATIENCES], (98.75, 36.25, 0, 0, 0), strict=True)),
    **dict(zip([(10, patience) for patience in PATIENCES], (100, 99.75, 26.25, 0, 0), strict=True)),
    **dict(zip([(30, patience) for patience in PATIENCES], (100, 100, 93, 24.25, 0), strict=True)),
}
"""In per cent, by the noise in thousandths and the patience."""


@cache
def too_early(noise: float, patience: int, length: float = 20.0, curves: int = 400) -> float:
    """The share of noisy learning curves, in per cent, that are ended while more than 0.05 is still to be had."""
    truth = learning_curve(length, int(10 * length))
    draw = np.random.default_rng(0)
    ends = [stops(truth + draw.normal(0, noise, len(truth)), patience) for _ in range(curves)]
    return 100 * float(np.mean([truth[end - 1] > 0.35 for end in ends]))


@claim(
    {f"{noise}.{patience}": near(share, abs=7 if 0 < share < 100 else 1) for (noise, patience), share in SHARES.items()}
    | {"often": near(100, abs=3), "often_long": near(12, abs=5)},
    why="3 standard errors of 400 curves are 7 per cent at most, and none where all stop or none",
    seeds="0",
)
def patience() -> dict[str, float]:
    """Curves that are ended too early, by the noise of the validation loss and the patience."""
    found = {f"{noise}.{patience}": too_early(noise / 1000, patience) for noise, patience in SHARES}
    return found | {"often": too_early(0.01, 5, 100.0, 200), "often_long": too_early(0.01, 25, 100.0, 200)}


@cache
def validation_paths() -> np.ndarray[Any, Any]:
    """The loss of each of 359 validation rows at 60 evaluations of a run that has levelled off: [60, 359]."""
    inputs, labels, held, answers = digits()
    model = network(64, 32, 10)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    paths = []
    for step in range(2400):
        rows = torch.randint(len(inputs), (16,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
        optimizer.step()
        if step >= 1200 and step % 20 == 0:
            with torch.no_grad():
                paths.append(nn.functional.cross_entropy(model(held), answers, reduction="none").numpy())
    return np.stack(paths)


def jitter(rows: int, draws: int = 50) -> float:
    """By how much the mean loss of so many validation rows changes from one evaluation to the next, over its mean."""
    paths, draw = validation_paths(), np.random.default_rng(0)
    subsets = [paths[:, draw.choice(paths.shape[1], rows, replace=False)].mean(axis=1) for _ in range(draws)]
    return 100 * float(np.mean([np.diff(path).std() / 2**0.5 / path.mean() for path in subsets]))


@claim(
    {"r10": near(27, rel=0.2), "r40": near(13.4, rel=0.15), "r160": near(7, rel=0.15), "r359": near(4.4, rel=0.15)},
    why="50 draws of rows from one run, whose path rounding may change",
    seeds="0",
)
def validation_noise() -> dict[str, float]:
    """The noise of the validation loss by the number of its rows, in per cent."""
    return {f"r{rows}": jitter(rows) for rows in (10, 40, 160, 359)}


# --- checkpoints ------------------------------------------------------------------------------------------------------


def train_epochs(epochs: range, state: dict[str, Any] | None = None, leave_out: str = "") -> dict[str, Any]:
    """Some epochs of an ordinary loop with dropout, momentum and a schedule, from a checkpoint if one is given."""
    inputs, labels, _, _ = digits()
    inputs, labels = inputs[:512], labels[:512]
    model = network(64, 32, 10, seed=0, dropout=0.2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    order = torch.Generator().manual_seed(0)
    torch.manual_seed(1)
    if state is not None:
        model.load_state_dict(state["model"])
        if leave_out != "optimizer":
            optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        if leave_out != "scheduler":
            scheduler.load_state_dict(state["scheduler"])
        if leave_out != "dropout":
            torch.set_rng_state(state["dropout"])
        if leave_out != "order":
            order.set_state(state["order"])
    for _ in epochs:
        for rows in torch.randperm(len(inputs), generator=order).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
        scheduler.step()
    return {
        "model": {name: value.clone() for name, value in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "dropout": torch.get_rng_state(),
        "order": order.get_state(),
        "lr": optimizer.param_groups[0]["lr"],
    }


@claim(
    {
        "whole": exactly(0),
        "optimizer": near(9.07, rel=0.1),
        "scheduler": near(4.29, rel=0.1),
        "dropout": near(7.87, rel=0.1),
        "order": near(7.52, rel=0.1),
        "epoch": near(6.99, rel=0.1),
        "updates": exactly(56),
        "intended": exactly(48),
        "resumed": exactly(0),
    },
    why="the same short run each time; rounding on another machine moves the last digits",
    seeds="0, 1",
)
def resumed() -> dict[str, float]:
    """How far the weights are from those of the uncut run after a resume that leaves something out, in per cent."""
    whole, half = train_epochs(range(6)), train_epochs(range(3))

    def apart(state: dict[str, Any]) -> float:
        pairs = [(state["model"][name] - value, value) for name, value in whole["model"].items()]
        return 100 * float(_length(one for one, _ in pairs) / _length(other for _, other in pairs))

    parts = ("optimizer", "scheduler", "dropout", "order")
    found = {part: apart(train_epochs(range(3, 6), half, part)) for part in parts}
    repeated = range(2, 6)  # start_epoch = epoch, where epoch is the one that was done
    return found | {
        "whole": apart(train_epochs(range(3, 6), half)),
        "epoch": apart(train_epochs(repeated, half)),
        "updates": 8.0 * (3 + len(repeated)),
        "intended": 8.0 * 6,
        "resumed": cut_and_resumed(),
    }


def _length(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack([part.square().sum() for part in parts]).sum().sqrt()


def cut_and_resumed() -> float:
    """The largest difference of a weight between a run that failed and was resumed, and the uncut one."""
    from unittest.mock import patch

    recipe = Recipe(
        data="moons", model="mlp", dropout=0.3, optimizer="adam", steps=60, checkpoint_every=10, evaluate_every=7
    )
    whole = trained(recipe)
    loop = importlib.import_module("descend.train.fit")
    seen = 0
    evaluate = loop.evaluate

    def fails(parts: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == 6:
            raise RuntimeError("power cut")
        return evaluate(parts)

    with patch.object(loop, "evaluate", fails), contextlib.suppress(RuntimeError):
        fit(recipe, runs=folder(), name="cut")
    run = descend.resume(f"{folder()}/cut")
    one, other = (descend.load_model(each).state_dict() for each in (whole, run))
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


# --- evaluation -------------------------------------------------------------------------------------------------------


@claim(
    {
        "right": near(20115.64, rel=1e-6),
        "mean_of_means": near(21146.5, rel=1e-4),
        "off": near(5.125, rel=1e-3),
        "sizes": below(1e-6),
        "two": near(1.26, rel=0.1),
        "all": near(0.117, rel=0.1),
        "evaluated": near(0.118, rel=0.15),
        "drawn": exactly(1),
        "moved": near(22.6, rel=0.1),
    },
    why="fixed data; the network is one run",
    seeds="0",
)
def evaluation() -> dict[str, float]:
    """What an evaluation says when it depends on its batches, or on what it leaves behind."""
    _, y = bonus()
    errors = y.square().flatten()
    means = [float(batch.mean()) for batch in errors.split(32)]
    right, wrong = float(errors.mean()), float(np.mean(means))

    inputs, labels, held, answers = digits()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    def loss(size: int, order: Tensor | None = None) -> float:
        rows = torch.arange(358) if order is None else order
        with torch.no_grad():
            parts = zip(held[rows].split(size), answers[rows].split(size), strict=True)
            return sum(nn.functional.cross_entropy(model(a), b, reduction="sum").item() for a, b in parts) / 358

    model.eval()
    sizes = [loss(size) for size in (1, 7, 358)] + [loss(7, torch.arange(358).flip(0))]
    model.train()
    before = model[1].running_mean.clone()
    two, every = loss(2), loss(358)
    moved = (model[1].running_mean - before).norm() / before.norm()
    return {
        "right": right,
        "mean_of_means": wrong,
        "off": 100 * (wrong / right - 1),
        "sizes": max(sizes) - min(sizes),
        "evaluated": sizes[0],
        "two": two,
        "all": every,
        "moved": 100 * float(moved),
        "drawn": float(drawn_by_a_loader(held, answers)),
    }


def drawn_by_a_loader(inputs: Tensor, labels: Tensor) -> int:
    """How many 64-bit numbers one pass over a loader that does not shuffle takes from the global generator."""
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), batch_size=32)
    torch.manual_seed(0)
    for _ in loader:
        pass
    after = torch.get_rng_state()
    torch.manual_seed(0)
    for count in range(10):
        if torch.equal(torch.get_rng_state(), after):
            return count
        torch.empty((), dtype=torch.int64).random_()
    return -1


# --- the four problems ------------------------------------------------------------------------------------------------

FOUR = ("overfitting", "underfitting", "vanishing_gradients", "exploding_gradients")


@cache
def first_remedy(problem: str) -> Run:
    """The run with the first remedy of the doctor that changes the recipe."""
    found = diagnose(broken(problem), checks=[problem]).findings[0]
    change = next(remedy.change for remedy in found.remedies if remedy.change)
    return trained(change(broken(problem).recipe))


@claim(
    {
        "found": exactly(4),
        "overfitting.best": near(0.415, rel=0.03),
        "overfitting.since": exactly(50),
        "overfitting.rise": near(210, rel=0.1),
        "overfitting.last": near(1.285, rel=0.1),
        "overfitting.train_then": near(0.253, rel=0.05),
        "overfitting.train": near(0.076, rel=0.15),
        "underfitting.level": near(0.231, rel=0.02),
        "underfitting.wrong": near(11.5, abs=1),
        "underfitting.neighbours": exactly(0),
        "vanishing_gradients.head": near(0.28, rel=0.1),
        "vanishing_gradients.first": near(4.3e-8, rel=0.1),
        "vanishing_gradients.factor": near(6.5e6, rel=0.1),
        "vanishing_gradients.left": near(100, abs=1),
        "vanishing_gradients.layer": near(7, abs=0.7),
        "exploding_gradients.first": near(1.2, rel=0.1),
        "exploding_gradients.last": near(45_000, rel=0.1),
        "exploding_gradients.loss": near(5.1e5, rel=0.1),
        "exploding_gradients.steps": exactly(3),
    },
    why="what one run of `descend break` shows; rounding moves a long run by per cents",
    seeds="0",
)
def four() -> dict[str, float]:
    """What the doctor names first, and the numbers of its evidence."""
    runs = {problem: broken(problem) for problem in FOUR}
    first = {problem: diagnose(run).first[0] for problem, run in runs.items()}
    fits, vanishes, explodes = runs["overfitting"], runs["vanishing_gradients"], runs["exploding_gradients"]
    held = fits.series("loss/validation")
    since = first["overfitting"].since or 0
    at = int(np.searchsorted(held.x, since))
    calm = float(np.median(held.y[at - 1 : at + 2]))
    norms = {name: float(np.median(series(vanishes, f"grad_norm/{name}.weight"))) for name in ("head", "hidden.0")}
    wrong, _ = first["underfitting"].evidence
    spread = [series(explodes, f"activation_std/activations.{layer}")[0] for layer in (0, 9)]
    return {
        "found": float(sum(first[problem].check == problem for problem in FOUR)),
        "overfitting.best": calm,
        "overfitting.since": float(since),
        "overfitting.rise": 100 * first["overfitting"].evidence[0].value,
        "overfitting.last": float(held.y[-1]),
        "overfitting.train_then": float(np.median(series(fits, "loss/train")[at - 1 : at + 2])),
        "overfitting.train": fits.last("loss/train"),
        "underfitting.level": runs["underfitting"].last("loss/train"),
        "underfitting.wrong": 100 * wrong.value,
        "underfitting.neighbours": 100 * wrong.threshold,
        "vanishing_gradients.head": norms["head"],
        "vanishing_gradients.first": norms["hidden.0"],
        "vanishing_gradients.factor": norms["head"] / norms["hidden.0"],
        "vanishing_gradients.left": 100 * first["vanishing_gradients"].evidence[1].value,
        "vanishing_gradients.layer": (norms["head"] / norms["hidden.0"]) ** (1 / 8),
        "exploding_gradients.first": spread[0],
        "exploding_gradients.last": spread[1],
        "exploding_gradients.loss": series(explodes, "loss/train")[0],
        "exploding_gradients.steps": float(explodes.steps),
    }


@claim(
    {
        "overfitting.before": near(1.285, rel=0.1),
        "overfitting.after": near(0.402, rel=0.03),
        "underfitting.before": near(0.1917, rel=0.02),
        "underfitting.after": below(1e-4),
        "vanishing_gradients.before": near(0.694, abs=0.002),
        "vanishing_gradients.after": near(0.0093, rel=0.3),
        "exploding_gradients.after": near(1.44, rel=0.1),
        "exploding_gradients.accuracy": near(57, abs=8),
    },
    why="one run each; the paired seeds are those of `cures`",
    seeds="0",
)
def remedies() -> dict[str, float]:
    """The validation loss at the end, before the doctor's first remedy and after it."""
    found = {}
    for problem in FOUR:
        run, better = broken(problem), first_remedy(problem)
        if problem != "exploding_gradients":
            found[f"{problem}.before"] = run.last("loss/validation")
        stopped = better.status == "early stopped"
        best = better.notes("ended")[-1].details["best_loss"]
        found[f"{problem}.after"] = best if stopped else better.last("loss/validation")
    found["exploding_gradients.accuracy"] = 100 * first_remedy("exploding_gradients").last("accuracy/validation")
    return found


@claim(
    {
        "overfitting.ratio": near(0.293, rel=0.1),
        "overfitting.low": near(0.229, rel=0.2),
        "overfitting.high": near(0.376, rel=0.2),
        "vanishing_gradients.ratio": near(0.0103, rel=0.3),
        "underfitting.ratio": near(0.001, rel=1e-6),
        "exploding_gradients.ratio": near(0.001, rel=1e-6),
        "cured": exactly(4),
    },
    why="three paired seeds; the interval is the measure of what other seeds would give",
    seeds="0, 1, 2",
    slow=True,
)
def cures() -> dict[str, float]:
    """`descend cure`: the validation loss after the cure, over that of the untreated arm, with its interval."""
    found = {}
    for problem in FOUR:
        result = descend.cure(broken(problem), runs=f"{folder()}/cures")
        kept = next(trial.kept for trial in result.trials if trial.kept)
        assert kept.ratio is not None
        found[f"{problem}.ratio"] = kept.ratio.mean
        if problem == "overfitting":
            found |= {f"{problem}.{what}": getattr(kept.ratio, what) for what in ("low", "high")}
        found["cured"] = found.get("cured", 0.0) + result.cured
    return found
