"""Runs that look odd and are healthy: whatever is found here is a false alarm."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import lr_scheduler

import descend
from benchmarks.doctor.corpus import PARTS, Case, Desk, add, healthy
from benchmarks.doctor.pieces import (
    Data,
    Reader,
    Recurrent,
    Rows,
    accuracy,
    as_tokens,
    balanced_accuracy,
    batches,
    binary_accuracy,
    blobs,
    circles,
    cnn,
    digits,
    echoes,
    flipped,
    friedman,
    fuzzy,
    houses,
    learn,
    mlp,
    moons,
    only,
    packaged,
    r2,
    rare,
    scaled_targets,
    split,
    standardised,
    stripes,
    trends,
)

# --- every optimizer --------------------------------------------------------------------------------------------------

Parameters = Iterable[Tensor]

OPTIMIZERS: Final[Mapping[str, Callable[[Parameters], torch.optim.Optimizer]]] = {
    "torch_sgd": partial(torch.optim.SGD, lr=0.2),
    "torch_momentum": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    "torch_nesterov": partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
    "torch_adam": partial(torch.optim.Adam, lr=2e-3),
    "torch_adamw": partial(torch.optim.AdamW, lr=2e-3, weight_decay=0.05),
    "torch_amsgrad": partial(torch.optim.Adam, lr=4e-3, amsgrad=True),
    "torch_adamax": partial(torch.optim.Adamax, lr=5e-3),
    "torch_nadam": partial(torch.optim.NAdam, lr=2e-3),
    "torch_radam": partial(torch.optim.RAdam, lr=6e-3),
    "torch_adagrad": partial(torch.optim.Adagrad, lr=0.03),
    "torch_adadelta": partial(torch.optim.Adadelta, lr=1.0),
    "torch_rmsprop": partial(torch.optim.RMSprop, lr=2e-3),
    "torch_asgd": partial(torch.optim.ASGD, lr=0.2),
    "torch_adafactor": partial(torch.optim.Adafactor, lr=0.02),
    "descend_sgd": lambda parameters: descend.optim.SGD(parameters, lr=0.2),
    "descend_momentum": lambda parameters: descend.optim.Momentum(parameters, lr=0.05),
    "descend_nesterov": lambda parameters: descend.optim.Nesterov(parameters, lr=0.05),
    "descend_adagrad": lambda parameters: descend.optim.Adagrad(parameters, lr=0.03),
    "descend_rmsprop": lambda parameters: descend.optim.RMSprop(parameters, lr=1e-3),
    "descend_adam": lambda parameters: descend.optim.Adam(parameters, lr=2e-3),
    "descend_adamw": lambda parameters: descend.optim.AdamW(parameters, lr=2e-3),
    "descend_lion": lambda parameters: descend.optim.Lion(parameters, lr=3e-4),
}


def _with(make: Callable[[Parameters], torch.optim.Optimizer], number: int, desk: Desk, bug: bool) -> float:
    """Digits, classes that overlap and a regression take turns."""
    if number % 3 == 0:
        model, data, criterion = mlp(64, 48, 10), digits(), nn.CrossEntropyLoss()
    elif number % 3 == 1:
        model, data, criterion = mlp(6, 32, 32, 5, act=nn.Tanh), blobs(700, columns=6), nn.CrossEntropyLoss()
    else:
        model, data, criterion = mlp(10, 48, 48, 1, act=nn.SiLU), friedman(700), nn.MSELoss()
    return learn(desk, model, make(model.parameters()), data, criterion, epochs=20)


for _number, (_name, _make) in enumerate(OPTIMIZERS.items()):
    add(Case(_name, None, (), PARTS[_number % 2], 0.8, 0.0, partial(_with, _make, _number)))


@healthy("a", good=0.9)
def torch_lbfgs_full_batch(desk: Desk) -> float:
    data = packaged("iris")
    model = mlp(4, 8, 3, act=nn.Tanh)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(data.train.inputs), data.train.targets)
        loss.backward()
        return loss

    with desk.watch(
        model, optimizer, loss=nn.CrossEntropyLoss(), train=data.train, validation=data.validation, every=1
    ):
        for _ in range(12):
            optimizer.step(closure)
    return accuracy(model, data.validation)


@healthy("b", good=0.85)
def torch_rprop_full_batch(desk: Desk) -> float:
    data = packaged("wine")
    model = mlp(13, 16, 3)
    optimizer = torch.optim.Rprop(model.parameters(), lr=1e-3)
    return learn(desk, model, optimizer, data, epochs=60, size=200, every=5)


@healthy("a", good=0.85)
def torch_sparse_adam_embeddings(desk: Desk) -> float:
    data = echoes(700, length=4, symbols=3)
    embed = nn.Embedding(3, 12, sparse=True)
    head = mlp(48, 48, 2)
    model = nn.Sequential(embed, nn.Flatten(), head)
    sparse = torch.optim.SparseAdam(embed.parameters(), lr=5e-3)
    dense = torch.optim.Adam(head.parameters(), lr=5e-3)
    loader = batches(data.train, 32)
    with desk.watch(model, [sparse, dense], loss=nn.CrossEntropyLoss(), train=loader, validation=data.validation):
        for _ in range(12):
            for x, y in loader:
                sparse.zero_grad()
                dense.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                sparse.step()
                dense.step()
    return accuracy(model, data.validation)


@healthy("b", good=0.9)
def descend_muon_and_adamw(desk: Desk) -> float:
    """Muon for the matrices, AdamW for the biases and the head."""
    data = digits()
    model = mlp(64, 48, 48, 10)
    matrices = [model[0].weight, model[2].weight]
    others = [parameter for parameter in model.parameters() if all(parameter is not each for each in matrices)]
    optimizers = [descend.optim.Muon(matrices, lr=0.01), torch.optim.AdamW(others, lr=2e-3)]
    loader = batches(data.train, 64)
    with desk.watch(model, optimizers, loss=nn.CrossEntropyLoss(), train=loader, validation=data.validation, every=10):
        for _ in range(10):
            for x, y in loader:
                for optimizer in optimizers:
                    optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                for optimizer in optimizers:
                    optimizer.step()
    return accuracy(model, data.validation)


# --- schedules --------------------------------------------------------------------------------------------------------


@healthy("a", good=0.9)
def warm_restarts(desk: Desk) -> float:
    model = mlp(64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=5 * 40)
    return learn(desk, model, optimizer, digits(), epochs=20, per_batch=scheduler)


@healthy("b", good=0.8)
def milestones(desk: Desk) -> float:
    model = mlp(10, 64, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = lr_scheduler.MultiStepLR(optimizer, [15, 25], gamma=0.1)
    return learn(desk, model, optimizer, friedman(), nn.MSELoss(), epochs=30, per_epoch=scheduler)


@healthy("a", good=0.9)
def one_cycle_per_batch(desk: Desk) -> float:
    model = cnn(norm=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=8 * 20)
    return learn(desk, model, optimizer, digits(image=True), epochs=8, size=64, per_batch=scheduler)


@healthy("b", good=0.9)
def cosine_per_epoch(desk: Desk) -> float:
    model = mlp(2, 48, 48, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
    return learn(desk, model, optimizer, circles(600), epochs=30, per_epoch=scheduler)


@healthy("a", good=0.9)
def warm_up_then_inverse_root(desk: Desk) -> float:
    model = Reader(4, 2, length=6)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 60, math.sqrt(60 / (step + 1))))
    return learn(desk, model, optimizer, echoes(800, length=6), epochs=14, per_batch=scheduler)


@healthy("b", good=0.8)
def reduce_on_plateau(desk: Desk) -> float:
    data = friedman(600)
    model = mlp(10, 48, 1, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
    loader, criterion = batches(data.train, 32), nn.MSELoss()
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation, scheduler=scheduler):
        for _ in range(50):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                scheduler.step(criterion(model(data.validation.inputs), data.validation.targets))
    return r2(model, data.validation)


@healthy("a", good=0.8)
def cyclic_rate(desk: Desk) -> float:
    model = mlp(8, 32, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    scheduler = lr_scheduler.CyclicLR(optimizer, base_lr=0.005, max_lr=0.1, step_size_up=40)
    return learn(desk, model, optimizer, blobs(), epochs=20, per_batch=scheduler)


# --- curves that stand still, and curves that shake -------------------------------------------------------------------


@healthy("b", good=0.85)
def long_plateau_of_a_converged_fit(desk: Desk) -> float:
    """A linear model is done after a tenth of its steps."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(300, 4, generator=draw)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]]) + 0.5 * torch.randn(300, 1, generator=draw)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return learn(desk, model, optimizer, split(x, y), nn.MSELoss(), epochs=200, every=20)


@healthy("a", good=0.9)
def late_starter_adding(desk: Desk) -> float:
    """The adding problem: the loss stays at 1/6 for a while, then falls."""
    draw = np.random.default_rng(0)
    numbers, marks = draw.uniform(0, 1, (900, 10)), np.zeros((900, 10))
    marks[np.arange(900), draw.integers(0, 5, 900)] = marks[np.arange(900), draw.integers(5, 10, 900)] = 1
    data = split(np.stack([numbers, marks], 2), (numbers * marks).sum(1, keepdims=True), scale=False)
    model = Recurrent(nn.GRU, 2, 24, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=30)


@healthy("b", good=0.9)
def late_starter_parity(desk: Desk) -> float:
    """Parity of five signs: no single one says anything."""
    draw = np.random.default_rng(0)
    signs = draw.choice([-1.0, 1.0], (1200, 5))
    data = split(signs + draw.normal(0, 0.15, signs.shape), (signs.prod(1) > 0).astype(int), scale=False)
    model = mlp(5, 64, 64, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, data, epochs=25)


@healthy("a", good=0.95)
def late_starter_xor(desk: Desk) -> float:
    draw = np.random.default_rng(3)
    x = draw.normal(0, 1, (500, 2))
    data = split(x + 0.2 * np.sign(x), (x[:, 0] * x[:, 1] > 0).astype(int))
    model = mlp(2, 8, 2, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=40)


@healthy("b", good=0.9)
def batches_of_four(desk: Desk) -> float:
    model = mlp(64, 32, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=6, size=4, every=20)


@healthy("a", good=0.75)
def batches_of_four_regression(desk: Desk) -> float:
    model = mlp(10, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, friedman(700, noise=1.5), nn.MSELoss(), epochs=12, size=4)


@healthy("b", good=0.9)
def momentum_swings_and_settles(desk: Desk) -> float:
    """Momentum of 0.97 on a bowl: the loss goes up and down, ever less."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(400, 6, generator=draw)
    y = x @ torch.linspace(-1, 1, 6).unsqueeze(1) + 0.1 * torch.randn(400, 1, generator=draw)
    model = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.97)
    return learn(desk, model, optimizer, split(x, y), nn.MSELoss(), epochs=250, size=512, every=5)


@healthy("a", good=0.9)
def edge_of_stability(desk: Desk) -> float:
    """Full-batch gradient descent at a large rate: the loss rises at one step in ten, and falls in the long run."""
    model = mlp(64, 32, 10, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
    return learn(desk, model, optimizer, digits(rows=600), nn.CrossEntropyLoss(), epochs=200, size=600)


@healthy("b", good=0.85)
def clipped_now_and_then(desk: Desk) -> float:
    model = Recurrent(nn.RNN, 1, 24, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, trends(500), epochs=12, clip=2.0)


@healthy("a", good=0.8)
def quick_try(desk: Desk) -> float:
    """Thirty steps: short, and it learns."""
    model = mlp(30, 16, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, packaged("breast_cancer"), epochs=2, size=32, every=5)


@healthy("b", good=0.7)
def quick_try_regression(desk: Desk) -> float:
    model = mlp(4, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    return learn(desk, model, optimizer, scaled_targets(standardised(houses(400))), nn.MSELoss(), epochs=3, every=5)


@healthy("a", good=0.7)
def early_stopped(desk: Desk) -> float:
    """Stops after four epochs without a better validation loss, and takes the best weights."""
    data = fuzzy(700)
    model = mlp(6, 24, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader, criterion = batches(data.train, 32), nn.CrossEntropyLoss()
    best, patience, state = math.inf, 0, copy.deepcopy(model.state_dict())
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        while patience < 4:
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                now = float(criterion(model(data.validation.inputs), data.validation.targets))
            if now < best:
                best, patience, state = now, 0, copy.deepcopy(model.state_dict())
            else:
                patience += 1
        model.load_state_dict(state)
    return accuracy(model, data.validation)


# --- data that looks odd ----------------------------------------------------------------------------------------------


@healthy("b", good=0.85)
def thirty_rows(desk: Desk) -> float:
    full = packaged("iris")
    data = Data(Rows(full.train.inputs[:30], full.train.targets[:30]), full.validation)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=60, size=10, every=5)


@healthy("a", good=0.55)
def noisy_labels_in_both_splits(desk: Desk) -> float:
    """A quarter of all labels is wrong: nobody can be right more often than three times in four."""
    data = blobs(1000, classes=3, columns=4, spread=1.5)
    data = Data(flipped(data.train, 0.25, seed=1), flipped(data.validation, 0.25, seed=2))
    model = mlp(4, 16, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, data, epochs=10)


@healthy("b", good=0.25)
def noisy_regression(desk: Desk) -> float:
    """Two thirds of the variance are noise."""
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(900, 5, generator=draw)
    y = (x[:, :1] + x[:, 1:2].sin() + 1.7 * torch.randn(900, 1, generator=draw)) / 2
    model = mlp(5, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, split(x, y), nn.MSELoss(), epochs=10)


@healthy("a", good=0.75)
def classes_that_overlap(desk: Desk) -> float:
    model = mlp(6, 16, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, fuzzy(1200), nn.CrossEntropyLoss(), epochs=10, told="no loss")


@healthy("b", good=0.9)
def imbalanced_but_learned(desk: Desk) -> float:
    """One row in twenty, well apart. Score: balanced accuracy."""
    data = rare(1500, share=0.05, gap=4.0)
    model = mlp(6, 16, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=12)
    return balanced_accuracy(model, data.validation)


@healthy("a", good=0.8)
def large_targets_that_work(desk: Desk) -> float:
    """Prices of about 310 +- 110, and a linear model whose rate suits them."""
    data = standardised(houses(500))
    data = Data(*(Rows(rows.inputs, rows.targets.unsqueeze(1)) for rows in data))
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=25)


@healthy("b", good=0.9)
def rows_that_repeat(desk: Desk) -> float:
    """Four questions with three answers each: every split has the same 81 rows."""
    draw = np.random.default_rng(0)
    answers = draw.integers(0, 3, (800, 4))
    data = split(answers - 1.0, (answers.sum(1) > 4).astype(int), scale=False)
    model = mlp(4, 24, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, epochs=15)


@healthy("a", good=0.9)
def sorted_rows_but_shuffled(desk: Desk) -> float:
    data = digits()
    train = only(data.train, data.train.targets.argsort(stable=True))
    model = mlp(64, 48, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, Data(train, data.validation), epochs=12)


@healthy("b", good=0.9)
def not_shuffled_but_mixed(desk: Desk) -> float:
    """A loader that does not shuffle, on rows that were shuffled once."""
    model = mlp(64, 48, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=12, shuffle=False)


@healthy("a", good=0.8)
def validation_is_harder(desk: Desk) -> float:
    """Digits in the order in which they were collected: validation rows are by writers that training has not seen."""
    bunch = load_digits()
    x, y = torch.tensor(bunch.data / 16).float(), torch.tensor(bunch.target)
    data = Data(Rows(x[:1200], y[:1200]), Rows(x[1200:], y[1200:]))
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return learn(desk, model, optimizer, data, epochs=15)


@healthy("b", good=0.9)
def raw_pixels_and_batch_norm(desk: Desk) -> float:
    """Pixels from 0 to 16; the first layer is normalised anyway."""
    model = mlp(64, 48, 10, norm=nn.BatchNorm1d)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, digits(scale="raw"), epochs=8)


@healthy("a", good=0.85)
def one_hot_columns(desk: Desk) -> float:
    """Dummy variables: sparse columns, most of them nearly always 0."""
    draw = np.random.default_rng(2)
    kinds = draw.choice(12, size=(900, 2), p=np.array([30, 20, 12, 9, 8, 6, 5, 4, 3, 1, 1, 1]) / 100)
    effect = draw.normal(0, 1, (2, 12))
    y = effect[0, kinds[:, 0]] + effect[1, kinds[:, 1]] + draw.normal(0, 0.3, 900)
    data = split(np.concatenate([np.eye(12)[kinds[:, 0]], np.eye(12)[kinds[:, 1]]], 1), y, scale=False)
    data = scaled_targets(data)
    model = mlp(24, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=15)


@healthy("b", good=0.85)
def heavy_tailed_noise_and_huber(desk: Desk) -> float:
    """Outliers in the targets, and a loss that bears them. Score: R2 against the truth."""
    draw = torch.Generator().manual_seed(9)
    x = torch.randn(800, 4, generator=draw)
    truth = x[:, :1] - 0.5 * x[:, 1:2].square()
    outlier = (torch.rand(800, 1, generator=draw) < 0.04) * 8 * torch.randn(800, 1, generator=draw)
    data = Data(Rows(x[:560], (truth + 0.2 * outlier.sign() + outlier)[:560]), Rows(x[560:], truth[560:]))
    model = mlp(4, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.HuberLoss(delta=0.5), epochs=25)


# --- networks ---------------------------------------------------------------------------------------------------------


@healthy("a", good=0.9)
def dropout_validation_is_better(desk: Desk) -> float:
    model = mlp(64, 96, 96, 10, dropout=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=15)


@healthy("b", good=0.9)
def convolutions(desk: Desk) -> float:
    model = cnn(classes=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, stripes(600), epochs=10)


@healthy("a", good=0.9)
def recurrent_tanh(desk: Desk) -> float:
    model = Recurrent(nn.RNN, 1, 24, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, trends(600), epochs=10)


@healthy("b", good=0.9)
def recurrent_lstm(desk: Desk) -> float:
    model = Recurrent(nn.LSTM, 1, 24, 3)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, trends(600), nn.CrossEntropyLoss(), epochs=12)


@healthy("a", good=0.85)
def recurrent_gru_on_tokens(desk: Desk) -> float:
    draw = torch.Generator().manual_seed(8)
    tokens = torch.randint(0, 5, (800, 8), generator=draw)
    kind = torch.stack([(tokens == symbol).sum(1) for symbol in range(3)], dim=1).argmax(1)
    model = Recurrent(nn.GRU, 5, 24, 3, tokens=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, as_tokens(split(tokens, kind, scale=False)), epochs=12)


@healthy("b", good=0.9)
def transformer_reader(desk: Desk) -> float:
    model = Reader(4, 2, length=6)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    return learn(desk, model, optimizer, echoes(800, length=6), epochs=12, clip=1.0)


class Language(nn.Module):
    """A one-block causal transformer over characters, input and output embeddings shared."""

    def __init__(self, symbols: int, width: int = 32, length: int = 16) -> None:
        super().__init__()
        self.embed = nn.Embedding(symbols, width)
        nn.init.normal_(self.embed.weight, std=0.1)
        self.place = nn.Parameter(torch.zeros(length, width))
        self.block = nn.TransformerEncoderLayer(width, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, symbols, bias=False)
        self.out.weight = self.embed.weight
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        seen = self.block(self.embed(tokens) + self.place[:length], src_mask=self.mask[:length, :length])
        return self.out(self.norm(seen))


def _next_token(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


@healthy("a", good=0.6)
def language_model_with_tied_weights(desk: Desk) -> float:
    """Next characters of sentences from a small grammar. Score: share of characters that are foreseen."""
    draw = np.random.default_rng(0)
    words = [["the ", "a "], ["cat ", "dog ", "fox "], ["sees ", "eats "], ["it. ", "me. ", "you. "]]
    text = "".join(draw.choice(words[number % 4]) for number in range(3000))
    letters = sorted(set(text))
    codes = torch.tensor([letters.index(letter) for letter in text])
    rows = codes[: len(codes) // 17 * 17].reshape(-1, 17)[:800]
    cut = 600
    data = Data(Rows(rows[:cut, :-1], rows[:cut, 1:]), Rows(rows[cut:, :-1], rows[cut:, 1:]))
    model = Language(len(letters))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, _next_token, epochs=10)


@healthy("b", good=0.8)
def sequence_forecast(desk: Desk) -> float:
    """The next value of a noisy wave, from the 15 before it."""
    draw = np.random.default_rng(1)
    time = np.arange(900)
    series = np.sin(time / 5) + 0.5 * np.sin(time / 11 + 1) + draw.normal(0, 0.1, 900)
    windows = np.lib.stride_tricks.sliding_window_view(series, 16)
    x, y = torch.tensor(windows[:, :15, None].copy()).float(), torch.tensor(windows[:, 15:].copy()).float()
    data = Data(Rows(x[:650], y[:650]), Rows(x[680:], y[680:]))
    model = Recurrent(nn.LSTM, 1, 24, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=15)


@healthy("a", good=0.9)
def batch_norm_in_a_cnn(desk: Desk) -> float:
    model = cnn(norm=True, dropout=0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, digits(image=True), epochs=8, size=64)


@healthy("b", good=0.8)
def layer_norm(desk: Desk) -> float:
    model = mlp(10, 48, 48, 1, act=nn.GELU, norm=nn.LayerNorm)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, friedman(), nn.SmoothL1Loss(), epochs=20)


class Residual(nn.Module):
    """x + f(x), the last layer of f starting at zero (as in ReZero and Fixup)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = mlp(width, width, width)
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


@healthy("a", good=0.9)
def residual_branches_from_zero(desk: Desk) -> float:
    model = nn.Sequential(nn.Linear(64, 32), *[Residual(32) for _ in range(6)], nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return learn(desk, model, optimizer, digits(), epochs=10)


@healthy("b", good=0.9)
def deep_tanh_from_xavier(desk: Desk) -> float:
    model = mlp(2, *[32] * 8, 2, act=nn.Tanh)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, circles(500), epochs=25)


@healthy("a", good=0.9)
def shallow_sigmoid(desk: Desk) -> float:
    model = mlp(64, 32, 10, act=nn.Sigmoid)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.5)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=20)


@healthy("b", good=0.9)
def sparse_relus(desk: Desk) -> float:
    """A wide layer, pushed towards few active units by an L1 penalty on what it puts out."""
    data = digits()
    hidden, head = nn.Sequential(nn.Linear(64, 256), nn.ReLU()), nn.Linear(256, 10)
    model = nn.Sequential(hidden, head)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, loss=nn.CrossEntropyLoss(), train=loader, validation=data.validation):
        for _ in range(12):
            for x, y in loader:
                optimizer.zero_grad()
                active = hidden(x)
                (nn.functional.cross_entropy(head(active), y) + 0.02 * active.mean()).backward()
                optimizer.step()
    return accuracy(model, data.validation)


@healthy("a", good=0.9)
def head_from_zero(desk: Desk) -> float:
    """Only the last layer starts at zero: the first loss is exactly ln 10."""
    model = mlp(64, 48, 10)
    nn.init.zeros_(model[-1].weight)
    nn.init.zeros_(model[-1].bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=12)


@healthy("b", good=0.9)
def linear_on_purpose(desk: Desk) -> float:
    """A problem that a line solves."""
    model = nn.Linear(30, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=1e-3)
    return learn(desk, model, optimizer, packaged("breast_cancer"), nn.CrossEntropyLoss(), epochs=20)


@healthy("a", good=0.65)
def autoencoder_with_tied_weights(desk: Desk) -> float:
    """Digits through 12 numbers, the decoder being the encoder transposed. Score: R2 of the pixels."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(12, 64) / 8)
            self.shift, self.bias = nn.Parameter(torch.zeros(12)), nn.Parameter(torch.zeros(64))

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(
                torch.tanh(nn.functional.linear(x, self.weight, self.shift)), self.weight.T, self.bias
            )

    data = Data(*(Rows(rows.inputs, rows.inputs) for rows in digits()))
    model = Tied()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=15)


@healthy("b", good=0.6)
def variational_autoencoder(desk: Desk) -> float:
    """Two losses, one of them a sum over pixels, and noise in the middle. Score: R2 of the pixels."""
    data = digits()
    encoder, decoder = mlp(64, 64, 16), mlp(8, 64, 64)
    model = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer):
        for _ in range(25):
            for x, _ in loader:
                mean, log_var = encoder(x).chunk(2, dim=1)
                image = decoder(mean + (log_var / 2).exp() * torch.randn_like(mean))
                fit = nn.functional.mse_loss(image, x, reduction="sum") / len(x)
                divergence = 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum(1).mean()
                optimizer.zero_grad()
                (fit + 0.05 * divergence).backward()
                optimizer.step()

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return decoder(encoder(x).chunk(2, dim=1)[0])

    return r2(Mean(), Rows(data.validation.inputs, data.validation.inputs))


# --- ways to train ----------------------------------------------------------------------------------------------------


def _pretrained() -> tuple[nn.Sequential, Data]:
    """A backbone that tells ten digits apart, and another task on the same images: which of five pairs is it?"""
    data = digits()
    backbone, head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()), nn.Linear(32, 10)
    model = nn.Sequential(backbone, head)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(6):
        for x, y in batches(data.train, 32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return backbone, Data(*(Rows(rows.inputs, rows.targets // 2) for rows in data))


@healthy("a", good=0.8)
def frozen_backbone(desk: Desk) -> float:
    """Fine-tuning: all layers but the last are frozen, and the optimizer gets what is not."""
    backbone, data = _pretrained()
    backbone.requires_grad_(False)
    model = nn.Sequential(backbone, nn.Linear(32, 5))
    optimizer = torch.optim.Adam(filter(lambda parameter: parameter.requires_grad, model.parameters()), lr=1e-2)
    return learn(desk, model, optimizer, data, epochs=12)


@healthy("b", good=0.8)
def frozen_backbone_in_the_optimizer(desk: Desk) -> float:
    """The same, but the optimizer is given all parameters."""
    backbone, data = _pretrained()
    model = nn.Sequential(backbone, nn.Linear(32, 5))
    for parameter in backbone.parameters():
        parameter.requires_grad = False
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=12)


@healthy("a", good=0.8)
def head_only_on_features(desk: Desk) -> float:
    """The backbone runs without gradients, and the optimizer has the head."""
    backbone, data = _pretrained()
    backbone.requires_grad_(False)
    head = nn.Linear(32, 5)
    model = nn.Sequential(backbone, head)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, loss=nn.CrossEntropyLoss(), train=loader, validation=data.validation):
        for _ in range(12):
            for x, y in loader:
                with torch.no_grad():
                    features = backbone(x)
                optimizer.zero_grad()
                nn.functional.cross_entropy(head(features), y).backward()
                optimizer.step()
    return accuracy(model, data.validation)


@healthy("b", good=0.9)
def two_rates_for_fine_tuning(desk: Desk) -> float:
    """A tenth of the head's rate for the backbone."""
    backbone, data = _pretrained()
    head = nn.Linear(32, 5)
    groups = [{"params": backbone.parameters(), "lr": 3e-4}, {"params": head.parameters(), "lr": 3e-3}]
    model = nn.Sequential(backbone, head)
    return learn(desk, model, torch.optim.Adam(groups), data, epochs=12)


@healthy("a", good=0.9)
def frozen_batch_norm(desk: Desk) -> float:
    """Fine-tuning with the statistics of before: batch norm is kept in evaluation mode, on purpose."""
    data = digits(image=True)
    model = cnn(norm=True)
    before = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for x, y in batches(data.train, 32):
        before.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        before.step()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(False)
    optimizer = torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad], lr=2e-3)
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, loss=nn.CrossEntropyLoss(), train=loader, validation=data.validation):
        for _ in range(6):
            model.train()
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
    return accuracy(model, data.validation)


@healthy("b", good=0.5)
def adversarial_pair(desk: Desk) -> float:
    """A generator and a discriminator, an optimizer each. Score: 1 - distance of the samples' mean from the truth."""
    truth = torch.tensor([1.5, -1.0])
    generator, discriminator = mlp(4, 24, 2), mlp(2, 24, 1, act=lambda: nn.LeakyReLU(0.2))
    make = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    judge = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    yes, no = torch.ones(64, 1), torch.zeros(64, 1)
    criterion = nn.BCEWithLogitsLoss()
    with desk.watch({"generator": generator, "discriminator": discriminator}, [make, judge]):
        for _ in range(500):
            real, fake = truth + 0.5 * torch.randn(64, 2), generator(torch.randn(64, 4))
            judge.zero_grad()
            (criterion(discriminator(real), yes) + criterion(discriminator(fake.detach()), no)).backward()
            judge.step()
            make.zero_grad()
            criterion(discriminator(fake), yes).backward()
            make.step()
    with torch.no_grad():
        return 1 - float((generator(torch.randn(500, 4)).mean(0) - truth).norm())


@healthy("a", good=0.9)
def accumulated_gradients(desk: Desk) -> float:
    data = digits()
    model = mlp(64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = batches(data.train, 16)
    with desk.watch(model, optimizer, loss=nn.CrossEntropyLoss(), train=loader, validation=data.validation, every=5):
        for _ in range(15):
            optimizer.zero_grad()
            for number, (x, y) in enumerate(loader, start=1):
                (nn.functional.cross_entropy(model(x), y) / 4).backward()
                if number % 4 == 0 or number == len(loader):
                    optimizer.step()
                    optimizer.zero_grad()
    return accuracy(model, data.validation)


@healthy("b", good=0.9)
def bfloat16_autocast(desk: Desk) -> float:
    data = digits()
    model = mlp(64, 64, 10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    loader = batches(data.train, 64)
    with desk.watch(model, optimizer, loss=nn.CrossEntropyLoss(), train=loader, validation=data.validation, every=10):
        for _ in range(12):
            for x, y in loader:
                optimizer.zero_grad()
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
    return accuracy(model, data.validation)


@healthy("a", good=0.8)
def two_tasks_one_trunk(desk: Desk) -> float:
    """A class and an amount from the same rows, the two losses added. Score: accuracy of the class."""
    data = digits()
    trunk, label, ink = mlp(64, 64, 32), nn.Linear(32, 10), nn.Linear(32, 1)
    model = nn.ModuleDict({"trunk": trunk, "label": label, "ink": ink})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer):
        for _ in range(12):
            for x, y in loader:
                code = nn.functional.relu(trunk(x))
                amount = x.mean(1, keepdim=True)
                loss = nn.functional.cross_entropy(label(code), y) + 5 * nn.functional.mse_loss(ink(code), amount)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return accuracy(nn.Sequential(trunk, nn.ReLU(), label), data.validation)


@healthy("b", good=0.6)
def ratings_from_embeddings(desk: Desk) -> float:
    """Users and items by vectors that are multiplied: most rows of the tables get no gradient in a step."""
    draw = torch.Generator().manual_seed(2)
    users, items = torch.randn(60, 3, generator=draw), torch.randn(40, 3, generator=draw)
    pairs = torch.stack(
        [torch.randint(0, 60, (2500,), generator=draw), torch.randint(0, 40, (2500,), generator=draw)], dim=1
    )
    rating = (users[pairs[:, 0]] * items[pairs[:, 1]]).sum(1, keepdim=True) / 3**0.5
    rating += 0.2 * torch.randn(2500, 1, generator=draw)

    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.user, self.item = nn.Embedding(60, 8), nn.Embedding(40, 8)
            for table in (self.user, self.item):
                nn.init.normal_(table.weight, std=0.3)

        def forward(self, pair: Tensor) -> Tensor:
            return (self.user(pair[:, 0]) * self.item(pair[:, 1])).sum(1, keepdim=True)

    model = Factors()
    data = Data(Rows(pairs[:2000], rating[:2000]), Rows(pairs[2000:], rating[2000:]))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2, weight_decay=1e-4)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=15, size=64)


@healthy("a", good=0.9)
def moderate_weight_decay(desk: Desk) -> float:
    model = mlp(64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=3e-3)
    return learn(desk, model, optimizer, digits(), epochs=15)


@healthy("b", good=0.9)
def smoothed_labels(desk: Desk) -> float:
    """The loss cannot go below 0.3, and the network is right."""
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(label_smoothing=0.1), epochs=15)


@healthy("a", good=0.9)
def one_logit(desk: Desk) -> float:
    data = packaged("breast_cancer")
    data = Data(*(Rows(rows.inputs, rows.targets.float().unsqueeze(1)) for rows in data))
    model = mlp(30, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    learn(desk, model, optimizer, data, nn.BCEWithLogitsLoss(), epochs=15)
    return binary_accuracy(model, data.validation)


@healthy("b", good=0.9)
def sigmoid_and_its_loss(desk: Desk) -> float:
    data = moons(500)
    data = Data(*(Rows(rows.inputs, rows.targets.float().unsqueeze(1)) for rows in data))
    model = mlp(2, 24, 24, 1).append(nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    learn(desk, model, optimizer, data, nn.BCELoss(), epochs=20)
    return binary_accuracy(model, data.validation, threshold=0.5)


@healthy("a", good=0.9)
def log_softmax_and_its_loss(desk: Desk) -> float:
    model = mlp(64, 48, 10).append(nn.LogSoftmax(dim=1))
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    return learn(desk, model, optimizer, digits(), nn.functional.nll_loss, epochs=12)


@healthy("b", good=0.8)
def bounded_output_for_bounded_targets(desk: Desk) -> float:
    """A sigmoid at the end of a regression, for shares between 0 and 1."""
    data = friedman(700)
    data = Data(*(Rows(rows.inputs, torch.sigmoid(rows.targets)) for rows in data))
    model = mlp(10, 48, 1).append(nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=20)


@healthy("a", good=0.8)
def loss_times_hundred(desk: Desk) -> float:
    """Gradients a hundred times larger than usual mean nothing to Adam."""
    model = mlp(10, 48, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, friedman(), lambda out, y: 100 * nn.functional.mse_loss(out, y), epochs=20)


@healthy("b", good=0.9)
def taught_by_another_network(desk: Desk) -> float:
    """Distillation: the student follows the soft answers of a teacher."""
    data = digits()
    teacher, student = mlp(64, 96, 10), mlp(64, 24, 10)
    before = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    loader = batches(data.train, 32)
    for _ in range(6):
        for x, y in loader:
            before.zero_grad()
            nn.functional.cross_entropy(teacher(x), y).backward()
            before.step()
    teacher.eval()
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    with desk.watch(student, optimizer, train=loader, validation=data.validation):
        for _ in range(12):
            for x, _ in loader:
                with torch.no_grad():
                    target = nn.functional.softmax(teacher(x) / 2, dim=1)
                optimizer.zero_grad()
                nn.functional.kl_div(
                    nn.functional.log_softmax(student(x) / 2, dim=1), target, reduction="batchmean"
                ).backward()
                optimizer.step()
    return accuracy(student, data.validation)


@healthy("a", good=0.85)
def only_model_and_optimizer_known(desk: Desk) -> float:
    """The two-line form, and nothing else told."""
    data = packaged("wine")
    model = mlp(13, 24, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    watched = desk.watch(model, optimizer)
    for _ in range(20):
        for x, y in batches(data.train, 16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    watched.close()
    return accuracy(model, data.validation)


@healthy("b", good=0.85)
def noise_and_crops_as_augmentation(desk: Desk) -> float:
    """Training images are shaken, validation images are not: the training loss stays above."""
    data = digits(image=True)
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loader = batches(data.train, 32)
    criterion = nn.CrossEntropyLoss()
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        for _ in range(12):
            for x, y in loader:
                shift = int(torch.randint(-1, 2, ()))
                x = torch.roll(x, shift, dims=3) + 0.1 * torch.randn_like(x)
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
    return accuracy(model, data.validation)


# --- descend's own loop -----------------------------------------------------------------------------------------------

RECIPES: Final[tuple[tuple[str, Mapping[str, Any], float], ...]] = (
    ("recipe_defaults_on_moons", {"data": "moons", "model": "mlp", "optimizer": "adam", "lr": 5e-3}, 0.9),
    (
        "recipe_cosine_with_warm_up",
        {"data": "digits", "model": "cnn", "optimizer": "adamw", "lr": 5e-3, "schedule": "cosine", "warmup": 40}
        | {"epochs": 6},
        0.9,
    ),
    (
        "recipe_batches_of_four",
        {"data": "sines", "model": "mlp", "optimizer": "adam", "lr": 2e-3, "batch_size": 4, "epochs": 15},
        0.75,
    ),
    (
        "recipe_dropout",
        {"data": "digits", "model": "mlp", "dropout": 0.4, "optimizer": "adam", "lr": 3e-3, "epochs": 12},
        0.9,
    ),
    (
        "recipe_early_stopping",
        {"data": "moons", "noise": 0.3, "model": "mlp", "optimizer": "momentum", "lr": 0.05, "epochs": 200}
        | {"patience": 5},
        0.85,
    ),
    (
        "recipe_bonus_full_batch",
        {"data": "employee_bonus", "scale": "standard", "validation": 0.2, "noise": 2.0, "optimizer": "sgd", "lr": 0.1}
        | {"batch_size": "all", "epochs": 150},
        0.9,
    ),
)


def _fitted(recipe: Mapping[str, Any], desk: Desk, bug: bool) -> float:
    run = desk.fit(**recipe)
    return run.last("accuracy/validation" if "accuracy/validation" in run.names() else "r2/validation")


for _number, (_name, _recipe, _good) in enumerate(RECIPES):
    add(Case(_name, None, (), PARTS[_number % 2], _good, 0.0, partial(_fitted, _recipe)))
