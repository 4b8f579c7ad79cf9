"""Bugs in the training code: gradients, parameters, losses, modes and clocks."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.doctor.corpus import Desk, faulty
from benchmarks.doctor.pieces import (
    Data,
    Reader,
    Rows,
    accuracy,
    batches,
    binary_accuracy,
    blobs,
    cnn,
    digits,
    echoes,
    friedman,
    learn,
    mlp,
    outputs,
    packaged,
    r2,
    split,
    standardised,
    stripes,
    trends,
    wave,
)

# --- gradients --------------------------------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.03)
def missing_zero_grad_a(desk: Desk, bug: bool) -> float:
    data = digits()
    model = mlp(64, 48, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    criterion = nn.CrossEntropyLoss()
    loader = batches(data.train, 64)
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        for _ in range(20):
            for x, y in loader:
                if not bug:
                    optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
    return accuracy(model, data.validation)


@faulty(good=0.8, harm=0.05)
def missing_zero_grad_b(desk: Desk, bug: bool) -> float:
    """Zeroed once an epoch instead of once a batch."""
    data = friedman(600)
    model = mlp(10, 64, 64, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = batches(data.train, 16)
    with desk.watch(model, optimizer, train=loader, validation=data.validation):
        for _ in range(25):
            model.train()
            optimizer.zero_grad()
            for x, y in loader:
                if not bug:
                    model.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()
    return r2(model, data.validation)


@faulty(good=0.85, harm=0.02)
def lost_accumulation_a(desk: Desk, bug: bool) -> float:
    """Four micro-batches are meant to make one step, but three of them are thrown away."""
    data = digits()
    model = mlp(64, 64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    loader = batches(data.train, 8)
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation, every=5):
        for _ in range(8):
            for number, (x, y) in enumerate(loader, start=1):
                if bug:
                    optimizer.zero_grad()
                (criterion(model(x), y) / 4).backward()
                if number % 4 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
    return accuracy(model, data.validation)


@faulty(good=0.8, harm=0.02)
def lost_accumulation_b(desk: Desk, bug: bool) -> float:
    data = standardised(friedman(640, noise=1.0))
    model = mlp(10, 48, 48, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    criterion = nn.SmoothL1Loss()
    loader = batches(data.train, 4)
    with desk.watch(model, optimizer, loss=criterion, train=loader, every=5):
        for _ in range(20):
            optimizer.zero_grad()
            for number, (x, y) in enumerate(loader):
                loss = criterion(model(x), y) / 8
                if bug:
                    model.zero_grad()
                loss.backward()
                if (number + 1) % 8 == 0 or number + 1 == len(loader):
                    optimizer.step()
                    optimizer.zero_grad()
    return r2(model, data.validation)


class Bottleneck(nn.Module):
    """An encoder and a head, which some of the bugs below keep apart."""

    def __init__(self, inputs: int, width: int, outputs: int, detach: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, 6), nn.Tanh())
        self.head = nn.Linear(6, outputs)
        self.detach = detach

    def forward(self, x: Tensor) -> Tensor:
        code = self.encoder(x)
        return self.head(code.detach() if self.detach else code)


@faulty(good=0.85, harm=0.03)
def missing_from_optimizer_a(desk: Desk, bug: bool) -> float:
    """The head is replaced for another number of classes after the optimizer was made."""
    data = digits()
    model = Bottleneck(64, 48, 1000)
    head = nn.Linear(6, 10)
    if not bug:
        model.head = head
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.head = head
    return learn(desk, model, optimizer, data, epochs=20)


@faulty(good=0.9, harm=0.03)
def missing_from_optimizer_b(desk: Desk, bug: bool) -> float:
    """Autoencoder whose decoder the optimizer was never given. Score: R2 of the reconstruction."""
    inputs = packaged("breast_cancer")
    data = Data(*(Rows(rows.inputs, rows.inputs) for rows in inputs))
    encoder, decoder = mlp(30, 24, 10, act=nn.ELU), mlp(10, 24, 30, act=nn.ELU)
    model = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    optimizer = torch.optim.RMSprop(encoder.parameters() if bug else model.parameters(), lr=2e-3)
    whole = nn.Sequential(encoder, decoder)
    loader = batches(data.train, 32)
    with desk.watch(whole, optimizer, loss=nn.MSELoss(), train=loader, validation=data.validation):
        for _ in range(40):
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.mse_loss(whole(x), y).backward()
                optimizer.step()
    return r2(whole, data.validation)


@faulty(good=0.85)
def twice_in_optimizer_a(desk: Desk, bug: bool) -> float:
    """Two optimizers for two parts of a network, one of which was given all of it."""
    data = digits()
    model = Bottleneck(64, 64, 10)
    body = torch.optim.Adam((model if bug else model.encoder).parameters(), lr=2e-3)
    head = torch.optim.SGD(model.head.parameters(), lr=0.3)
    loader = batches(data.train, 32)
    with desk.watch(model, [body, head], loss=nn.functional.cross_entropy, train=loader, validation=data.validation):
        for _ in range(15):
            for x, y in loader:
                body.zero_grad()
                head.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                body.step()
                head.step()
    return accuracy(model, data.validation)


@faulty(good=0.8)
def twice_in_optimizer_b(desk: Desk, bug: bool) -> float:
    """A trunk shared by two targets, each of which brings an optimizer for itself and the trunk."""
    data = friedman(600)
    other = data.train.inputs[:, :1]
    trunk, first, second = mlp(10, 48, 48), nn.Linear(48, 1), nn.Linear(48, 1)
    model = nn.ModuleDict({"trunk": trunk, "first": first, "second": second})
    optimizers = [
        torch.optim.SGD([*trunk.parameters(), *first.parameters()], lr=0.05),
        torch.optim.SGD([*(trunk.parameters() if bug else ()), *second.parameters()], lr=0.05),
    ]
    loader = batches(Rows(data.train.inputs, torch.cat([data.train.targets, other], dim=1)), 16)
    with desk.watch(model, optimizers):
        for _ in range(40):
            for x, y in loader:
                for optimizer in optimizers:
                    optimizer.zero_grad()
                code = nn.functional.relu(trunk(x))
                main = nn.functional.mse_loss(first(code), y[:, :1])
                loss = main + 0.3 * nn.functional.mse_loss(second(code), y[:, 1:])
                loss.backward()
                for optimizer in optimizers:
                    optimizer.step()
    return r2(nn.Sequential(trunk, nn.ReLU(), first), data.validation)


class Blocks(nn.Module):
    """Hidden layers in a list, which a module does not see unless it is a ModuleList."""

    def __init__(self, inputs: int, width: int, outputs: int, depth: int, plain: bool) -> None:
        super().__init__()
        blocks = [nn.Linear(inputs if level == 0 else width, width) for level in range(depth)]
        self.blocks = blocks if plain else nn.ModuleList(blocks)
        self.out = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = nn.functional.relu(block(x))
        return self.out(x)


@faulty(good=0.93, harm=0.03)
def no_gradient_a(desk: Desk, bug: bool) -> float:
    """Layers in a plain list: they take part, and are never trained."""
    data = split(*_spiral(600), scale=False)
    model = Blocks(2, 32, 2, 3, plain=bug)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, epochs=40)


@faulty(good=0.85, harm=0.03)
def no_gradient_b(desk: Desk, bug: bool) -> float:
    """A `.detach()` that was meant for plotting stands between the encoder and the head."""
    model = Bottleneck(64, 48, 10, detach=bug)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return learn(desk, model, optimizer, digits(), epochs=20, told="no validation")


def _spiral(rows: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    label = torch.randint(0, 2, (rows,), generator=draw)
    radius = torch.rand(rows, generator=draw).sqrt()
    angle = 6 * radius + torch.pi * label
    noise = 0.03 * torch.randn(rows, 2, generator=draw)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1) * 1.5 + noise, label


# --- losses -----------------------------------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.02)
def double_softmax_a(desk: Desk, bug: bool) -> float:
    """`nn.CrossEntropyLoss` takes logits, and is given probabilities."""
    model = mlp(64, 32, 10)
    if bug:
        model.append(nn.Softmax(dim=1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=25)


@faulty(good=0.9, also=("output_activation",))
def double_softmax_b(desk: Desk, bug: bool) -> float:
    """A sigmoid before a loss that applies one itself."""
    data = packaged("breast_cancer")
    model = mlp(30, 16, 1, act=nn.GELU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    criterion = nn.BCEWithLogitsLoss()
    loader = batches(data.train, 16)
    with desk.watch(model, optimizer, loss=criterion, every=10):
        for _ in range(15):
            for x, y in loader:
                output = model(x).squeeze(1)
                loss = criterion(torch.sigmoid(output) if bug else output, y.float())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return binary_accuracy(model, data.validation)


@faulty(good=0.75, harm=0.1)
def output_activation_a(desk: Desk, bug: bool) -> float:
    """A ReLU after the last layer: half of the standardised targets cannot be reached."""
    model = mlp(10, 64, 1)
    if bug:
        model.append(nn.ReLU())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, friedman(), nn.MSELoss(), epochs=20)


@faulty(good=0.9, harm=0.1)
def output_activation_b(desk: Desk, bug: bool) -> float:
    """A tanh at the end, of a regression whose targets go from -4 to 4."""
    data = wave(500)
    data = Data(*(Rows(rows.inputs, 2.5 * rows.targets) for rows in data))
    model = mlp(1, 48, 48, 1, act=nn.SiLU)
    if bug:
        model.append(nn.Tanh())
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, data, nn.functional.l1_loss, epochs=40)


@faulty(good=0.35, harm=0.1)
def broadcast_loss_a(desk: Desk, bug: bool) -> float:
    """(n, 1) minus (n,) is (n, n)."""
    data = packaged("diabetes")
    mean, std = data.train.targets.mean(), data.train.targets.std()
    shape = (-1,) if bug else (-1, 1)
    data = Data(*(Rows(rows.inputs, ((rows.targets - mean) / std).reshape(shape)) for rows in data))
    model = mlp(10, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.5)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=20, size=16)


@faulty(good=0.8, harm=0.1)
def broadcast_loss_b(desk: Desk, bug: bool) -> float:
    data = friedman(700)
    model = nn.Sequential(mlp(10, 48, 24, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loader = batches(data.train, 32)
    criterion = nn.HuberLoss()
    with desk.watch(model, optimizer):
        for _ in range(25):
            for x, y in loader:
                loss = criterion(model(x), y if bug else y.squeeze(1))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return r2(model, data.validation)


@faulty(good=0.7, harm=0.2)
def summed_loss_a(desk: Desk, bug: bool) -> float:
    """A learning rate for a mean, and a loss that is a sum."""
    criterion = nn.MSELoss(reduction="sum" if bug else "mean")
    model = mlp(10, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    return learn(desk, model, optimizer, friedman(), criterion, epochs=25, size=64)


@faulty(good=0.9, harm=0.03)
def summed_loss_b(desk: Desk, bug: bool) -> float:
    criterion = nn.CrossEntropyLoss(reduction="sum" if bug else "mean")
    model = cnn(norm=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, digits(image=True), criterion, epochs=8, size=128, every=5)


@faulty(good=0.9, harm=0.02, also=("output_activation",))
def loss_mismatch_a(desk: Desk, bug: bool) -> float:
    """`nn.NLLLoss` takes log-probabilities, and is given logits."""
    model = mlp(64, 48, 10)
    if not bug:
        model.append(nn.LogSoftmax(dim=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, digits(), nn.NLLLoss(), epochs=12)


@faulty(good=0.9, harm=0.05)
def loss_mismatch_b(desk: Desk, bug: bool) -> float:
    """Class numbers learned as if they were amounts. Score: accuracy, by rounding where there is one output."""
    data = blobs(600, classes=5, columns=6, spread=2.0)
    model = mlp(6, 32, 1 if bug else 5)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.MSELoss() if bug else nn.CrossEntropyLoss()
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, loss=criterion, train=loader):
        for _ in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y.unsqueeze(1).float() if bug else y)
                loss.backward()
                optimizer.step()
    if not bug:
        return accuracy(model, data.validation)
    with torch.no_grad():
        return float((model(data.validation.inputs).squeeze(1).round() == data.validation.targets).float().mean())


# --- modes ------------------------------------------------------------------------------------------------------------


def _measured(model: nn.Module, rows: Rows, right_mode: bool) -> float:
    """Validation accuracy as the user measures it."""
    if right_mode:
        model.eval()
    with torch.no_grad():
        hits = sum(int((model(x).argmax(1) == y).sum()) for x, y in batches(rows, 64, shuffle=False))
    return hits / len(rows.targets)


@faulty(good=0.85, harm=0.05)
def evaluated_in_training_mode_a(desk: Desk, bug: bool) -> float:
    """No `model.eval()`: validation with half of the units dropped. Score: the accuracy that the user sees."""
    data = digits()
    model = mlp(64, 64, 32, 10, dropout=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, loss=nn.functional.cross_entropy, train=loader, validation=data.validation):
        for _ in range(15):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            seen = _measured(model, data.validation, right_mode=not bug)
    return seen


@faulty(good=0.9)
def evaluated_in_training_mode_b(desk: Desk, bug: bool) -> float:
    """Batch norm goes on averaging over the validation rows."""
    data = stripes(600)
    model = cnn(classes=4, norm=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, loss=criterion, every=10):
        for _ in range(8):
            if not bug:
                model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
            seen = _measured(model, data.validation, right_mode=not bug)
    return seen


@faulty(good=0.9)
def trained_in_evaluation_mode_a(desk: Desk, bug: bool) -> float:
    """`model.eval()` after the first epoch, and no `model.train()` ever after."""
    data = digits()
    model = mlp(64, 96, 96, 10, dropout=0.3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        for _ in range(14):
            if not bug:
                model.train()
            for x, y in loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
            _measured(model, data.validation, right_mode=True)
    return accuracy(model, data.validation)


@faulty(good=0.85)
def trained_in_evaluation_mode_b(desk: Desk, bug: bool) -> float:
    """`model.eval()` before the loop: batch norm never sees a batch."""
    data = packaged("wine")
    model = mlp(13, 32, 32, 3, norm=nn.BatchNorm1d)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model.train(not bug)
    loader = batches(data.train, 16, drop_last=True)
    with desk.watch(model, optimizer, loss=nn.functional.cross_entropy, train=loader, every=5):
        for _ in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
    return accuracy(model, data.validation)


@faulty(good=0.9, harm=0.1)
def batch_dependence_a(desk: Desk, bug: bool) -> float:
    """A transformer that takes [positions, rows, width] is given [rows, positions, width]: rows attend to rows."""
    model = Reader(4, 2, length=6, batch_first=not bug)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, echoes(700, length=6), epochs=12)


class LastState(nn.Module):
    """Both layers' last states of an LSTM side by side: [layers, rows, width] becomes [rows, layers * width]."""

    def __init__(self, view: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 16, num_layers=2, batch_first=True)
        self.out = nn.Linear(32, 3)
        self.view = view

    def forward(self, x: Tensor) -> Tensor:
        _, (state, _) = self.lstm(x)
        # `view` has the right shape, and mixes the rows
        return self.out(state.view(len(x), -1) if self.view else state.transpose(0, 1).reshape(len(x), -1))


@faulty(good=0.85, harm=0.1)
def batch_dependence_b(desk: Desk, bug: bool) -> float:
    model = LastState(view=bug)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, trends(400), epochs=10)


@faulty(good=0.85, harm=0.1)
def running_statistics_a(desk: Desk, bug: bool) -> float:
    """A momentum of 0.001, taken over from a framework where it means the opposite: statistics lag behind."""
    data = digits(scale="raw")
    model = mlp(64, 48, 48, 10, norm=lambda width: nn.BatchNorm1d(width, momentum=0.001 if bug else 0.1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, data, epochs=12)


@faulty(good=0.85, harm=0.04)
def running_statistics_b(desk: Desk, bug: bool) -> float:
    """A momentum of 0.99 and batches of four: the statistics are those of the last batch."""
    data = packaged("wine")
    model = mlp(13, 24, 24, 3, norm=lambda width: nn.BatchNorm1d(width, momentum=0.99 if bug else 0.1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=10, size=4, drop_last=True)


@faulty(good=0.9, harm=0.05)
def scheduler_clock_a(desk: Desk, bug: bool) -> float:
    """A step size in epochs, and a step after every batch."""
    model = mlp(64, 48, 10, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.1)
    return learn(desk, model, optimizer, digits(), epochs=20, **{"per_batch" if bug else "per_epoch": scheduler})


@faulty(good=0.8, harm=0.1)
def scheduler_clock_b(desk: Desk, bug: bool) -> float:
    """One cycle over all batches, and a step after every epoch: it never leaves the warm-up."""
    data = friedman(640)
    model = mlp(10, 64, 64, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    epochs, size = 20, 32
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.02, total_steps=epochs * len(batches(data.train, size))
    )
    clock = {"per_epoch" if bug else "per_batch": scheduler}
    return learn(desk, model, optimizer, data, nn.functional.mse_loss, epochs=epochs, size=size, **clock)


# --- second variants --------------------------------------------------------------------------------------------------


@faulty(good=0.8, harm=0.1)
def running_statistics_a2(desk: Desk, bug: bool) -> float:
    """A regression with batch norm of momentum 0.002, on inputs that are not centred."""
    data = friedman(640)
    data = Data(*(Rows(4 + 3 * rows.inputs, rows.targets) for rows in data))
    norm = partial(nn.BatchNorm1d, momentum=0.002 if bug else 0.1)
    model = mlp(10, 48, 48, 1, norm=norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=15)


@faulty(good=0.75, harm=0.05)
def running_statistics_b2(desk: Desk, bug: bool) -> float:
    """Momentum 1.0 and batches of four: what is kept is the statistics of the last four rows."""
    model = mlp(10, 32, 32, 1, norm=partial(nn.BatchNorm1d, momentum=1.0 if bug else 0.05))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, friedman(640), nn.MSELoss(), epochs=12, size=4)


@faulty(good=0.9)
def trained_in_evaluation_mode_a2(desk: Desk, bug: bool) -> float:
    """A look at the validation rows before training leaves batch norm in evaluation mode."""
    data = stripes(600)
    model = cnn(classes=4, norm=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss()
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        _measured(model, data.validation, right_mode=True)
        for _ in range(8):
            if not bug:
                model.train()
            for x, y in loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
            _measured(model, data.validation, right_mode=True)
    return accuracy(model, data.validation)


@faulty(good=0.8)
def trained_in_evaluation_mode_b2(desk: Desk, bug: bool) -> float:
    """`model.eval()` inside the epoch, after the tenth batch, to print an example; dropout is off from there."""
    data = friedman(700)
    model = mlp(10, 64, 64, 1, dropout=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with desk.watch(model, optimizer, loss=nn.MSELoss()):
        model.train()
        for _ in range(20):
            for number, (x, y) in enumerate(batches(data.train, 32)):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()
                if number == 10:
                    model.eval()
                    with torch.no_grad():
                        model(data.validation.inputs[:1])
                    model.train(not bug)
    return r2(model, data.validation)


class OverRows(nn.Module):
    """A softmax gate; `dim=0` lets the rows of a batch share it out among themselves."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.gate, self.body, self.out = nn.Linear(13, 24), nn.Linear(13, 24), nn.Linear(24, 3)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return self.out(24 * torch.softmax(self.gate(x), dim=self.axis) * torch.tanh(self.body(x)))


@faulty(good=0.9)
def batch_dependence_a2(desk: Desk, bug: bool) -> float:
    model = OverRows(axis=0 if bug else 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, packaged("wine"), nn.CrossEntropyLoss(), epochs=30, size=16)


class ByItsBatch(nn.Module):
    """Standardises by the mean and deviation of the batch that it is given, in evaluation mode too."""

    def __init__(self, batch: bool) -> None:
        super().__init__()
        self.body = mlp(10, 48, 1)
        self.batch = batch

    def forward(self, x: Tensor) -> Tensor:
        mean, std = (x.mean(0), x.std(0, correction=0) + 1e-3) if self.batch else (0.0, 1.0)
        return self.body((x - mean) / std)


@faulty(good=0.8)
def batch_dependence_b2(desk: Desk, bug: bool) -> float:
    model = ByItsBatch(batch=bug)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, friedman(640), nn.MSELoss(), epochs=20, size=16)


@faulty(good=0.9, harm=0.05)
def loss_mismatch_a2(desk: Desk, bug: bool) -> float:
    """Ten digits as one amount, with a loss for outliers. Score: accuracy, by rounding where there is one output."""
    data = digits()
    model = mlp(64, 48, 1 if bug else 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with desk.watch(model, optimizer, train=data.train, validation=data.validation):
        for _ in range(12):
            for x, y in batches(data.train, 32):
                output = model(x)
                optimizer.zero_grad()
                if bug:
                    nn.functional.smooth_l1_loss(output.squeeze(1), y.float()).backward()
                else:
                    nn.functional.cross_entropy(output, y).backward()
                optimizer.step()
    guess = outputs(model, data.validation.inputs)
    chosen = guess.squeeze(1).round() if bug else guess.argmax(1)
    return float((chosen == data.validation.targets).float().mean())


@faulty(good=0.9, also=("output_activation",))
def loss_mismatch_b2(desk: Desk, bug: bool) -> float:
    """`nll_loss` wants the logarithm of probabilities, and is given probabilities."""
    model = cnn(classes=4)
    model.append(nn.Softmax(dim=1) if bug else nn.LogSoftmax(dim=1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, stripes(500), nn.functional.nll_loss, epochs=10)


@faulty(good=0.9, harm=0.05)
def summed_loss_a2(desk: Desk, bug: bool) -> float:
    """`.sum()` at the end of a loss of one's own."""
    data = digits()
    model = mlp(64, 48, 10, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = batches(data.train, 64)

    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        losses = nn.functional.cross_entropy(logits, labels, reduction="none")
        return losses.sum() if bug else losses.mean()

    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        for _ in range(15):
            for x, y in loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
    return accuracy(model, data.validation)


@faulty(good=0.8, harm=0.1)
def summed_loss_b2(desk: Desk, bug: bool) -> float:
    model = mlp(1, 32, 32, 1, act=nn.SiLU)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.HuberLoss(reduction="sum" if bug else "mean")
    return learn(desk, model, optimizer, wave(500), criterion, epochs=30, size=64, told="no validation")


@faulty(good=0.8)
def scheduler_clock_a2(desk: Desk, bug: bool) -> float:
    """Half a cosine over all epochs, and a step after every batch: the rate swings up and down."""
    model = mlp(10, 48, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=25)
    clock = {"per_batch" if bug else "per_epoch": scheduler}
    return learn(desk, model, optimizer, friedman(700), nn.MSELoss(), epochs=25, **clock)


@faulty(good=0.9, harm=0.05)
def scheduler_clock_b2(desk: Desk, bug: bool) -> float:
    """Milestones at epochs 8 and 12, and a step after every batch: over before the first epoch is."""
    model = cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [8, 12], gamma=0.1)
    clock = {"per_batch" if bug else "per_epoch": scheduler}
    return learn(desk, model, optimizer, digits(image=True), epochs=14, size=64, **clock)


@faulty(good=0.75, harm=0.1)
def output_activation_a2(desk: Desk, bug: bool) -> float:
    """A sigmoid at the end, of a regression whose targets are standardised."""
    model = mlp(10, 48, 1, act=nn.Tanh)
    if bug:
        model.append(nn.Sigmoid())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, friedman(700), nn.HuberLoss(), epochs=20, told="no loss")


@faulty(good=0.8, harm=0.1)
def output_activation_b2(desk: Desk, bug: bool) -> float:
    """A softplus at the end, since amounts are positive; but these are standardised."""
    model = mlp(1, 40, 40, 1, act=nn.Tanh)
    if bug:
        model.append(nn.Softplus())
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, wave(500), nn.MSELoss(), epochs=30)
