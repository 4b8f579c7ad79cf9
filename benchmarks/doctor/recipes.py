"""Hyperparameters that do not fit, as recipes that `descend.fit` trains: the faulty one differs in what is named."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from benchmarks.doctor.corpus import Case, Desk, Part, add

DIGITS: Final = {"data": "digits", "model": "mlp", "width": 48, "optimizer": "adam", "lr": 2e-3, "epochs": 12}
WAVES: Final = {"data": "sines", "model": "mlp", "activation": "tanh", "optimizer": "adam", "lr": 5e-3, "epochs": 60}
MOONS: Final = {"data": "moons", "noise": 0.15, "model": "mlp", "optimizer": "momentum", "lr": 0.05, "epochs": 20}
SPIRALS: Final = {"data": "spirals", "turns": 1.0, "model": "mlp", "optimizer": "adam", "lr": 5e-3, "epochs": 40}


class Slip(NamedTuple):
    """`change` makes `recipe` faulty; `good` and `harm` as in `corpus.faulty`."""

    cause: str
    part: Part
    recipe: Mapping[str, Any]
    change: Mapping[str, Any]
    good: float
    harm: float
    also: tuple[str, ...] = ()


SLIPS: Final = (
    Slip("lr_too_high", "a", MOONS, {"lr": 5.0}, 0.9, 0.1),
    Slip("lr_too_high", "b", WAVES, {"lr": 0.5}, 0.8, 0.1),
    Slip("lr_too_low", "a", DIGITS, {"lr": 2e-6}, 0.9, 0.2),
    Slip("lr_too_low", "b", WAVES, {"lr": 5e-6}, 0.8, 0.3),
    Slip(
        "vanishing_gradients",
        "a",
        MOONS | {"depth": 7},
        {"activation": "sigmoid"},
        0.9,
        0.2,
    ),
    Slip(
        "vanishing_gradients",
        "b",
        DIGITS | {"depth": 9, "activation": "tanh", "init": "xavier_normal", "optimizer": "momentum", "lr": 0.02},
        {"init": "normal", "init_std": 0.01},
        0.9,
        0.3,
    ),
    Slip(
        "exploding_gradients",
        "a",
        SPIRALS | {"depth": 10, "init": "he_normal", "optimizer": "momentum", "lr": 0.01},
        {"init": "normal", "init_std": 0.6},
        0.9,
        0.1,
    ),
    Slip(
        "saturated_units",
        "b",
        DIGITS | {"depth": 3, "activation": "tanh", "init": "xavier_uniform", "optimizer": "sgd", "lr": 0.1},
        {"init": "normal", "init_std": 1.5},
        0.9,
        0.1,
    ),
    Slip("missing_nonlinearity", "a", SPIRALS, {"activation": "identity"}, 0.9, 0.2),
    Slip("missing_nonlinearity", "b", WAVES, {"activation": "identity"}, 0.8, 0.3),
    Slip("symmetric_init", "a", MOONS, {"init": "zeros"}, 0.9, 0.05),
    Slip("overfitting", "a", MOONS | {"rows": 120, "noise": 0.4, "width": 128, "lr": 0.1}, {"epochs": 600}, 0.6, 0.0),
    Slip("underfitting", "a", SPIRALS, {"width": 2, "depth": 1}, 0.9, 0.2),
    Slip("underfitting", "b", DIGITS, {"width": 2}, 0.9, 0.2),
    Slip("dropout_too_strong", "a", DIGITS, {"dropout": 0.9}, 0.9, 0.05),
    Slip("dropout_too_strong", "b", SPIRALS | {"dropout": 0.02}, {"dropout": 0.92}, 0.9, 0.05),
    Slip(
        "decay_too_strong", "a", DIGITS | {"optimizer": "adamw", "weight_decay": 0.01}, {"weight_decay": 50.0}, 0.9, 0.1
    ),
    Slip(
        "decay_too_strong", "b", WAVES | {"optimizer": "adamw", "weight_decay": 0.01}, {"weight_decay": 20.0}, 0.8, 0.1
    ),
    Slip(
        "clipping_always",
        "b",
        DIGITS | {"optimizer": "sgd", "lr": 0.2, "clip_norm": 5.0},
        {"clip_norm": 0.01},
        0.9,
        0.1,
    ),
    Slip("noisy_batches", "b", WAVES | {"lr": 0.015, "noise": 0.3, "epochs": 40}, {"batch_size": 1}, 0.7, 0.05),
    Slip(
        "plateau",
        "b",
        SPIRALS | {"schedule": "inverse_time", "decay_rate": 1e-3},
        {"decay_rate": 1.0},
        0.9,
        0.05,
        ("lr_too_low",),
    ),
)


def _trained(slip: Slip, desk: Desk, bug: bool) -> float:
    run = desk.fit(**{**slip.recipe, **(slip.change if bug else {})})
    return run.last("accuracy/validation" if "accuracy/validation" in run.names() else "r2/validation")


def enter(slip: Slip) -> None:
    name = f"{slip.cause}_recipe_{slip.part}"
    add(Case(name, slip.cause, slip.also, slip.part, slip.good, slip.harm, partial(_trained, slip)))


for _slip in SLIPS:
    enter(_slip)
