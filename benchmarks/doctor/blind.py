"""Part d: every root cause once, and healthy runs; written without reading the checks, and tried on them only then."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from benchmarks.doctor.corpus import Desk, faulty, healthy
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
    confidence,
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
    outputs,
    packaged,
    r2,
    rare,
    scaled_targets,
    split,
    standardised,
    stripes,
    trends,
    wave,
)
from benchmarks.doctor.recipes import Slip, enter

# --- gradients and parameters -----------------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.05)
def missing_zero_grad_d(desk: Desk, bug: bool) -> float:
    """The line was lost when the loop was rewritten."""
    data = trends(500)
    model = Recurrent(nn.LSTM, 1, 24, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5)
    criterion = nn.CrossEntropyLoss()
    loader = batches(data.train, 16)
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        for _ in range(12):
            for x, y in loader:
                prediction = model(x)
                loss = criterion(prediction, y)
                if not bug:
                    optimizer.zero_grad(set_to_none=False)
                loss.backward()
                optimizer.step()
    return accuracy(model, data.validation)


@faulty(good=0.85)
def lost_accumulation_d(desk: Desk, bug: bool) -> float:
    data = stripes(500)
    model = cnn(classes=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loader = batches(data.train, 8, drop_last=True)
    with desk.watch(model, optimizer, train=loader, every=5):
        for _ in range(10):
            for number, (x, y) in enumerate(loader):
                if bug or number % 6 == 0:
                    optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y) / 6
                loss.backward()
                if number % 6 == 5:
                    optimizer.step()
    return accuracy(model, data.validation)


@faulty(good=0.85, harm=0.02)
def missing_from_optimizer_d(desk: Desk, bug: bool) -> float:
    """Parameter groups by part of the network, and one part was forgotten."""
    draw = torch.Generator().manual_seed(18)
    tokens = torch.randint(0, 8, (900, 8), generator=draw)
    kind = (tokens[:, :4] == 0).sum(1).clamp(max=1) * 2 + (tokens[:, 4:] == 1).sum(1).clamp(max=1)
    data = as_tokens(split(tokens, kind, scale=False))
    model = Recurrent(nn.GRU, 8, 24, 4, tokens=True)
    groups = [{"params": model.embed.parameters(), "lr": 2e-2}, {"params": model.out.parameters(), "lr": 1e-2}]
    if not bug:
        groups.append({"params": model.rnn.parameters(), "lr": 1e-2})
    return learn(desk, model, torch.optim.Adam(groups), data, nn.CrossEntropyLoss(), epochs=15)


@faulty(good=0.9)
def twice_in_optimizer_d(desk: Desk, bug: bool) -> float:
    """Muon is new for the matrices, and AdamW, which was there before, still has them all."""
    import descend

    data = digits()
    model = mlp(64, 48, 48, 10)
    matrices = [model[0].weight, model[2].weight]
    rest = [parameter for parameter in model.parameters() if all(parameter is not each for each in matrices)]
    optimizers = [
        descend.optim.Muon(matrices, lr=5e-3),
        torch.optim.AdamW(model.parameters() if bug else rest, lr=1e-3),
    ]
    loader = batches(data.train, 64)
    with desk.watch(model, optimizers, loss=nn.CrossEntropyLoss(), train=loader, validation=data.validation, every=10):
        for _ in range(10):
            for x, y in loader:
                loss = nn.functional.cross_entropy(model(x), y)
                for optimizer in optimizers:
                    optimizer.zero_grad()
                loss.backward()
                for optimizer in optimizers:
                    optimizer.step()
    return accuracy(model, data.validation)


class Frozen(nn.Module):
    """The encoder is new, but the `no_grad` of the days when it was a finished one is still there."""

    def __init__(self, frozen: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3), nn.ReLU()
        )
        self.head = nn.Linear(16, 10)
        self.frozen = frozen

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(not self.frozen and torch.is_grad_enabled()):
            code = self.conv(x).flatten(1)
        return self.head(code)


@faulty(good=0.85, harm=0.05)
def no_gradient_d(desk: Desk, bug: bool) -> float:
    model = Frozen(bug)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, digits(image=True), nn.CrossEntropyLoss(), epochs=12, told="no loss")


# --- losses -----------------------------------------------------------------------------------------------------------


@faulty(good=0.9)
def double_softmax_d(desk: Desk, bug: bool) -> float:
    """A transformer that returns probabilities."""

    class Answer(Reader):
        def forward(self, tokens: Tensor) -> Tensor:
            logits = super().forward(tokens)
            return logits.softmax(-1) if bug else logits

    model = Answer(4, 2, length=6)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, echoes(800, length=6), nn.CrossEntropyLoss(), epochs=12)


@faulty(good=0.85, harm=0.1)
def output_activation_d(desk: Desk, bug: bool) -> float:
    """A sigmoid at the end of a regression on standardised prices."""
    data = scaled_targets(standardised(houses(600)))
    model = mlp(4, 24, 1, act=nn.ELU)
    if bug:
        model.append(nn.Sigmoid())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=20)


@faulty(good=0.7, harm=0.2)
def broadcast_loss_d(desk: Desk, bug: bool) -> float:
    """How many bright points has an image? A squared error written out, of (n, 1) and (n,)."""
    draw = torch.Generator().manual_seed(21)
    bright = (torch.rand(500, 1, 8, 8, generator=draw) < 0.15).float()
    count = (bright.sum((1, 2, 3)) - 9.6) / 2.9
    data = split(bright + 0.1 * torch.randn(bright.shape, generator=draw), count, scale=False)
    model = cnn(1, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = batches(data.train, 25)
    with desk.watch(model, optimizer, train=loader, validation=data.validation):
        for _ in range(15):
            for x, y in loader:
                guess = model(x) if bug else model(x).squeeze(1)
                loss = ((guess - y) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return r2(model, data.validation)


@faulty(good=0.9, harm=0.05)
def summed_loss_d(desk: Desk, bug: bool) -> float:
    """Labels at every position of a sequence, their losses added up."""
    draw = torch.Generator().manual_seed(22)
    x = torch.randn(400, 12, 2, generator=draw)
    y = (x[:, :, 0] > x[:, :, 1]).long()
    data = Data(Rows(x[:300], y[:300]), Rows(x[300:], y[300:]))
    rnn, head = nn.GRU(2, 16, batch_first=True), nn.Linear(16, 2)

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = rnn, head

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(x)[0])

    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        how = "sum" if bug else "mean"
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction=how)

    model = Tagger()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    return learn(desk, model, optimizer, data, criterion, epochs=10, size=25)


@faulty(good=0.85, harm=0.1, also=("label_range",))
def loss_mismatch_d(desk: Desk, bug: bool) -> float:
    """Binary cross-entropy with a class number from 0 to 2. Score: accuracy, by rounding the logit."""
    data = packaged("iris")
    model = mlp(4, 16, 1 if bug else 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loader = batches(data.train, 16)
    criterion = nn.BCEWithLogitsLoss() if bug else nn.CrossEntropyLoss()
    with desk.watch(model, optimizer, loss=criterion, every=5):
        for _ in range(40):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x).squeeze(1), y.float()) if bug else criterion(model(x), y)
                loss.backward()
                optimizer.step()
    answer = outputs(model, data.validation.inputs)
    chosen = answer.squeeze(1).round() if bug else answer.argmax(1)
    return float((chosen == data.validation.targets).float().mean())


# --- modes and clocks -------------------------------------------------------------------------------------------------


@faulty(good=0.75)
def evaluated_in_training_mode_d(desk: Desk, bug: bool) -> float:
    """A regression with dropout, looked at under `no_grad` and nothing else. Score: the R2 that the user sees."""
    data = friedman(700)
    model = mlp(10, 64, 64, 1, dropout=0.3)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion, loader = nn.MSELoss(), batches(data.train, 32)
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        for _ in range(20):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
            if not bug:
                model.eval()
            with torch.no_grad():
                wrong = sum(len(x) * float(criterion(model(x), y)) for x, y in batches(data.validation, 64))
    seen = 1 - wrong / len(data.validation.targets) / float(data.validation.targets.var())
    return seen if not bug else min(seen, r2(model, data.validation))


@faulty(good=0.9)
def trained_in_evaluation_mode_d(desk: Desk, bug: bool) -> float:
    """`model.train()` stands before the epochs instead of in them."""
    data = digits()
    model = mlp(64, 48, 48, 10, norm=nn.BatchNorm1d)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion, loader = nn.CrossEntropyLoss(), batches(data.train, 64)
    model.train()
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation, every=10):
        for _ in range(15):
            if not bug:
                model.train()
            for x, y in loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                criterion(model(data.validation.inputs), data.validation.targets)
    return accuracy(model, data.validation)


@faulty(good=0.9, harm=0.1)
def batch_dependence_d(desk: Desk, bug: bool) -> float:
    """An LSTM without `batch_first` reads the rows of a batch as if they were one sequence."""

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.LSTM(1, 24, batch_first=not bug), nn.Linear(24, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0][:, -1])

    model = Last()
    optimizer = torch.optim.Adam(model.parameters(), lr=8e-3)
    return learn(desk, model, optimizer, trends(500), nn.CrossEntropyLoss(), epochs=10, size=20)


@faulty(good=0.9, harm=0.1)
def running_statistics_d(desk: Desk, bug: bool) -> float:
    """Images with an offset, and a batch norm whose averages move by 0.2 % a step."""
    data = stripes(500)
    data = Data(*(Rows(5 + 2 * rows.inputs, rows.targets) for rows in data))
    model = cnn(classes=4, norm=True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.002 if bug else 0.1
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=8)


@faulty(good=0.9)
def scheduler_clock_d(desk: Desk, bug: bool) -> float:
    """A cosine over all batches, and a step after every epoch: the rate hardly falls."""
    data = digits()
    model = mlp(64, 48, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.5)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=15 * len(batches(data.train, 32)))
    clock = {"per_epoch" if bug else "per_batch": scheduler}
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=15, size=32, **clock)


# --- data -------------------------------------------------------------------------------------------------------------


@faulty(good=0.85, harm=0.3)
def non_finite_data_d(desk: Desk, bug: bool) -> float:
    """A ratio of two columns, the second of which is once 0."""
    draw = np.random.default_rng(23)
    x = draw.normal(0, 1, (600, 4))
    data = split(x, (x[:, 0] + x[:, 1] > 0).astype(int))
    chance = torch.Generator().manual_seed(1)
    parts = []
    for rows in data:
        below = 1 + torch.rand(len(rows.targets), 1, generator=chance)
        if bug and rows is data.train:
            below[211] = 0.0
        parts.append(Rows(torch.cat([rows.inputs, 3 * rows.inputs[:, :1].abs() / below], dim=1), rows.targets))
    data = Data(*parts)
    model = mlp(5, 24, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=12)


@faulty(good=0.9, harm=0.05)
def unshuffled_d(desk: Desk, bug: bool) -> float:
    """Images from folders, one class after the other."""
    data = digits(image=True)
    train = only(data.train, data.train.targets.argsort(stable=True))
    model = cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, Data(train, data.validation), epochs=8, size=16, shuffle=not bug)


@faulty(good=0.85)
def validation_leak_d(desk: Desk, bug: bool) -> float:
    """The validation rows are drawn from the whole table, instead of from what training leaves."""
    full = blobs(900, classes=5, columns=6, spread=3.0, seed=9)
    pool = Rows(*(torch.cat(parts) for parts in zip(*full, strict=True))) if bug else full.validation
    draw = torch.randperm(len(pool.targets), generator=torch.Generator().manual_seed(0))[:250]
    model = mlp(6, 32, 5)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, Data(full.train, only(pool, draw)), nn.CrossEntropyLoss(), epochs=12)


@faulty(good=0.8, harm=0.2)
def preprocessing_mismatch_d(desk: Desk, bug: bool) -> float:
    """Incomes are taken as logarithms for training, and as they are for validation."""
    draw = np.random.default_rng(24)
    income = draw.lognormal(1.0, 0.8, (700, 3))
    y = np.log(income) @ [1.0, -0.7, 0.5] + draw.normal(0, 0.2, 700)
    raw = scaled_targets(split(income, y, scale=False))
    data = Data(
        Rows(raw.train.inputs.log(), raw.train.targets), Rows(raw.validation.inputs.log(), raw.validation.targets)
    )
    data = Data(data.train, raw.validation) if bug else data
    model = mlp(3, 24, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=20)


@faulty(good=0.8, harm=0.3)
def unscaled_inputs_d(desk: Desk, bug: bool) -> float:
    """Square metres, years and metres, as they are, and plain gradient descent."""
    data = scaled_targets(houses(500, seed=3))
    data = data if bug else standardised(data)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=20)


@faulty(good=0.8, harm=0.3)
def unscaled_targets_d(desk: Desk, bug: bool) -> float:
    """Yearly sales of about 52,000 +- 9,000 pieces."""
    raw = friedman(600, seed=8, scale=False)
    big = Data(*(Rows(rows.inputs, 25_000 + 1_900 * rows.targets.unsqueeze(1)) for rows in raw))
    model = mlp(10, 40, 40, 1, act=nn.LeakyReLU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, big if bug else scaled_targets(raw), nn.MSELoss(), epochs=20)


@faulty(good=0.8, harm=0.2)
def useless_columns_d(desk: Desk, bug: bool) -> float:
    """A merge by a key that never matches: five of eight columns are filled with 0."""
    draw = np.random.default_rng(25)
    x = draw.normal(0, 1, (700, 8))
    y = x[:, 0] + x[:, 3] * x[:, 4] + np.sin(x[:, 5]) + draw.normal(0, 0.2, 700)
    if bug:
        x[:, 3:] = 0.0
    model = mlp(8, 48, 1, act=nn.SiLU)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, scaled_targets(split(x, y)), nn.MSELoss(), epochs=20)


@faulty(good=0.75, harm=0.1, also=("minority_never_predicted",))
def class_imbalance_d(desk: Desk, bug: bool) -> float:
    """Two in a hundred, one logit. The twin gives them weight. Score: balanced accuracy."""
    data = rare(2500, share=0.02, gap=1.4, columns=5, seed=3)
    data = Data(*(Rows(rows.inputs, rows.targets.float().unsqueeze(1)) for rows in data))
    model = mlp(5, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss(pos_weight=None if bug else torch.tensor([40.0]))
    learn(desk, model, optimizer, data, criterion, epochs=8)
    chosen, truth = outputs(model, data.validation.inputs) > 0, data.validation.targets > 0.5
    return float((chosen[truth].float().mean() + (~chosen[~truth]).float().mean()) / 2)


@faulty(good=0.85, harm=0.1, also=("class_imbalance",))
def minority_never_predicted_d(desk: Desk, bug: bool) -> float:
    """Of one kind of image, training saw five. Score: balanced accuracy."""
    data = stripes(700, noise=0.9, seed=4)
    if bug:
        third = (data.train.targets == 2).nonzero().flatten()
        keep = torch.ones(len(data.train.targets), dtype=torch.bool)
        keep[third[5:]] = False
        data = Data(only(data.train, keep), data.validation)
    model = cnn(classes=4, width=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=8)
    return balanced_accuracy(model, data.validation)


@faulty(good=0.75, harm=0.2)
def mislabelled_d(desk: Desk, bug: bool) -> float:
    """Three in ten series were given another kind's label. Score: `confidence`."""
    data = trends(700, noise=0.5)
    data = Data(flipped(data.train, 0.3, seed=9), data.validation) if bug else data
    model = Recurrent(nn.GRU, 1, 20, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=12)
    return confidence(model, data.validation)


@faulty(good=0.9, harm=0.4)
def unrelated_labels_d(desk: Desk, bug: bool) -> float:
    """File names were sorted as text, labels by number."""
    data = stripes(600, noise=0.4)
    if bug:
        data = Data(
            *(Rows(rows.inputs[torch.tensor(sorted(range(len(rows.inputs)), key=str))], rows.targets) for rows in data)
        )
    model = cnn(classes=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=10)


@faulty(good=0.9, harm=0.1)
def label_range_d(desk: Desk, bug: bool) -> float:
    """Classes 1 and 2 for a loss that wants 0 and 1."""
    data = packaged("breast_cancer")
    data = Data(*(Rows(rows.inputs, rows.targets.float().unsqueeze(1) + (1 if bug else 0)) for rows in data))
    model = mlp(30, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    learn(desk, model, optimizer, data, nn.BCEWithLogitsLoss(), epochs=15)
    return binary_accuracy(model, data.validation)


@faulty(good=0.85)
def first_loss_d(desk: Desk, bug: bool) -> float:
    """The head's weights start between -8 and 8."""
    model = cnn()
    if bug:
        nn.init.uniform_(model[-1].weight, -8.0, 8.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return learn(desk, model, optimizer, digits(image=True), nn.CrossEntropyLoss(), epochs=12)


# --- signal -----------------------------------------------------------------------------------------------------------


class Attending(nn.Module):
    """Attention over those positions that are no padding; a softmax over none at all is NaN."""

    def __init__(self, safe: bool) -> None:
        super().__init__()
        self.embed, self.score, self.out = nn.Embedding(5, 24), nn.Linear(24, 1), mlp(24, 24, 3)
        self.nothing = -1e4 if safe else -math.inf

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.embed(tokens)
        scores = self.score(words).squeeze(2).masked_fill(tokens == 0, self.nothing)
        return self.out((scores.softmax(1).unsqueeze(2) * words).sum(1))


@faulty(good=0.85, harm=0.3)
def non_finite_d(desk: Desk, bug: bool) -> float:
    """One of the texts is empty."""
    draw = torch.Generator().manual_seed(28)
    tokens = torch.randint(0, 5, (700, 10), generator=draw)
    kind = torch.stack([(tokens == symbol).sum(1) for symbol in (1, 2, 3)], dim=1).argmax(1)
    data = as_tokens(split(tokens, kind, scale=False))
    data.train.inputs[101] = 0
    model = Attending(safe=not bug)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=15)


@faulty(good=0.85, harm=0.2)
def vanishing_gradients_d(desk: Desk, bug: bool) -> float:
    """Eleven sigmoids on a small table."""
    model = mlp(13, *[24] * 11, 3, act=nn.Sigmoid if bug else nn.ELU)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, packaged("wine"), nn.CrossEntropyLoss(), epochs=40, size=16)


@faulty(good=0.85, harm=0.05)
def exploding_gradients_d(desk: Desk, bug: bool) -> float:
    """Weights between -1 and 1, in nine layers of 40; only the last is as it should be."""
    model = mlp(64, *[40] * 9, 10)
    for layer in model[:-1]:
        if isinstance(layer, nn.Linear):
            if bug:
                nn.init.uniform_(layer.weight, -1.0, 1.0)
            else:
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=15)


@faulty(good=0.75, harm=0.3)
def dead_relus_d(desk: Desk, bug: bool) -> float:
    """Small weights and biases of -1: no unit of the first layer can ever fire."""
    model = mlp(10, 48, 48, 1)
    if bug:
        nn.init.normal_(model[0].weight, std=0.02)
        nn.init.constant_(model[0].bias, -1.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, friedman(700, seed=2), nn.MSELoss(), epochs=20)


@faulty(good=0.9, harm=0.05)
def saturated_units_d(desk: Desk, bug: bool) -> float:
    """`randn` weights, times two, in a network of tanh of width 96."""
    model = mlp(64, 96, 96, 96, 10, act=nn.Tanh)
    for layer in model[:-1]:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            if bug:
                nn.init.normal_(layer.weight, std=2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=15)


@faulty(good=0.95, harm=0.05)
def missing_nonlinearity_d(desk: Desk, bug: bool) -> float:
    """Linear, dropout, linear: the activation was taken for granted."""
    model = nn.Sequential(nn.Linear(2, 48), nn.Dropout(0.1), nn.Linear(48, 48), nn.Linear(48, 2))
    if not bug:
        model.insert(1, nn.GELU())
        model.insert(4, nn.GELU())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, moons(600), nn.CrossEntropyLoss(), epochs=25)


@faulty(good=0.9, harm=0.05)
def symmetric_init_d(desk: Desk, bug: bool) -> float:
    """All weights begin as 1/width, all biases as 0."""
    model = mlp(8, 32, 32, 5)
    for layer in model:
        if isinstance(layer, nn.Linear) and bug:
            nn.init.constant_(layer.weight, 1 / layer.in_features)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, blobs(700), nn.CrossEntropyLoss(), epochs=15)


@faulty(good=0.85, harm=0.2)
def deaf_network_d(desk: Desk, bug: bool) -> float:
    """The vocabulary knows no word of the text: every token becomes "unknown"."""
    draw = torch.Generator().manual_seed(26)
    tokens = torch.randint(0, 6, (700, 8), generator=draw)
    data = as_tokens(split(tokens, (tokens == 2).sum(1).clamp(max=2), scale=False))

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.body = nn.Embedding(7, 16), mlp(16, 24, 3)

        def forward(self, tokens: Tensor) -> Tensor:
            known = torch.full_like(tokens, 6) if bug else tokens
            return self.body(self.embed(known).sum(1))

    model = Words()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=12)


@faulty(good=0.85, harm=0.05, also=("lr_too_low",))
def update_ratio_d(desk: Desk, bug: bool) -> float:
    """The convolutions' group was given the rate of another project."""
    model = cnn(classes=4)
    groups = [
        {"params": [*model[0].parameters(), *model[3].parameters()], "lr": 1e-7 if bug else 5e-3},
        {"params": model[-1].parameters(), "lr": 5e-3},
    ]
    return learn(desk, model, torch.optim.Adam(groups), stripes(500, noise=0.9), nn.CrossEntropyLoss(), epochs=10)


# --- optimisation -----------------------------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.1)
def lr_too_high_d(desk: Desk, bug: bool) -> float:
    """0.1 for Adam on a transformer."""
    model = Reader(4, 2, length=6)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1 if bug else 3e-3)
    return learn(desk, model, optimizer, echoes(800, length=6), nn.CrossEntropyLoss(), epochs=12)


@faulty(good=0.7, harm=0.3)
def lr_too_low_d(desk: Desk, bug: bool) -> float:
    model = mlp(10, 40, 40, 1, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=5e-5 if bug else 0.05)
    return learn(desk, model, optimizer, friedman(700, seed=5), nn.MSELoss(), epochs=25)


@faulty(good=0.9, harm=0.05, also=("lr_too_low",))
def plateau_d(desk: Desk, bug: bool) -> float:
    """The rate is divided by five after every second epoch."""
    model = cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    scheduler = lr_scheduler.StepLR(optimizer, 2 if bug else 15, gamma=0.2)
    return learn(desk, model, optimizer, digits(image=True), nn.CrossEntropyLoss(), epochs=20, per_epoch=scheduler)


@faulty(good=0.75, harm=0.05)
def loss_spikes_d(desk: Desk, bug: bool) -> float:
    """A sensor's fault: one batch in fifty has targets a hundred times too large."""
    data = wave(600)
    model = mlp(1, 40, 40, 1, act=nn.SiLU)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.8)
    loader, criterion = batches(data.train, 16), nn.MSELoss()
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        for _ in range(40):
            for x, y in loader:
                if torch.rand(()) < 1 / 50 and bug:
                    y = y + 20 * torch.randn(len(y), 1)
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
    return r2(model, data.validation)


@faulty(good=0.85, harm=0.1)
def clipping_always_d(desk: Desk, bug: bool) -> float:
    model = cnn(classes=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return learn(desk, model, optimizer, stripes(500), nn.CrossEntropyLoss(), epochs=10, clip=1e-3 if bug else 10.0)


@faulty(good=0.7, harm=0.1)
def noisy_batches_d(desk: Desk, bug: bool) -> float:
    """One row a step with momentum, in a regression."""
    data = friedman(500, noise=1.0, seed=6)
    model = mlp(10, 24, 1, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=12, size=1 if bug else 8)


@faulty(good=0.7, harm=0.03, also=("noisy_batches",))
def last_batch_d(desk: Desk, bug: bool) -> float:
    """257 rows in batches of 64: one step in five is made by a single row."""
    full = friedman(800, noise=1.0, seed=7)
    data = Data(Rows(full.train.inputs[:257], full.train.targets[:257]), full.validation)
    model = mlp(10, 24, 1, act=nn.SiLU)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.15)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=60, size=64, drop_last=not bug)


@faulty(good=0.3, harm=0.3)
def overfitting_d(desk: Desk, bug: bool) -> float:
    """120 rows, 20 columns, and training that goes on. The twin stops early. Score: `confidence`."""
    full = fuzzy(900, columns=20, noise=0.5, seed=4)
    data = Data(Rows(full.train.inputs[:200], full.train.targets[:200]), full.validation)
    model = mlp(20, 96, 96, 2, act=nn.GELU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=60 if bug else 4, size=16, every=5)
    return confidence(model, data.validation)


@faulty(good=0.9, harm=0.2)
def underfitting_d(desk: Desk, bug: bool) -> float:
    """A convolutional network of one channel for ten digits."""
    model = nn.Sequential(
        nn.Conv2d(1, 1 if bug else 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1 if bug else 4),
        nn.Flatten(),
        nn.Linear(1 if bug else 256, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, digits(image=True), nn.CrossEntropyLoss(), epochs=15)


@faulty(good=0.9, harm=0.05)
def dropout_too_strong_d(desk: Desk, bug: bool) -> float:
    """Nine in ten features are dropped before the head."""
    model = nn.Sequential(mlp(64, 64, 32), nn.ReLU(), nn.Dropout(0.95 if bug else 0.2), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=15)


@faulty(good=0.75, harm=0.2)
def decay_too_strong_d(desk: Desk, bug: bool) -> float:
    """Half of a weight's size, as a penalty: 0.5 for SGD."""
    model = mlp(10, 40, 1, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.3 if bug else 1e-4)
    return learn(desk, model, optimizer, friedman(700, seed=9), nn.MSELoss(), epochs=20)


# --- recipes ----------------------------------------------------------------------------------------------------------

DIGITS = {"data": "digits", "model": "cnn", "width": 8, "optimizer": "adamw", "lr": 3e-3, "epochs": 6}
RINGS = {"data": "circles", "model": "mlp", "optimizer": "nesterov", "lr": 0.05, "epochs": 30}
BLOBS = {"data": "blobs", "classes": 4, "model": "mlp", "optimizer": "rmsprop", "lr": 2e-3, "epochs": 20}
SAW = {"data": "sines", "model": "mlp", "depth": 3, "width": 40, "optimizer": "adam", "lr": 3e-3, "epochs": 60}

for _slip in (
    Slip("lr_too_high", "d", DIGITS, {"lr": 0.5}, 0.9, 0.1),
    Slip("lr_too_low", "d", RINGS, {"lr": 2e-5}, 0.9, 0.2),
    Slip("underfitting", "d", SAW, {"width": 1, "depth": 1}, 0.75, 0.15),
    Slip("dropout_too_strong", "d", SAW | {"norm": "layer"}, {"dropout": 0.85}, 0.75, 0.1),
    Slip("decay_too_strong", "d", RINGS | {"weight_decay": 1e-4}, {"weight_decay": 0.2}, 0.9, 0.1),
    Slip("clipping_always", "d", RINGS | {"clip_norm": 5.0}, {"clip_norm": 1e-3}, 0.9, 0.1),
    Slip("missing_nonlinearity", "d", RINGS, {"activation": "identity"}, 0.9, 0.2),
    Slip("symmetric_init", "d", DIGITS, {"init": "zeros"}, 0.9, 0.2),
):
    enter(_slip)


# --- healthy, and odd -------------------------------------------------------------------------------------------------


@healthy("d", good=0.9)
def mixed_up_pairs(desk: Desk) -> float:
    """Mixup: every batch is blended with itself in another order, labels too; the training loss stays high."""
    data = digits()
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, loss=nn.CrossEntropyLoss(), train=loader, validation=data.validation):
        for _ in range(12):
            for x, y in loader:
                other, share = torch.randperm(len(x)), float(torch.rand(()))
                logits = model(share * x + (1 - share) * x[other])
                loss = share * nn.functional.cross_entropy(logits, y)
                loss = loss + (1 - share) * nn.functional.cross_entropy(logits, y[other])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return accuracy(model, data.validation)


@healthy("d", good=0.85)
def focal_loss(desk: Desk) -> float:
    """Rows that are already right hardly count. Score: balanced accuracy."""
    data = rare(1200, share=0.15, gap=3.0, seed=5)

    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        each = nn.functional.cross_entropy(logits, labels, reduction="none")
        return ((1 - (-each).exp()) ** 2 * each).mean()

    model = mlp(6, 24, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    learn(desk, model, optimizer, data, criterion, epochs=12)
    return balanced_accuracy(model, data.validation)


@healthy("d", good=0.85)
def pairs_of_images(desk: Desk) -> float:
    """A margin loss on distances between triples. Score: nearest-centre accuracy."""
    data = digits()
    model = mlp(64, 48, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    x, y = data.train
    members = [(y == label).nonzero().flatten() for label in range(10)]
    with desk.watch(model, optimizer):
        for _ in range(300):
            anchor = torch.randint(0, len(y), (32,))
            same = torch.stack(
                [members[int(label)][torch.randint(0, len(members[int(label)]), ())] for label in y[anchor]]
            )
            other = torch.randint(0, len(y), (32,))
            optimizer.zero_grad()
            nn.functional.triplet_margin_loss(model(x[anchor]), model(x[same]), model(x[other])).backward()
            optimizer.step()
    with torch.no_grad():
        centres = torch.stack([model(x[each]).mean(0) for each in members])
        nearest = torch.cdist(model(data.validation.inputs), centres).argmin(1)
    return float((nearest == data.validation.targets).float().mean())


@healthy("d", good=0.6)
def counts_with_poisson(desk: Desk) -> float:
    """Counts, and a loss that may be negative. Score: R2 of the rate."""
    draw = np.random.default_rng(31)
    x = draw.normal(0, 1, (800, 4))
    rate = np.exp(0.8 + 0.6 * x[:, 0] - 0.4 * x[:, 1])
    data = split(x, draw.poisson(rate).astype(float)[:, None])
    model = mlp(4, 24, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    learn(desk, model, optimizer, data, nn.PoissonNLLLoss(), epochs=15)

    class Rate(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model(x).exp()

    truth = split(x, rate[:, None]).validation
    return r2(Rate(), truth)


@healthy("d", good=0.7)
def mean_and_variance(desk: Desk) -> float:
    """Gaussian likelihood: the network says how sure it is, and the loss goes below zero. Score: R2 of the mean."""
    data = wave(500)

    def criterion(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.gaussian_nll_loss(output[:, :1], target, nn.functional.softplus(output[:, 1:]) + 1e-4)

    model = mlp(1, 40, 40, 2, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, loss=criterion, train=loader):
        for _ in range(40):
            for x, y in loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model(x)[:, :1]

    return r2(Mean(), data.validation)


@healthy("d", good=0.85)
def quantile_regression(desk: Desk) -> float:
    """The pinball loss of the ninetieth percentile. Score: 1 - 5 |share below - 0.9|."""
    data = friedman(800, noise=2.0)

    def pinball(output: Tensor, target: Tensor) -> Tensor:
        return torch.maximum(0.9 * (target - output), 0.1 * (output - target)).mean()

    model = mlp(10, 24, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    learn(desk, model, optimizer, data, pinball, epochs=10)
    below = (outputs(model, data.validation.inputs) > data.validation.targets).float().mean()
    return 1 - 5 * abs(float(below) - 0.9) / 2


@healthy("d", good=0.85)
def several_labels_a_row(desk: Desk) -> float:
    """Six yes-or-no questions at once. Score: share of right answers."""
    draw = torch.Generator().manual_seed(32)
    x = torch.randn(800, 8, generator=draw)
    y = (x @ torch.randn(8, 6, generator=draw) + 0.5 * torch.randn(800, 6, generator=draw) > 1).float()
    data = split(x, y)
    model = mlp(8, 32, 6)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    learn(desk, model, optimizer, data, nn.BCEWithLogitsLoss(), epochs=15)
    return float(((outputs(model, data.validation.inputs) > 0) == (data.validation.targets > 0.5)).float().mean())


@healthy("d", good=0.85)
def masked_positions(desk: Desk) -> float:
    """Labels at every position, most of them -100 and left out. Score: accuracy where there is a label."""
    draw = torch.Generator().manual_seed(33)
    tokens = torch.randint(0, 6, (600, 10), generator=draw)
    labels = tokens.roll(1, dims=1)
    labels[:, 0] = -100
    labels[torch.rand(labels.shape, generator=draw) < 0.7] = -100

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(6, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 6)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.out(self.rnn(self.embed(tokens))[0])

    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)

    data = Data(Rows(tokens[:450], labels[:450]), Rows(tokens[450:], labels[450:]))
    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    learn(desk, model, optimizer, data, criterion, epochs=12)
    asked = data.validation.targets >= 0
    right = outputs(model, data.validation.inputs).argmax(-1) == data.validation.targets
    return float(right[asked].float().mean())


@healthy("d", good=0.7)
def bandit_by_policy_gradient(desk: Desk) -> float:
    """REINFORCE: the loss has no meaning, the reward rises. Score: mean reward of the last choices."""
    best = torch.randint(0, 4, (6,), generator=torch.Generator().manual_seed(1))
    model = mlp(6, 24, 4, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    rewards = []
    with desk.watch(model, optimizer) as watched:
        for _ in range(400):
            state = torch.randint(0, 6, (32,))
            chances = torch.distributions.Categorical(logits=model(nn.functional.one_hot(state, 6).float()))
            action = chances.sample()
            reward = (action == best[state]).float()
            optimizer.zero_grad()
            (-(chances.log_prob(action) * (reward - reward.mean())).mean()).backward()
            optimizer.step()
            rewards.append(float(reward.mean()))
            watched.log({"reward": rewards[-1]})
    return sum(rewards[-50:]) / 50


@healthy("d", good=0.85)
def spring_from_its_equation(desk: Desk) -> float:
    """Physics-informed: u'' = -4u with u(0) = 1, u'(0) = 0; there are no targets. Score: R2 against cos 2t."""
    model = mlp(1, 32, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    time = torch.linspace(0, 2.5, 50).unsqueeze(1)
    with desk.watch(model, optimizer):
        for _ in range(600):
            t = time.clone().requires_grad_()
            u = model(t)
            first = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
            second = torch.autograd.grad(first.sum(), t, create_graph=True)[0]
            loss = (second + 4 * u).square().mean() + 50 * ((u[0] - 1).square() + first[0].square()).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return r2(model, Rows(time, torch.cos(2 * time)))


@healthy("d", good=0.9)
def averaged_weights(desk: Desk) -> float:
    """An exponential average of the weights is what is used in the end."""
    data = digits()
    model = mlp(64, 48, 10)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, loss=nn.CrossEntropyLoss(), train=loader, validation=data.validation):
        for _ in range(15):
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                average.update_parameters(model)
    return accuracy(average, data.validation)


class LowRank(nn.Module):
    """A frozen layer and a trained correction of rank 4, which starts at zero."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(4, layer.in_features) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + x @ self.down.T @ self.up.T


@healthy("d", good=0.85)
def low_rank_adapters(desk: Desk) -> float:
    """A network for even and odd digits learns which of five pairs it is; its own weights stay."""
    data = digits()
    base = mlp(64, 64, 32, 10)
    before = torch.optim.Adam(base.parameters(), lr=3e-3)
    for _ in range(6):
        for x, y in batches(data.train, 32):
            before.zero_grad()
            nn.functional.cross_entropy(base(x), y).backward()
            before.step()
    model = nn.Sequential(LowRank(base[0]), nn.ReLU(), LowRank(base[2]), nn.ReLU(), nn.Linear(32, 5))
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=3e-3)
    pairs = Data(*(Rows(rows.inputs, rows.targets // 2) for rows in data))
    return learn(desk, model, optimizer, pairs, nn.CrossEntropyLoss(), epochs=12)


@healthy("d", good=0.9)
def unfrozen_after_a_while(desk: Desk) -> float:
    """The head first; from the fifth epoch on all layers."""
    data = digits()
    model = mlp(64, 64, 10)
    body = list(model[0].parameters())
    for parameter in body:
        parameter.requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader, criterion = batches(data.train, 32), nn.CrossEntropyLoss()
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=data.validation):
        for epoch in range(14):
            if epoch == 4:
                for parameter in body:
                    parameter.requires_grad_(True)
            for x, y in loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
    return accuracy(model, data.validation)


@healthy("d", good=0.9)
def group_norm(desk: Desk) -> float:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.SiLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3),
        nn.GroupNorm(4, 16),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, digits(image=True), nn.CrossEntropyLoss(), epochs=8, size=4 * 16)


@healthy("d", good=0.9)
def spectral_norm(desk: Desk) -> float:
    """Weights that are kept at norm one by a parametrisation."""
    model = mlp(8, 48, 48, 5)
    for index in (0, 2):
        nn.utils.parametrizations.spectral_norm(model[index])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, blobs(700), nn.CrossEntropyLoss(), epochs=12)


@healthy("d", good=0.8)
def weight_norm_and_prelu(desk: Desk) -> float:
    model = mlp(10, 48, 48, 1, act=nn.PReLU)
    nn.utils.parametrizations.weight_norm(model[0])
    optimizer = torch.optim.NAdam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, friedman(700), nn.MSELoss(), epochs=20)


@healthy("d", good=0.85)
def dropout_on_the_inputs(desk: Desk) -> float:
    """A fifth of the pixels is missing in training."""
    model = nn.Sequential(nn.Dropout(0.2), *mlp(64, 64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=12, told="no loss")


@healthy("d", good=0.75)
def weights_for_a_rare_class(desk: Desk) -> float:
    """One in thirty, weighed accordingly, and overlapping. Score: balanced accuracy."""
    data = rare(2400, share=0.033, gap=1.6, seed=6)
    model = mlp(6, 16, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    learn(desk, model, optimizer, data, nn.CrossEntropyLoss(weight=torch.tensor([0.52, 15.0])), epochs=8)
    return balanced_accuracy(model, data.validation)


@healthy("d", good=0.8)
def series_in_order_of_time(desk: Desk) -> float:
    """Windows of a stationary series, one after the other and not shuffled."""
    draw = np.random.default_rng(34)
    series = np.zeros(1000)
    for t in range(2, 1000):
        series[t] = 1.6 * series[t - 1] - 0.9 * series[t - 2] + 0.1 * draw.normal()
    series /= series.std()
    windows = torch.tensor(np.lib.stride_tricks.sliding_window_view(series, 9).copy()).float()
    data = Data(Rows(windows[:700, :8], windows[:700, 8:]), Rows(windows[720:, :8], windows[720:, 8:]))
    model = mlp(8, 24, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=20, shuffle=False)


@healthy("d", good=0.9)
def logistic_regression_from_zero(desk: Desk) -> float:
    """A convex problem may start at zero."""
    model = nn.Linear(30, 2)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return learn(desk, model, optimizer, packaged("breast_cancer"), nn.CrossEntropyLoss(), epochs=15)


@healthy("d", good=0.9)
def batch_of_one_image(desk: Desk) -> float:
    """Batch size 1 at a rate that suits it."""
    model = mlp(64, 32, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return learn(desk, model, optimizer, digits(rows=1000), nn.CrossEntropyLoss(), epochs=5, size=1, every=20)


@healthy("d", good=0.9)
def batch_of_all(desk: Desk) -> float:
    model = mlp(13, 24, 3, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    return learn(desk, model, optimizer, packaged("wine"), nn.CrossEntropyLoss(), epochs=60, size=200, every=5)


@healthy("d", good=0.85)
def last_batch_of_two(desk: Desk) -> float:
    """66 rows in batches of 32 at a gentle rate."""
    full = packaged("iris")
    data = Data(Rows(full.train.inputs[:66], full.train.targets[:66]), full.validation)
    model = mlp(4, 16, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=40, every=5)


@healthy("d", good=0.85)
def restarts_with_warm_up(desk: Desk) -> float:
    """Chained schedules: up, down, up again, down."""
    model = cnn(classes=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    up = lr_scheduler.LinearLR(optimizer, 0.1, 1.0, total_iters=20)
    waves = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=50, eta_min=1e-3)
    both = lr_scheduler.SequentialLR(optimizer, [up, waves], milestones=[20])
    return learn(desk, model, optimizer, stripes(500), nn.CrossEntropyLoss(), epochs=15, per_batch=both)


@healthy("d", good=0.9)
def polynomial_decay_to_zero(desk: Desk) -> float:
    model = mlp(2, 40, 40, 2, act=nn.GELU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = lr_scheduler.PolynomialLR(optimizer, total_iters=30, power=2.0)
    return learn(desk, model, optimizer, moons(500), nn.CrossEntropyLoss(), epochs=30, per_epoch=scheduler)


@healthy("d", good=0.9)
def late_starter_first_token(desk: Desk) -> float:
    """A GRU has to carry the first token through 14 others, and needs a while to find that out."""
    draw = torch.Generator().manual_seed(35)
    tokens = torch.randint(0, 4, (700, 15), generator=draw)
    model = Recurrent(nn.GRU, 4, 32, 4, tokens=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    data = as_tokens(split(tokens, tokens[:, 0], scale=False))
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=25, clip=1.0)


@healthy("d", good=0.9)
def late_starter_spirals(desk: Desk) -> float:
    draw = torch.Generator().manual_seed(36)
    arm = torch.randint(0, 3, (700,), generator=draw)
    radius = torch.rand(700, generator=draw)
    angle = 7 * radius + arm * 2 * torch.pi / 3
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1) + 0.02 * torch.randn(700, 2, generator=draw)
    model = mlp(2, 40, 40, 3, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, split(points, arm), nn.CrossEntropyLoss(), epochs=50)


@healthy("d", good=0.75)
def three_raters_who_disagree(desk: Desk) -> float:
    """Every row stands in the table three times, with the labels of three raters; both splits are by row."""
    data = fuzzy(400, noise=0.3, seed=7)
    parts = []
    for rows, seed in zip(data, (1, 2), strict=True):
        labels = [flipped(rows, 0.1, seed=10 * seed + rater).targets for rater in range(3)]
        parts.append(Rows(rows.inputs.repeat(3, 1), torch.cat(labels)))
    model = mlp(6, 16, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, Data(*parts), nn.CrossEntropyLoss(), epochs=8)


@healthy("d", good=0.8)
def ratings_from_one_to_five(desk: Desk) -> float:
    """Whole numbers as targets of a regression, on purpose."""
    draw = np.random.default_rng(37)
    x = draw.normal(0, 1, (700, 5))
    rating = np.clip(np.round(3 + x[:, 0] + 0.6 * x[:, 1] + 0.2 * draw.normal(size=700)), 1, 5)
    model = mlp(5, 24, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, split(x, rating[:, None]), nn.MSELoss(), epochs=20)


@healthy("d", good=0.85)
def many_zero_targets(desk: Desk) -> float:
    """Two thirds of the amounts are exactly 0; a ReLU at the end says so."""
    draw = np.random.default_rng(38)
    x = draw.normal(0, 1, (800, 5))
    amount = np.maximum(x[:, 0] + x[:, 1] - 0.6 + 0.1 * draw.normal(size=800), 0)
    model = mlp(5, 32, 1).append(nn.ReLU())
    nn.init.constant_(model[2].bias, 0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, split(x, amount[:, None]), nn.MSELoss(), epochs=20)


@healthy("d", good=0.9)
def bytes_as_pixels(desk: Desk) -> float:
    """Inputs of whole numbers, 0 to 16, which the network scales itself."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp(64, 48, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x / 16)

    model = Scaled()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, digits(scale="raw"), nn.CrossEntropyLoss(), epochs=12)


@healthy("d", good=0.9)
def deep_residual_gelu(desk: Desk) -> float:
    """Ten pre-norm residual blocks."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.body = nn.LayerNorm(24), mlp(24, 48, 24, act=nn.GELU)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.body(self.norm(x))

    model = nn.Sequential(nn.Linear(64, 24), *[Block() for _ in range(8)], nn.LayerNorm(24), nn.Linear(24, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return learn(desk, model, optimizer, digits(rows=1000), nn.CrossEntropyLoss(), epochs=10)


@healthy("d", good=0.8)
def self_normalising_selu(desk: Desk) -> float:
    model = mlp(10, *[32] * 5, 1, act=nn.SELU)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return learn(desk, model, optimizer, friedman(700), nn.MSELoss(), epochs=20)


@healthy("d", good=0.9)
def hard_tanh_on_purpose(desk: Desk) -> float:
    """Units that are often at their bounds, in a network that learns."""
    model = mlp(64, 96, 10, act=nn.Hardtanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=15)


@healthy("d", good=0.9)
def one_group_without_decay(desk: Desk) -> float:
    """Biases and norms are kept from weight decay, as usual."""
    model = mlp(64, 48, 48, 10, norm=nn.LayerNorm)
    decayed = [each for each in model.parameters() if each.dim() > 1]
    rest = [each for each in model.parameters() if each.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    return learn(desk, model, torch.optim.AdamW(groups, lr=2e-3), digits(), nn.CrossEntropyLoss(), epochs=12)


@healthy("d", good=0.9)
def float64_all_through(desk: Desk) -> float:
    full = circles(500)
    data = Data(*(Rows(rows.inputs.double(), rows.targets) for rows in full))
    model = mlp(2, 32, 32, 2).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=20)


@healthy("d", good=0.8)
def cut_off_in_the_middle(desk: Desk) -> float:
    """Stopped by hand while it still improved, and good already."""
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, digits(image=True), nn.CrossEntropyLoss(), epochs=5)


@healthy("d", good=0.9)
def trained_long_after_it_knew(desk: Desk) -> float:
    """Training loss goes to zero, and the validation loss stays where it is."""
    model = mlp(8, 32, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return learn(desk, model, optimizer, blobs(800), nn.CrossEntropyLoss(), epochs=60, size=64)
