"""What is wrong with the data, or with how it reaches the network."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from benchmarks.doctor.corpus import Desk, faulty
from benchmarks.doctor.pieces import (
    Data,
    Recurrent,
    Rows,
    balanced_accuracy,
    binary_accuracy,
    blobs,
    circles,
    cnn,
    confidence,
    digits,
    flipped,
    friedman,
    houses,
    learn,
    mlp,
    moons,
    only,
    packaged,
    rare,
    scaled_targets,
    split,
    standardised,
    stripes,
    trends,
    wave,
)

# --- values -----------------------------------------------------------------------------------------------------------


@faulty(good=0.75, harm=0.2)
def non_finite_data_a(desk: Desk, bug: bool) -> float:
    """One cell of the table is missing."""
    data = friedman(700)
    data.train.inputs[137, 6] = torch.nan if bug else 0.0
    model = mlp(10, 48, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=15)


@faulty(good=0.6, harm=0.2)
def non_finite_data_b(desk: Desk, bug: bool) -> float:
    """The logarithm of an amount of zero, as a target."""
    draw = np.random.default_rng(4)
    x = draw.normal(0, 1, (500, 5))
    amount = np.exp(x[:, :3].sum(1) + draw.normal(0, 0.5, 500))
    data = split(x, amount)
    data.train.targets[::90] = 0.0
    log = torch.log if bug else torch.log1p
    data = Data(*(Rows(rows.inputs, log(rows.targets).unsqueeze(1)) for rows in data))
    model = mlp(5, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return learn(desk, model, optimizer, data, nn.functional.mse_loss, epochs=25, told="no loss")


@faulty(good=0.85, harm=0.1)
def unscaled_inputs_a(desk: Desk, bug: bool) -> float:
    """Wine as it comes: alcohol is about 13, proline about 750."""
    data = packaged("wine", scale=not bug)
    model = mlp(13, 24, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=40, size=16)


@faulty(good=0.85, harm=0.1)
def unscaled_inputs_b(desk: Desk, bug: bool) -> float:
    """Floor area, year, distance in metres; the target is scaled, the inputs are not."""
    data = scaled_targets(houses(500))
    model = mlp(4, 32, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    data = data if bug else standardised(data)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=25)


@faulty(good=0.8, harm=0.2)
def unscaled_targets_a(desk: Desk, bug: bool) -> float:
    """Prices in full, about 310,000 +- 110,000, and an optimizer that moves a weight by 0.001 a step."""
    data = standardised(houses(600))
    data = Data(*(Rows(rows.inputs, rows.targets * 1000) for rows in data))
    data = Data(*(Rows(rows.inputs, rows.targets.unsqueeze(1)) for rows in data)) if bug else scaled_targets(data)
    model = mlp(4, 32, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=40)


@faulty(good=0.4, harm=0.2)
def unscaled_targets_b(desk: Desk, bug: bool) -> float:
    """Diabetes as it comes: targets are 152 +- 77."""
    data = packaged("diabetes")
    data = Data(*(Rows(rows.inputs, rows.targets.unsqueeze(1)) for rows in data)) if bug else scaled_targets(data)
    model = mlp(10, 16, 1, act=nn.GELU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, data, nn.L1Loss(), epochs=15, told="no validation")


@faulty(good=0.75, harm=0.1)
def useless_columns_a(desk: Desk, bug: bool) -> float:
    """A slip of the pen takes column 3 for columns 0, 1 and 2 as well."""
    data = friedman(700)
    taken = [3, 3, 3, 3, 4, 5, 6] if bug else [0, 1, 2, 3, 4, 5, 6]
    data = Data(*(Rows(rows.inputs[:, taken], rows.targets) for rows in data))
    model = mlp(7, 64, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=20)


@faulty(good=0.9, harm=0.1)
def useless_columns_b(desk: Desk, bug: bool) -> float:
    """Min-max scaling in whole numbers: nearly every column comes out as 0."""
    data = packaged("wine", scale=False)
    low, high = data.train.inputs.amin(0), data.train.inputs.amax(0)
    data = Data(*(Rows((rows.inputs - low) / (high - low), rows.targets) for rows in data))
    if bug:
        data = Data(*(Rows(rows.inputs.clamp(0, 0.99).int().float(), rows.targets) for rows in data))
    for column, rows in ((0, data.train), (0, data.validation)):
        rows.inputs[:, column] = (rows.targets > 0).float() + 0.4 * torch.randn(len(rows.targets))
    model = mlp(13, 16, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, data, epochs=30, size=16)


# --- labels -----------------------------------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.02)
def mislabelled_a(desk: Desk, bug: bool) -> float:
    """Three in ten training labels are another digit's."""
    data = digits()
    data = Data(flipped(data.train, 0.3), data.validation) if bug else data
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, data, epochs=25)


@faulty(good=0.8, harm=0.2)
def mislabelled_b(desk: Desk, bug: bool) -> float:
    """A quarter of the training labels of a two-class problem is the other one. Score: `confidence`."""
    data = circles(800)
    data = Data(flipped(data.train, 0.25, seed=4), data.validation) if bug else data
    model = mlp(2, 32, 32, 2, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=25)
    return confidence(model, data.validation)


@faulty(good=0.9, harm=0.3)
def unrelated_labels_a(desk: Desk, bug: bool) -> float:
    """`x = x[order]`, and y was forgotten."""
    data = digits()
    if bug:
        data = Data(*(Rows(rows.inputs[torch.randperm(len(rows.inputs))], rows.targets) for rows in data))
    model = mlp(64, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, data, epochs=20)


@faulty(good=0.75, harm=0.3)
def unrelated_labels_b(desk: Desk, bug: bool) -> float:
    """Inputs and targets of a regression come from two files that were sorted differently."""
    data = friedman(600)
    if bug:
        data = Data(*(Rows(rows.inputs[rows.inputs[:, 7].argsort()], rows.targets) for rows in data))
    model = mlp(10, 32, 1, act=nn.SiLU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=20)


def _column(targets: Tensor) -> Tensor:
    return targets.float().unsqueeze(1)


@faulty(good=0.85, harm=0.05)
def label_range_a(desk: Desk, bug: bool) -> float:
    """A mask of 0 and 255 for a loss that wants 0 and 1. Score: accuracy over the pixels."""
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(300, 1, 10, 10, generator=draw)
    mask = (nn.functional.avg_pool2d(nn.functional.pad(x, (1, 1, 1, 1)), 3, stride=1) > 0.1).float() * (
        255 if bug else 1
    )
    data = Data(Rows(x[:200], mask[:200]), Rows(x[200:], mask[200:]))
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    learn(desk, model, optimizer, data, nn.BCEWithLogitsLoss(), epochs=25, size=16)
    return binary_accuracy(model, data.validation)


@faulty(good=0.9, harm=0.1)
def label_range_b(desk: Desk, bug: bool) -> float:
    """Labels -1 and 1 for a loss that wants 0 and 1."""
    data = moons(500)
    data = Data(*(Rows(rows.inputs, _column(rows.targets) * (2 if bug else 1) - (1 if bug else 0)) for rows in data))
    model = mlp(2, 32, 32, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    learn(desk, model, optimizer, data, nn.BCEWithLogitsLoss(), epochs=20)
    return binary_accuracy(model, data.validation)


@faulty(good=0.8)
def first_loss_a(desk: Desk, bug: bool) -> float:
    """The output layer starts from N(0, 9): the network begins sure and wrong."""
    model = mlp(64, 128, 10)
    if bug:
        nn.init.normal_(model[-1].weight, std=3.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return learn(desk, model, optimizer, digits(), epochs=10)


@faulty(good=0.8)
def first_loss_b(desk: Desk, bug: bool) -> float:
    """The logits are divided by a temperature of 0.01."""

    class Sharp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp(8, 32, 32, 5, act=nn.Tanh)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) / (0.01 if bug else 1.0)

    model = Sharp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, blobs(700, spread=3.0), nn.CrossEntropyLoss(), epochs=15)


# --- classes of unequal size ------------------------------------------------------------------------------------------


@faulty(good=0.7, harm=0.1, also=("minority_never_predicted",))
def class_imbalance_a(desk: Desk, bug: bool) -> float:
    """Three rows in a hundred are fraud. The twin weighs the classes. Score: balanced accuracy."""
    data = rare(2000, share=0.03, gap=1.1)
    weight = None if bug else torch.tensor([0.52, 16.0])
    model = mlp(6, 16, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    learn(desk, model, optimizer, data, nn.CrossEntropyLoss(weight=weight), epochs=10)
    return balanced_accuracy(model, data.validation)


@faulty(good=0.8, harm=0.07, also=("minority_never_predicted",))
def class_imbalance_b(desk: Desk, bug: bool) -> float:
    """Five overlapping classes with a long tail. The twin draws them equally often. Score: balanced accuracy."""
    full = blobs(4000, classes=5, columns=4, spread=3.5, seed=5)
    shares = torch.tensor([1.0, 0.5, 0.1, 0.05, 0.03])
    draw = torch.rand(len(full.train.targets), generator=torch.Generator().manual_seed(0))
    train = only(full.train, draw < shares[full.train.targets])
    model = mlp(4, 32, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    weights = 1 / train.targets.bincount()[train.targets].double()
    sampler = None if bug else WeightedRandomSampler(weights, len(weights))
    loader = DataLoader(TensorDataset(*train), batch_size=32, shuffle=bug or None, sampler=sampler)
    criterion = nn.CrossEntropyLoss()
    with desk.watch(model, optimizer, loss=criterion, train=loader, validation=full.validation):
        for _ in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
    return balanced_accuracy(model, full.validation)


@faulty(good=0.9, harm=0.05, also=("class_imbalance",))
def minority_never_predicted_a(desk: Desk, bug: bool) -> float:
    """Of the eights only four got into the training rows. Score: balanced accuracy."""
    data = digits()
    if bug:
        eights = (data.train.targets == 8).nonzero().flatten()
        keep = torch.ones(len(data.train.targets), dtype=torch.bool)
        keep[eights[4:]] = False
        data = Data(only(data.train, keep), data.validation)
    model = mlp(64, 32, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    learn(desk, model, optimizer, data, epochs=25)
    return balanced_accuracy(model, data.validation)


@faulty(good=0.75, harm=0.1, also=("class_imbalance",))
def minority_never_predicted_b(desk: Desk, bug: bool) -> float:
    """Series that swing are one in twenty-five, and a GRU never says so. The twin weighs the classes."""
    full = trends(1200, length=12, noise=1.0, seed=2)
    keep = (full.train.targets != 2) | (torch.arange(len(full.train.targets)) % 12 == 0)
    data = Data(only(full.train, keep), full.validation)
    model = Recurrent(nn.GRU, 1, 16, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    weight = None if bug else torch.tensor([0.7, 0.7, 8.0])
    learn(desk, model, optimizer, data, nn.CrossEntropyLoss(weight=weight), epochs=8)
    return balanced_accuracy(model, data.validation)


# --- order and splits -------------------------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.05)
def unshuffled_a(desk: Desk, bug: bool) -> float:
    """Rows sorted by class, as they lie in folders, and a loader that does not shuffle."""
    data = digits()
    train = only(data.train, data.train.targets.argsort(stable=True))
    model = mlp(64, 32, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return learn(desk, model, optimizer, Data(train, data.validation), epochs=20, shuffle=not bug)


@faulty(good=0.75, harm=0.1)
def unshuffled_b(desk: Desk, bug: bool) -> float:
    """A table sorted by its target."""
    data = friedman(640)
    train = only(data.train, data.train.targets.flatten().argsort())
    model = mlp(10, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, Data(train, data.validation), nn.MSELoss(), epochs=15, shuffle=not bug)


@faulty(good=0.9)
def validation_leak_a(desk: Desk, bug: bool) -> float:
    """Rows are repeated to have more of them, and split afterwards. The twin splits first."""
    clean = digits()
    if bug:
        x, y = torch.cat([clean.train.inputs] * 2), torch.cat([clean.train.targets] * 2)
        data = split(x, y, share=0.7, seed=1, scale=False)
    else:
        data = Data(Rows(*(torch.cat([part] * 2) for part in clean.train)), clean.validation)
    model = mlp(64, 48, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, data, epochs=8)


@faulty(good=0.7)
def validation_leak_b(desk: Desk, bug: bool) -> float:
    """`train = rows[:500]`, `validation = rows[400:]`."""
    clean = friedman(600, noise=0.7)
    x, y = torch.cat([clean.train.inputs, clean.validation.inputs]), torch.cat([clean.train.targets, clean[1].targets])
    end = 500 if bug else 400
    data = Data(Rows(x[:end], y[:end]), Rows(x[400:], y[400:]))
    model = mlp(10, 64, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=20)


@faulty(good=0.9, harm=0.1)
def preprocessing_mismatch_a(desk: Desk, bug: bool) -> float:
    """The training rows are standardised, the validation rows are not."""
    raw = packaged("breast_cancer", scale=False)
    data = standardised(raw)
    data = Data(data.train, raw.validation) if bug else data
    model = mlp(30, 16, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=20)


@faulty(good=0.9, harm=0.1)
def preprocessing_mismatch_b(desk: Desk, bug: bool) -> float:
    """Training images are read as RGB, validation images as BGR. The class is the colour of a patch."""
    draw = torch.Generator().manual_seed(6)
    label = torch.randint(0, 3, (500,), generator=draw)
    tint = torch.tensor([[0.55, 0.40, 0.25], [0.45, 0.45, 0.25], [0.50, 0.40, 0.35]])[label]
    images = tint[:, :, None, None] + 0.12 * torch.randn(500, 3, 8, 8, generator=draw)
    data = split(images, label, scale=False)
    if bug:
        data = Data(data.train, Rows(data.validation.inputs.flip(1), data.validation.targets))
    model = cnn(3, 3, norm=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, data, epochs=10)


# --- second variants --------------------------------------------------------------------------------------------------


@faulty(good=0.8, harm=0.2)
def mislabelled_a2(desk: Desk, bug: bool) -> float:
    """A quarter of a medical table's training labels is wrong. Score: `confidence`."""
    data = packaged("breast_cancer")
    data = Data(flipped(data.train, 0.25, seed=3), data.validation) if bug else data
    model = mlp(30, 16, 2, act=nn.SiLU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=12)
    return confidence(model, data.validation)


@faulty(good=0.8, harm=0.2)
def mislabelled_b2(desk: Desk, bug: bool) -> float:
    """Images of stripes, of which a third was labelled carelessly. Score: `confidence`."""
    data = stripes(700, noise=0.4)
    data = Data(flipped(data.train, 0.33, seed=6), data.validation) if bug else data
    model = cnn(classes=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=10)
    return confidence(model, data.validation)


@faulty(good=0.9, harm=0.05)
def unshuffled_a2(desk: Desk, bug: bool) -> float:
    """A recurrent network that reads one kind of series after the other."""
    data = trends(600)
    train = only(data.train, data.train.targets.argsort(stable=True))
    model = Recurrent(nn.GRU, 1, 20, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return learn(desk, model, optimizer, Data(train, data.validation), nn.CrossEntropyLoss(), epochs=8, shuffle=not bug)


@faulty(good=0.75, harm=0.05)
def unshuffled_b2(desk: Desk, bug: bool) -> float:
    """A curve that was measured from left to right is learned from left to right."""
    data = wave(500)
    train = only(data.train, data.train.inputs[:, 0].argsort())
    model = mlp(1, 40, 40, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(
        desk, model, optimizer, Data(train, data.validation), nn.MSELoss(), epochs=25, size=16, shuffle=not bug
    )


@faulty(good=0.9, harm=0.1)
def unscaled_inputs_a2(desk: Desk, bug: bool) -> float:
    """Thirty measurements from 0.05 to 2,500 for a network of tanh."""
    data = packaged("breast_cancer", scale=not bug)
    model = mlp(30, 24, 24, 2, act=nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=15, told="no validation")


@faulty(good=0.9, harm=0.1)
def unscaled_inputs_b2(desk: Desk, bug: bool) -> float:
    """Coordinates of a map in metres, about half a million from the origin."""
    data = moons(600)
    if bug:
        data = Data(*(Rows(500_000 + 200 * rows.inputs, rows.targets) for rows in data))
    model = mlp(2, 32, 32, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=20)


@faulty(good=0.75, harm=0.2)
def unscaled_targets_a2(desk: Desk, bug: bool) -> float:
    """Targets in milligrams where grams would do: 14,000 +- 5,000."""
    raw = friedman(600, scale=False)
    data = Data(*(Rows(rows.inputs, 1000 * rows.targets.unsqueeze(1)) for rows in raw)) if bug else scaled_targets(raw)
    model = mlp(10, 48, 1, act=nn.GELU)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=20)


@faulty(good=0.8, harm=0.2)
def unscaled_targets_b2(desk: Desk, bug: bool) -> float:
    """A sensor that counts from 4,000,000."""
    data = wave(500)
    if bug:
        data = Data(*(Rows(rows.inputs, 4e6 + 2e4 * rows.targets) for rows in data))
    model = mlp(1, 40, 40, 1, act=nn.Tanh)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, data, nn.SmoothL1Loss(), epochs=40)


@faulty(good=0.9, harm=0.05)
def preprocessing_mismatch_a2(desk: Desk, bug: bool) -> float:
    """Training pixels go from 0 to 1, validation pixels from 0 to 255."""
    data = digits(image=True)
    if bug:
        data = Data(data.train, Rows(255 * data.validation.inputs, data.validation.targets))
    model = cnn(norm=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, data, epochs=6)


@faulty(good=0.85, harm=0.1)
def preprocessing_mismatch_b2(desk: Desk, bug: bool) -> float:
    """The columns of the validation table stand in another order."""
    draw = np.random.default_rng(5)
    x = draw.normal([1.0, 3.0, -2.0, 0.0, 5.0], [0.5, 1.5, 1.0, 0.3, 2.0], (700, 5))
    y = ((x - [1.0, 3.0, -2.0, 0.0, 5.0]) / [0.5, 1.5, 1.0, 0.3, 2.0]) @ [1.0, -1.0, 0.8, 0.5, 0.3]
    data = scaled_targets(split(x, y + draw.normal(0, 0.3, 700), scale=False))
    if bug:
        data = Data(data.train, Rows(data.validation.inputs[:, [2, 0, 1, 4, 3]], data.validation.targets))
    model = mlp(5, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=25)
