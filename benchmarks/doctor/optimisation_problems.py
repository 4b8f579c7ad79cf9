"""Learning rates, batches and regularisation that do not fit."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.doctor.corpus import Desk, faulty
from benchmarks.doctor.pieces import (
    Data,
    Recurrent,
    Rows,
    batches,
    blobs,
    cnn,
    confidence,
    digits,
    friedman,
    fuzzy,
    learn,
    mlp,
    packaged,
    r2,
    split,
    stripes,
    trends,
    wave,
)

# --- learning rate ----------------------------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.05)
def lr_too_high_a(desk: Desk, bug: bool) -> float:
    model = mlp(64, 64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=3.0 if bug else 0.2)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=15)


@faulty(good=0.8, harm=0.1)
def lr_too_high_b(desk: Desk, bug: bool) -> float:
    """0.3 for Adam on a small convolutional network."""
    model = cnn(classes=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.3 if bug else 3e-3)
    return learn(desk, model, optimizer, stripes(500), epochs=10, told="no validation")


@faulty(good=0.9, harm=0.1)
def lr_too_low_a(desk: Desk, bug: bool) -> float:
    model = mlp(30, 32, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6 if bug else 0.05, momentum=0.9)
    return learn(desk, model, optimizer, packaged("breast_cancer"), nn.CrossEntropyLoss(), epochs=15)


@faulty(good=0.75, harm=0.2)
def lr_too_low_b(desk: Desk, bug: bool) -> float:
    """3e-6 for AdamW, as it stood in a recipe for fine-tuning, from scratch."""
    model = mlp(10, 64, 64, 1, act=nn.GELU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-6 if bug else 3e-3)
    return learn(desk, model, optimizer, friedman(), nn.functional.mse_loss, epochs=25, size=64, told="no loss")


@faulty(good=0.9, harm=0.05, also=("lr_too_low",))
def plateau_a(desk: Desk, bug: bool) -> float:
    """The learning rate is halved after every epoch, and is gone before the network has learned."""
    model = mlp(64, 48, 10, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5 if bug else 0.97)
    return learn(desk, model, optimizer, digits(), epochs=25, per_epoch=scheduler)


@faulty(good=0.8, harm=0.05, also=("lr_too_low",))
def plateau_b(desk: Desk, bug: bool) -> float:
    """Milestones for a run ten times as long were divided by ten too often."""
    model = mlp(10, 48, 48, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    milestones = [1, 2] if bug else [20, 30]
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.05)
    return learn(desk, model, optimizer, friedman(), nn.MSELoss(), epochs=35, size=32, per_epoch=scheduler)


@faulty(good=0.75, harm=0.05)
def loss_spikes_a(desk: Desk, bug: bool) -> float:
    """Five targets of the table lost their decimal point: now and then a batch holds one."""
    data = friedman(800)
    if bug:
        data.train.targets[::112] *= 100.0
    model = mlp(10, 48, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=25)


@faulty(good=0.9, harm=0.02, also=("lr_too_high",))
def loss_spikes_b(desk: Desk, bug: bool) -> float:
    """A second moment over two steps (beta2 = 0.5): where a gradient was small for a moment, the next step is huge."""
    model = mlp(64, 64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, betas=(0.9, 0.5 if bug else 0.999))
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=20)


# --- batches ----------------------------------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.05)
def clipping_always_a(desk: Desk, bug: bool) -> float:
    """Gradients are cut to a norm of 0.01: the norm, not the learning rate, decides how far a step goes."""
    model = mlp(64, 48, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=20, clip=0.01 if bug else 5.0)


@faulty(good=0.75, harm=0.05)
def clipping_always_b(desk: Desk, bug: bool) -> float:
    """Every entry of the gradient is cut to 0.0003."""
    data = friedman(640)
    model = mlp(10, 32, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = batches(data.train, 32)
    criterion = nn.MSELoss()
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        for _ in range(20):
            for x, y in loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                nn.utils.clip_grad_value_(model.parameters(), 3e-4 if bug else 1.0)
                optimizer.step()
    return r2(model, data.validation)


@faulty(good=0.7, harm=0.1)
def noisy_batches_a(desk: Desk, bug: bool) -> float:
    """One row a step, at a rate for larger batches."""
    data = friedman(500, noise=1.5)
    model = mlp(10, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=12, size=1 if bug else 32)


@faulty(good=0.75, harm=0.05)
def noisy_batches_b(desk: Desk, bug: bool) -> float:
    """Two rows a step with momentum, on classes that overlap."""
    data = blobs(700, classes=4, columns=4, spread=3.5, seed=2)
    model = mlp(4, 24, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, data, nn.functional.cross_entropy, epochs=8, size=2 if bug else 64)


@faulty(good=0.6, harm=0.03, also=("noisy_batches",))
def last_batch_a(desk: Desk, bug: bool) -> float:
    """513 rows in batches of 128: every fifth step is made by one row, as far as by 128."""
    full = friedman(1000, noise=1.5)
    data = Data(Rows(full.train.inputs[:513], full.train.targets[:513]), full.validation)
    model = mlp(10, 24, 1, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=40, size=128, drop_last=not bug)


@faulty(good=0.75, harm=0.03, also=("noisy_batches",))
def last_batch_b(desk: Desk, bug: bool) -> float:
    """385 rows in batches of 96: momentum carries on what a single row of overlapping classes has said."""
    full = blobs(1000, classes=4, columns=4, spread=3.5, seed=2)
    data = Data(Rows(full.train.inputs[:385], full.train.targets[:385]), full.validation)
    model = mlp(4, 24, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=40, size=96, drop_last=not bug, every=5)


# --- fit --------------------------------------------------------------------------------------------------------------


@faulty(good=0.3, harm=0.3)
def overfitting_a(desk: Desk, bug: bool) -> float:
    """A wide network learns 100 rows of overlapping classes by heart. The twin has 1400. Score: `confidence`."""
    data = fuzzy(2000, columns=10)
    if bug:
        data = Data(Rows(data.train.inputs[:100], data.train.targets[:100]), data.validation)
    model = mlp(10, 128, 128, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    learn(desk, model, optimizer, data, epochs=60 if bug else 4)
    return confidence(model, data.validation)


@faulty(good=0.2, harm=0.3)
def overfitting_b(desk: Desk, bug: bool) -> float:
    """Series in much noise, and a GRU that goes on long after it should have stopped. Score: `confidence`."""
    full = trends(700, length=16, noise=1.8)
    data = Data(Rows(full.train.inputs[:150], full.train.targets[:150]), full.validation)
    model = Recurrent(nn.GRU, 1, 32, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=60 if bug else 7, every=5)
    return confidence(model, data.validation)


@faulty(good=0.9, harm=0.2)
def underfitting_a(desk: Desk, bug: bool) -> float:
    """Ten digits through one hidden unit."""
    model = mlp(64, 1 if bug else 48, 10, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=20)


@faulty(good=0.8, harm=0.15)
def underfitting_b(desk: Desk, bug: bool) -> float:
    """One hidden unit for a wave with three extrema."""
    model = mlp(1, 1 if bug else 24, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)
    return learn(desk, model, optimizer, wave(), nn.MSELoss(), epochs=60)


@faulty(good=0.9, harm=0.05)
def dropout_too_strong_a(desk: Desk, bug: bool) -> float:
    model = mlp(64, 48, 48, 10, dropout=0.9 if bug else 0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=20)


@faulty(good=0.75, harm=0.1)
def dropout_too_strong_b(desk: Desk, bug: bool) -> float:
    """Keep probability was meant, drop probability was given."""
    model = mlp(10, 48, 48, 1, act=nn.SiLU, dropout=0.85 if bug else 0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    return learn(desk, model, optimizer, friedman(), nn.MSELoss(), epochs=25)


@faulty(good=0.9, harm=0.05)
def decay_too_strong_a(desk: Desk, bug: bool) -> float:
    model = mlp(64, 48, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1 if bug else 1e-4)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=15)


@faulty(good=0.85, harm=0.1)
def decay_too_strong_b(desk: Desk, bug: bool) -> float:
    """A weight decay for one optimizer given to another: 30 for AdamW."""
    model = Recurrent(nn.GRU, 1, 16, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=20.0 if bug else 0.01)
    return learn(desk, model, optimizer, trends(400), epochs=10, told="no validation")


# --- second variants --------------------------------------------------------------------------------------------------


@faulty(good=0.85, harm=0.1)
def lr_too_high_a2(desk: Desk, bug: bool) -> float:
    """0.2 for RMSprop on a GRU."""
    model = Recurrent(nn.GRU, 1, 20, 3)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.2 if bug else 3e-3)
    return learn(desk, model, optimizer, trends(500), nn.CrossEntropyLoss(), epochs=10)


@faulty(good=0.9, harm=0.1)
def lr_too_high_b2(desk: Desk, bug: bool) -> float:
    """Plain gradient descent on a linear model, a little beyond the limit of 2 / sharpness."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(400, 8, generator=draw) * torch.linspace(0.6, 1.6, 8)
    y = x @ torch.linspace(-1, 1, 8).unsqueeze(1) + 0.2 * torch.randn(400, 1, generator=draw)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.45 if bug else 0.05)
    return learn(desk, model, optimizer, split(x, y, scale=False), nn.MSELoss(), epochs=20)


@faulty(good=0.9, harm=0.3)
def lr_too_low_a2(desk: Desk, bug: bool) -> float:
    model = cnn(classes=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=2e-5 if bug else 0.1, momentum=0.9)
    return learn(desk, model, optimizer, stripes(500), nn.CrossEntropyLoss(), epochs=10)


@faulty(good=0.8, harm=0.3)
def lr_too_low_b2(desk: Desk, bug: bool) -> float:
    model = mlp(1, 40, 40, 1)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=1e-4 if bug else 0.03)
    return learn(desk, model, optimizer, wave(), nn.MSELoss(), epochs=40)


@faulty(good=0.8, harm=0.1, also=("lr_too_low",))
def plateau_a2(desk: Desk, bug: bool) -> float:
    """A linear decay to zero over a twentieth of the training."""
    data = friedman(700)
    model = mlp(10, 40, 1, act=nn.SiLU)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    steps = 40 * len(batches(data.train, 32))
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps // 20 if bug else steps)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=40, per_batch=scheduler)


@faulty(good=0.8, harm=0.1)
def loss_spikes_a2(desk: Desk, bug: bool) -> float:
    """An augmentation that multiplies one batch in forty by a thousand."""
    data = friedman(700, seed=3)
    model = mlp(10, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader, criterion = batches(data.train, 32), nn.L1Loss()
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        for _ in range(30):
            for x, y in loader:
                if torch.rand(()) < 1 / 40 and bug:
                    x = 1000 * x
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
    return r2(model, data.validation)


@faulty(good=0.8, harm=0.02, also=("exploding_gradients",))
def loss_spikes_b2(desk: Desk, bug: bool) -> float:
    """A recurrent network for a regression, and no clipping: now and then a gradient throws it far off."""
    draw = torch.Generator().manual_seed(2)
    x = 0.5 * torch.randn(400, 30, 1, generator=draw)
    y = x[:, -6:].sum(1)
    y = y + 0.1 * torch.randn(400, 1, generator=draw)
    model = Recurrent(nn.RNN, 1, 24, 1)
    nn.init.orthogonal_(model.rnn.weight_hh_l0)
    model.rnn.weight_hh_l0.data *= 1.3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    data = split(x, y, scale=False)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=30, clip=None if bug else 0.5)


@faulty(good=0.85, harm=0.1)
def clipping_always_a2(desk: Desk, bug: bool) -> float:
    """A norm of 0.005 for a GRU."""
    model = Recurrent(nn.GRU, 1, 20, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    return learn(desk, model, optimizer, trends(500), nn.CrossEntropyLoss(), epochs=12, clip=0.005 if bug else 5.0)


@faulty(good=0.85, harm=0.05)
def noisy_batches_a2(desk: Desk, bug: bool) -> float:
    """One image a step, at the rate for sixteen."""
    data = stripes(500, noise=1.2)
    model = cnn(classes=4, width=8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=5 if bug else 12, size=1 if bug else 16)


@faulty(good=0.5, harm=0.3)
def overfitting_b2(desk: Desk, bug: bool) -> float:
    """Noisy images, few of them, and a network without any restraint. The twin has all. Score: `confidence`."""
    data = stripes(900, noise=1.8, seed=5)
    if bug:
        data = Data(Rows(data.train.inputs[:60], data.train.targets[:60]), data.validation)
    model = cnn(classes=4, width=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    learn(desk, model, optimizer, data, epochs=60 if bug else 8, size=16)
    return confidence(model, data.validation)
