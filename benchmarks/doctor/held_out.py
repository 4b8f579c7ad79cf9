"""Half c: a case for nearly every root cause, written after halves a and b had been used for tuning."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ExponentialLR, OneCycleLR

from benchmarks.doctor.corpus import Case, Desk, add, faulty
from benchmarks.doctor.pieces import (
    Data,
    Recurrent,
    Rows,
    accuracy,
    balanced_accuracy,
    batches,
    binary_accuracy,
    blobs,
    circles,
    cnn,
    digits,
    flipped,
    friedman,
    houses,
    learn,
    mlp,
    moons,
    only,
    packaged,
    r2,
    rare,
    split,
    stripes,
    trends,
    wave,
)

Adam, AdamW, SGD, RMSprop = torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop
mse = nn.functional.mse_loss
cross_entropy = nn.functional.cross_entropy


def wines() -> Data:
    return packaged("wine")


def tumours() -> Data:
    return packaged("breast_cancer")


# --- code -------------------------------------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.03)
def missing_zero_grad_c(desk: Desk, bug: bool) -> float:
    """zero_grad is called on a copy of the model that the loop kept from before."""
    data, model = wines(), mlp(13, 32, 3, act=nn.GELU)
    old, optimizer = mlp(13, 32, 3), SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = batches(data.train, 16)
    with desk.watch(model, optimizer, loss=nn.CrossEntropyLoss(), train=loader, validation=data.validation, every=5):
        for _ in range(20):
            for x, y in loader:
                (old if bug else model).zero_grad()
                cross_entropy(model(x), y).backward()
                optimizer.step()
    return accuracy(model, data.validation)


@faulty(good=0.85)
def lost_accumulation_c(desk: Desk, bug: bool) -> float:
    data, model = stripes(), cnn(1, 4)
    optimizer, loader = Adam(model.parameters(), lr=5e-3), batches(data.train, 16)
    with desk.watch(model, optimizer, train=loader, validation=data.validation, loss=cross_entropy, every=5):
        for _ in range(15):
            for number, (x, y) in enumerate(loader):
                if bug or number % 3 == 0:
                    optimizer.zero_grad(set_to_none=False)
                (cross_entropy(model(x), y) / 3).backward()
                if number % 3 == 2:
                    optimizer.step()
    return accuracy(model, data.validation)


@faulty(good=0.85)
def missing_from_optimizer_c(desk: Desk, bug: bool) -> float:
    """The last layer is made anew after the optimizer."""
    data, model = trends(), Recurrent(nn.GRU, 1, 24, 3)
    optimizer = Adam(model.parameters(), lr=5e-3)
    if bug:
        model.out = nn.Linear(24, 3)
    return learn(desk, model, optimizer, data, epochs=6)


@faulty(good=0.9)
def twice_in_optimizer_c(desk: Desk, bug: bool) -> float:
    data, model = wines(), mlp(13, 24, 3)
    groups = [{"params": model.parameters()}]
    optimizer = SGD(groups, lr=0.1)
    if bug:
        optimizer.param_groups.append({**optimizer.param_groups[0], "params": list(model[2].parameters()), "lr": 0.5})
    return learn(desk, model, optimizer, data, epochs=20)


class Stages(nn.Module):
    """Three hidden layers, of which a bug hides or cuts off some."""

    def __init__(self, inputs: int, width: int, outputs: int, *, listed: bool = False, cut: bool = False) -> None:
        super().__init__()
        stages = [nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, width)]
        self.stages = stages if listed else nn.ModuleList(stages)
        self.out, self.cut = nn.Linear(width, outputs), cut

    def forward(self, x: Tensor) -> Tensor:
        for number, stage in enumerate(self.stages):
            x = torch.tanh(stage(x))
            if self.cut and number == 1:
                x = torch.tensor(x.tolist())
        return self.out(x)


@faulty(good=0.85, harm=0.02)
def no_gradient_c(desk: Desk, bug: bool) -> float:
    data, model = moons(), Stages(2, 24, 2, listed=bug)
    optimizer = Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, epochs=25)


@faulty(good=0.8, harm=0.02)
def no_gradient_c2(desk: Desk, bug: bool) -> float:
    data, model = wave(), Stages(1, 24, 1, cut=bug)
    return learn(desk, model, RMSprop(model.parameters(), lr=3e-3), data, mse, epochs=40)


@faulty(good=0.9)
def double_softmax_c(desk: Desk, bug: bool) -> float:
    data, body = trends(), Recurrent(nn.LSTM, 1, 24, 3)
    model = nn.Sequential(body, nn.Softmax(dim=-1)) if bug else nn.Sequential(body)
    return learn(desk, model, Adam(model.parameters(), lr=1e-2), data, nn.CrossEntropyLoss(), epochs=8)


@faulty(good=0.85)
def double_softmax_c2(desk: Desk, bug: bool) -> float:
    """A sigmoid in front of the loss on logits."""
    data = tumours()
    data = Data(*(Rows(rows.inputs, rows.targets.float()[:, None]) for rows in data))
    model = mlp(30, 16, 1)
    if bug:
        model.append(nn.Sigmoid())
    loss, loader = nn.BCEWithLogitsLoss(), batches(data.train, 32)
    optimizer = Adam(model.parameters(), lr=3e-3)
    with desk.watch(model, optimizer, loss=loss, train=loader, validation=data.validation):
        for _ in range(20):
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
    return binary_accuracy(model, data.validation, 0.5 if bug else 0.0)


@faulty(good=0.8, harm=0.1)
def output_activation_c(desk: Desk, bug: bool) -> float:
    """A tanh on the output, and targets that go beyond it."""
    data = friedman(600)
    model = mlp(10, 48, 1)
    if bug:
        model.append(nn.Tanh())
    return learn(desk, model, Adam(model.parameters(), lr=5e-3), data, mse, epochs=30)


@faulty(good=0.8, harm=0.3)
def broadcast_loss_c(desk: Desk, bug: bool) -> float:
    data = wave()
    flat = Data(*(Rows(rows.inputs, rows.targets.flatten()) for rows in data))
    model = mlp(1, 32, 32, 1)
    optimizer = Adam(model.parameters(), lr=1e-2)
    loader = batches(flat.train, 16)
    with desk.watch(model, optimizer, loss=nn.L1Loss(), train=loader):
        for _ in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.l1_loss(model(x), y if bug else y[:, None]).backward()
                optimizer.step()
    return r2(model, data.validation)


@faulty(good=0.7, harm=0.2, also=("lr_too_high",))
def summed_loss_c(desk: Desk, bug: bool) -> float:
    data, model = friedman(600), mlp(10, 32, 1, act=nn.Tanh)
    criterion = nn.MSELoss(reduction="sum" if bug else "mean")
    return learn(desk, model, SGD(model.parameters(), lr=0.05), data, criterion, epochs=40, size=64)


@faulty(good=0.8, harm=0.1)
def loss_mismatch_c(desk: Desk, bug: bool) -> float:
    """Class numbers are fitted with the squared error."""
    data = digits()
    if bug:
        numbers = Data(*(Rows(rows.inputs, rows.targets.float()[:, None]) for rows in data))
        model = mlp(64, 32, 1)
        learn(desk, model, Adam(model.parameters(), lr=3e-3), numbers, mse, epochs=10)
        with torch.no_grad():
            guess = model(data.validation.inputs).round().flatten()
        return float((guess == data.validation.targets).float().mean())
    model = mlp(64, 32, 10)
    return learn(desk, model, Adam(model.parameters(), lr=3e-3), data, epochs=10)


def modes(desk: Desk, bug: bool, forgotten: str) -> float:
    """A loop that forgets to switch the mode in one place."""
    data, model = tumours(), mlp(30, 32, 32, 2, norm=nn.BatchNorm1d, dropout=0.4)
    optimizer, loader = AdamW(model.parameters(), lr=3e-3), batches(data.train, 32, drop_last=True)
    with desk.watch(model, optimizer, loss=cross_entropy, train=loader, validation=data.validation):
        for epoch in range(12):
            if not (bug and forgotten == "train" and epoch):
                model.train()
            for x, y in loader:
                optimizer.zero_grad()
                cross_entropy(model(x), y).backward()
                optimizer.step()
            if not (bug and forgotten == "eval"):
                model.eval()
            with torch.no_grad():
                for x, y in batches(data.validation, 16):
                    cross_entropy(model(x), y)
    return accuracy(model, data.validation)


for _what, _forgotten in (("evaluated_in_training_mode", "eval"), ("trained_in_evaluation_mode", "train")):
    add(Case(f"{_what}_c", _what, (), "c", 0.9, 0.0, partial(modes, forgotten=_forgotten)))


class Centred(nn.Module):
    """Subtracts the mean of the batch from what is inside."""

    def __init__(self, by_batch: bool) -> None:
        super().__init__()
        self.a, self.b, self.by_batch = nn.Linear(64, 32), nn.Linear(32, 10), by_batch

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        return self.b(h - h.mean(0, keepdim=True) if self.by_batch else h - h.mean(1, keepdim=True))


@faulty(good=0.85)
def batch_dependence_c(desk: Desk, bug: bool) -> float:
    model = Centred(bug)
    return learn(desk, model, Adam(model.parameters(), lr=3e-3), digits(), epochs=8)


@faulty(good=0.85, harm=0.03)
def running_statistics_c(desk: Desk, bug: bool) -> float:
    """The momentum of batch norm is meant as Keras has it: 0.999 of the old value."""
    model = mlp(64, 48, 10, norm=partial(nn.BatchNorm1d, momentum=0.001 if bug else 0.1))
    return learn(desk, model, Adam(model.parameters(), lr=3e-3), digits(scale="raw"), epochs=6, drop_last=True)


@faulty(good=0.85, harm=0.05)
def scheduler_clock_c(desk: Desk, bug: bool) -> float:
    """The rate is to shrink by a tenth an epoch, and shrinks by a tenth a batch."""
    model = mlp(64, 48, 10)
    optimizer = SGD(model.parameters(), lr=0.1)
    scheduler = ExponentialLR(optimizer, 0.9)
    when = {"per_batch": scheduler} if bug else {"per_epoch": scheduler}
    return learn(desk, model, optimizer, digits(), epochs=15, **when)


@faulty(good=0.85)
def scheduler_clock_c2(desk: Desk, bug: bool) -> float:
    """OneCycleLR knows the number of batches and is stepped once an epoch."""
    data, model = digits(), mlp(64, 48, 10, act=nn.Tanh)
    optimizer = SGD(model.parameters(), lr=0.3, momentum=0.9)
    scheduler = OneCycleLR(optimizer, 0.3, total_steps=15 * 40)
    return learn(desk, model, optimizer, data, epochs=15, **({"per_epoch" if bug else "per_batch": scheduler}))


# --- data -------------------------------------------------------------------------------------------------------------


@faulty(good=0.9)
def non_finite_data_c(desk: Desk, bug: bool) -> float:
    data, model = tumours(), mlp(30, 24, 2)
    if bug:
        data.train.inputs[101, 7] = torch.inf
    return learn(desk, model, Adam(model.parameters(), lr=3e-3), data, epochs=10)


@faulty(good=0.8, harm=0.05)
def unshuffled_c(desk: Desk, bug: bool) -> float:
    data, model = digits(), mlp(64, 32, 10)
    order = data.train.targets.argsort(stable=True)
    data = Data(only(data.train, order), data.validation)
    return learn(desk, model, SGD(model.parameters(), lr=0.2), data, shuffle=not bug, epochs=12, size=16)


@faulty(good=0.85)
def validation_leak_c(desk: Desk, bug: bool) -> float:
    """Rows are doubled to have more of them, before they are split."""
    data = packaged("wine")
    if bug:
        x, y = (torch.cat([a, b]) for a, b in zip(data.train, data.validation, strict=True))
        data = split(torch.cat([x, x]), torch.cat([y, y]))
    model = mlp(13, 24, 3)
    return learn(desk, model, Adam(model.parameters(), lr=5e-3), data, epochs=15)


@faulty(good=0.85, harm=0.03)
def preprocessing_mismatch_c(desk: Desk, bug: bool) -> float:
    data = digits(image=True)
    if bug:
        data = Data(data.train, Rows(data.validation.inputs * 16, data.validation.targets))
    model = cnn()
    return learn(desk, model, Adam(model.parameters(), lr=5e-3), data, epochs=6)


@faulty(good=0.6, harm=0.1)
def unscaled_inputs_c(desk: Desk, bug: bool) -> float:
    """Grams instead of standard deviations."""
    data = packaged("wine", scale=not bug)
    model = mlp(13, 24, 3)
    return learn(desk, model, SGD(model.parameters(), lr=0.02), data, epochs=30)


@faulty(good=0.6, harm=0.2)
def unscaled_targets_c(desk: Desk, bug: bool) -> float:
    data = friedman(600, scale=False)
    mean, std = data.train.targets.mean(), data.train.targets.std()
    factor, shift = (1000.0, 5000.0) if bug else (1.0, 0.0)
    data = Data(*(Rows(rows.inputs, ((rows.targets - mean) / std)[:, None] * factor + shift) for rows in data))
    model = mlp(10, 48, 1)
    return learn(desk, model, Adam(model.parameters(), lr=3e-3), data, mse, epochs=25)


@faulty(good=0.85)
def useless_columns_c(desk: Desk, bug: bool) -> float:
    """A column was joined twice, and another lost its values."""
    data = wines()
    if bug:
        for rows in data:
            rows.inputs[:, 3] = 0.0
            rows.inputs[:, 9] = rows.inputs[:, 8]
    model = mlp(13, 24, 3)
    return learn(desk, model, Adam(model.parameters(), lr=5e-3), data, epochs=15)


@faulty(good=0.6, harm=0.05, also=("minority_never_predicted",))
def class_imbalance_c(desk: Desk, bug: bool) -> float:
    data = rare(rows=1600, share=0.02 if bug else 0.5, gap=1.0)
    model = mlp(6, 16, 2)
    learn(desk, model, Adam(model.parameters(), lr=2e-3), data, epochs=8)
    return balanced_accuracy(model, data.validation)


@faulty(good=0.85)
def mislabelled_c(desk: Desk, bug: bool) -> float:
    data = digits()
    if bug:
        data = Data(flipped(data.train, 0.25), data.validation)
    model = mlp(64, 64, 10)
    return learn(desk, model, Adam(model.parameters(), lr=2e-3), data, epochs=12)


@faulty(good=0.85, harm=0.3)
def unrelated_labels_c(desk: Desk, bug: bool) -> float:
    """The inputs were shuffled and the labels were not."""
    data = blobs()
    if bug:
        mixed = torch.randperm(len(data.train.inputs), generator=torch.Generator().manual_seed(5))
        data = Data(Rows(data.train.inputs[mixed], data.train.targets), data.validation)
    model = mlp(8, 48, 5)
    return learn(desk, model, Adam(model.parameters(), lr=3e-3), data, epochs=20)


@faulty(good=0.85)
def first_loss_c(desk: Desk, bug: bool) -> float:
    """The last layer is drawn a hundred times too large."""
    model = mlp(64, 48, 10)
    if bug:
        with torch.no_grad():
            model[-1].weight.mul_(100)
    return learn(desk, model, SGD(model.parameters(), lr=0.02), digits(), epochs=20)


# --- signals ----------------------------------------------------------------------------------------------------------


class Logarithm(nn.Module):
    """Features by a logarithm, of which the bug takes that of zero."""

    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.a, self.b, self.eps = nn.Linear(64, 32), nn.Linear(32, 10), 0.0 if bug else 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.log(torch.relu(self.a(x)) + self.eps))


@faulty(good=0.85, harm=0.3)
def non_finite_c(desk: Desk, bug: bool) -> float:
    model = Logarithm(bug)
    return learn(desk, model, Adam(model.parameters(), lr=3e-3), digits(), epochs=8)


def deep(desk: Desk, bug: bool, act: Callable[[], nn.Module], std: float, layers: int = 9) -> float:
    """A deep network; the bug draws every weight with a standard deviation of `std`."""
    torch.manual_seed(3)
    model = mlp(64, *[32] * layers, 10, act=act)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight, gain=5 / 3 if act is nn.Tanh else 2**0.5)
            nn.init.zeros_(module.bias)
            if bug:
                nn.init.normal_(module.weight, std=std)
    return learn(desk, model, SGD(model.parameters(), lr=0.01, momentum=0.9), digits(), epochs=12)


for _what, _act, _std, _also in (
    ("vanishing_gradients", nn.Tanh, 0.03, ("deaf_network",)),
    ("exploding_gradients", nn.ReLU, 0.8, ("first_loss", "lr_too_high")),
    ("saturated_units", nn.Tanh, 2.0, ()),
):
    add(Case(f"{_what}_c", _what, _also, "c", 0.85, 0.1, partial(deep, act=_act, std=_std)))


@faulty(good=0.85, harm=0.05)
def dead_relus_c(desk: Desk, bug: bool) -> float:
    model = mlp(64, 64, 64, 10)
    if bug:
        nn.init.constant_(model[2].bias, -8.0)
    return learn(desk, model, SGD(model.parameters(), lr=0.1), digits(), epochs=10)


@faulty(good=0.85, harm=0.1)
def missing_nonlinearity_c(desk: Desk, bug: bool) -> float:
    model = mlp(2, 32, 32, 2, act=nn.Identity if bug else nn.ReLU)
    return learn(desk, model, Adam(model.parameters(), lr=5e-3), circles(), epochs=25)


@faulty(good=0.85, harm=0.05)
def symmetric_init_c(desk: Desk, bug: bool) -> float:
    model = mlp(64, 32, 10, act=nn.Sigmoid)
    if bug:
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.1)
    return learn(desk, model, Adam(model.parameters(), lr=5e-3), digits(), epochs=12)


class Forgetful(nn.Module):
    """Reads a series from its end, or (the bug) the state before it has read anything."""

    def __init__(self, bug: bool) -> None:
        super().__init__()
        self.rnn, self.out, self.bug = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 3), bug

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x * 0 if self.bug else x)
        return self.out(states[:, -1])


@faulty(good=0.85, harm=0.3)
def deaf_network_c(desk: Desk, bug: bool) -> float:
    model = Forgetful(bug)
    return learn(desk, model, Adam(model.parameters(), lr=5e-3), trends(), epochs=8)


# --- optimisation -----------------------------------------------------------------------------------------------------


def tuned(
    desk: Desk,
    bug: bool,
    make: Callable[[], Data],
    network: Callable[[], nn.Module],
    optimizer: Callable[..., torch.optim.Optimizer],
    right: dict[str, float],
    wrong: dict[str, float],
    epochs: int,
    size: int = 32,
    clip: tuple[float, float] | None = None,
) -> float:
    """One setting is wrong."""
    data, model = make(), network()
    loss = mse if data.train.targets.is_floating_point() else cross_entropy
    made = optimizer(model.parameters(), **(wrong if bug else right))
    return learn(desk, model, made, data, loss, epochs=epochs, size=size, clip=None if clip is None else clip[not bug])


for _name, _also, _good, _harm, _settings in (
    ("lr_too_high_c", (), 0.85, 0.1, (digits, lambda: mlp(64, 48, 10), Adam, {"lr": 2e-3}, {"lr": 1.0}, 12)),
    ("lr_too_high_c2", (), 0.7, 0.1, (wave, lambda: mlp(1, 48, 1), SGD, {"lr": 0.1}, {"lr": 3.0}, 60)),
    ("lr_too_low_c", (), 0.85, 0.1, (trends, lambda: Recurrent(nn.GRU, 1, 24, 3), Adam, {"lr": 5e-3}, {"lr": 2e-6}, 8)),
    ("lr_too_low_c2", (), 0.85, 0.1, (wines, lambda: mlp(13, 24, 3), SGD, {"lr": 0.1}, {"lr": 1e-4}, 30)),
    (
        "decay_too_strong_c",
        (),
        0.85,
        0.1,
        (
            digits,
            lambda: mlp(64, 48, 10),
            AdamW,
            {"lr": 3e-3, "weight_decay": 0.01},
            {"lr": 3e-3, "weight_decay": 50.0},
            12,
        ),
    ),
    (
        "clipping_always_c",
        ("lr_too_low", "underfitting"),
        0.85,
        0.1,
        (digits, lambda: mlp(64, 48, 10), SGD, {"lr": 0.1}, {"lr": 0.1}, 15, 32, (0.01, 100.0)),
    ),
    (
        "noisy_batches_c",
        ("lr_too_high",),
        0.85,
        0.05,
        (wines, lambda: mlp(13, 24, 3), SGD, {"lr": 0.02}, {"lr": 0.6}, 12, 1),
    ),
):
    _cause = _name.rpartition("_")[0]
    _made = partial(
        tuned,
        **dict(
            zip(("make", "network", "optimizer", "right", "wrong", "epochs", "size", "clip"), _settings, strict=False)
        ),
    )
    add(Case(_name, _cause, _also, "c", _good, _harm, _made))


@faulty(good=0.65, harm=0.02)
def overfitting_c(desk: Desk, bug: bool) -> float:
    """A large network and few rows, against more rows."""
    data = moons(rows=800, noise=0.35)
    if bug:
        data = Data(only(data.train, torch.arange(60)), data.validation)
    model = mlp(2, 128, 128, 2)
    return learn(desk, model, Adam(model.parameters(), lr=3e-3), data, epochs=120 if bug else 8)


@faulty(good=0.85, harm=0.1, also=("missing_nonlinearity",))
def underfitting_c(desk: Desk, bug: bool) -> float:
    """One hidden unit for spirals of two arms."""
    model = mlp(2, 1 if bug else 48, 2, act=nn.Tanh)
    return learn(desk, model, Adam(model.parameters(), lr=1e-2), moons(noise=0.1), epochs=40)


@faulty(good=0.85, harm=0.05)
def dropout_too_strong_c(desk: Desk, bug: bool) -> float:
    model = mlp(64, 64, 64, 10, dropout=0.93 if bug else 0.1)
    return learn(desk, model, Adam(model.parameters(), lr=2e-3), digits(), epochs=15)


@faulty(good=0.5, harm=0.05, also=("plateau", "underfitting"))
def lr_too_low_c3(desk: Desk, bug: bool) -> float:
    """The rate was copied from fine-tuning a language model."""
    model = mlp(4, 32, 1)
    data = houses()
    mean, std = data.train.targets.mean(), data.train.targets.std()
    data = Data(*(Rows(rows.inputs[:, :4], ((rows.targets - mean) / std).reshape(-1, 1)) for rows in data))
    inputs = data.train.inputs
    data = Data(*(Rows((rows.inputs - inputs.mean(0)) / inputs.std(0), rows.targets) for rows in data))
    return learn(desk, model, AdamW(model.parameters(), lr=2e-5 if bug else 5e-3), data, mse, epochs=20)


@faulty(good=0.85, harm=0.0, also=("lr_too_high", "noisy_batches"))
def loss_spikes_c(desk: Desk, bug: bool) -> float:
    """One row was written in other units."""
    data = digits()
    if bug:
        data.train.inputs[500] *= 3000
    model = mlp(64, 48, 10)
    return learn(desk, model, Adam(model.parameters(), lr=2e-3), data, epochs=12)
