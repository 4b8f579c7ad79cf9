"""Who trains many configurations, each in its own way: what `sweep.py` calls, in a process of its own for each.

A sweeper trains `count` configurations of a case and says how long it took, once what it imports was there: everything
from data in memory to trained weights, so making batches, drawing weights and compiling too. All take the learning
rates of `Case.rates` and the same number of steps, in batches of 32 drawn without replacement; the incomplete last
batch of an epoch is dropped, because JAX and C cannot take it. The loss is that of all training rows at the end, the
median over configurations.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from unittest import mock

import numpy as np
import torch
from _timing import NEVER, data_in_memory
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from descend import Recipe
from descend.data._dataset import Split
from descend.sweeping._ray import _session
from descend.train.build import load_data

BATCH: Final = 32
PLAIN_SECONDS: Final = 3.0  # of runs one after the other: their speed does not depend on how many there are
FLAGS: Final = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
HIGHEST: Final = {  # learning rates that nothing diverges with, on raw bonus data and on digits
    "sgd": (1e-3, 0.1),
    "momentum": (1e-3, 0.03),
    "nesterov": (1e-3, 0.03),
    "adagrad": (0.1, 0.03),
    "rmsprop": (0.01, 3e-3),
    "adam": (0.1, 3e-3),
    "adamw": (0.1, 3e-3),
    "lion": (0.03, 1e-3),
}

clock: Callable[[], float] = time.perf_counter
"""Seconds; `sweep.py --cpu` takes those of the processor instead."""


@dataclass(frozen=True)
class Case:
    """A small problem, and how long one run is."""

    title: str
    fields: dict[str, Any]  # of the recipe: data and model
    steps: int

    @property
    def regression(self) -> bool:
        return bool(self.fields["data"] == "employee_bonus")

    def model(self) -> nn.Module:
        """What others write for it."""
        if self.fields["model"] == "linear":
            return nn.Linear(3, 1)
        if self.fields["model"] == "mlp":
            hidden = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
            return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 10))
        blocks = [[nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)] for channels in (1, 16)]
        return nn.Sequential(*itertools.chain(*blocks), nn.Flatten(), nn.Linear(64, 10))

    def loss(self) -> nn.Module:
        return nn.MSELoss() if self.regression else nn.CrossEntropyLoss()

    def split(self) -> Split:
        """The rows trained on."""
        return load_data(Recipe(**self.fields)).train

    def rates(self, optimizer: str, count: int) -> NDArray[np.float64]:
        """So many learning rates: the highest, and down to a tenth of it, evenly spaced on a log scale."""
        top = HIGHEST[optimizer][0 if self.regression else 1]
        return np.geomspace(top, top / 10, count) if count > 1 else np.array([top / 3])


CASES: Final = {
    "a": Case("linear on employee_bonus", {"data": "employee_bonus", "model": "linear"}, 2000),
    "b": Case("MLP 64-64 on digits", {"data": "digits", "model": "mlp", "width": 64, "depth": 2}, 225),
    "c": Case("CNN on digits", {"data": "digits", "model": "cnn"}, 90),
}


class Measured(NamedTuple):
    """Seconds of `run_steps` steps, over all runs: the first time in this process, and again."""

    run_steps: int
    first: float
    again: float
    losses: list[float]


def seeds_of(count: int) -> int:
    """How many seeds each of so many configurations is trained with."""
    return 1 if count < 64 else 4 if count < 4096 else 8


# --- others ---------------------------------------------------------------------------------------------------------


def train_plain(case: Case, split: Split, lr: float, seed: int) -> float:
    """One run, as a good tutorial writes it."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    loader = DataLoader(TensorDataset(split.inputs, split.targets), batch_size=BATCH, shuffle=True, drop_last=True)
    model, loss_of = case.model(), case.loss()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    batches = itertools.chain.from_iterable(loader for _ in itertools.count())
    for inputs, targets in itertools.islice(batches, case.steps):
        optimizer.zero_grad()
        loss_of(model(inputs), targets).backward()
        optimizer.step()
    with torch.no_grad():
        return float(loss_of(model(split.inputs), split.targets))


def sequential(case: Case, count: int) -> Measured:
    """One run after the other, for some seconds, those with middling learning rates first."""
    split = case.split()
    lrs = case.rates("adam", count)
    middle = np.median(np.log(lrs))
    train_plain(case, split, float(lrs[0]), seed=0)  # loads what is loaded once
    losses: list[float] = []
    started = clock()
    for lr in sorted(lrs, key=lambda lr: abs(np.log(lr) - middle)):
        losses.append(train_plain(case, split, float(lr), seed=len(losses)))
        if clock() - started > PLAIN_SECONDS:
            break
    seconds = clock() - started
    return Measured(len(losses) * case.steps, seconds, seconds, losses)


def joblib(case: Case, count: int) -> Measured:
    """The same on two processes; the first start is that of the processes."""
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    split = case.split()
    pool = Parallel(n_jobs=2)

    def train(what: Case, lrs: NDArray[np.float64]) -> list[float]:
        return list(pool(delayed(train_plain)(what, split, float(lr), seed) for seed, lr in enumerate(lrs)))

    start, _ = _timed(lambda: train(replace(case, steps=1), np.ones(2)))
    again, losses = _timed(lambda: train(case, case.rates("adam", count)))
    get_reusable_executor().shutdown(wait=True)
    return Measured(len(losses) * case.steps, start + again, again, losses)


def ray_tune(case: Case, count: int) -> Measured:
    """The same as trials of Ray Tune, two at a time; the first start is that of Ray on this machine."""
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}  # no loggers, no progress
    split = case.split()

    def trial(config: dict[str, float]) -> None:
        from ray import tune

        tune.report({"loss": train_plain(case, split, config["lr"], seed=0)})

    def train() -> list[float]:
        from ray import tune

        space = {"lr": tune.grid_search(case.rates("adam", count).tolist())}
        settings = tune.RunConfig(storage_path=folder, verbose=0)
        found = tune.Tuner(trial, param_space=space, run_config=settings).fit()
        return [float(result.metrics["loss"]) for result in found if result.metrics]

    with tempfile.TemporaryDirectory() as folder, ExitStack() as undo:
        start, _ = _timed(lambda: undo.enter_context(_session(workers=2)))
        again, losses = _timed(train)
    return Measured(len(losses) * case.steps, start + again, again, losses)


def jax(case: Case, count: int) -> Measured:
    """jit(vmap(scan)): every run a lane of one compiled program; the first start is tracing and compiling it."""
    import jax
    import jax.numpy as jnp
    import optax

    split = case.split()
    inputs, targets = jnp.asarray(split.inputs.numpy()), jnp.asarray(split.targets.numpy())
    shapes = {name: (tuple(value.shape), _bound(name, case.model())) for name, value in case.model().named_parameters()}

    def outputs(weights: dict[str, Any], x: Any) -> Any:
        if case.fields["model"] != "cnn":
            layers = [name.removesuffix("weight") for name in weights if name.endswith("weight")]
            x = x.reshape(len(x), -1)
            for layer in layers:
                x = x @ weights[f"{layer}weight"].T + weights[f"{layer}bias"]
                x = x if layer == layers[-1] else jax.nn.relu(x)
            return x
        for layer in ("0.", "3."):
            kernel, bias = weights[f"{layer}weight"], weights[f"{layer}bias"]
            x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
            x = jax.nn.relu(x + bias[:, None, None])
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        return x.reshape(len(x), -1) @ weights["7.weight"].T + weights["7.bias"]

    def loss_of(weights: dict[str, Any], x: Any, y: Any) -> Any:
        answers = outputs(weights, x)
        if case.regression:
            return ((answers - y) ** 2).mean()
        return optax.softmax_cross_entropy_with_integer_labels(answers, y).mean()

    def run(lr: Any, seed: Any, key: Any, orders: Any) -> Any:
        keys = jax.random.split(key, len(shapes))
        weights = {
            name: jax.random.uniform(one, shape, minval=-bound, maxval=bound)
            for one, (name, (shape, bound)) in zip(keys, shapes.items(), strict=True)
        }
        adam = optax.adam(lr)

        def step(carry: Any, rows: Any) -> Any:
            weights, state = carry
            gradients = jax.grad(loss_of)(weights, inputs[rows], targets[rows])
            updates, state = adam.update(gradients, state)
            return (optax.apply_updates(weights, updates), state), None

        (weights, _), _ = jax.lax.scan(step, (weights, adam.init(weights)), orders[seed])
        return weights

    seeds = seeds_of(count)
    lrs = jnp.asarray(np.repeat(case.rates("adam", count // seeds), seeds), jnp.float32)
    seed_of = jnp.asarray(np.tile(np.arange(seeds), count // seeds))
    program = jax.jit(jax.vmap(run, in_axes=(0, 0, 0, None)))

    def train() -> Any:
        keys = jax.vmap(jax.random.key)(np.arange(count))
        return jax.block_until_ready(program(lrs, seed_of, keys, _orders(case, seeds, len(inputs))))

    first, _ = _timed(train)
    again, weights = _timed(train)
    judge = jax.jit(lambda weights: loss_of(weights, inputs, targets))
    some = np.linspace(0, count - 1, min(count, 64)).astype(int)
    losses = [float(judge({name: value[run] for name, value in weights.items()})) for run in some]
    return Measured(count * case.steps, first, again, losses)


def c_limit(case: Case, count: int) -> Measured:
    """A C program written for this one problem and compiled for this machine; the first start is the compiler's."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise LookupError("there is no C compiler")
    source = Path(__file__).with_name(f"limit_{case.fields['model']}.c")
    split = case.split()
    inputs = np.ascontiguousarray(split.inputs.flatten(1).numpy(), np.float32)
    targets = np.ascontiguousarray(split.targets.flatten().numpy(), np.float32 if case.regression else np.int32)
    lanes = 32 if case.regression else 1  # LANES of limit_linear.c: blocks that are not full cost as much as full ones
    seeds = seeds_of(count)
    blocks = -(-count // lanes)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "limit.so")
        make = [compiler, *FLAGS, str(source), "-o", str(library), "-lm"]
        start, _ = _timed(lambda: subprocess.run(make, check=True))
        train = ctypes.CDLL(str(library)).train

    def run() -> NDArray[np.float32]:
        orders = _orders(case, seeds, len(inputs))
        lrs = np.resize(case.rates("adam", count), blocks * lanes).astype(np.float32)
        seed_of = (np.arange(blocks) * seeds // blocks).astype(np.int32)
        # eight draws, over and over: to draw is torch's, and no part of the limit
        weights = np.concatenate([_packed(case) for _ in range(min(count, 8))]).astype(np.float32)
        weights = np.resize(weights, (blocks * lanes, weights.shape[1]))
        sizes = (case.steps, BATCH, blocks) if case.regression else (case.steps, blocks)
        train(*map(_pointer, (inputs, targets, orders)), *sizes, *map(_pointer, (seed_of, lrs, weights)))
        return weights

    again, weights = _timed(run)
    some = np.linspace(0, count - 1, min(count, 64)).astype(int)
    losses = [_loss_of_packed(case, split, weights[run]) for run in some]
    return Measured(count * case.steps, start + again, again, losses)


# --- descend --------------------------------------------------------------------------------------------------------


def recipes(case: Case, count: int, optimizers: Sequence[str], **fields: Any) -> list[Recipe]:
    """So many recipes: optimizers x learning rates x seeds."""
    seeds = seeds_of(count)
    return [
        Recipe(
            **case.fields, **fields, steps=case.steps, batch_size=BATCH, last_batch="dropped", optimizer=optimizer
        ).but(lr=float(lr), seed=seed)
        for optimizer in optimizers
        for lr in case.rates(optimizer, count // len(optimizers) // seeds)
        for seed in range(seeds)
    ]


def in_memory(case: Case, count: int, *, optimizers: Sequence[str], workers: int) -> Measured:
    """`descend.outcomes`: how good each run was at its beginning and its end."""
    from descend import outcomes

    wanted = recipes(case, count, optimizers, monitors="none", evaluate_every=NEVER)
    with data_in_memory(wanted[0]):
        first, _ = _timed(lambda: outcomes(wanted, workers=workers))
        again, result = _timed(lambda: outcomes(wanted, workers=workers))
    return Measured(len(wanted) * case.steps, first, again, result.final("loss/train").tolist())


def vectorised(case: Case, count: int, **how: Any) -> Measured:
    """The same without the compiled lane."""
    with mock.patch("descend.sweeping._drive.not_compiled", return_value="the benchmark wants it so"):
        return in_memory(case, count, **how)


def on_disk(case: Case, count: int, *, optimizers: Sequence[str], workers: int) -> Measured:
    """`descend.sweep`: a Run on disk for each, with the monitors and evaluations that it has by default."""
    from descend import sweep

    wanted = recipes(case, count, optimizers)
    with data_in_memory(wanted[0]), tempfile.TemporaryDirectory() as runs:
        first, _ = _timed(lambda: sweep(wanted, runs=runs, workers=workers))
        again, result = _timed(lambda: sweep(wanted, runs=runs, workers=workers))
        losses = [run.last("loss/train") for run in result.runs]
    return Measured(len(wanted) * case.steps, first, again, losses)


# --- all ------------------------------------------------------------------------------------------------------------

T = TypeVar("T")


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """The seconds that something took, and what it returned."""
    started = clock()
    result = work()
    return clock() - started, result


def _orders(case: Case, seeds: int, rows: int) -> NDArray[np.int32]:
    """The rows of every batch of each seed: [seeds, steps, batch]."""
    per_epoch = rows // BATCH
    epochs = -(-case.steps // per_epoch)
    shuffled = np.random.default_rng(0).random((seeds, epochs, rows), dtype=np.float32).argsort(axis=-1)
    batches = shuffled[:, :, : per_epoch * BATCH].astype(np.int32).reshape(seeds, -1, BATCH)
    return np.ascontiguousarray(batches[:, : case.steps])


def _bound(name: str, model: nn.Module) -> float:
    """Within what torch draws an initial parameter, uniformly."""
    weight = model.get_parameter(name.replace("bias", "weight"))
    return float(weight[0].numel() ** -0.5)


def _packed(case: Case) -> NDArray[np.float32]:
    """The initial weights of a run as the C programs have them: matrices [inputs, outputs], then biases, [1, all]."""
    model = case.model()
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    wide = 0 if case.regression else 6  # the ten outputs are padded to sixteen
    weights = [layer.weight.detach().numpy().T for layer in linears]
    biases = [layer.bias.detach().numpy() for layer in linears]
    weights[-1], biases[-1] = np.pad(weights[-1], ((0, 0), (0, wide))), np.pad(biases[-1], (0, wide))
    return np.concatenate([value.ravel() for value in (*weights, *biases)])[None]


def _loss_of_packed(case: Case, split: Split, packed: NDArray[np.float32]) -> float:
    """The loss of a run of a C program on all rows."""
    model = case.model()
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    outputs = [layer.out_features if case.regression or layer is not linears[-1] else 16 for layer in linears]
    sizes = [layer.in_features * width for layer, width in zip(linears, outputs, strict=True)] + outputs
    parts = np.split(packed, np.cumsum(sizes)[:-1])
    with torch.no_grad():
        for number, (layer, width) in enumerate(zip(linears, outputs, strict=True)):
            weight = torch.from_numpy(parts[number].reshape(layer.in_features, width))
            layer.weight.copy_(weight.T[: layer.out_features])
            layer.bias.copy_(torch.from_numpy(parts[len(linears) + number][: layer.out_features]))
        return float(case.loss()(model(split.inputs), split.targets))


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
