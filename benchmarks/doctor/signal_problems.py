"""Numbers that do not get through the network, forwards or backwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.doctor.corpus import Desk, faulty
from benchmarks.doctor.pieces import (
    Data,
    Recurrent,
    Rows,
    as_tokens,
    batches,
    binary_accuracy,
    circles,
    cnn,
    digits,
    friedman,
    learn,
    mlp,
    moons,
    packaged,
    split,
    stripes,
    trends,
    wave,
)


def weights(model: nn.Module) -> list[Tensor]:
    """The matrices and kernels, in order."""
    return [parameter for parameter in model.parameters() if parameter.dim() > 1]


# --- not finite -------------------------------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.1)
def non_finite_a(desk: Desk, bug: bool) -> float:
    """Binary cross-entropy written out: the logarithm of a saturated sigmoid is minus infinity."""
    data = packaged("breast_cancer")
    model = mlp(30, 32, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    loader = batches(data.train, 32)
    with desk.watch(model, optimizer, train=loader):
        for _ in range(60):
            for x, y in loader:
                logits, truth = model(x).squeeze(1), y.float()
                if bug:
                    p = torch.sigmoid(logits)
                    loss = -(truth * torch.log(p) + (1 - truth) * torch.log(1 - p)).mean()
                else:
                    loss = nn.functional.binary_cross_entropy_with_logits(logits, truth)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return binary_accuracy(model, data.validation) if bool(weights(model)[0].isfinite().all()) else 0.0


class Cosine(nn.Module):
    """Rows are brought to length one first; a row of zeros has no direction."""

    def __init__(self, safe: bool) -> None:
        super().__init__()
        self.body = mlp(64, 48, 10)
        self.tiny = 1e-6 if safe else 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.body(8 * x / (x.norm(dim=1, keepdim=True) + self.tiny))


@faulty(good=0.9, harm=0.3)
def non_finite_b(desk: Desk, bug: bool) -> float:
    """0/0 in the forward pass: one image is black."""
    data = digits()
    data.train.inputs[400] = 0.0
    model = Cosine(safe=not bug)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, data, nn.CrossEntropyLoss(), epochs=12)


# --- gradients that vanish and explode --------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.3)
def vanishing_gradients_a(desk: Desk, bug: bool) -> float:
    """Nine layers of sigmoids."""
    model = mlp(64, *[48] * 9, 10, act=nn.Sigmoid if bug else nn.ReLU)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return learn(desk, model, optimizer, digits(), epochs=20)


@faulty(good=0.9, harm=0.2)
def vanishing_gradients_b(desk: Desk, bug: bool) -> float:
    """Ten layers of tanh that start from a standard deviation of 0.02."""
    model = mlp(2, *[40] * 10, 2, act=nn.Tanh)
    for weight in weights(model):
        if bug:
            nn.init.normal_(weight, std=0.02)
        else:
            nn.init.xavier_normal_(weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, circles(500), nn.CrossEntropyLoss(), epochs=30, told="no validation")


@faulty(good=0.85, harm=0.1)
def exploding_gradients_a(desk: Desk, bug: bool) -> float:
    """Twelve layers whose weights are twice as large as He's."""
    model = mlp(64, *[48] * 12, 10)
    for weight in weights(model):
        nn.init.kaiming_normal_(weight)
        if bug:
            weight.data *= 2.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return learn(desk, model, optimizer, digits(), epochs=25, told="no loss")


@faulty(good=0.85, harm=0.1)
def exploding_gradients_b(desk: Desk, bug: bool) -> float:
    """A recurrent network whose state grows by 1.4 at every one of 40 positions."""

    def relu_rnn(inputs: int, width: int, batch_first: bool) -> nn.RNN:
        return nn.RNN(inputs, width, batch_first=batch_first, nonlinearity="relu")

    model = Recurrent(relu_rnn, 1, 20, 3)
    nn.init.eye_(model.rnn.weight_hh_l0)
    model.rnn.weight_hh_l0.data *= 1.4 if bug else 0.95
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, trends(450, length=40), nn.CrossEntropyLoss(), epochs=15)


# --- units ------------------------------------------------------------------------------------------------------------


@faulty(good=0.9, harm=0.05)
def dead_relus_a(desk: Desk, bug: bool) -> float:
    """Biases start at -4: most units of the first layer never fire."""
    model = mlp(64, 64, 64, 10)
    if bug:
        for layer in (model[0], model[2]):
            nn.init.constant_(layer.bias, -2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=20)


@faulty(good=0.9, harm=0.2)
def dead_relus_b(desk: Desk, bug: bool) -> float:
    """Kernels drawn from [-0.2, 0] for images that are nowhere negative."""
    model = cnn()
    if bug:
        nn.init.uniform_(model[0].weight, -0.2, 0.0)
        nn.init.constant_(model[0].bias, 0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, digits(image=True), epochs=12)


@faulty(good=0.85, harm=0.05)
def saturated_units_a(desk: Desk, bug: bool) -> float:
    """`torch.randn` as initialisation: sums of 64 terms drive every tanh to its ends."""
    model = mlp(64, 100, 100, 100, 10, act=nn.Tanh)
    for weight in weights(model)[:-1]:
        if bug:
            weight.data = torch.randn_like(weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=15)


@faulty(good=0.8, harm=0.1)
def saturated_units_b(desk: Desk, bug: bool) -> float:
    """Sigmoids whose weights start twenty times too large."""
    model = mlp(10, 48, 24, 1, act=nn.Sigmoid)
    for weight in weights(model)[:-1]:
        nn.init.xavier_uniform_(weight)
        if bug:
            weight.data *= 20.0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, friedman(), nn.MSELoss(), epochs=30)


# --- what the network can say -----------------------------------------------------------------------------------------


@faulty(good=0.95, harm=0.2)
def missing_nonlinearity_a(desk: Desk, bug: bool) -> float:
    """Linear layers, and nothing between them."""
    model = mlp(2, 32, 32, 2, act=nn.Identity if bug else nn.ReLU)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, circles(500), epochs=25)


class Forgetful(nn.Module):
    """Makes an activation, and may forget to use it."""

    def __init__(self, forget: bool) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(1, 40), nn.Linear(40, 40), nn.Linear(40, 1)
        self.relu = nn.ReLU()
        self.forget = forget

    def forward(self, x: Tensor) -> Tensor:
        if self.forget:
            return self.third(self.second(self.first(x)))
        return self.third(self.relu(self.second(self.relu(self.first(x)))))


@faulty(good=0.85, harm=0.3)
def missing_nonlinearity_b(desk: Desk, bug: bool) -> float:
    model = Forgetful(forget=bug)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, wave(), nn.functional.mse_loss, epochs=30)


@faulty(good=0.9, harm=0.2)
def symmetric_init_a(desk: Desk, bug: bool) -> float:
    """All weights and biases start at zero."""
    model = mlp(64, 32, 10)
    if bug:
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return learn(desk, model, optimizer, digits(), nn.CrossEntropyLoss(), epochs=20)


@faulty(good=0.9, harm=0.05)
def symmetric_init_b(desk: Desk, bug: bool) -> float:
    """All weights start at 0.1: 32 hidden units are one."""
    model = mlp(2, 32, 2, act=nn.Tanh)
    if bug:
        for weight in weights(model):
            nn.init.constant_(weight, 0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, moons(500), epochs=30)


class First(nn.Module):
    """A GRU that is asked too early: at the first position every row has the same start token."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.embed, self.gru, self.out = nn.Embedding(6, 24), nn.GRU(24, 24, batch_first=True), nn.Linear(24, 3)
        self.place = place

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.gru(self.embed(tokens))[0][:, self.place])


@faulty(good=0.85, harm=0.2)
def deaf_network_a(desk: Desk, bug: bool) -> float:
    draw = torch.Generator().manual_seed(8)
    tokens = torch.randint(0, 5, (700, 8), generator=draw)
    kind = torch.stack([(tokens == symbol).sum(1) for symbol in range(3)], dim=1).argmax(1)
    data = as_tokens(split(torch.cat([torch.full((700, 1), 5), tokens], dim=1), kind, scale=False))
    model = First(0 if bug else -1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, data, epochs=12)


class Whole(nn.Module):
    """Pixels between 0 and 1, which a cast to whole numbers makes 0."""

    def __init__(self, cast: bool) -> None:
        super().__init__()
        self.body = mlp(64, 48, 10)
        self.cast = cast

    def forward(self, x: Tensor) -> Tensor:
        x = (0.99 * x).flatten(1)
        return self.body(x.long().float() if self.cast else x)


@faulty(good=0.9, harm=0.5)
def deaf_network_b(desk: Desk, bug: bool) -> float:
    model = Whole(cast=bug)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return learn(desk, model, optimizer, digits(image=True), nn.CrossEntropyLoss(), epochs=12)


@faulty(good=0.85, harm=0.04, also=("lr_too_low",))
def update_ratio_a(desk: Desk, bug: bool) -> float:
    """Two groups of parameters; the body's learning rate has four zeros too many."""
    body, head = mlp(64, 48, 16, act=nn.Tanh), nn.Linear(16, 10)
    model = nn.Sequential(body, nn.Tanh(), head)
    groups = [
        {"params": body.parameters(), "lr": 3e-8 if bug else 3e-3},
        {"params": head.parameters(), "lr": 3e-3},
    ]
    optimizer = torch.optim.Adam(groups)
    return learn(desk, model, optimizer, digits(), epochs=12)


@faulty(good=0.8, harm=0.1, also=("lr_too_high",))
def update_ratio_b(desk: Desk, bug: bool) -> float:
    """The middle layer's group was given a learning rate for plain SGD, and the optimizer is Adam."""
    first, middle, last = nn.Linear(10, 48), nn.Linear(48, 48), nn.Linear(48, 1)
    model = nn.Sequential(first, nn.Tanh(), middle, nn.Tanh(), last)
    groups = [
        {"params": [*first.parameters(), *last.parameters()], "lr": 3e-3},
        {"params": middle.parameters(), "lr": 1.0 if bug else 3e-3},
    ]
    optimizer = torch.optim.Adam(groups)
    return learn(desk, model, optimizer, friedman(), nn.MSELoss(), epochs=20)


# --- second variants --------------------------------------------------------------------------------------------------


@faulty(good=0.75, harm=0.5)
def vanishing_gradients_a2(desk: Desk, bug: bool) -> float:
    """A regression through seven sigmoids."""
    model = mlp(10, *[40] * 7, 1, act=nn.Sigmoid if bug else nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, friedman(700), nn.MSELoss(), epochs=25)


@faulty(good=0.9, harm=0.3)
def vanishing_gradients_b2(desk: Desk, bug: bool) -> float:
    """Six convolutions with sigmoids."""
    act = nn.Sigmoid if bug else nn.ReLU
    layers = [module for _ in range(5) for module in (nn.Conv2d(8, 8, 3, padding=1), act())]
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), act(), *layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 4)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, stripes(500, noise=0.4), nn.CrossEntropyLoss(), epochs=12)


@faulty(good=0.7, harm=0.2)
def exploding_gradients_a2(desk: Desk, bug: bool) -> float:
    """Eight layers of leaky ReLUs from N(0, 0.36) instead of He's N(0, 0.05)."""
    model = mlp(10, *[40] * 8, 1, act=nn.LeakyReLU)
    for weight in weights(model)[:-1]:
        nn.init.kaiming_normal_(weight)
        if bug:
            nn.init.normal_(weight, std=0.6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    return learn(desk, model, optimizer, friedman(700), nn.MSELoss(), epochs=40)


class Doubling(nn.Module):
    """x + f(x), with f as large as x: the state doubles from block to block, unless f is scaled down."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.body = mlp(width, width, width)
        for layer in (self.body[0], self.body[-1]):
            nn.init.kaiming_normal_(layer.weight)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.body(x)


@faulty(good=0.85, harm=0.1)
def exploding_gradients_b2(desk: Desk, bug: bool) -> float:
    """Twelve residual blocks without any normalisation."""
    model = nn.Sequential(nn.Linear(64, 32), *[Doubling(32, 1.0 if bug else 0.1) for _ in range(12)], nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    return learn(desk, model, optimizer, digits(), epochs=14)


@faulty(good=0.7, harm=0.3)
def dead_relus_a2(desk: Desk, bug: bool) -> float:
    """The second layer's weights are all negative, and what it is given is not: nothing of it ever fires."""
    model = mlp(10, 40, 40, 1)
    if bug:
        model[2].weight.data = -model[2].weight.data.abs()
        nn.init.zeros_(model[2].bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return learn(desk, model, optimizer, friedman(700), nn.MSELoss(), epochs=20)


@faulty(good=0.9, harm=0.1)
def dead_relus_b2(desk: Desk, bug: bool) -> float:
    """Biases of -6 in the hidden layer of a table's classifier."""
    model = mlp(13, 32, 32, 3)
    if bug:
        nn.init.constant_(model[0].bias, -6.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return learn(desk, model, optimizer, packaged("wine"), nn.CrossEntropyLoss(), epochs=25, size=16, every=5)


@faulty(good=0.8, harm=0.1)
def saturated_units_a2(desk: Desk, bug: bool) -> float:
    """Weights from N(0, 9) under three layers of tanh, for a regression."""
    model = mlp(10, 40, 40, 40, 1, act=nn.Tanh)
    for weight in weights(model)[:-1]:
        nn.init.xavier_normal_(weight)
        if bug:
            nn.init.normal_(weight, std=3.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return learn(desk, model, optimizer, friedman(700), nn.MSELoss(), epochs=25)


@faulty(good=0.9, harm=0.05)
def saturated_units_b2(desk: Desk, bug: bool) -> float:
    """Three layers of sigmoids whose weights are drawn from N(0, 400)."""
    model = mlp(2, 24, 24, 24, 2, act=nn.Sigmoid)
    for weight in weights(model)[:-1]:
        nn.init.normal_(weight, std=20.0 if bug else 1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, moons(500), epochs=30)


@faulty(good=0.9, harm=0.1)
def symmetric_init_a2(desk: Desk, bug: bool) -> float:
    """Every kernel of a convolution starts as the same constant."""
    model = cnn(classes=4)
    if bug:
        for weight in weights(model):
            nn.init.constant_(weight, 0.05)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, stripes(500), nn.CrossEntropyLoss(), epochs=10)


@faulty(good=0.7, harm=0.1)
def symmetric_init_b2(desk: Desk, bug: bool) -> float:
    """Two hidden layers of a regression start from one constant."""
    model = mlp(10, 32, 32, 1, act=nn.Tanh)
    if bug:
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.01 if parameter.dim() > 1 else 0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, friedman(700), nn.MSELoss(), epochs=20)


@faulty(good=0.8, harm=0.5)
def deaf_network_a2(desk: Desk, bug: bool) -> float:
    """Layer norm over an axis of length one: every input becomes 0."""
    model = mlp(1, 32, 32, 1, act=nn.Tanh)
    if bug:
        model.insert(0, nn.LayerNorm(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, wave(), nn.MSELoss(), epochs=30)


class Before(nn.Module):
    """A GRU whose answer is read from the state that it was given, not from the one that it returns."""

    def __init__(self, before: bool) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 3)
        self.before = before

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(1, len(x), 24)
        _, after = self.gru(x, state)
        return self.out((state if self.before else after)[0])


@faulty(good=0.9, harm=0.4)
def deaf_network_b2(desk: Desk, bug: bool) -> float:
    model = Before(before=bug)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return learn(desk, model, optimizer, trends(450), epochs=10)


@faulty(good=0.75, harm=0.1, also=("lr_too_low",))
def update_ratio_a2(desk: Desk, bug: bool) -> float:
    """The first layer learns a hundred thousand times more slowly than the rest."""
    model = mlp(1, 32, 32, 1, act=nn.Tanh)
    slow, rest = [*model[0].parameters(), *model[2].parameters()], model[4].parameters()
    groups = [{"params": slow, "lr": 1e-7 if bug else 1e-2}, {"params": rest, "lr": 1e-2}]
    optimizer = torch.optim.AdamW(groups)
    return learn(desk, model, optimizer, wave(), nn.MSELoss(), epochs=40)


@faulty(good=0.8, harm=0.04, also=("lr_too_high",))
def update_ratio_b2(desk: Desk, bug: bool) -> float:
    """A tenfold rate for the last layer was written as a thousandfold one."""
    body, head = mlp(10, 48, 32, act=nn.SiLU), nn.Linear(32, 1)
    model = nn.Sequential(body, nn.SiLU(), head)
    groups = [{"params": body.parameters()}, {"params": head.parameters(), "lr": 1.0 if bug else 0.01}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    return learn(desk, model, optimizer, friedman(), nn.SmoothL1Loss(), epochs=20)


class Padded(nn.Module):
    """The mean over those tokens that are no padding (0); of a row that is all padding it is 0/0."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(6, 24), mlp(24, 24, 3)
        self.least = least

    def forward(self, tokens: Tensor) -> Tensor:
        there = (tokens > 0).float().unsqueeze(2)
        return self.body((self.embed(tokens) * there).sum(1) / there.sum(1).clamp_min(self.least))


@faulty(good=0.85, harm=0.3)
def non_finite_a2(desk: Desk, bug: bool) -> float:
    draw = torch.Generator().manual_seed(8)
    tokens = torch.randint(0, 6, (700, 8), generator=draw)
    kind = torch.stack([(tokens == symbol).sum(1) for symbol in (1, 2, 3)], dim=1).argmax(1)
    data = as_tokens(split(tokens, kind, scale=False))
    data.train.inputs[333] = 0
    model = Padded(least=0.0 if bug else 1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return learn(desk, model, optimizer, data, epochs=15)


@faulty(good=0.5, harm=0.1)
def non_finite_b2(desk: Desk, bug: bool) -> float:
    """The root of a sum of squares, whose derivative at zero is infinite: two inputs of a pair are the same."""
    draw = torch.Generator().manual_seed(12)
    left, right = torch.randn(400, 6, generator=draw), torch.randn(400, 6, generator=draw)
    right[150] = left[150]
    distance = (left[:, :3] - right[:, :3]).norm(dim=1, keepdim=True)
    pairs = torch.cat([left, right], dim=1)
    data = Data(Rows(pairs[:300], distance[:300]), Rows(pairs[300:], distance[300:]))

    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(6, 8)

        def forward(self, pair: Tensor) -> Tensor:
            left, right = self.embed(pair[:, :6]), self.embed(pair[:, 6:])
            return ((left - right).square().sum(1, keepdim=True) + (0.0 if bug else 1e-6)).sqrt()

    model = Apart()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    return learn(desk, model, optimizer, data, nn.MSELoss(), epochs=20)
