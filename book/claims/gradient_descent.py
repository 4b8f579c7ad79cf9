"""What chapter 2 claims."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.functional import hessian

from book.claims import _shared
from book.claims._shared import design as bonus
from book.ledger import above, below, between, claim, exactly, near
from descend import DATA, MODELS, OPTIMIZERS, SCHEDULES, Map, RangeTest, Recipe, fit, lr_range, outcomes, survey
from descend.losses import mse
from descend.models._shape import Shape
from descend.monitors._monitor import Step
from descend.monitors.sharpness import sharpness
from descend.run import Series
from descend.schedules import Schedule
from descend.train.stability import mse_hessian_eigenvalues, stability_limit

ROUNDED = "a closed form of fixed data; only the eigenvalue solver rounds"
COUNTED = "a count of steps of a deterministic run in float64: rounding moves it by one or two at most"

# --- the data, and walks on it ----------------------------------------------------------------------------------------


@cache
def hessian_of(scale: str = "none") -> Tensor:
    X, _ = bonus(scale)
    return 2 / len(X) * X.T @ X


@cache
def start_error(scale: str = "none") -> Tensor:
    """Where zero weights are, as seen from the minimum."""
    X, y = bonus(scale)
    return -torch.linalg.lstsq(X, y[:, None]).solution[:, 0]


def eigenvalues(scale: str = "none") -> list[float]:
    """Ascending, by the library."""
    X, _ = bonus(scale)
    values: list[float] = mse_hessian_eigenvalues(X[:, :3]).tolist()
    return values


def rate_of(scale: str) -> tuple[float, float]:
    """The best learning rate of gradient descent, and the factor by which it shrinks the error in a step."""
    values = eigenvalues(scale)
    kappa = values[-1] / values[0]
    return 2 / (values[0] + values[-1]), (kappa - 1) / (kappa + 1)


def heavy_ball_of(scale: str) -> dict[str, float]:
    """The best learning rate and momentum of the heavy ball on a quadratic (Goh 2017)."""
    low, high = math.sqrt(eigenvalues(scale)[0]), math.sqrt(eigenvalues(scale)[-1])
    return {"lr": (2 / (low + high)) ** 2, "momentum": ((high - low) / (high + low)) ** 2}


def walk(optimizer: str, gradient: Callable[[Tensor], Tensor], start: Tensor, steps: int, **hyper: float) -> Tensor:
    """The path [steps + 1, ...] of an update rule down a slope that stays as it is."""
    return _shared.walk(optimizer, start, lambda point, _: gradient(point), steps, **hyper)


@cache
def errors(optimizer: str, scale: str, steps: int, **hyper: float) -> np.ndarray[Any, Any]:
    """The distance to the minimum after each step from zero weights, as a share of the first."""
    H = hessian_of(scale)
    distance = torch.linalg.vector_norm(walk(optimizer, lambda e: H @ e, start_error(scale), steps, **hyper), dim=1)
    return (distance / distance[0]).numpy()


def steps_until(shares: np.ndarray[Any, Any], share: float = 1e-6) -> float:
    """The first step after which the error stays below a share of what it was."""
    return float(np.flatnonzero(shares > share)[-1] + 1)


@cache
def trained(**fields: Any) -> Mapping[str, Series]:
    """The series of a run of the library, by name."""
    with tempfile.TemporaryDirectory() as folder:
        return {name: series() for name, series in fit(Recipe(**fields), runs=folder).all_series().items()}


def bonus_run(lr: float, steps: int, **more: Any) -> Mapping[str, Series]:
    """Full-batch gradient descent from zero weights on the raw features, in float32."""
    return trained(lr=lr, steps=steps, batch_size="all", init="zeros", monitors="none", **more)


# --- the data and the gradient ----------------------------------------------------------------------------------------


@claim(near(0.957, abs=0.0005), why="fixed data; the three digits that are shown")
def collinear() -> float:
    X, _ = bonus()
    return float(torch.corrcoef(X[:, :3].T)[1, 2])


@claim(
    {"library": near(1, abs=1e-6), "popular": near(2, abs=1e-6)},
    why="central differences of a quadratic are exact but for rounding, 1e-9 here",
)
def factor_two() -> dict[str, float]:
    """The slope measured by finite differences, divided by what two formulas say."""
    X, y = bonus()
    w = torch.zeros(4).double().requires_grad_()
    mse(X @ w, y).backward()
    assert w.grad is not None
    h = 1e-3
    slope = [float(mse(X @ (h * unit), y) - mse(X @ (-h * unit), y)) / (2 * h) for unit in torch.eye(4).double()]
    popular = (X.T @ (X @ torch.zeros(4).double() - y)) / len(X)
    return {"library": slope[0] / float(w.grad[0]), "popular": slope[0] / float(popular[0])}


# --- one step ---------------------------------------------------------------------------------------------------------


@claim(
    {
        "share_down": exactly(100),
        "least": between(1, 1.02),
        "loss_before": near(20_115.64, abs=0.01),
        "loss_after": near(596.8, rel=0.001),
        "promised": near(657.8, abs=0.5),
    },
    why="the lemma is a theorem, so no point may break it; how near the worst of 1000 points comes is chance",
    seeds="0",
)
def descent_lemma() -> dict[str, float]:
    """At 1000 random points and rates: how often the loss falls (percent), and by how much more than promised."""
    X, y = bonus()
    top = eigenvalues()[-1]
    draw = torch.Generator().manual_seed(0)
    ratios = []
    for _ in range(1000):
        w = 20 * torch.randn(4, generator=draw).double()
        lr = float(torch.rand(1, generator=draw)) * 2 / top
        gradient = 2 / len(X) * X.T @ (X @ w - y)
        promised = lr * (1 - top * lr / 2) * float(gradient @ gradient)
        ratios.append(float(mse(X @ w, y) - mse(X @ (w - lr * gradient), y)) / promised)
    first = bonus_run(1 / top, 2)["loss/batch"].y
    return {
        "share_down": 100 * float(np.mean(np.array(ratios) > 0)),
        "least": min(ratios),
        "loss_before": first[0],
        "loss_after": first[1],
        "promised": first[0] - float((2 / len(X) * X.T @ y).square().sum()) / (2 * top),
    }


# --- modes ------------------------------------------------------------------------------------------------------------


@claim(below(1e-10), why="two ways to compute the same numbers in float64; rounding leaves about 1e-13")
def modes_apart() -> float:
    """How far 200 steps of the library are from (1 - lr lambda)^k in the eigenvectors, at most."""
    H, lr = hessian_of(), 0.006
    values, vectors = torch.linalg.eigh(H)
    path = walk("sgd", lambda e: H @ e, start_error(), 200, lr=lr) @ vectors
    powers = (1 - lr * values)[None] ** torch.arange(201).double()[:, None]
    return float((path - powers * path[0]).abs().max())


@claim(
    {
        "monotone": near(0.000977, rel=0.002),
        "oscillating": near(0.000977, rel=0.002),
        "flips": exactly(10),
        "diverging": near(2.594, rel=0.001),
    },
    why="powers of exact numbers",
)
def regimes() -> dict[str, float]:
    """The size of the error after 10 steps at lr lambda = 0.5, 1.5 and 2.1, from 1."""
    ends = {lr: walk("sgd", lambda e: e, torch.ones(1).double(), 10, lr=lr)[:, 0] for lr in (0.5, 1.5, 2.1)}
    return {
        "monotone": float(ends[0.5][-1].abs()),
        "oscillating": float(ends[1.5][-1].abs()),
        "flips": float((ends[1.5][1:] * ends[1.5][:-1] < 0).sum()),
        "diverging": float(ends[2.1][-1].abs()),
    }


# --- the limit --------------------------------------------------------------------------------------------------------


@claim(near(0.007863, rel=1e-4), why=ROUNDED)
def raw_limit() -> float:
    limit = stability_limit("sgd", {"lr": 0.01}, bonus()[0][:, :3])
    assert limit is not None
    return limit.limit


@claim(near(0.4994, rel=1e-4), why=ROUNDED)
def standard_limit() -> float:
    limit = stability_limit("sgd", {"lr": 0.01}, bonus("standard")[0][:, :3])
    assert limit is not None
    return limit.limit


def _float32_walk(lr: float, steps: int) -> tuple[int, int]:
    """Steps of torch.optim.SGD in float32 until the loss, and until a weight, is no longer finite."""
    X, y = (values.float() for values in bonus())
    w = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=lr)
    lost = 0
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = ((X @ w - y) ** 2).mean()
        lost = lost or (0 if bool(loss.isfinite()) else step - 1)
        loss.backward()
        optimizer.step()
        if not bool(w.isfinite().all()):
            return lost, step
    raise AssertionError("every weight stayed finite")


def _overflow(size: float, growth: float) -> float:
    """The steps in which `growth` a step takes `size` to the largest float32."""
    return math.log(torch.finfo(torch.float32).max / size) / math.log(growth)


def _top_of_projects() -> float:
    """The top mode's part of the error of the weight of projects, its largest, at zero weights."""
    top = torch.linalg.eigh(hessian_of())[1][:, -1]
    return float(((start_error() @ top) * top).abs().max())


@claim(
    {
        "below_loss": near(0.0182, rel=0.03),
        "below_predicted": near(0.0182, rel=0.03),
        "above_predicted": near(1874.6, abs=0.5),
        "above_loss": near(1875, abs=3),
        "gradient_predicted": near(4093.2, abs=0.5),
        "above_weights": near(4095, abs=15),
    },
    why="exact powers; in float32 rounding may shift the overflow by a few of some thousand steps",
)
def beside_the_limit() -> dict[str, float]:
    """1 % below and 1 % above the limit: the loss after 4000 steps, and the steps until float32 overflows."""
    limit = raw_limit()
    H = hessian_of()
    values, vectors = torch.linalg.eigh(H)
    top = float(values[-1] / 2 * (start_error() @ vectors[:, -1]) ** 2)
    slow = values[0] / 2 * (start_error() @ vectors[:, 0]) ** 2
    lost, dead = _float32_walk(1.01 * limit, 6000)
    return {
        "below_loss": bonus_run(0.99 * limit, 4001)["loss/batch"].y[4000],
        "below_predicted": float(slow * (1 - 0.99 * limit * values[0]) ** 8000),
        "above_predicted": _overflow(100 * top, 1.02**2),
        "gradient_predicted": _overflow(float(values[-1]) * _top_of_projects(), 1.02),
        "above_loss": lost,
        "above_weights": dead,
    }


@claim(
    {
        "start": near(20_115.6, abs=0.1),
        "one": near(46_700, rel=0.01),
        "two": near(111_000, rel=0.01),
        "three": near(263_000, rel=0.01),
        "first_ratio": near(2.32, abs=0.02),
        "late_ratio": near(2.383, abs=0.001),
        "predicted_ratio": near(2.383, abs=0.001),
        "finite": near(86, abs=1),
        "predicted_finite": near(85.5, abs=0.1),
        "top_millions": near(1.94, abs=0.005),
        "projects": near(8.40, abs=0.005),
        "error_growth": near(1.544, abs=0.001),
        "predicted_gradient": near(186.7, abs=0.1),
        "weights": near(188, abs=2),
    },
    why="a deterministic run; float32 rounds, and decides in which of two steps it overflows",
)
def too_high() -> dict[str, float]:
    """lr = 0.01 on the raw data: the loss of each step, its growth, and when float32 has no number left for it."""
    loss = bonus_run(0.01, 300)["loss/batch"].y
    values, vectors = torch.linalg.eigh(hessian_of())
    top = float(values[-1] / 2 * (start_error() @ vectors[:, -1]) ** 2)
    growth = float(1 - 0.01 * values[-1]) ** 2
    _, weights = _float32_walk(0.01, 300)
    return {
        "start": loss[0],
        "one": loss[1],
        "two": loss[2],
        "three": loss[3],
        "first_ratio": loss[1] / loss[0],
        "late_ratio": loss[60] / loss[59],
        "predicted_ratio": growth,
        "finite": int(np.isfinite(loss).sum()),
        "predicted_finite": _overflow(100 * top, growth),
        "top_millions": 100 * top / 1e6,
        "projects": _top_of_projects(),
        "error_growth": math.sqrt(growth),
        "predicted_gradient": _overflow(float(values[-1]) * _top_of_projects(), math.sqrt(growth)),
        "weights": weights,
    }


@claim(
    {"falls_for": near(17, abs=1), "lowest": near(20.49, rel=0.01), "predicted": near(16.6, abs=0.2)},
    why="a deterministic run; the turning point is a whole number of steps",
)
def delayed_explosion() -> dict[str, float]:
    """lr = 0.01 from a start whose top mode holds a millionth: for how many steps the loss falls nevertheless."""
    H = hessian_of()
    values, vectors = torch.linalg.eigh(H)
    modes = vectors.T @ start_error()
    modes[-1] *= 1e-6
    path = walk("sgd", lambda e: H @ e, vectors @ modes, 60, lr=0.01)
    loss = 0.5 * torch.einsum("kf,fg,kg->k", path, H, path).numpy()
    # the top mode's part grows by 2.38 a step, the slowest mode's part falls by 2 lr lambda: where they are equal
    top, slow = (float(values[i] / 2 * modes[i] ** 2) for i in (-1, 0))
    growth = float((1 - 0.01 * values[-1]) ** 2)
    turn = math.log(slow * 2 * 0.01 * float(values[0]) / (top * (growth - 1))) / math.log(growth)
    return {"falls_for": float(loss.argmin()), "lowest": float(loss.min()), "predicted": turn}


@claim(
    {
        "share": near(55.2, abs=0.1),
        "share_standard": exactly(0),
        "raw_smallest": near(120_000, rel=0.02),
        "standard_smallest": near(130_000, rel=0.02),
        "standard_largest": near(1300, rel=0.02),
    },
    why="a ratio of logarithms; the steps follow from the smallest eigenvalue, and are counted where they are few",
)
def popular_range() -> dict[str, float]:
    """Which part of 0.001 to 0.1, on a log scale, lies beyond the limit (percent)."""

    def beyond(limit: float) -> float:
        return 100 * min(1.0, max(0.0, math.log(0.1 / limit) / math.log(100)))

    def steps(scale: str, lr: float) -> float:
        """Until the slowest mode is a millionth of the whole error at the start: the others are gone by then."""
        values, vectors = torch.linalg.eigh(hessian_of(scale))
        share = float((start_error(scale) @ vectors[:, 0]).abs() / start_error(scale).norm())
        return math.log(1e6 * share) / -math.log1p(-lr * float(values[0]))

    return {
        "share": beyond(raw_limit()),
        "share_standard": beyond(standard_limit()),
        "raw_smallest": steps("none", 0.001),
        "standard_smallest": steps("standard", 0.001),
        "standard_largest": steps_until(errors("sgd", "standard", 2000, lr=0.1)),
    }


@claim(
    {"far_end": above(1e100), "abs_end": near(0.05, abs=0.001)},
    why="deterministic runs of a few steps",
)
def convex_and_diverging() -> dict[str, float]:
    """x^4/4 at lr = 0.1 from 5; |x| at lr = 0.1 from 0.05 goes back and forth."""

    def end(gradient: Callable[[Tensor], Tensor], start: float, steps: int) -> float:
        path = walk("sgd", gradient, torch.tensor([start]).double(), steps, lr=0.1)
        return float(path[-1].abs())

    return {
        "far_end": end(lambda x: x**3, 5.0, 8),
        "abs_end": end(torch.sign, 0.05, 101),
    }


# --- the run that stops too early -------------------------------------------------------------------------------------


@claim(
    {
        "bias": near(19.38, abs=0.01),
        "off": near(0.62, abs=0.01),
        "loss": near(0.0235, rel=0.02),
        "left": near(3.3, abs=0.05),
        "change": near(3.2e-5, rel=0.05),
        "rest": near(0.0235, rel=0.05),
        "rest_by_ratio": near(0.0235, rel=0.05),
        "stop_step": near(4163, abs=5),
        "stop_bias": near(18.90, abs=0.01),
    },
    why="a deterministic run in float64",
)
def slow_mode() -> dict[str, float]:
    """lr = 0.006 for 5000 epochs: the bias, the loss, what is left of the slowest mode (percent), the last change."""
    lr, low = 0.006, eigenvalues()[0]
    run = bonus_run(lr, 5001, dtype="float64", evaluate_every=5000)
    loss = run["loss/batch"].y
    change = -np.diff(loss)
    stop = int(np.flatnonzero(change < 1e-4)[0]) + 1
    at_stop = bonus_run(lr, stop, dtype="float64", evaluate_every=stop)["learned/bias"].y[-1]
    bias = float(dict(zip(run["learned/bias"].x, run["learned/bias"].y, strict=True))[5000])
    return {
        "bias": bias,
        "off": 20 - bias,
        "loss": loss[5000],
        "left": 100 * (1 - lr * low) ** 5000,
        "change": change[4999],
        "rest": change[4999] / (2 * lr * low),
        "rest_by_ratio": change[4999] / (change[4998] / change[4999] - 1),
        "stop_step": stop,
        "stop_bias": at_stop,
    }


# --- curvature --------------------------------------------------------------------------------------------------------


def small_net(seed: int = 0) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A loss of 3-5-1 tanh weights laid end to end, in float64, and a random place."""
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(30, 3, generator=draw).double(), torch.randn(30, 1, generator=draw).double()

    def loss(w: Tensor) -> Tensor:
        hidden = torch.tanh(x @ w[:15].view(3, 5) + w[15:20])
        return mse(hidden @ w[20:25].view(5, 1) + w[25], y)

    return loss, torch.randn(26, generator=draw).double()


def times_hessian(loss: Callable[[Tensor], Tensor], w: Tensor, v: Tensor) -> Tensor:
    """H v, by differentiating the slope along v."""
    at = w.detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss(at), at, create_graph=True)
    (product,) = torch.autograd.grad(slope @ v, at)
    return product


def power_iteration(times: Callable[[Tensor], Tensor], start: Tensor, products: int) -> list[float]:
    """The Rayleigh quotient that each of `products` products gives, of the vector before it."""
    v, found = start / start.norm(), []
    for _ in range(products):
        product = times(v)
        found.append(float(v @ product))
        v = product / product.norm()
    return found


@claim(
    below(1e-12),
    why="double precision: 26 parameters leave about 1e-15",
    seeds="0",
)
def hessian_vector() -> float:
    """How far H v is from the explicit Hessian times v, as a share of it."""
    loss, w = small_net()
    v = torch.randn(26, generator=torch.Generator().manual_seed(1)).double()
    H = hessian(loss, w)
    product = times_hessian(loss, w, v)
    return float((product - H @ v).norm() / (H @ v).norm())


@claim(
    {
        "library": near(254.36, rel=1e-3),
        "raw_products": near(4, abs=1),
        "raw_predicted": near(3.9, abs=0.1),
        "standard_products": near(12, abs=1),
        "standard_predicted": near(10.9, abs=0.1),
    },
    why="the monitor promises 1e-3; the median of counts over 200 random starts is sure to one",
    seeds="0 to 199",
)
def power_method() -> dict[str, float]:
    """lambda_max of the bonus loss by the library's monitor, and the products until power iteration has 6 digits.

    The product that forms the quotient counts too.
    """
    X, y = bonus()

    def loss_of(parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return mse(inputs @ parameters["w"], targets)

    at = {"w": torch.zeros(4).double()}
    step = Step(1, torch.tensor(0.0), X, y, X @ at["w"], "regression", 0.01, at, at, loss_of=loss_of)
    measured = {"library": float(sharpness.measure(step)["sharpness/hessian"])}
    for scale, name in (("none", "raw"), ("standard", "standard")):
        H, values = hessian_of(scale), eigenvalues(scale)
        counts = []
        for seed in range(200):
            start = torch.randn(4, generator=torch.Generator().manual_seed(seed)).double()
            off = 1 - np.array(power_iteration(lambda v, H=H: H @ v, start, 30)) / values[-1]
            counts.append(int((off > 1e-6).sum()) + 1)
        measured[f"{name}_products"] = float(np.median(counts))
        # what is missing is multiplied by (the second largest / the largest)^2 at each product
        measured[f"{name}_predicted"] = 1 + math.log(1e6) / (2 * math.log(values[-1] / values[-2]))
    return measured


# --- the condition number ---------------------------------------------------------------------------------------------


def _closed_form(scale: str) -> dict[str, float]:
    values = eigenvalues(scale)
    lr, rate = rate_of(scale)
    ball = heavy_ball_of(scale)
    return {
        **{f"lambda{i}": value for i, value in enumerate(values, start=1)},
        "kappa": values[-1] / values[0],
        "lr": lr,
        "rate": rate,
        "decade": math.log(10) / -math.log(rate),
        "ball_lr": ball["lr"],
        "ball_momentum": ball["momentum"],
        "ball_rate": math.sqrt(ball["momentum"]),
        "rule": values[-1] / values[0] / 2 * math.log(1e6),
    }


@claim(
    {
        "lambda1": near(0.1134, rel=1e-3),
        "lambda2": near(1.038, rel=1e-3),
        "lambda3": near(24.37, rel=1e-3),
        "lambda4": near(254.36, rel=1e-4),
        "kappa": near(2243.3, rel=1e-4),
        "lr": near(0.0078593, rel=1e-4),
        "rate": near(0.999109, abs=1e-6),
        "decade": near(2583, rel=1e-3),
        "ball_lr": near(0.015082, rel=1e-4),
        "ball_momentum": near(0.9190, rel=1e-4),
        "ball_rate": near(0.95865, rel=1e-4),
        "rule": near(15_496, rel=1e-4),
    },
    why=ROUNDED,
)
def raw() -> dict[str, float]:
    return _closed_form("none")


@claim(
    {
        "lambda1": near(0.0850, rel=1e-3),
        "lambda2": near(1.910, rel=1e-3),
        "lambda3": near(2.000, rel=1e-3),
        "lambda4": near(4.005, rel=1e-3),
        "kappa": near(47.11, rel=1e-3),
        "lr": near(0.48898, rel=1e-4),
        "rate": near(0.958426, abs=1e-5),
        "decade": near(54.2, rel=1e-3),
        "ball_lr": near(0.7609, rel=1e-3),
        "ball_momentum": near(0.5560, rel=1e-3),
        "ball_rate": near(0.74566, rel=1e-4),
        "rule": near(325.4, rel=1e-3),
    },
    why=ROUNDED,
)
def standard() -> dict[str, float]:
    return _closed_form("standard")


@claim({"centred": near(47.08, rel=1e-3), "uncorrelated": near(2016.2, rel=1e-3)}, why=ROUNDED)
def means() -> dict[str, float]:
    """kappa of the columns less their means; and of the raw ones with projects made uncorrelated with the others."""
    features = bonus()[0][:, :3]
    average = features.mean(0)
    centred = features - average
    others, projects = centred[:, :2], centred[:, 2]
    rest = projects - others @ torch.linalg.lstsq(others, projects[:, None]).solution[:, 0]
    rest = rest / rest.std(correction=0) * projects.std(correction=0)
    uncorrelated = torch.cat([others, rest[:, None]], dim=1) + average
    kappas = []
    for columns in (centred, uncorrelated):
        values = mse_hessian_eigenvalues(columns)
        kappas.append(float(values[-1] / values[0]))
    return dict(zip(("centred", "uncorrelated"), kappas, strict=True))


@claim(near(47.36, abs=0.01), why=ROUNDED)
def root_of_kappa() -> float:
    values = eigenvalues()
    return math.sqrt(values[-1] / values[0])


def _late_rate(shares: np.ndarray[Any, Any]) -> float:
    """The factor a step, fitted through the second half down to 1e-10."""
    until = int(steps_until(shares, 1e-10))
    half = np.arange(until // 2, until)
    return float(np.exp(np.polyfit(half, np.log(shares[half]), 1)[0]))


def _measured(scale: str, steps: int) -> dict[str, float]:
    lr, rate = rate_of(scale)
    modes = torch.linalg.eigh(hessian_of(scale))[1].T @ start_error(scale)
    extremes = float(modes[[0, -1]].norm() / modes.norm())
    plain = errors("sgd", scale, steps, lr=lr)
    ball = errors("momentum", scale, 1500, **heavy_ball_of(scale))
    return {
        "steps": steps_until(plain),
        "predicted": math.log(extremes / 1e-6) / -math.log(rate),
        "extremes": 100 * extremes,
        "rate": _late_rate(plain),
        "ball_steps": steps_until(ball),
    }


@claim(
    {
        "steps": near(15_438, abs=20),
        "predicted": near(15_438, abs=20),
        "extremes": near(94.9, abs=0.05),
        "rate": near(0.999109, abs=1e-6),
        "ball_steps": near(474, abs=2),
    },
    why=COUNTED,
)
def raw_descent() -> dict[str, float]:
    return _measured("none", 26_000)


@claim(
    {
        "steps": near(269, abs=2),
        "predicted": near(268, abs=2),
        "extremes": near(8.8, abs=0.1),
        "rate": near(0.958426, abs=1e-5),
        "ball_steps": near(54, abs=2),
    },
    why=COUNTED,
)
def standard_descent() -> dict[str, float]:
    return _measured("standard", 700)


@claim(
    {"linear": near(39, abs=1), "quadratic": exactly(6)},
    why="counts of steps of exact recurrences",
)
def rates() -> dict[str, float]:
    """Steps from an error of 1/2 until it is below 1e-12."""
    x, newton = 0.5, 0
    while abs(1 - x) > 1e-12:
        x, newton = x - (1 - 1 / x) / x**-2, newton + 1
    e, linear = 0.5, 0
    while e > 1e-12:
        e, linear = e - 0.5 * e, linear + 1
    return {"linear": linear, "quadratic": newton}


@claim(near(0.001, rel=0.01), why="the closed form of the recurrence, to terms of higher order")
def sublinear_error() -> float:
    """x after a million steps of x - lr x^3 with lr = 1/2 from 1/2."""
    x = 0.5
    for _ in range(10**6):
        x -= 0.5 * x**3
    return x


# --- other coordinates ------------------------------------------------------------------------------------------------


def _condition(H: Tensor) -> float:
    values = torch.linalg.eigvalsh(H)
    return float(values[-1] / values[0])


@claim(
    {
        "kappa": near(1.576, abs=0.002),
        "kappa_unscaled": near(1274, abs=1),
        "steps": near(9, abs=1),
        "rule": near(9.2, abs=0.1),
    },
    why="fixed data",
)
def better_columns() -> dict[str, float]:
    """The standardised data with projects - years in place of projects: kappa, and steps to 1e-6."""
    X, y = bonus()
    unscaled = torch.stack([X[:, 0], X[:, 1], X[:, 2] - X[:, 1]], dim=1)
    columns = (unscaled - unscaled.mean(0)) / unscaled.std(0, correction=0)
    design = torch.cat([columns, torch.ones(len(columns), 1).double()], dim=1)
    H = 2 / len(design) * design.T @ design
    values = torch.linalg.eigvalsh(H)
    start = -torch.linalg.lstsq(design, y[:, None]).solution[:, 0]
    path = walk("sgd", lambda e: H @ e, start, 100, lr=float(2 / (values[0] + values[-1])))
    shares = (path.norm(dim=1) / path[0].norm()).numpy()
    kappa = _condition(H)
    rule = math.log(1e6) / math.log((kappa + 1) / (kappa - 1))
    raw = mse_hessian_eigenvalues(unscaled)
    return {
        "kappa": kappa,
        "kappa_unscaled": float(raw[-1] / raw[0]),
        "steps": steps_until(shares),
        "rule": rule,
    }


@claim(
    {
        "straight": near(1, abs=1e-9),
        "rotated": near(100, rel=1e-9),
        "steps": near(691, abs=2),
        "rule": near(690.8, abs=0.1),
    },
    why="exact matrices of two rows; the count follows from the formula",
)
def rotated() -> dict[str, float]:
    """kappa of diag(100, 1) after each coordinate is scaled by its own curvature, straight and turned by 45 degrees."""
    straight = torch.diag(torch.tensor([100.0, 1.0]).double())
    turn = torch.tensor([[1.0, -1.0], [1.0, 1.0]]).double() / math.sqrt(2)
    tilted = turn @ straight @ turn.T

    def scaled(H: Tensor) -> Tensor:
        s = H.diagonal().rsqrt()
        return s[:, None] * H * s

    H = scaled(tilted)
    values = torch.linalg.eigvalsh(H)
    path = walk("sgd", lambda e: H @ e, torch.tensor([1.0, 0.0]).double(), 2000, lr=float(2 / values.sum()))
    return {
        "straight": _condition(scaled(straight)),
        "rotated": _condition(H),
        "rule": _condition(H) / 2 * math.log(1e6),
        "steps": steps_until((path.norm(dim=1) / path[0].norm()).numpy()),
    }


@claim(below(1e-20), why="one Newton step solves a quadratic up to rounding, squared")
def newton_loss() -> float:
    """The loss on the raw data after one Newton step from zero weights."""
    X, y = bonus()
    gradient = -2 / len(X) * X.T @ y
    return float(mse(X @ -torch.linalg.solve(hessian_of(), gradient), y))


@claim(
    {"rules": exactly(9), "apart": exactly(0), "newton": near(100, rel=1e-9)},
    why="the same gradient gives the same step, bit for bit",
)
def blind_to_curvature() -> dict[str, float]:
    """The first step at (1, 1) on two losses with one gradient and curvatures 1 and 100, by every optimizer."""
    place = torch.ones(1, 2).double()
    flat, steep = (lambda p: p - place + 3.0), (lambda p: 100 * (p - place) + 3.0)
    moves = {name: [walk(name, slope, place, 1, lr=0.01)[1] - place for slope in (flat, steep)] for name in OPTIMIZERS}
    newton = [torch.func.jacrev(slope)(place).reshape(2, 2).inverse() @ slope(place)[0] for slope in (flat, steep)]
    return {
        "rules": len(moves),
        "apart": max(float((one - other).abs().max()) for one, other in moves.values()),
        "newton": float(newton[0][0] / newton[1][0]),
    }


# --- early stopping ---------------------------------------------------------------------------------------------------


@cache
def fitted(steps: int, lr: float = 0.006) -> np.ndarray[Any, Any]:
    """The percentage of each mode's error that is gone after each step [steps + 1, 4], slowest mode first."""
    H = hessian_of()
    vectors = torch.linalg.eigh(H)[1]
    path = walk("sgd", lambda e: H @ e, start_error(), steps, lr=lr) @ vectors
    return (100 * (1 - path / path[0])).numpy()


@claim(
    {
        "slow10": near(0.68, abs=0.005),
        "second10": near(6.1, abs=0.05),
        "third10": near(79.5, abs=0.1),
        "slow100": near(6.6, abs=0.05),
        "second100": near(46.4, abs=0.1),
        "slow1000": near(49.4, abs=0.1),
        "second1000": near(99.8, abs=0.05),
        "slow5000": near(96.7, abs=0.05),
        "fourth": near(1.526, abs=0.001),
        "all": above(99.9),
    },
    why="a deterministic run that equals 1 - (1 - lr lambda)^k to rounding",
)
def spectral_filter() -> dict[str, float]:
    """Percent of a mode that is fitted after 10, 100, 1000 and 5000 steps at lr = 0.006; lr lambda of the fourth."""
    gone = fitted(5000)
    return {
        "slow10": gone[10, 0],
        "second10": gone[10, 1],
        "third10": gone[10, 2],
        "slow100": gone[100, 0],
        "second100": gone[100, 1],
        "slow1000": gone[1000, 0],
        "second1000": gone[1000, 1],
        "slow5000": gone[5000, 0],
        "fourth": gone[1, 3] / 100,
        "all": min(gone[100, 2], gone[1000, 2], gone[5000, 1]),
    }


@claim(
    {"best_step": between(8, 12), "best": near(142, rel=0.06), "end": near(214, rel=0.08)},
    why="the mean over 300 draws of 12 employees has a standard error of about 2 to 3 %",
    seeds="0",
)
def early_stopping() -> dict[str, float]:
    """12 noisy employees (sd 20): the mean squared error on all 1000 against the noiseless truth, by steps."""
    data = DATA["employee_bonus"](rows=1000)
    features, truth = data.train.inputs.double().numpy(), data.train.targets.double().numpy()[:, 0]
    draw = np.random.default_rng(0)
    counts = np.unique(np.logspace(0, 5, 60).astype(int))
    off = np.zeros(len(counts))
    for _ in range(300):
        rows = draw.choice(1000, 12, replace=False)
        mean, deviation = features[rows].mean(0), features[rows].std(0)
        scaled = [(some - mean) / deviation for some in (features[rows], features)]
        few, everybody = (np.column_stack([some, np.ones(len(some))]) for some in scaled)
        H = 2 / 12 * few.T @ few
        values, vectors = np.linalg.eigh(H)
        modes = vectors.T @ np.linalg.solve(H, 2 / 12 * few.T @ (truth[rows] + draw.normal(0, 20, 12)))
        gone = 1 - (1 - values / values[-1])[None] ** counts[:, None]  # the filter, at lr = 1 / lambda_max
        off += ((gone * modes @ vectors.T @ everybody.T - truth) ** 2).mean(1) / 300
    return {"best_step": counts[off.argmin()], "best": off.min(), "end": off[-1]}


# --- saddles ----------------------------------------------------------------------------------------------------------


def valley(p: Tensor) -> Tensor:
    """The gradient of x^2/2 - y^2/2 + y^4/4: a saddle at (0, 0), minima at (0, 1) and (0, -1)."""
    return torch.stack([p[..., 0], p[..., 1] ** 3 - p[..., 1]], dim=-1)


@cache
def escape(optimizer: str, y: float, degrees: float = 0.0, lr: float = 0.01, most: int = 1400) -> float:
    """Steps from (1, y) until the optimizer is half way to a minimum; infinity where that takes more than `most`.

    The whole loss is turned by some `degrees`, 0 for a ridge along an axis.
    """
    along, across = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[along, -across], [across, along]]).double()
    rule, p = OPTIMIZERS[optimizer], (turn @ torch.tensor([1.0, y]).double())[None]
    state = rule.init(p)
    for t in range(1, most + 1):
        p, state = rule.step(p, valley(p @ turn) @ turn.T, state, t, lr=lr)
        if abs(float((p @ turn)[0, 1])) > 0.5:
            return t
    return math.inf


@claim(
    {
        "sgd": near(1334, abs=2),
        "sgd_turned": near(1334, abs=2),
        "predicted": near(1319, abs=1),
        "sgd_fast": near(33, abs=1),
        "sgd_fast_turned": near(33, abs=1),
        "momentum": near(216, abs=2),
        "momentum_turned": near(216, abs=2),
        "nesterov": near(207, abs=2),
        "nesterov_turned": near(207, abs=2),
        "adagrad": near(346, abs=3),
        "rmsprop": near(7, abs=1),
        "rmsprop_turned": near(167, abs=5),
        "adam": near(44, abs=1),
        "adam_near": near(44, abs=1),
        "adam_turned": near(451, abs=5),
        "adam_turned_near": near(282, abs=5),
        "adagrad_turned": above(1400),
        "adamw": near(44, abs=1),
        "adamw_turned": near(451, abs=5),
        "muon": near(753, abs=5),
        "muon_turned": near(753, abs=5),
        "lion": near(50, abs=1),
        "lion_turned": near(379, abs=5),
        "stay": exactly(9),
        "momentum_predicted": near(209, abs=1),
        "rmsprop_oblique": near(26, abs=2),
        "adam_oblique": near(97, abs=3),
        "lion_oblique": near(111, abs=4),
        "sgd_oblique": above(300),
    },
    why=COUNTED + "; sign-like rules may take a few more",
)
def saddle() -> dict[str, float]:
    """Steps to leave a saddle of two dimensions, from a millionth (or a thousandth) off its ridge, at lr = 0.01."""
    return {
        "sgd": escape("sgd", 1e-6),
        "sgd_turned": escape("sgd", 1e-6, degrees=45),
        "predicted": math.log(0.5e6) / math.log(1.01),
        "momentum_predicted": math.log(0.5e6) / math.log(max(np.roots([1, -(1 + 0.9 + 0.01), 0.9]))),
        "sgd_fast": escape("sgd", 1e-6, lr=0.5),
        "sgd_fast_turned": escape("sgd", 1e-6, degrees=45, lr=0.5),
        "momentum": escape("momentum", 1e-6),
        "momentum_turned": escape("momentum", 1e-6, degrees=45),
        "nesterov": escape("nesterov", 1e-6),
        "nesterov_turned": escape("nesterov", 1e-6, degrees=45),
        "adagrad": escape("adagrad", 1e-6),
        "rmsprop": escape("rmsprop", 1e-6),
        "rmsprop_turned": escape("rmsprop", 1e-6, degrees=45),
        "adam": escape("adam", 1e-6),
        "adam_near": escape("adam", 1e-3),
        "adam_turned": escape("adam", 1e-6, degrees=45),
        "adam_turned_near": escape("adam", 1e-3, degrees=45),
        "adagrad_turned": escape("adagrad", 1e-6, degrees=45),
        "adamw": escape("adamw", 1e-6),
        "adamw_turned": escape("adamw", 1e-6, degrees=45),
        "muon": escape("muon", 1e-6),
        "muon_turned": escape("muon", 1e-6, degrees=45),
        "lion": escape("lion", 1e-6),
        "lion_turned": escape("lion", 1e-6, degrees=45),
        "stay": sum(
            all(math.isinf(escape(name, 0.0, degrees, most=300)) for degrees in (0, 45)) for name in OPTIMIZERS
        ),
        "rmsprop_oblique": escape("rmsprop", 0.0, degrees=30),
        "adam_oblique": escape("adam", 0.0, degrees=30),
        "lion_oblique": escape("lion", 0.0, degrees=30),
        "sgd_oblique": escape("sgd", 0.0, degrees=30, most=300),
    }


def _moons(optimizer: str, **more: Any) -> Mapping[str, Series]:
    settings: dict[str, Any] = {"lr": 0.01, "init": "zeros", "steps": 60} | more
    return trained(
        data="moons",
        validation=0.0,
        model="mlp",
        activation="tanh",
        depth=1,
        width=8,
        batch_size="all",
        monitors="none",
        optimizer=optimizer,
        **settings,
    )


@claim(
    {
        "stuck": exactly(9),
        "loss": near(0.693147, abs=1e-6),
        "down": near(-0.4866, abs=0.001),
        "up": near(0.5, abs=0.001),
        "free_loss": near(0.223, rel=0.03),
    },
    why="a gradient of zero moves nothing; the eigenvalues are those of one fixed data set",
    seeds="0",
)
def zero_network() -> dict[str, float]:
    """A network whose weights are all zero: how many optimizers stay, at which loss, and the curvature there."""
    ends = {name: _moons(name)["loss/batch"].y for name in OPTIMIZERS}
    stuck = [name for name, loss in ends.items() if abs(loss[-1] - math.log(2)) < 1e-6]
    data = DATA["moons"](validation=0.0).train
    model = MODELS["mlp"](Shape((2,), 2), depth=1, width=8, activation="tanh").double()
    shapes = [parameter.shape for parameter in model.parameters()]
    names = [name for name, _ in model.named_parameters()]

    def loss(flat: Tensor) -> Tensor:
        pieces = flat.split([shape.numel() for shape in shapes])
        parts = {name: piece.view(shape) for name, piece, shape in zip(names, pieces, shapes, strict=True)}
        outputs = torch.func.functional_call(model, parts, (data.inputs.double(),))
        return torch.nn.functional.cross_entropy(outputs, data.targets)

    values = torch.linalg.eigvalsh(hessian(loss, torch.zeros(sum(shape.numel() for shape in shapes)).double()))
    return {
        "stuck": len(stuck),
        "loss": ends["adam"][-1],
        "down": float(values[0]),
        "up": float(values[-1]),
        "free_loss": _moons("sgd", lr=0.5, init="normal", init_std=1e-3, steps=1500)["loss/batch"].y[-1],
    }


# --- the edge of stability --------------------------------------------------------------------------------------------


@cache
def edge_run(lr: float, steps: int = 2000) -> Mapping[str, Series]:
    """Full-batch gradient descent of a small tanh network on one wave, with its sharpness every 40 steps."""
    return trained(
        data="sines",
        waves=1,
        noise=0.0,
        validation=0.0,
        rows=64,
        model="mlp",
        depth=3,
        width=16,
        activation="tanh",
        init="xavier_normal",
        batch_size="all",
        dtype="float64",
        monitors="sharpness",
        monitor_every=4,
        lr=lr,
        steps=steps,
    )


def _edge(lr: float, steps: int = 2000) -> dict[str, float]:
    run = edge_run(lr, steps)
    sharp, loss = run["sharpness/hessian"].y, run["loss/batch"].y
    late = loss[len(loss) // 2 :]
    return {
        "limit": 2 / lr,
        "first": sharp[0],
        "late": float(np.median(sharp[-15:])),
        "rises": 100 * float(np.mean(np.diff(late) > 0)),
        "loss_half": float(np.median(late[:100])),
        "loss_end": float(np.median(late[-100:])),
    }


@claim(
    {
        "limit": near(16.67, abs=0.01),
        "first": near(5.25, rel=0.005),
        "late": near(16.8, rel=0.03),
        "rises": between(20, 56),
        "loss_half": between(0.02, 0.09),
        "loss_end": between(0.008, 0.035),
    },
    why="at the edge a rounding error grows by 1e7 in 200 steps, so averages hold and single values do not",
    seeds="0",
)
def edge() -> dict[str, float]:
    """lr = 0.12: sharpness at first and late, the share of late steps (percent) at which the loss rises, the loss."""
    return _edge(0.12)


@claim(
    {"limit": near(28.57, abs=0.01), "late": near(29.4, rel=0.04)},
    why="near the edge the run is sensitive; the median of the late values moves by some 2 %",
    seeds="0",
)
def edge_lower() -> dict[str, float]:
    """The same at lr = 0.07, which takes longer to get there."""
    found = _edge(0.07, steps=2400)
    return {key: found[key] for key in ("limit", "late")}


def _limit_of(optimizer: str, **hyper: float) -> float:
    """lr lambda at which a rule stops converging on a parabola, by bisection."""
    low, high = 0.5, 6.0
    for _ in range(14):
        middle = (low + high) / 2
        end = walk(optimizer, lambda x: x, torch.ones(1).double(), 1500, lr=middle, **hyper)[-1]
        low, high = (middle, high) if abs(float(end)) < 0.5 else (low, middle)
    return low


@claim(
    {
        "plain": near(2.0, abs=0.01),
        "half": near(3.0, abs=0.01),
        "ball": near(3.8, abs=0.01),
        "average": near(38.0, abs=0.1),
        "average_predicted": near(38.0, abs=1e-9),
    },
    why="1500 steps tell a rate from the limit to about 0.2 %",
)
def edges_of_momentum() -> dict[str, float]:
    """lr lambda at the edge for gradient descent and the heavy ball with 0.5 and 0.9; and with an averaged gradient."""
    ball = _limit_of("momentum", momentum=0.9)
    return {
        "plain": _limit_of("sgd"),
        "half": _limit_of("momentum", momentum=0.5),
        "ball": ball,
        "average": ball / (1 - 0.9),  # v = 0.9 v + 0.1 g is the heavy ball at a tenth of the rate
        "average_predicted": (2 + 2 * 0.9) / (1 - 0.9),
    }


@cache
def adam_on_a_parabola(steps: int = 6000) -> np.ndarray[Any, Any]:
    """lr lambda / sqrt(v), the curvature that Adam sees times lr, after each step on x^2 / 2 at lr = 0.1."""
    rule, x = OPTIMIZERS["adam"], torch.ones(1).double()
    state, seen = rule.init(x), []
    for t in range(1, steps + 1):
        x, state = rule.step(x, x, state, t, lr=0.1, beta2=0.99, eps=1e-30)
        seen.append(0.1 / math.sqrt(float(state["v"]) / (1 - 0.99**t)))
    return np.array(seen)


@claim(
    {"first": near(0.1, abs=1e-9), "late": near(35.4, rel=0.04), "peak": between(44, 57)},
    why="the run goes back and forth about the edge; the median of its last half is steady, its highest peak is not",
)
def adam_edge() -> dict[str, float]:
    seen = adam_on_a_parabola()
    return {"first": seen[0], "late": float(np.median(seen[len(seen) // 2 :])), "peak": seen.max()}


# --- maps -------------------------------------------------------------------------------------------------------------

BALL = Recipe(optimizer="momentum", batch_size="all", steps=200)


@cache
def ball_map() -> Map:
    """The heavy ball on the raw bonus data, 64 learning rates by 64 momenta: the map that the chapter draws."""
    return survey(BALL, "lr=4e-3..0.02", "momentum=0..0.96")


def borders(diverged: np.ndarray[Any, Any]) -> int:
    """How many pairs of neighbours, of which one diverged and one did not, a map has: the length of its boundary."""
    return int((diverged[1:] != diverged[:-1]).sum() + (diverged[:, 1:] != diverged[:, :-1]).sum())


def doubling(drawn: Map) -> float:
    """By what factor the boundary becomes longer, in cells, when a map has twice as many cells along each side."""
    halves = [drawn.diverged[row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return borders(drawn.diverged) / float(np.mean([borders(half) for half in halves]))


@claim(
    {
        "runs": exactly(4096),
        "wrong": near(2, abs=2),
        "best_lr": near(0.0114, rel=0.05),
        "best_momentum": near(0.937, abs=0.01),
        "doubling": near(2, abs=0.15),
    },
    why="deterministic runs; a cell that theory's line cuts may fall to either side, and the best to the next",
)
def heavy_ball_map() -> dict[str, float]:
    """The heavy ball on the raw data: runs, how many end on the other side of theory's line, and the lowest loss."""
    drawn = ball_map()
    row, column = np.unravel_index(drawn.loss.argmin(), drawn.loss.shape)
    assert drawn.deviation is not None
    return {
        "runs": drawn.loss.size,
        "wrong": drawn.deviation.wrong,
        "best_lr": drawn.x.values[column],
        "best_momentum": drawn.y.values[row],
        "doubling": doubling(drawn),
    }


@claim(
    {"percent": near(0.09, abs=0.006), "predicted": near(0.0916, abs=0.0001), "above": near(0.005, abs=0.006)},
    why="rates are tried 0.005 % apart",
)
def map_boundary() -> dict[str, float]:
    """The rates at which runs of 200 steps begin to end above their start, at ten momenta, from the limit (percent)."""
    momenta, offsets = np.arange(10) / 10, np.arange(-0.2, 0.1001, 0.005) / 100
    rates = [[(1 + offset) * (1 + beta) * raw_limit() for offset in offsets] for beta in momenta]
    runs = outcomes([BALL.but(lr=lr, momentum=beta) for beta, row in zip(momenta, rates, strict=True) for lr in row])
    first = runs.curve(0, "loss/train").y[0]
    diverged = ~(runs.final("loss/train") <= first).reshape(len(momenta), -1)
    from_limit = 100 * offsets[diverged.argmax(axis=1)]

    def swing(beta: float) -> float:
        """By what part of the limit a rate may be below it, if the swing is to be as large as at first after all."""
        return (1 - beta) / (2 + 2 * beta) * math.log((1 + beta) / (1 - beta)) / BALL["steps"]

    return {
        "percent": -from_limit.min(),
        "above": from_limit.max(),
        "predicted": 100 * max(swing(beta) for beta in momenta),
    }


@claim(
    {"highest": near(165, rel=0.01), "end": below(1e-5), "bound": near(361, rel=1e-6)},
    why="a deterministic run in float32",
)
def below_the_limit() -> dict[str, float]:
    """momentum 0.9, a thousandth below the limit: the highest loss and the last one, as shares of the first."""
    lr = 0.999 * 1.9 * raw_limit()
    loss = trained(**BALL.but(lr=lr, momentum=0.9, monitors="none").fields())["loss/batch"].y
    return {"highest": loss.max() / loss[0], "end": loss[-1] / loss[0], "bound": (1.9 / 0.1) ** 2}


ZOOMS = (1, 8, 64)


@cache
def net_maps() -> tuple[Map, ...]:
    """A small tanh network by the learning rates of its two layers: all of the map, and two parts around a point."""
    network = Recipe(
        data="sines",
        waves=1,
        noise=0.0,
        validation=0.0,
        rows=8,
        model="mlp",
        depth=1,
        width=8,
        activation="tanh",
        init="xavier_normal",
        batch_size="all",
        dtype="float64",
        steps=100,
        seed=1,
    )
    whole = survey(network, "lr@hidden.0=0.1..10:48", "lr@head=0.2..2:48")
    return whole, *(whole.zoom(factor, around=(0.378, 0.72)) for factor in ZOOMS[1:])


@claim(
    {
        "whole": near(2.9, abs=0.3),
        "eighth": near(4.7, abs=0.5),
        "last": near(2.1, abs=0.15),
        "back": near(22, abs=3),
    },
    why="the loss of a cell near the boundary is sensitive to rounding, so single cells may change sides",
    seeds="1",
)
def net_boundary() -> dict[str, float]:
    """By what factor the network's boundary becomes longer with twice the cells along each side, at three zooms.

    And in how many of the 48 columns a run trains although one at a lower rate of the head diverges.
    """
    diverged = net_maps()[0].diverged
    longer = dict(zip(("whole", "eighth", "last"), map(doubling, net_maps()), strict=True))
    return longer | {"back": int((diverged[:-1] & ~diverged[1:]).any(axis=0).sum())}


# --- the learning-rate range test -------------------------------------------------------------------------------------


@cache
def bonus_range(dtype: str = "float32") -> RangeTest:
    """The range test of gradient descent on the raw bonus data: `descend lr-range --batch-size all`."""
    return lr_range(Recipe(batch_size="all", dtype=dtype))


@claim(
    {
        "turn": near(2.0, rel=0.005),
        "back": near(12.6, rel=0.005),
        "bonus_turn": near(0.0095, rel=0.1),
        "bonus_share": near(1.21, rel=0.1),
        "bonus_lr": near(0.0048, rel=0.1),
        "double_share": near(2.11, rel=0.05),
        "double_lr": near(0.0041, rel=0.05),
    },
    why="walks whose rate rises by 0.2 % and by 5 % a step; in float32 the turn depends on how rounding falls",
    seeds="0, 1, 2",
)
def range_test() -> dict[str, float]:
    """lr lambda at which the error turns, and is back at its first size, on a parabola; the test on the raw data."""
    rates = 1.1e-4 * 10 ** (np.arange(5201) / 1000)
    error = np.cumsum(np.log(np.abs(1 - rates)))  # its logarithm, since it falls to 1e-466
    turn = int(error.argmin())
    single, double = bonus_range(), bonus_range("float64")
    return {
        "turn": rates[turn],
        "back": rates[turn + int((error[turn:] >= 0).argmax())],
        "bonus_turn": single.turn or math.nan,
        "bonus_share": (single.turn or math.nan) / raw_limit(),
        "bonus_lr": single.lr or math.nan,
        "double_share": (double.turn or math.nan) / raw_limit(),
        "double_lr": double.lr or math.nan,
    }


@claim(
    {
        "suggested": near(0.29, rel=0.15),
        "suggested_loss": near(0.186, abs=0.03),
        "best": near(0.56, rel=0.05),
        "best_loss": near(0.169, abs=0.03),
        "double_loss": above(1),
    },
    why="medians of three seeds on 359 rows, whose losses differ by a tenth; the best is one of a row of rates",
    seeds="0, 1, 2",
)
def digits_range() -> dict[str, float]:
    """SGD on the digits: the suggestion, the best of nine fixed rates, and validation losses after five epochs."""
    recipe = Recipe(data="digits", model="mlp", optimizer="sgd", epochs=5, monitors="none")
    suggested = lr_range(recipe).lr
    assert suggested is not None
    rates = [suggested, *(10 ** (k / 4) for k in range(-8, 1))]
    runs = outcomes([recipe.but(lr=lr, seed=seed) for lr in rates for seed in range(3)])
    losses = np.median(runs.final("loss/validation").reshape(-1, 3), axis=1)
    best = int(losses[1:].argmin()) + 1
    return {
        "suggested": suggested,
        "suggested_loss": losses[0],
        "best": rates[best],
        "best_loss": losses[best],
        "double_loss": losses[best + 1],
    }


# --- schedules --------------------------------------------------------------------------------------------------------


def final_excess(schedule: str, repeats: int = 200, steps: int = 3000, **options: float) -> float:
    """The mean excess loss after `steps` steps with batches of 4 from noisy standardised data, at lr = 0.02."""
    data = DATA["employee_bonus"](scale="standard", noise=5.0).train
    X = np.column_stack([data.inputs.double().numpy(), np.ones(100)])
    y = data.targets.double().numpy()[:, 0]
    H = 2 / 100 * X.T @ X
    best = np.linalg.solve(H, 2 / 100 * X.T @ y)
    factor = Schedule(SCHEDULES[schedule], steps, 0, options)
    draw = np.random.default_rng(0)
    w = np.zeros((repeats, 4))
    for step in range(steps):
        rows = draw.integers(0, 100, (repeats, 4))
        off = (X[rows] @ w[:, :, None])[:, :, 0] - y[rows]
        w -= 0.02 * factor(step) * 2 / 4 * np.einsum("rbf,rb->rf", X[rows], off)
    e = w - best
    return float(0.5 * np.einsum("rf,fg,rg->r", e, H, e).mean())


@claim(
    {
        "constant": near(0.42, rel=0.18),
        "step": near(0.145, rel=0.18),
        "linear": near(0.062, rel=0.18),
        "cosine": near(0.055, rel=0.18),
        "inverse_time": near(1.74, rel=0.1),
    },
    why="the mean over 200 runs has a standard error of about 6 %",
    seeds="0",
)
def decays() -> dict[str, float]:
    """The excess loss at the end under five schedules from the same rate."""
    names = ("constant", "step", "linear", "cosine")
    return {name: final_excess(name) for name in names} | {
        "inverse_time": final_excess("inverse_time", decay_rate=0.01)
    }


@claim(
    {"sum": near(6.88, abs=0.005), "left": near(55.7, abs=0.1), "left_constant": near(0.6, abs=0.02)},
    why="sums and products of the library's factors",
)
def decays_too_early() -> dict[str, float]:
    """3000 rates lr = 0.02 / (1 + k / 100): their sum, and percent of the slowest mode that they leave."""
    factor = Schedule(SCHEDULES["inverse_time"], 3000, 0, {"decay_rate": 0.01})
    lr = 0.02 * np.array([factor(step) for step in range(3000)])
    low = eigenvalues("standard")[0]
    return {
        "sum": lr.sum(),
        "left": 100 * float(np.prod(1 - lr * low)),
        "left_constant": 100 * (1 - 0.02 * low) ** 3000,
    }


def _relu_run(seed: int, warmup: int, monitors: str = "none") -> Mapping[str, Series]:
    return trained(
        data="sines",
        waves=1,
        noise=0.0,
        validation=0.0,
        rows=64,
        model="mlp",
        depth=3,
        width=16,
        init="he_normal",
        batch_size="all",
        monitors=monitors,
        monitor_every=20,
        lr=0.5,
        steps=400,
        warmup=warmup,
        seed=seed,
    )


@claim(
    {
        "without": between(0, 2),
        "with_warmup": between(7, 8),
        "of_mean": near(0.554, abs=0.002),
        "first": between(20, 60),
        "limit": exactly(4),
        "after": between(3, 9),
    },
    why="whether one of the 8 runs survives is decided in chaotic first steps; the two counts are far apart",
    seeds="0 to 7",
)
def warm_up() -> dict[str, float]:
    """Of 8 He-initialised ReLU networks at lr = 0.5, how many come below the loss of the mean; and their sharpness."""
    y = DATA["sines"](waves=1, noise=0.0, validation=0.0, rows=64).train.targets
    mean_loss = float(y.var(correction=0))

    def learned(warmup: int) -> int:
        ends = [float(np.median(_relu_run(seed, warmup)["loss/batch"].y[-20:])) for seed in range(8)]
        return sum(end < 0.9 * mean_loss for end in ends)

    sharp = [_relu_run(seed, 100, "sharpness")["sharpness/hessian"].y for seed in range(4)]
    return {
        "without": learned(0),
        "with_warmup": learned(100),
        "of_mean": mean_loss,
        "first": float(np.median([values[0] for values in sharp])),
        "limit": 2 / 0.5,
        "after": float(np.median([values[-1] for values in sharp])),
    }
