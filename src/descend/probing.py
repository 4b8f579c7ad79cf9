"""Probe: short forks of a run with one thing changed each, to decide between causes that look the same.

A loss that goes up and down may come from a learning rate that is too high or from small batches; one that hardly
falls from a rate too low, from dropout, from inputs on unlike scales or from labels that belong to other rows. Each
has a change that undoes it, so each is tried for some steps, from the same weights and with the same batch order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from descend.data._dataset import Split
from descend.errors import CheckpointError, RunError
from descend.optim._clip import clip_by_norm, clip_by_value
from descend.recipe import Recipe
from descend.run import Run
from descend.train import checkpoint
from descend.train.batches import generator
from descend.train.build import Parts, build
from descend.train.evaluate import judge
from descend.train.non_finite import buffers_of
from descend.train.stability import mse_hessian_eigenvalues

STEPS: Final = (20, 50)  # of a fork: the first where a step takes longer than SLOW
SLOW: Final = 5e-3  # seconds: 8 forks of 50 such steps take 2
ROWS: Final = 512  # training rows, evenly spaced, that a fork is judged by
RATE: Final = 3.0  # times the learning rate, and a third of it
BATCH: Final = 8  # times the batch: the noise of its gradient is sqrt(8) = 2.8 times less
MEAN: Final = 10  # batch losses whose mean is a fork's first and last loss
PLAIN: Final = ("sgd", "momentum", "nesterov")  # whose updates go with the gradient
MOST_COLUMNS: Final = 1000  # of which the largest curvature is computed, in 0.2 seconds
STANDARD: Final = (0.5, 2.0)  # deviations of columns between these, and means below the first, are scaled enough


def probe(run: Run, *, steps: int | None = None) -> dict[str, dict[str, Any]]:
    """What short forks of a run come to, as facts: `judge(Chart(run, probe(run)))` lets them decide.

    The topic "probe" holds the forks that the recipe allows. `baseline` (nothing changed), `lr_up`, `lr_down`,
    `batch_up` and `plain` (without dropout and weight decay) go on from the newest checkpoint, or from the start where
    there is none or the run diverged. `fresh` (nothing changed), `scaled` (inputs standardised) and `permuted` (every
    row with the target of another) begin at the start. Each has loss_first and loss_last (means over batches),
    loss_start and loss_train (over the training rows before and after, in evaluation mode), steps, lr, and `after`,
    the step that it goes on from. A loss that is not finite is infinite.

    All train at the median learning rate of the run, but for `scaled`: where updates go with the gradient, its rate is
    as far below the stability limit of a linear model as the run's is on the inputs as they are. Costs at most 8 times
    `steps` updates (50, or 20 where they are slow). Raises RunError for a watched run.
    """
    if run.watched:
        raise RunError(
            f"{run.folder} is the record of a training loop of your own, which cannot be trained again from its "
            "record. Change one thing in the loop at a time instead: the learning rate first."
        )
    recipe = run.recipe
    rates = run.series("lr/0").y if "lr/0" in run.names() else np.empty(0)
    lr = float(np.median(rates)) if len(rates) else float(recipe["lr"] or 0.0)
    steps = steps or STEPS[run.seconds <= SLOW * run.steps]
    saved = _newest(run)
    forks = {name: _fork(varied, rate, steps, saved) for name, varied, rate in _variants(recipe, lr)}
    forks["fresh"] = _fork(recipe, lr, steps) if saved else forks["baseline"]
    for name, change in (("scaled", _scaled), ("permuted", _permuted)):
        if fork := _fork(recipe, lr, steps, change=change):
            forks[name] = fork
    return {"probe": forks}


def _variants(recipe: Recipe, lr: float) -> Iterator[tuple[str, Recipe, float]]:
    """The forks that keep the data as it is: what they are called, their recipe and learning rate."""
    yield "baseline", recipe, lr
    yield "lr_up", recipe, lr * RATE
    yield "lr_down", recipe, lr / RATE
    if recipe.batch_size != "all":
        yield "batch_up", recipe.but(batch_size=recipe.batch_size * BATCH, micro_batch=None), lr
    hindrances = {name: 0.0 for name in ("dropout", "weight_decay") if recipe.options.get(name)}
    if hindrances:
        yield "plain", recipe.but(**hindrances), lr


def _newest(run: Run) -> checkpoint.Checkpoint | None:
    """The newest good checkpoint, unless the run diverged: its last finite weights are a wreck."""
    if run.status == "non-finite":
        return None
    try:
        return checkpoint.load(run.folder / "checkpoints")
    except CheckpointError:  # all are damaged: the start is as good
        return None


def _fork(
    recipe: Recipe,
    lr: float,
    steps: int,
    saved: checkpoint.Checkpoint | None = None,
    change: Callable[[Parts], tuple[Split, float] | None] | None = None,
) -> dict[str, Any]:
    """Train some steps, from what was saved or the start, and say how the loss went.

    `change` gives other training rows, and a factor for the learning rate; where it has none, nothing is trained.
    """
    with _seeded(recipe.seed):
        parts = build(recipe)
        if change is not None:
            changed = change(parts)
            if changed is None:
                return {}
            parts, lr = _on(parts, changed[0]), lr * changed[1]
        if saved is not None:
            _restore(parts, saved)
        for group in parts.optimizer.param_groups:
            group["lr"] = lr
        after = saved.step if saved else 0
        rows = _thinned(parts.dataset.train)
        start = judge(parts, rows)["loss"]
        losses = [_step(parts, *batch) for batch in itertools.islice(parts.batches.after(after), steps)]
        end = judge(parts, rows)["loss"]
    few = min(MEAN, steps)
    return {
        "loss_first": _finite(float(np.mean(losses[:few]))),
        "loss_last": _finite(float(np.mean(losses[-few:]))),
        "loss_start": _finite(start),
        "loss_train": _finite(end),
        "steps": steps,
        "lr": lr,
        "after": after,
    }


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers from `seed`; they and its threads are the caller's again afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _restore(parts: Parts, saved: checkpoint.Checkpoint) -> None:
    """Weights, the optimizer's memory and the random numbers as they were; weight decay stays the recipe's."""
    decay = [
        {name: group[name] for name in ("weight_decay",) if name in group} for group in parts.optimizer.param_groups
    ]
    parts.model.load_state_dict(saved.state["model"])
    parts.optimizer.load_state_dict(saved.state["optimizer"])
    for group, value in zip(parts.optimizer.param_groups, decay, strict=True):
        group.update(value)
    torch.set_rng_state(saved.state["random"]["cpu"])


def _step(parts: Parts, inputs: Tensor, targets: Tensor) -> float:
    """One update; the loss of its batch."""
    parts.optimizer.zero_grad()
    loss = parts.loss(parts.model(inputs), targets)
    (loss * parts.batches.weight(len(inputs))).backward()
    gradients = [gradients for _, gradients in buffers_of(parts.optimizer)]
    if parts.recipe.clip_norm is not None:
        clip_by_norm(gradients, parts.recipe.clip_norm)
    if parts.recipe.clip_value is not None:
        clip_by_value(gradients, parts.recipe.clip_value)
    parts.optimizer.step()
    return loss.item()


def _thinned(split: Split) -> Split:
    stride = -(-len(split.inputs) // ROWS)
    return Split(split.inputs[::stride], split.targets[::stride])


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def _on(parts: Parts, split: Split) -> Parts:
    """The same parts with other training rows."""
    return replace(
        parts,
        dataset=replace(parts.dataset, train=split),
        batches=replace(parts.batches, inputs=split.inputs, targets=split.targets),
    )


def _scaled(parts: Parts) -> tuple[Split, float] | None:
    """The training rows with every feature (channel of an image) at mean 0 and deviation 1; None where they are so.

    The factor is that by which a linear model's stability limit rises: at the same rate small steps would only become
    smaller. Adaptive optimizers, whose steps do not depend on it, keep their rate.
    """
    inputs, targets = parts.dataset.train
    if parts.dataset.tokens or not inputs.is_floating_point():
        return None
    axis = 1 if inputs.ndim == 4 else inputs.ndim - 1
    others = [other for other in range(inputs.ndim) if other != axis]
    mean, std = inputs.mean(others, keepdim=True), inputs.std(others, correction=0, keepdim=True)
    varying = std > 0
    if bool(((std > STANDARD[0]) & (std < STANDARD[1]) & (mean.abs() < STANDARD[0]) | ~varying).all()):
        return None
    scaled = (inputs - mean) / torch.where(varying, std, 1.0)
    if parts.recipe.optimizer not in PLAIN or scaled[0].numel() > MOST_COLUMNS:
        return Split(scaled, targets), 1.0
    before, after = (float(mse_hessian_eigenvalues(table.flatten(1))[-1]) for table in (inputs, scaled))
    return Split(scaled, targets), before / after


def _permuted(parts: Parts) -> tuple[Split, float]:
    """The training rows, each with the target of another."""
    inputs, targets = parts.dataset.train
    order = torch.randperm(len(targets), generator=generator(parts.recipe.seed, 2)).to(targets.device)
    return Split(inputs, targets[order]), 1.0
