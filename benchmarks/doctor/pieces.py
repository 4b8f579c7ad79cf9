"""What the cases are put together from: data, small networks, a plain loop, and scores."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.doctor.corpus import Desk

# --- data -------------------------------------------------------------------------------------------------------------


class Rows(NamedTuple):
    inputs: Tensor
    targets: Tensor


class Data(NamedTuple):
    train: Rows
    validation: Rows


def split(inputs: Any, targets: Any, *, share: float = 0.7, seed: int = 0, scale: bool = True) -> Data:
    """Rows in random order, cut in two; columns standardised by the training rows."""
    x = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)
    y = torch.as_tensor(np.asarray(targets))
    y = y.float() if y.is_floating_point() else y.long()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    cut = round(share * len(x))
    train, validation = (Rows(x[part], y[part]) for part in (order[:cut], order[cut:]))
    return standardised(Data(train, validation)) if scale else Data(train, validation)


def standardised(data: Data) -> Data:
    mean, std = data.train.inputs.mean(0), data.train.inputs.std(0)
    std = torch.where(std > 0, std, 1.0)
    train, validation = (Rows((rows.inputs - mean) / std, rows.targets) for rows in data)
    return Data(train, validation)


def scaled_targets(data: Data) -> Data:
    """Targets as a column, standardised by the training rows."""
    mean, std = data.train.targets.mean(), data.train.targets.std()
    train, validation = (Rows(rows.inputs, ((rows.targets - mean) / std).reshape(-1, 1)) for rows in data)
    return Data(train, validation)


def digits(*, image: bool = False, rows: int = 1797, scale: Literal["unit", "raw"] = "unit") -> Data:
    """8x8 grey images of ten digits, flat unless `image`; pixels 0 to 1, or 0 to 16."""
    bunch = datasets.load_digits()
    pixels = bunch.images[:, None] if image else bunch.data
    factor = 16.0 if scale == "unit" else 1.0
    return split(pixels[:rows] / factor, bunch.target[:rows], scale=False)


def packaged(name: Literal["iris", "wine", "breast_cancer", "diabetes"], **how: Any) -> Data:
    return split(*getattr(datasets, f"load_{name}")(return_X_y=True), **how)


def moons(rows: int = 600, noise: float = 0.15, seed: int = 0) -> Data:
    return split(*datasets.make_moons(rows, noise=noise, random_state=seed))


def circles(rows: int = 600, noise: float = 0.08, seed: int = 0) -> Data:
    return split(*datasets.make_circles(rows, noise=noise, factor=0.5, random_state=seed))


def blobs(rows: int = 900, classes: int = 5, columns: int = 8, spread: float = 2.0, seed: int = 0) -> Data:
    return split(
        *datasets.make_blobs(rows, n_features=columns, centers=classes, cluster_std=spread, random_state=seed)[:2]
    )


def friedman(rows: int = 800, noise: float = 0.5, seed: int = 0, scale: bool = True) -> Data:
    """y = 10 sin(pi x0 x1) + 20 (x2 - 1/2)^2 + 10 x3 + 5 x4 + noise; five more columns say nothing (Friedman 1991)."""
    data = split(*datasets.make_friedman1(rows, noise=noise, random_state=seed))
    return scaled_targets(data) if scale else data


def houses(rows: int = 600, seed: int = 0) -> Data:
    """Raw floor area (m2), year of building, distance (m), rooms; the price is in thousands, about 310 +- 110."""
    draw = np.random.default_rng(seed)
    area = draw.uniform(40, 220, rows)
    year = draw.integers(1900, 2024, rows).astype(float)
    distance = draw.uniform(100, 20_000, rows)
    rooms = np.clip(np.round(area / 30 + draw.normal(0, 0.7, rows)), 1, 8)
    price = 50 + 1.9 * area + 0.8 * (year - 1900) - 0.006 * distance + 8 * rooms + draw.normal(0, 15, rows)
    return split(np.column_stack([area, year, distance, rooms]), price, scale=False)


def wave(rows: int = 400, noise: float = 0.1, seed: int = 0) -> Data:
    """sin(3x) + x/2 on the line."""
    draw = np.random.default_rng(seed)
    x = draw.uniform(-2, 2, (rows, 1))
    return split(x, np.sin(3 * x) + x / 2 + draw.normal(0, noise, (rows, 1)))


def stripes(rows: int = 500, side: int = 12, noise: float = 0.6, channels: int = 1, seed: int = 0) -> Data:
    """Noisy images of horizontal, vertical, diagonal or no stripes."""
    draw = np.random.default_rng(seed)
    kind = draw.integers(0, 4, rows)
    i, j = np.mgrid[:side, :side]
    direction = np.stack([i, j, i + j, np.zeros_like(i)])[kind]
    phase = draw.uniform(0, 2 * np.pi, rows)[:, None, None]
    pattern = np.where(kind[:, None, None] == 3, 0.0, np.sin(2 * np.pi * direction / 4 + phase))
    images = pattern[:, None] + draw.normal(0, noise, (rows, channels, side, side))
    return split(images, kind, scale=False)


def trends(rows: int = 600, length: int = 24, noise: float = 0.6, seed: int = 0) -> Data:
    """Series that rise, fall or swing: [rows, length, 1]."""
    draw = np.random.default_rng(seed)
    kind = draw.integers(0, 3, rows)
    time = np.linspace(-1, 1, length)
    curves = np.stack([time, -time, np.sin(2 * np.pi * time)])[kind]
    return split((curves + draw.normal(0, noise, (rows, length)))[:, :, None], kind, scale=False)


def echoes(rows: int = 900, length: int = 12, symbols: int = 4, seed: int = 0) -> Data:
    """Tokens; the question is whether the first one comes back at the end. The rest is noise."""
    draw = np.random.default_rng(seed)
    tokens = draw.integers(0, symbols, (rows, length))
    same = draw.integers(0, 2, rows)
    tokens[:, -1] = np.where(same, tokens[:, 0], (tokens[:, 0] + draw.integers(1, symbols, rows)) % symbols)
    return as_tokens(split(tokens, same, scale=False))


def as_tokens(data: Data) -> Data:
    train, validation = (Rows(rows.inputs.long(), rows.targets) for rows in data)
    return Data(train, validation)


def rare(rows: int = 1500, share: float = 0.03, gap: float = 1.3, columns: int = 6, seed: int = 0) -> Data:
    """Two classes that overlap, one of them rare; a larger `gap` tells them apart more easily."""
    draw = np.random.default_rng(seed)
    label = (draw.uniform(size=rows) < share).astype(int)
    return split(draw.normal(0, 1, (rows, columns)) + gap * label[:, None] / np.sqrt(columns) * 2, label)


def fuzzy(rows: int = 1000, columns: int = 6, noise: float = 0.6, seed: int = 0) -> Data:
    """Two classes by the sign of a weighted sum plus noise: nobody is right more often than about five times in six."""
    draw = np.random.default_rng(seed)
    x = draw.normal(0, 1, (rows, columns))
    total = x @ np.linspace(1, -1, columns)
    return split(x, (total / total.std() + draw.normal(0, noise, rows) > 0).astype(int))


def only(rows: Rows, keep: Tensor) -> Rows:
    return Rows(rows.inputs[keep], rows.targets[keep])


def flipped(rows: Rows, share: float, seed: int = 0) -> Rows:
    """The same rows, a share of their labels replaced by another class."""
    draw = torch.Generator().manual_seed(seed)
    classes = int(rows.targets.max()) + 1
    chosen = torch.rand(len(rows.targets), generator=draw) < share
    other = (rows.targets + torch.randint(1, classes, (len(rows.targets),), generator=draw)) % classes
    return Rows(rows.inputs, torch.where(chosen, other, rows.targets))


# --- networks ---------------------------------------------------------------------------------------------------------


def mlp(*widths: int, act: Callable[[], nn.Module] = nn.ReLU, dropout: float = 0.0, norm: Any = None) -> nn.Sequential:
    """Linear layers with norm, activation and dropout between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        layers += [nn.Linear(before, after), *([norm(after)] if norm else []), act()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def cnn(
    channels: int = 1, classes: int = 10, *, width: int = 12, norm: bool = False, dropout: float = 0.0
) -> nn.Module:
    """Two convolutions with pooling, an average over the image, and a linear head."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        *([nn.BatchNorm2d(width)] if norm else []),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        *([nn.BatchNorm2d(2 * width)] if norm else []),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        *([nn.Dropout(dropout)] if dropout else []),
        nn.Linear(8 * width, classes),
    )


class Recurrent(nn.Module):
    """Reads a sequence (tokens where `tokens` is given); the last position's state decides."""

    def __init__(
        self, cell: Callable[..., nn.RNNBase], inputs: int, width: int, outputs: int, tokens: bool = False
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(inputs, width) if tokens else nn.Identity()
        self.rnn = cell(width if tokens else inputs, width, batch_first=True)
        self.out = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(self.embed(x))
        return self.out(states[:, -1])


class Reader(nn.Module):
    """A transformer encoder that classifies a sequence of tokens by the mean over its positions."""

    def __init__(self, symbols: int, classes: int, width: int = 32, length: int = 12, batch_first: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(symbols, width)
        self.place = nn.Parameter(0.1 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.encoder(self.embed(tokens) + self.place).mean(1))


# --- the loop ---------------------------------------------------------------------------------------------------------

Told = Literal["everything", "no validation", "no loss", "model and optimizer"]
TOLD: Final[dict[str, tuple[str, ...]]] = {
    "everything": ("loss", "train", "validation"),
    "no validation": ("loss", "train"),
    "no loss": ("train", "validation"),
    "model and optimizer": (),
}


def batches(rows: Rows, size: int = 32, *, shuffle: bool = True, drop_last: bool = False) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*rows), batch_size=size, shuffle=shuffle, drop_last=drop_last)


def learn(
    desk: Desk,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Data,
    criterion: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    *,
    epochs: int = 15,
    size: int = 32,
    shuffle: bool = True,
    drop_last: bool = False,
    per_epoch: Any = None,
    per_batch: Any = None,
    clip: float | None = None,
    told: Told = "everything",
    every: int = 10,
) -> float:
    """The loop that most people write: watched, it trains and looks at the validation rows after every epoch.

    `per_epoch` and `per_batch` are schedulers. Returns the score.
    """
    train, validation = batches(data.train, size, shuffle=shuffle, drop_last=drop_last), batches(data.validation, 256)
    about = {"loss": criterion, "train": train, "validation": validation, "scheduler": per_epoch or per_batch}
    known = {name: about[name] for name in (*TOLD[told], "scheduler") if about[name] is not None}
    with desk.watch(model, optimizer, every=every, **known):
        for _ in range(epochs):
            model.train()
            for inputs, targets in train:
                optimizer.zero_grad()
                loss = criterion(model(inputs), targets)
                loss.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                if per_batch is not None:
                    per_batch.step()
            if per_epoch is not None:
                per_epoch.step()
            model.eval()
            with torch.no_grad():
                for inputs, targets in validation:
                    criterion(model(inputs), targets)
    return score(model, data.validation)


# --- scores -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    model.eval()
    return model(inputs)


def score(model: nn.Module, rows: Rows) -> float:
    """Accuracy for class numbers, R2 for real targets."""
    return (r2 if rows.targets.is_floating_point() else accuracy)(model, rows)


def accuracy(model: nn.Module, rows: Rows) -> float:
    return float((outputs(model, rows.inputs).argmax(-1) == rows.targets).float().mean())


def binary_accuracy(model: nn.Module, rows: Rows, threshold: float = 0.0) -> float:
    """Of one output a row: the larger class where it is above the threshold."""
    chosen = outputs(model, rows.inputs).flatten() > threshold
    return float((chosen == (rows.targets.flatten() == rows.targets.max())).float().mean())


def balanced_accuracy(model: nn.Module, rows: Rows) -> float:
    """The mean over the classes of the share that is recognised."""
    right = outputs(model, rows.inputs).argmax(-1) == rows.targets
    return float(torch.stack([right[rows.targets == label].float().mean() for label in rows.targets.unique()]).mean())


def r2(model: nn.Module, rows: Rows) -> float:
    """The share of the targets' variance that is explained; minus infinity where outputs are not finite."""
    residual = (outputs(model, rows.inputs).reshape(rows.targets.shape) - rows.targets).square().mean()
    value = 1 - residual / rows.targets.var(correction=0)
    return float(value) if value.isfinite() else -float("inf")


def confidence(model: nn.Module, rows: Rows) -> float:
    """1 - cross-entropy / ln K: 1 is certain and right, 0 no better than guessing; below where it is sure and wrong."""
    logits = outputs(model, rows.inputs)
    return float(1 - nn.functional.cross_entropy(logits, rows.targets) / np.log(logits.shape[-1]))
