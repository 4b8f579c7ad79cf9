"""What chapter 4 claims: what each optimizer does with a gradient, measured on the library's own rules."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

import descend
from benchmarks.recommend import TASKS
from benchmarks.same import told_apart
from book import ROOT
from book.claims import above, below, between, claim, exactly, near
from book.claims._shared import design, walk
from book.ledger import Band
from descend import OPTIMIZERS, Recipe
from descend.data.employee_bonus import employee_bonus
from descend.optim import UpdateRule, clip_by_norm, clip_by_value
from descend.recommending._recommend import entered

ROUNDING = "a closed form; float64 rounds"
ITERATES = "a deterministic path in float64; the band is a change of the last digit shown"

NAMES = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "lion", "muon")


# --- tools that claims and figures share ------------------------------------------------------------------------------


def rule(name: str) -> UpdateRule:
    return OPTIMIZERS[name]


def moves(name: str, gradients: Sequence[float], *, after: int = 0, **hyper: float) -> np.ndarray:
    """The steps of one weight that is shown these gradients, wherever it is, after so many gradients of zero.

    Those leave a state of zeros behind in every rule, so they only count.
    """
    point = torch.zeros(1, dtype=torch.float64)
    state, steps = rule(name).init(point), []
    for t, gradient in enumerate(gradients, start=after + 1):
        grad = torch.tensor([gradient], dtype=torch.float64)
        moved, state = rule(name).step(point, grad, state, t, **hyper)
        steps.append(float(point - moved))
        point = moved
    return np.array(steps)


@cache
def bonus(scale: str = "none") -> tuple[Tensor, Tensor, Tensor]:
    """Hessian, optimum and eigenvalues (ascending) of the mean squared error on the employee-bonus data."""
    X, y = design(scale)
    hessian = 2 / len(X) * X.T @ X
    optimum = torch.linalg.lstsq(X, y[:, None]).solution[:, 0]
    return hessian, optimum, torch.linalg.eigvalsh(hessian)


def steps_to(name: str, scale: str, error: float, most: int, **hyper: float) -> int:
    """Updates until the distance to the optimum of the bonus data is `error` of what it was at the start, zero."""
    hessian, optimum, _ = bonus(scale)
    point = torch.zeros(4, dtype=torch.float64)
    state = rule(name).init(point)
    goal = error * torch.linalg.vector_norm(optimum)
    for t in range(1, most + 1):
        point, state = rule(name).step(point, hessian @ (point - optimum), state, t, **hyper)
        if torch.linalg.vector_norm(point - optimum) <= goal:
            return t
    return most


def heavy_ball_optimum(scale: str) -> tuple[float, float]:
    """Polyak's learning rate and momentum for the bonus data."""
    values = bonus(scale)[2]
    low, high = math.sqrt(values[0]), math.sqrt(values[-1])
    return (2 / (low + high)) ** 2, ((high - low) / (high + low)) ** 2


@cache
def ends(name: str, scale: str, steps: int, **hyper: float) -> Tensor:
    """Distance to the optimum of the bonus data, relative to the start, after each update."""
    hessian, optimum, _ = bonus(scale)
    path = walk(name, [0.0] * 4, lambda point, _: hessian @ (point - optimum), steps, **hyper)
    return torch.linalg.vector_norm(path - optimum, dim=1) / torch.linalg.vector_norm(optimum)


def slope(errors: Tensor, begin: int, end: int) -> float:
    """The factor by which an error shrinks a step, between two steps."""
    return float((errors[end] / errors[begin]) ** (1 / (end - begin)))


# --- the nine rules in a table ----------------------------------------------------------------------------------------


@claim(
    {
        f"{name}_{size}": near(step, rel=1e-4)
        for name, steps in {
            "sgd": (1e-3, 1, 1e3),
            "momentum": (1e-3, 1, 1e3),
            "nesterov": (1.9e-3, 1.9, 1.9e3),
            "adagrad": (1, 1, 1),
            "rmsprop": (10, 10, 10),
            "adam": (1, 1, 1),
            "adamw": (1, 1, 1),
            "lion": (1, 1, 1),
        }.items()
        for size, step in zip(("small", "one", "large"), steps, strict=True)
    },
    why="closed forms; eps takes a 1e-5th of the step of the smallest gradient",
)
def first_step() -> dict[str, float]:
    """Length of the first step, in units of lr, for a gradient of 0.001, 1 and 1000; the weight is at zero."""
    return {
        f"{name}_{size}": float(moves(name, [gradient], lr=1.0)[0])
        for name in NAMES[:-1]
        for size, gradient in (("small", 1e-3), ("one", 1.0), ("large", 1e3))
    }


@claim(
    {name: exactly(count) for name, count in zip(NAMES, (0, 1, 1, 1, 1, 2, 2, 1, 1), strict=True)},
    why="a count of tensors",
)
def memory() -> dict[str, float]:
    """Numbers that a rule keeps for each weight of a matrix."""
    weight = torch.zeros(8, 4)
    return {name: sum(kept.numel() for kept in rule(name).init(weight).values()) / weight.numel() for name in NAMES}


@claim(below(1e-12), why="rounding of float64, 200 steps", seeds="0")
def same_as_torch() -> float:
    """Largest relative difference to torch.optim over 200 steps of noisy gradients, seven optimizers."""
    twins: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01, weight_decay=0.1),
        "momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
        "nesterov": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
        "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01, weight_decay=0.1),
        "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, weight_decay=0.1),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    }
    worst = 0.0
    for name, twin in twins.items():
        torch.manual_seed(0)
        gradients = torch.randn(200, 5, dtype=torch.float64)
        ours = walk(name, torch.ones(5), lambda _, t, g=gradients: g[t - 1], 200, lr=0.01, weight_decay=0.1)[-1]
        theirs = torch.ones(5, dtype=torch.float64, requires_grad=True)
        optimizer = twin([theirs])
        for gradient in gradients:
            theirs.grad = gradient.clone()
            optimizer.step()
        worst = max(worst, float(((ours - theirs.detach()) / theirs.detach()).abs().max()))
    return worst


# --- momentum ---------------------------------------------------------------------------------------------------------


@claim(
    {
        "torch": near(-4.30993e-6, rel=1e-5),
        "keras": near(-4.30993e-6, rel=1e-5),
        "mean": near(-4.30993e-6, rel=1e-5),
        "mean_same_lr": near(0.1204, rel=5e-3),
    },
    why=ITERATES,
)
def conventions() -> dict[str, float]:
    """x after 200 steps on x^2/2 from 1 with momentum 0.9: lr 0.01, and for the mean 0.1 and 0.01."""

    def descend_with(
        lr: float, kept: Callable[[float, float, float], float], factor: Callable[[float], float]
    ) -> float:
        x, v = 1.0, 0.0
        for _ in range(200):
            v = kept(v, x, lr)
            x -= factor(lr) * v
        return x

    def mean(v: float, gradient: float, _: float) -> float:
        return 0.9 * v + 0.1 * gradient

    return {
        "torch": float(walk("momentum", [1.0], lambda x, _: x, 200, lr=0.01, momentum=0.9)[-1]),
        "keras": descend_with(0.01, lambda v, gradient, lr: 0.9 * v + lr * gradient, lambda _: 1.0),
        "mean": descend_with(0.1, mean, lambda lr: lr),
        "mean_same_lr": descend_with(0.01, mean, lambda lr: lr),
    }


@claim({"outside": near(0.1, rel=1e-3), "inside": near(0.91, rel=1e-3)}, why=ROUNDING)
def lr_drop() -> dict[str, float]:
    """A tenth of the lr after 300 steps of a constant gradient: the next step, as a share of the last."""
    gradient = torch.ones(1, dtype=torch.float64)
    point, state, inside = gradient * 0, rule("momentum").init(gradient), 0.0
    for t in range(1, 301):
        before = point
        point, state = rule("momentum").step(point, gradient, state, t, lr=0.01, momentum=0.9)
        inside = 0.9 * inside + 0.01
    after, _ = rule("momentum").step(point, gradient, state, 301, lr=0.001, momentum=0.9)
    return {"outside": float((after - point) / (point - before)), "inside": (0.9 * inside + 0.001) / inside}


@claim(near(10.0, rel=1e-3), why=ROUNDING)
def momentum_speed() -> float:
    """The 100th step of momentum 0.9 under a constant gradient, in units of lr times gradient."""
    return float(moves("momentum", [1.0] * 100, lr=1.0, momentum=0.9)[-1])


@claim(
    {
        "kappa_raw": near(2243.3, rel=1e-3),
        "kappa_standard": near(47.11, rel=1e-3),
        "root_kappa_raw": near(47.36, rel=1e-3),
        "lr_raw": near(0.015082, rel=1e-3),
        "beta_raw": near(0.9190, rel=1e-3),
        "rate_raw": near(0.95865, rel=1e-4),
        "slope_raw": near(0.9595, rel=1e-3),
        "lr_standard": near(0.7609, rel=1e-3),
        "beta_standard": near(0.5560, rel=1e-3),
        "rate_standard": near(0.74566, rel=1e-4),
        "slope_standard": near(0.752, rel=5e-3),
        "gd_raw": near(15438, rel=1e-3),
        "gd_standard": near(269, rel=5e-3),
        "ball_raw": near(474, rel=5e-3),
        "ball_standard": near(54, rel=1e-2),
        "gd_raw_predicted": near(15496, rel=1e-3),
        "ball_raw_predicted": near(327.1, rel=1e-3),
        "ball_standard_predicted": near(47.07, rel=1e-3),
        "gain_raw": near(32.6, rel=0.01),
    },
    why=ITERATES,
)
def heavy_ball() -> dict[str, float]:
    """Polyak's optimum on the bonus data: rate, measured late slope, and steps to a millionth of the distance."""
    found: dict[str, float] = {}
    for scale, begin, end in (("raw", 500, 800), ("standard", 60, 110)):
        key = "none" if scale == "raw" else scale
        values = bonus(key)[2]
        lr, beta = heavy_ball_optimum(key)
        found |= {
            f"kappa_{scale}": float(values[-1] / values[0]),
            f"lr_{scale}": lr,
            f"beta_{scale}": beta,
            f"rate_{scale}": math.sqrt(beta),
            f"slope_{scale}": slope(ends("momentum", key, end, lr=lr, momentum=beta), begin, end),
            f"gd_{scale}": steps_to("sgd", key, 1e-6, 20_000, lr=float(2 / (values[0] + values[-1]))),
            f"ball_{scale}": steps_to("momentum", key, 1e-6, 2_000, lr=lr, momentum=beta),
            f"ball_{scale}_predicted": math.log(1e-6) / math.log(math.sqrt(beta)),
        }
    kappa = found["kappa_raw"]
    found["gd_raw_predicted"] = math.log(1e-6) / math.log((kappa - 1) / (kappa + 1))
    found["root_kappa_raw"] = math.sqrt(kappa)
    found["gain_raw"] = found["gd_raw"] / found["ball_raw"]
    return found


@claim(
    {
        "limit": near(0.014939, rel=1e-3),
        "inside": below(1e-6),
        "outside": above(1e6),
        "popular": near(1063, rel=0.01),
        "popular_plain": above(1e30),
    },
    why="a closed form, and paths that end many orders of magnitude from the bound",
)
def heavy_ball_range() -> dict[str, float]:
    """Relative distance after 3,000 steps at 0.99 and 1.01 times the limit; lr 0.01 with momentum and without."""
    limit = float(3.8 / bonus()[2][-1])
    return {
        "limit": limit,
        "inside": float(ends("momentum", "none", 3000, lr=0.99 * limit, momentum=0.9)[-1]),
        "outside": float(ends("momentum", "none", 3000, lr=1.01 * limit, momentum=0.9)[-1]),
        "popular": steps_to("momentum", "none", 1e-6, 5000, lr=0.01, momentum=0.9),
        "popular_plain": float(ends("sgd", "none", 300, lr=0.01)[-1]),
    }


def bent(x: Tensor, _: int) -> Tensor:
    """The slope of a convex function with curvature 25, 1 and 25 (Lessard, Recht & Packard 2016, section 4.6)."""
    return torch.where(x < 1, 25 * x, torch.where(x < 2, x + 24, 25 * x - 24))


@claim(
    {
        "low": near(-1.8024, rel=1e-3),
        "middle": near(0.6465, rel=1e-3),
        "high": near(2.1159, rel=1e-3),
        "plain": below(1e-10),
        "nesterov": below(1e-10),
    },
    why=ITERATES,
)
def bent_valley() -> dict[str, float]:
    """Where heavy ball ends with the best lr and momentum for curvatures 1 to 25; gradient descent and Nesterov too."""
    low, middle, high = np.sort(walk("momentum", [3.3], bent, 600, lr=1 / 9, momentum=4 / 9)[-3:, 0].numpy())
    return {
        "low": low,
        "middle": middle,
        "high": high,
        "plain": abs(float(walk("sgd", [3.3], bent, 600, lr=2 / 26)[-1])),
        "nesterov": abs(float(walk("nesterov", [3.3], bent, 600, lr=1 / 25, momentum=4 / 6)[-1])),
    }


def stationary(name: str, lr: float, steps: int, **hyper: float) -> float:
    """Variance of 4,000 independent weights on x^2/2 with gradient noise of variance 1, after they have settled."""
    draw = torch.Generator().manual_seed(0)
    point = torch.zeros(4000, dtype=torch.float64)
    state, variances = rule(name).init(point), []
    for t in range(1, steps + 1):
        noise = torch.randn(4000, dtype=torch.float64, generator=draw)
        point, state = rule(name).step(point, point + noise, state, t, lr=lr, **hyper)
        if t > steps / 2 and t % 20 == 0:
            variances.append(float(point.square().mean()))
    return float(np.mean(variances))


@claim(
    {
        "predicted": near(0.51351, rel=1e-4),
        "momentum": near(0.5135, rel=0.02),
        "predicted_plain": near(0.05263, rel=1e-3),
        "plain": near(0.05263, rel=0.02),
        "ratio": near(9.76, rel=0.03),
        "smaller_lr": near(0.0501, rel=0.02),
        "tenfold": near(1.0, rel=0.02),
    },
    why="3 standard errors of 4,000 weights seen at about 8 nearly independent times",
    seeds="0",
)
def momentum_floor() -> dict[str, float]:
    """Variance around the minimum of x^2/2: lr 0.1 with momentum 0.9 and without, 0.01 with it, 1 without."""
    floor = stationary("momentum", 0.1, 400, momentum=0.9)
    plain = stationary("sgd", 0.1, 400)
    return {
        "predicted": 0.1 * 1.9 / (0.1 * (2 * 1.9 - 0.1)),
        "momentum": floor,
        "predicted_plain": 0.1 / (2 - 0.1),
        "plain": plain,
        "ratio": floor / plain,
        "smaller_lr": stationary("momentum", 0.01, 900, momentum=0.9),
        "tenfold": stationary("sgd", 1.0, 400),
    }


# --- Nesterov ---------------------------------------------------------------------------------------------------------


def nesterov_radius(lr: float, beta: float, values: np.ndarray) -> float:
    """Spectral radius of Nesterov's iteration on a quadratic with these curvatures."""
    shrink = 1 - lr * values
    roots = [np.roots([1, -(1 + beta) * c, beta * c]) for c in shrink]
    return float(np.abs(np.concatenate(roots)).max())


@claim(
    {
        "formula": near(0.83235, rel=1e-4),
        "searched": near(0.83235, rel=1e-3),
        "slope": near(0.8394, rel=5e-3),
        "steps_standard": near(74, rel=0.015),
        "steps_raw": near(666, rel=5e-3),
        "first": near(1.9, rel=1e-6),
    },
    why="a closed form, a search to 1e-6 and a deterministic path; the slope is k times rate^k as for heavy ball",
)
def nesterov_optimum() -> dict[str, float]:
    """The best Nesterov for the standardised bonus data: 1 - 2 / sqrt(3 kappa + 1), a search, and a path."""
    from scipy.optimize import minimize

    values = bonus("standard")[2].numpy()
    found = {}
    for key in ("standard", "none"):
        curvatures = bonus(key)[2].numpy()
        root = math.sqrt(3 * curvatures[-1] / curvatures[0] + 1)
        tuned = {"lr": 4 / (3 * curvatures[-1] + curvatures[0]), "momentum": (root - 2) / (root + 2)}
        found[key] = steps_to("nesterov", key, 1e-6, 2000, **tuned)
        if key == "standard":
            formula, best = 1 - 2 / root, tuned
    ends_of = [0.25, 0.6]  # a start that is not the answer
    search = minimize(
        lambda at: nesterov_radius(at[0], at[1], values[[0, -1]]),
        ends_of,
        method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-9, "maxiter": 2000},
    )
    return {
        "formula": formula,
        "searched": search.fun,
        "slope": slope(ends("nesterov", "standard", 150, **best), 80, 150),
        "steps_standard": found["standard"],
        "steps_raw": found["none"],
        "first": float(moves("nesterov", [1.0], lr=1.0, momentum=0.9)[0]),
    }


# --- AdaGrad and RMSprop ----------------------------------------------------------------------------------------------


@claim({"t100": near(0.1, rel=1e-3), "t10000": near(0.01, rel=1e-3), "rare": near(10, rel=1e-3)}, why=ROUNDING)
def adagrad_decay() -> dict[str, float]:
    """Steps in units of lr under a constant gradient; and of a feature seen in 1 of 100 steps against every step."""
    steady = moves("adagrad", [1.0] * 10_000, lr=1.0)
    rare = moves("adagrad", [float(t % 100 == 99) for t in range(1000)], lr=1.0)
    return {"t100": steady[99], "t10000": steady[9999], "rare": rare[999] / steady[999]}


@claim(
    {
        "first": near(10, rel=1e-3),
        "first_0999": near(31.62, rel=1e-3),
        "moved": near(0.1, rel=1e-3),
        "t100": near(1.256, rel=2e-3),
        "started_at_one": near(1.0, rel=1e-3),
        "started_at_one_small": near(0.0101, rel=1e-2),
        "torch_lr": exactly(0.01),
        "ours_lr": exactly(0.001),
    },
    why=ROUNDING,
)
def rmsprop_start() -> dict[str, float]:
    """First steps of RMSprop in units of lr; the default lr of torch.optim.RMSprop, and how far that moves a weight."""
    steady = moves("rmsprop", [1.0] * 100, lr=1.0)
    from_one = [g / math.sqrt(0.99 + 0.01 * g * g) for g in (1.0, 0.01)]
    default = torch.optim.RMSprop([torch.zeros(1)]).defaults["lr"]
    return {
        "first": steady[0],
        "first_0999": float(moves("rmsprop", [1.0], lr=1.0, alpha=0.999)[0]),
        "moved": float(moves("rmsprop", [1.0], lr=default)[0]),
        "t100": steady[99],
        "started_at_one": from_one[0],
        "started_at_one_small": from_one[1],
        "torch_lr": default,
        "ours_lr": Recipe(optimizer="rmsprop")["lr"],
    }


def first_losses(name: str, lr: float, updates: int) -> list[float]:
    """Loss of the digits MLP on the training set before each of the first updates, full batches."""
    recipe = Recipe(
        data="digits",
        model="mlp",
        optimizer=name,
        lr=lr,
        batch_size="all",
        steps=updates,
        evaluate_every=1,
        monitors="none",
    )
    with tempfile.TemporaryDirectory() as folder:
        return descend.fit(recipe, runs=folder).series("loss/train").y.tolist()


@claim(
    {
        "before": near(2.303, rel=0.01),
        "rmsprop": near(3.19, rel=0.1),
        "adam": near(2.1, rel=0.1),
        "rmsprop_low": near(2.1, rel=0.1),
        "guess": near(2.3026, rel=1e-4),
    },
    why="float32 on another processor; the statement is above or below the loss of guessing",
    seeds="0",
)
def rmsprop_on_digits() -> dict[str, float]:
    """Loss of the digits MLP before and after one full-batch step at lr 0.01, and of RMSprop at lr 0.001."""
    return {
        "before": first_losses("rmsprop", 0.01, 1)[0],
        "rmsprop": first_losses("rmsprop", 0.01, 1)[1],
        "adam": first_losses("adam", 0.01, 1)[1],
        "rmsprop_low": first_losses("rmsprop", 0.001, 1)[1],
        "guess": math.log(10),
    }


# --- Adam -------------------------------------------------------------------------------------------------------------


def without_correction(
    gradients: Sequence[float],
    *,
    lr: float = 1.0,
    beta1: float = 0.9,
    beta2: float = 0.999,
    multiplied: bool = False,
    counts_from: int = 1,
) -> np.ndarray:
    """Steps of an Adam whose bias correction is missing, or multiplied where it should be divided."""
    m = v = 0.0
    steps = []
    for t, gradient in enumerate(gradients, start=counts_from):
        m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
        first, second = (1 - beta1**t, 1 - beta2**t) if multiplied else (1.0, 1.0)
        steps.append(lr * m * first / math.sqrt(v * second))
    return np.array(steps)


@claim(
    {
        "uncorrected": near(3.162, rel=1e-3),
        "multiplied": near(10, rel=1e-3),
        "multiplied_20": near(19.7, rel=2e-3),
        "uncorrected_longest": near(6.57, rel=0.01),
    },
    why=ROUNDING,
)
def adam_mistakes() -> dict[str, float]:
    """Steps in units of lr, if bias correction is missing or multiplied; t = 20 where examples are counted."""
    return {
        "uncorrected": without_correction([1.0])[0],
        "uncorrected_longest": without_correction([1.0] * 100).max(),
        "multiplied": without_correction([1.0], multiplied=True)[0],
        "multiplied_20": without_correction([1.0], multiplied=True, counts_from=20)[0],
    }


@claim(
    {
        "constant": below(1e-7),
        "bound": near(3.162, rel=1e-3),
        "spike": near(3.162, rel=1e-3),
        "growing": near(7.271, rel=1e-3),
        "growing_predicted": near(7.271, rel=1e-3),
        "returning": near(6.568, rel=1e-3),
        "after": near(9.05, rel=5e-3),
        "turning": near(0.0526, rel=5e-3),
        "noise": near(0.2294, rel=0.03),
        "noise_predicted": near(0.2294, rel=1e-3),
    },
    why="closed forms, but for the noise: 3 standard errors of 32,000 steps correlated over about 10",
    seeds="0",
)
def adam_responses() -> dict[str, float]:
    """Adam's steps in units of lr; `constant` is the farthest of 1,000 from one, `noise` a root mean square."""
    growing = (0.999 / 0.9) ** np.arange(-99.0, 1.0)
    noise = torch.randn(1200, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    path = walk("adam", torch.zeros(40), lambda _, t: noise[t - 1], 1200, lr=1.0)
    return {
        "constant": float(np.abs(moves("adam", [1.0] * 1000, lr=1.0) - 1).max()),
        "bound": 0.1 / math.sqrt(0.001),
        "spike": moves("adam", [1.0], after=10_000, lr=1.0)[0],
        "growing": moves("adam", growing.tolist(), after=10_000, lr=1.0)[-1],
        "returning": moves("adam", [1.0] * 100, after=10_000, lr=1.0).max(),
        "growing_predicted": 0.1 / math.sqrt(0.001 * (1 - 0.9**2 / 0.999)),
        "after": moves("adam", [1.0] * 3000 + [0.0] * 300, lr=1.0)[3000:].sum(),
        "turning": abs(moves("adam", [1.0, -1.0] * 200, lr=1.0)[-1]),
        "noise": float(path[400:].diff(dim=0).square().mean().sqrt()),
        "noise_predicted": math.sqrt(0.1 / 1.9),
    }


@claim(
    {
        "scaled": below(1e-7),
        "tiny": near(0.733, rel=0.02),
        "half": near(0.5, rel=1e-3),
        "outside": near(0.99, rel=2e-3),
        "inside": near(0.3015, rel=2e-3),
    },
    why=ITERATES,
)
def adam_scale() -> dict[str, float]:
    """Adam's path on the bonus data if the loss is multiplied; and its first step in units of lr where eps counts."""
    hessian, optimum, _ = bonus("standard")

    def end(name: str, factor: float, steps: int) -> Tensor:
        return walk(name, [0.0] * 4, lambda point, _: factor * hessian @ (point - optimum), steps, lr=0.1)[-1]

    plain = end("adam", 1.0, 200)
    return {
        "scaled": float(((end("adam", 1000.0, 200) - plain) / plain).abs().max()),
        "tiny": float((end("adam", 1e-10, 200) / plain)[3]),
        "half": float(moves("adam", [1e-8], lr=1.0)[0]),
        "outside": float(moves("adam", [1e-3], lr=1.0, eps=1e-5)[0]),
        "inside": 1e-3 / math.sqrt(1e-6 + 1e-5),
    }


def seesaw(_: Tensor, t: int) -> Tensor:
    """Once in 101 steps a slope of 1010 up, else 10 down: the mean is uphill (Reddi, Kale & Kumar 2018, section 5)."""
    return torch.tensor([1010.0 if t % 101 == 1 else -10.0], dtype=torch.float64)


@claim(
    {
        "mean": near(0.0990, rel=2e-3),
        "adam_99": near(1, abs=0.06),
        "drift_99": near(1.901, rel=5e-3),
        "drift_9999": near(-0.0666, rel=0.02),
        "drift_amsgrad": near(-0.0788, rel=0.02),
        "drift_sgd": near(-10, rel=1e-6),
        "drift_lion": exactly(25),
        "drift_lion_long": near(-19, abs=2),
    },
    why="the weight ends at an end of its interval; the drifts are deterministic, but for a sign beside a tie",
)
def reddi() -> dict[str, float]:
    """Where Adam with beta2 0.99 takes a weight kept in -1..1; its drift in a period of 101 steps, in units of lr."""
    point = torch.zeros(1, dtype=torch.float64)
    state = rule("adam").init(point)
    for t in range(1, 101 * 60 + 1):
        point, state = rule("adam").step(point, seesaw(point, t), state, t, lr=0.01, beta2=0.99)
        point = point.clamp(-1, 1)

    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    amsgrad = torch.optim.Adam([weight], lr=1.0, betas=(0.9, 0.99), amsgrad=True)
    for t in range(1, 101 * 10 + 1):
        weight.grad = seesaw(weight, t)
        if t == 101 * 9 + 1:
            before = weight.item()
        amsgrad.step()

    def drift(name: str, periods: int, **hyper: float) -> float:
        gradients = [float(seesaw(point, t)) for t in range(1, 101 * periods + 1)]
        return -float(moves(name, gradients, lr=1.0, **hyper)[-101:].sum())

    return {
        "mean": (1010 - 100 * 10) / 101,
        "adam_99": float(point),
        "drift_99": drift("adam", 30, beta2=0.99),
        "drift_9999": drift("adam", 100, beta2=0.9999),
        "drift_amsgrad": weight.item() - before,
        "drift_sgd": drift("sgd", 2),
        "drift_lion": drift("lion", 10),
        "drift_lion_long": drift("lion", 60, beta1=0.999, beta2=0.999),
    }


@claim(
    {
        "flat": near(1, rel=1e-3),
        "steep": near(1, rel=1e-3),
        "newton_flat": near(100, rel=1e-6),
        "newton_steep": near(0.01, rel=1e-6),
        "fisher": near(1.0, rel=0.1),
        "fisher_wrong": near(25, rel=0.1),
    },
    why="closed forms; for Fisher 3 standard errors of 20,000 rows",
    seeds="0",
)
def curvature() -> dict[str, float]:
    """Adam's first step in two valleys at the same slope; and mean squared gradients beside the Hessian's diagonal."""
    slopes = {
        key: float(walk("adam", [1 / k], lambda x, _, k=k: k * x, 1, lr=1.0).diff(dim=0).abs()[0])
        for key, k in (("flat", 0.01), ("steep", 100.0))
    }
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(20_000, 3))
    ratios = {}
    for key, noise in (("fisher", 1.0), ("fisher_wrong", 5.0)):  # half the squared error is a likelihood for sd 1
        gradients = inputs * noise * draw.normal(size=(20_000, 1))
        ratios[key] = float((np.square(gradients).mean(0) / np.square(inputs).mean(0)).mean())
    return {**slopes, "newton_flat": 1 / 0.01, "newton_steep": 1 / 100.0, **ratios}


RACE_LRS = [10 ** (k / 2) for k in range(3, -4, -1)]  # 32 to 0.03; the best of each rule lies inside


def fastest_adam(hessian: Tensor, optimum: Tensor) -> tuple[int, float]:
    """Fewest steps to a millionth of the distance over the rates of the race, 2,500 at most, and the best rate."""
    least, best = 2500, math.nan
    goal = 1e-6 * torch.linalg.vector_norm(optimum)
    for lr in RACE_LRS:
        point = torch.zeros(4, dtype=torch.float64)
        state = rule("adam").init(point)
        for t in range(1, least):
            point, state = rule("adam").step(point, hessian @ (point - optimum), state, t, lr=lr)
            if torch.linalg.vector_norm(point - optimum) <= goal:
                least, best = t, lr
                break
    return least, best


@claim(
    {
        "adam": near(471, rel=0.02),
        "adam_lr": exactly(10),
        "adam_no_momentum": near(5.33e-4, rel=0.05),
        "adam_no_momentum_lr": exactly(1),
        "rmsprop": near(3.69e-3, rel=0.05),
        "rmsprop_lr": near(0.1, rel=1e-6),
        "momentum": near(677, rel=0.01),
        "default_bias": near(1.882, rel=5e-3),
        "default_most": near(2, rel=1e-6),
    },
    why=ITERATES,
)
def race() -> dict[str, float]:
    """Raw bonus data, best lr of seven half a decade apart: steps to 1e-6, or the least distance in 2,000 steps."""
    hessian, optimum, _ = bonus()
    limit = float(2 / bonus()[2][-1])
    default = walk("adam", [0.0] * 4, lambda point, _: hessian @ (point - optimum), 2000, lr=0.001)[-1]
    adam, adam_lr = fastest_adam(hessian, optimum)

    def nearest(name: str, **hyper: float) -> tuple[float, float]:
        return min((float(ends(name, "none", 2000, lr=lr, **hyper).min()), lr) for lr in RACE_LRS)

    no_momentum, rmsprop = nearest("adam", beta1=0.0), nearest("rmsprop")
    return {
        "adam": adam,
        "adam_lr": adam_lr,
        "adam_no_momentum": no_momentum[0],
        "adam_no_momentum_lr": no_momentum[1],
        "rmsprop": rmsprop[0],
        "rmsprop_lr": rmsprop[1],
        "momentum": min(
            steps_to("momentum", "none", 1e-6, 3000, lr=share * limit, momentum=0.9) for share in (0.5, 1.0, 1.5, 1.85)
        ),
        "default_bias": float(default[3]),
        "default_most": 2000 * 0.001,
    }


@cache
def turn(seed: int = 0) -> Tensor:
    """An orthogonal change of the four coordinates."""
    return torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))[0]


@claim(
    {
        "slowest_bias": near(0.968, rel=5e-3),
        "steepest_most": near(0.680, rel=5e-3),
        "least": near(311, rel=0.05),
        "most": near(1269, rel=0.05),
        "faster": near(2, abs=0.5),
    },
    why="deterministic paths in float64 that overshoot, so another swing may count; five draws of the coordinates",
    seeds="0 to 4",
)
def turned_race() -> dict[str, float]:
    """Adam's steps to 1e-6 in five turned systems of coordinates, each at the best lr of the race; the eigenvectors."""
    hessian, optimum, _ = bonus()
    steps = [fastest_adam(turn(seed) @ hessian @ turn(seed).T, turn(seed) @ optimum)[0] for seed in range(5)]
    directions = torch.linalg.eigh(hessian)[1].abs()
    return {
        "slowest_bias": float(directions[3, 0]),
        "steepest_most": float(directions[:, -1].max()),
        "least": min(steps),
        "most": max(steps),
        "faster": sum(one < fastest_adam(hessian, optimum)[0] for one in steps),
    }


def turned_path(name: str, steps: int, **hyper: float) -> Tensor:
    """A descent on the raw bonus data in turned coordinates, turned back."""
    hessian, optimum, _ = bonus()
    turned = turn() @ hessian @ turn().T
    return walk(name, [0.0] * 4, lambda z, _: turned @ (z - turn() @ optimum), steps, **hyper) @ turn()


@claim(
    {"sgd": below(1e-10), "momentum": below(1e-10), "adam_percent": near(50.8, rel=0.01), "order": below(1e-12)},
    why="rounding; for Adam a deterministic path",
    seeds="0",
)
def rotation() -> dict[str, float]:
    """Distance after 200 steps between the path in turned and in plain coordinates, relative to the optimum."""
    hessian, optimum, _ = bonus()

    def apart(name: str, **hyper: float) -> float:
        plain = walk(name, [0.0] * 4, lambda point, _: hessian @ (point - optimum), 200, **hyper)[-1]
        return float(
            torch.linalg.vector_norm(turned_path(name, 200, **hyper)[-1] - plain) / torch.linalg.vector_norm(optimum)
        )

    order = torch.eye(4, dtype=torch.float64)[[2, 0, 3, 1]] * torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    plain = walk("adam", [0.0] * 4, lambda point, _: hessian @ (point - optimum), 200, lr=0.1)[-1]
    shuffled = walk("adam", [0.0] * 4, lambda z, _: order @ hessian @ order.T @ (z - order @ optimum), 200, lr=0.1)[-1]
    return {
        "sgd": apart("sgd", lr=0.007),
        "momentum": apart("momentum", lr=0.007),
        "adam_percent": 100 * apart("adam", lr=0.1),
        "order": float((shuffled - order @ plain).abs().max()),
    }


# --- weight decay -----------------------------------------------------------------------------------------------------


@claim(
    {
        "l2_low": near(0.0010, rel=1e-2),
        "l2_middle": near(0.0010, rel=1e-2),
        "l2_high": near(0.0010, rel=1e-2),
        "decoupled_low": near(2e-7, rel=1e-6),
        "decoupled_middle": near(2e-5, rel=1e-6),
        "decoupled_high": near(2e-3, rel=1e-6),
        "sgd": below(1e-15),
    },
    why=ROUNDING,
)
def decay_alone() -> dict[str, float]:
    """How far a weight of 2 moves in a step at lr 0.001 without a gradient of the data, at three strengths."""
    found = {}
    for key, strength in (("low", 1e-4), ("middle", 1e-2), ("high", 1.0)):
        for name, label in (("adam", "l2"), ("adamw", "decoupled")):
            path = walk(name, [2.0], lambda x, _: 0 * x, 1, lr=0.001, weight_decay=strength)
            found[f"{label}_{key}"] = float(-path.diff(dim=0)[0])
    data = torch.linspace(-1, 1, 100, dtype=torch.float64)
    l2 = walk("sgd", [2.0], lambda _, t: data[t - 1 : t], 100, lr=0.1, weight_decay=0.01)[-1]
    decayed = torch.tensor([2.0], dtype=torch.float64)
    for gradient in data:
        decayed = decayed * (1 - 0.1 * 0.01) - 0.1 * gradient
    return {**found, "sgd": float((l2 - decayed).abs())}


@cache
def shrinkage(name: str, noise: float, steps: int = 2000, weights: int = 400) -> np.ndarray:
    """Mean of weights that start at 1 and see nothing but noise and decay, lr 0.001, strength 0.5."""
    draw = torch.Generator().manual_seed(0)
    gradients = noise * torch.randn(steps, weights, dtype=torch.float64, generator=draw)
    path = walk(name, torch.ones(weights), lambda _, t: gradients[t - 1], steps, lr=0.001, weight_decay=0.5)
    return path.mean(1).numpy()


@claim(
    {
        "predicted": near(0.368, rel=2e-3),
        "w_quiet": near(0.368, abs=0.01),
        "w_loud": near(0.368, abs=0.01),
        "l2_quiet": near(0.0, abs=0.05),
        "l2_loud": near(0.905, abs=0.01),
        "l2_loud_predicted": near(0.905, rel=2e-3),
    },
    why="3 standard errors of the mean of 400 weights",
    seeds="0",
)
def shrunk() -> dict[str, float]:
    """What is left of weights of 1 after 2,000 steps of noise (sd 0.1 or 10): AdamW and Adam with L2."""
    return {
        "predicted": (1 - 0.001 * 0.5) ** 2000,
        "l2_loud_predicted": math.exp(-0.001 * 0.5 / 10 * 2000),
        "w_quiet": shrinkage("adamw", 0.1)[-1],
        "w_loud": shrinkage("adamw", 10.0)[-1],
        "l2_quiet": shrinkage("adam", 0.1)[-1],
        "l2_loud": shrinkage("adam", 10.0)[-1],
    }


# --- clipping ---------------------------------------------------------------------------------------------------------


@claim(
    {
        "norm": near(1, rel=1e-5),
        "value": near(0.754, rel=5e-3),
        "per_tensor": near(0.902, rel=5e-3),
        "tenfold": below(1e-6),
    },
    why=ROUNDING,
)
def clipping() -> dict[str, float]:
    """Cosine between the gradient before and after; and a gradient ten times as large."""
    gradient = [torch.tensor([30.0, 4.0], dtype=torch.float64), torch.tensor([0.3, 0.4], dtype=torch.float64)]

    def clipped(how: Callable[[list[Tensor], float], object], factor: float = 1.0) -> Tensor:
        copies = [factor * part for part in gradient]
        how(copies, 1.0)
        return torch.cat(copies)

    def each(parts: list[Tensor], limit: float) -> None:
        for part in parts:
            clip_by_norm([part], limit)

    def cosine(other: Tensor) -> float:
        return float(torch.cosine_similarity(torch.cat(gradient), other, dim=0))

    return {
        "norm": cosine(clipped(clip_by_norm)),
        "value": cosine(clipped(clip_by_value)),
        "per_tensor": cosine(clipped(each)),
        "tenfold": float((clipped(clip_by_norm, 10.0) - clipped(clip_by_norm)).abs().max()),
    }


@claim(
    {
        "first": near(3146, rel=2e-3),
        "plain": above(1e50),
        "after_6000": near(0.512, rel=0.02),
        "floor": near(0.005, rel=1e-3),
        "floor_predicted": near(0.005, rel=1e-6),
        "fraction": near(100, abs=1),
        "norm": near(1.2718, rel=5e-3),
        "norm_predicted": near(1.2718, rel=1e-3),
    },
    why=ITERATES,
)
def clipped_divergence() -> dict[str, float]:
    """GD on the raw bonus data at lr 0.01, which diverges, and clipped to norm 1 for 20,000 steps: norms, distances."""
    hessian, optimum, values = bonus()
    point, clipped, norms = torch.zeros(4, dtype=torch.float64), 0, []
    for t in range(1, 20_001):
        gradient = hessian @ (point - optimum)
        norms.append(float(clip_by_norm([gradient], 1.0)))
        clipped += norms[-1] > 1
        point, _ = rule("sgd").step(point, gradient, {}, t, lr=0.01)
        if t == 6000:
            after_6000 = float(torch.linalg.vector_norm(point - optimum))
    return {
        "after_6000": after_6000,
        "first": norms[0],
        "plain": float(ends("sgd", "none", 300, lr=0.01)[-1]),
        "floor": float(torch.linalg.vector_norm(point - optimum)),
        "floor_predicted": 0.01 * 1 / 2,
        "fraction": 100 * clipped / 20_000,
        "norm": norms[-1],
        "norm_predicted": 0.01 * float(values[-1]) / 2,
    }


# --- Muon -------------------------------------------------------------------------------------------------------------


@claim(
    {
        "spread_before": above(100),
        "least": near(0.7, rel=0.1),
        "greatest": near(1.2, rel=0.1),
        "rms": near(0.18, rel=0.1),
        "turned": below(1e-10),
        "shorter": below(1e-10),
        "bias": near(1, rel=1e-4),
        "row": near(0.2413, rel=1e-3),
    },
    why="the iteration is deterministic; the matrix is one draw",
    seeds="0",
)
def muon_step() -> dict[str, float]:
    """Singular values of a gradient and of Muon's first step, without its factor; size of the step; rotations."""
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(32, 32, dtype=torch.float64, generator=draw))[0] for _ in range(2))
    values = torch.logspace(0, -2, 32, dtype=torch.float64)
    gradient = left @ torch.diag(values) @ right

    def first(of: Tensor) -> Tensor:
        zero = torch.zeros_like(of)
        return -rule("muon").step(zero, of, rule("muon").init(zero), 1, lr=1.0)[0]

    after = torch.linalg.svdvals(first(gradient)) / (0.2 * math.sqrt(32))
    return {
        "spread_before": float(values[0] / values[-1]) * (1 + 1e-12),
        "least": float(after[-1]),
        "greatest": float(after[0]),
        "rms": float(first(gradient).square().mean().sqrt()),
        "turned": float((first(left @ gradient @ right) - left @ first(gradient) @ right).abs().max()),
        "shorter": max(float((first(size * gradient) - first(gradient)).abs().max()) for size in (1e-3, 1e3)),
        "row": float(torch.linalg.vector_norm(first(gradient[:1, :3]))),
        "bias": float(first(torch.ones(1, dtype=torch.float64))),
    }


# --- a protocol with equal budgets ------------------------------------------------------------------------------------

HALF_DECADES = [10 ** (k / 2) for k in range(-8, 3)]  # 0.0001 to 10: the same eleven for every optimizer
CONTENDERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "lion", "muon")
BUDGETS = {  # by data set: model, epochs, rows of a batch, and below how many % the result is called good
    "bonus": ("employee_bonus", "linear", 40, 16, 1.0),
    "digits": ("digits", "mlp", 5, 32, 10.0),
    "spirals": ("spirals", "mlp", 20, 32, 10.0),
}


@cache
def failure(task: str, name: str, lr: float, seed: int) -> float:
    """Of the validation rows at the end, in %: those that are wrong, or of the bonus the variance left unexplained."""
    data, model, epochs, rows, _ = BUDGETS[task]
    recipe = Recipe(
        data=data,
        model=model,
        optimizer=name,
        lr=lr,
        seed=seed,
        epochs=epochs,
        batch_size=rows,
        validation=0.2,
        monitors="none",
        evaluate_every=10_000,
        **({"weight_decay": 0.0} if name == "muon" else {}),
    )
    with tempfile.TemporaryDirectory() as folder:
        run = descend.fit(recipe, runs=folder)
        if run.status != "finished":
            return math.inf
        if task == "bonus":
            return 100 * float(run.series("loss/validation").y[-1]) / float(employee_bonus().train.targets.var())
        return 100 * (1 - float(run.series("accuracy/validation").y[-1]))


@cache
def small_sweep() -> Mapping[str, list[float]]:
    """Validation error of the digits MLP after five epochs at seven learning rates, seed 0, for four optimizers."""
    return {
        name: [failure("digits", name, lr, 0) for lr in HALF_DECADES[2:9]]
        for name in ("sgd", "momentum", "rmsprop", "adam")
    }


@claim(
    {
        **{
            f"{name}_good": near(good, abs=0.5)
            for name, good in {"sgd": 1, "momentum": 2, "rmsprop": 4, "adam": 4}.items()
        },
        "adam_001": near(5.6, abs=2),
        "adam_01": above(20),
        "adam_1": near(90, abs=3),
    },
    why="one seed on 359 rows: the standard deviation over seeds is about a point; counts are whole numbers",
    seeds="0",
)
def small_protocol() -> dict[str, float]:
    """How many of seven learning rates come below 10 % of validation error; Adam's error in % at three of them."""
    sweep = small_sweep()
    adam = dict(zip(range(7), sweep["adam"], strict=True))
    return {
        **{f"{name}_good": sum(one < 10 for one in errors) for name, errors in sweep.items()},
        "adam_001": adam[2],
        "adam_01": adam[4],
        "adam_1": adam[6],
    }


@cache
def big_sweep(task: str) -> Mapping[str, list[float]]:
    """The median of three seeds at eleven learning rates, for seven optimizers: 231 runs a task."""
    return {
        name: [float(np.median([failure(task, name, lr, seed) for seed in range(3)])) for lr in HALF_DECADES]
        for name in CONTENDERS
    }


BEST = {  # of three seeds, in %, and how many of the eleven learning rates are good: measured, then entered here
    "bonus": {
        "sgd": (1.26, 0),
        "momentum": (0.485, 2),
        "adagrad": (0.225, 2),
        "rmsprop": (0.349, 2),
        "adam": (0.0619, 4),
        "lion": (0.656, 1),
        "muon": (1.17, 0),
    },
    "digits": {
        "sgd": (5.85, 1),
        "momentum": (4.46, 2),
        "adagrad": (3.62, 3),
        "rmsprop": (4.18, 3),
        "adam": (5.01, 4),
        "lion": (4.18, 3),
        "muon": (2.79, 3),
    },
    "spirals": {
        "sgd": (30.0, 0),
        "momentum": (3.33, 1),
        "adagrad": (0.0, 5),
        "rmsprop": (0.0, 2),
        "adam": (0.0, 4),
        "lion": (0.0, 3),
        "muon": (0.0, 3),
    },
}


@claim(
    {
        key: band
        for task, results in BEST.items()
        for name, (best, good) in results.items()
        for key, band in (
            (f"{task}_{name}_best", near(best, rel=0.3, abs=0.03 if task == "bonus" else 1.5)),
            (f"{task}_{name}_good", near(good, abs=1)),
        )
    },
    why="medians of three seeds on 60 to 359 rows; a rate beside the threshold may fall to either side",
    seeds="0, 1, 2",
    slow=True,
)
def protocol() -> dict[str, float]:
    """The least median of eleven learning rates in %, and how many of them are good, by task and optimizer."""
    found = {}
    for task, (*_, threshold) in BUDGETS.items():
        for name, medians in big_sweep(task).items():
            found[f"{task}_{name}_best"] = min(medians)
            found[f"{task}_{name}_good"] = sum(one < threshold for one in medians)
    return found


# --- tuned alike, many times ------------------------------------------------------------------------------------------

RECORDED: Final = json.loads((ROOT / "benchmarks" / "results" / "recommend.json").read_text(encoding="utf-8"))
"""What `benchmarks/recommend.py` found for each of its four tasks; `make nightly` finds it again."""

REPEATED: Final = (
    "rounding, so a processor, moves single runs: a loss or a ratio may lie in its 95 % interval over repeats, an "
    "interval's end half its width away, a factor in its bootstrap interval; behind or not, one may change sides that "
    "is within a tenth of chance's edge; a target, the median of one optimizer's runs, within a tenth"
)


def recorded(task: str, *more: str) -> dict[str, Band]:
    """Bands around what was recorded of a task: losses, windows that come to the target, who is behind, the target.

    more: of what else, as `measured` names it.
    """
    contestants = RECORDED[task]["contestants"]
    found: dict[str, Band] = {}
    for name, one in contestants.items():
        loss, low, high = one["loss"]["mean"], one["loss"]["low"], one["loss"]["high"]
        found |= {
            f"{name}_loss": between(low, high),
            f"{name}_low": between(_short(low * low / loss), loss),
            f"{name}_high": between(loss, _short(high * high / loss)),
        }
        if one["reaching"]["low"] < one["reaching"]["high"]:
            found[f"{name}_factor"] = between(*one["reaching"]["interval"])
        if f"{name}_own" in more:
            found[f"{name}_own"] = between(*one["window"]["interval"])
        if f"{name}_times" in more:
            times = one["loss_against_the_least"]
            found[f"{name}_times"] = between(times["low"], times["high"])
        if f"{name}_score" in more:
            found[f"{name}_score"] = near(_short(100 * one["accuracy/validation"]), abs=1)
    ratios = [one["loss_against_the_least"] for one in contestants.values() if one["loss_against_the_least"]]
    certainly, perhaps = (sum(ratio["low"] > edge for ratio in ratios) for edge in (1.1, 0.9))
    target = RECORDED[task]["target"]
    return found | {"behind": between(certainly - 0.5, perhaps + 0.5), "target": near(target, rel=0.1)}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


@cache
def measured(task: str) -> Mapping[str, float]:
    """Losses with intervals, factors of learning rates and scores, by optimizer; how many are behind; the target."""
    one = TASKS[task]
    result = descend.recommend(entered(one.recipe, one.optimizers), **one.budget)
    told = [ratio.different for ratio in result.standing("loss").ratios.values()]
    found: dict[str, float] = {"behind": sum(told), "target": result.target}
    for name, facts in result.facts["contestants"].items():
        found |= {
            f"{name}_loss": facts["loss"]["mean"],
            f"{name}_low": facts["loss"]["low"],
            f"{name}_high": facts["loss"]["high"],
            f"{name}_factor": facts["reaching"]["factor"],
            f"{name}_own": facts["window"]["factor"],
            f"{name}_times": facts["against_the_least"].get("loss", {"mean": 1.0})["mean"],
            f"{name}_score": 100 * float(np.mean(facts[result.score])),
        }
    return found


ALIKE: Final = {
    "mlp": recorded("mlp", "muon_score", "adam_score", "adam_times", "nesterov_times"),
    "cnn": recorded("cnn", "adam_times"),
    "rnn": recorded("rnn", "sgd_own", "rmsprop_times", "sgd_times"),
    "transformer": recorded("transformer", "adam_times", "rmsprop_times", "momentum_times", "sgd_times"),
}
"""The bands, by task: each key is one that `measured` has."""


@claim(ALIKE["mlp"], why=REPEATED, seeds="0 to 9 to tune, 10 to 39 fresh", slow=True)
def recommend_mlp() -> dict[str, float]:
    """`descend.recommend` among nine optimizers, for an MLP on digits."""
    return {key: measured("mlp")[key] for key in ALIKE["mlp"]}


@claim(ALIKE["cnn"], why=REPEATED, seeds="0 to 7 to tune, 8 to 23 fresh", slow=True)
def recommend_cnn() -> dict[str, float]:
    """The same among the five that folklore names, for a CNN on digits."""
    return {key: measured("cnn")[key] for key in ALIKE["cnn"]}


@claim(ALIKE["rnn"], why=REPEATED, seeds="0 to 7 to tune, 8 to 23 fresh", slow=True)
def recommend_rnn() -> dict[str, float]:
    """The same for an LSTM on the adding problem."""
    return {key: measured("rnn")[key] for key in ALIKE["rnn"]}


@claim(ALIKE["transformer"], why=REPEATED, seeds="0 to 7 to tune, 8 to 23 fresh", slow=True)
def recommend_transformer() -> dict[str, float]:
    """The same for a small transformer on characters."""
    return {key: measured("transformer")[key] for key in ALIKE["transformer"]}


TRIALS: Final = 200
PAIRS: Final = {  # by key: the pair, the task, and in how many of the trials it was told apart
    "adam_bonus": ("adam and itself", "bonus, linear", 7),
    "adam_moons": ("adam and itself", "moons, MLP", 4),
    "momentum_bonus": ("momentum and itself", "bonus, linear", 3),
    "momentum_moons": ("momentum and itself", "moons, MLP", 5),
    "decay_bonus": ("adam and adam with decay 1", "bonus, linear", 85),
    "decay_moons": ("adam and adam with decay 1", "moons, MLP", 198),
}


@claim(
    {key: near(count, abs=_short(2 * math.sqrt(count * (1 - count / TRIALS)))) for key, (*_, count) in PAIRS.items()},
    why="two standard deviations of a binomial count of 200 trials",
    seeds="0 to 19,999, a hundred a trial",
    slow=True,
)
def recommend_same() -> dict[str, float]:
    """In how many of 200 reports `descend.recommend` tells two apart: an optimizer and itself, or a worse one."""
    return {key: told_apart(task, pair, TRIALS) for key, (pair, task, _) in PAIRS.items()}
