"""What chapter 1 claims: gradients by the engine, by torch, by hand and by differences, and what training does."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from book.claims import above, below, between, claim, exactly, near
from descend import backprop
from descend.backprop import (
    MLP,
    SGD,
    Array,
    BatchNorm,
    Linear,
    Sequential,
    Value,
    batch_norm,
    batch_norm_composed,
    central_difference,
    check_gradients,
    compare_gradients,
    dense,
    forward_difference,
    mse,
    relu,
    sigmoid,
    softmax_cross_entropy,
    square,
    tanh,
)
from descend.backprop.order import topological
from descend.data.digits import digits
from descend.data.employee_bonus import employee_bonus

ROUNDING = "rounding alone; the last digits differ between processors"
CLOSED = "a closed form or a sum over fixed data; only rounding moves it"


# --- the bonus data, the first gradient


@cache
def bonus() -> tuple[np.ndarray, np.ndarray]:
    """Features with a column of ones [100, 4], and the bonus [100, 1]."""
    rows = employee_bonus().train
    inputs = rows.inputs.double().numpy()
    return np.column_stack([inputs, np.ones(len(inputs))]), rows.targets.double().numpy()


def bonus_gradient(w: np.ndarray) -> np.ndarray:
    """The gradient of the mean squared error by hand."""
    x, y = bonus()
    return 2 / len(x) * x.T @ (x @ w - y)


@claim(
    {
        "performance": near(-1790.08, rel=1e-6),
        "years": near(-1523.04, rel=1e-6),
        "projects": near(-2073.64, rel=1e-6),
        "bias": near(-273.24, rel=1e-6),
        "engine": below(1e-10),
        "torch": below(1e-10),
    },
    why=CLOSED,
)
def first_gradient() -> dict[str, float]:
    x, y = bonus()
    w = Array(np.zeros((4, 1)), "w")
    square(x @ w - y).mean().backward()
    w_torch = torch.zeros(4, 1, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.mse_loss(torch.tensor(x) @ w_torch, torch.tensor(y)).backward()
    by_hand = bonus_gradient(np.zeros((4, 1)))
    names = ("performance", "years", "projects", "bias")
    return {name: value.item() for name, value in zip(names, by_hand, strict=True)} | {
        "engine": _apart(w.grad, by_hand),
        "torch": _apart(w_torch.grad.numpy(), by_hand),
    }


@claim(
    {"ratio": near(2, abs=0.0005), "error": near(0.5, abs=0.0005)},
    why="a quadratic has no truncation error, so the differences give seven digits",
)
def missing_factor() -> dict[str, float]:
    """The gradient check of (1/n) X'(Xw - y), which a popular course calls the gradient of the MSE."""
    x, y = bonus()
    w = np.full((4, 1), 0.5)
    wrong = x.T @ (x @ w - y) / len(x)

    def loss(at: np.ndarray) -> float:
        return float(((x @ at - y) ** 2).mean())

    numeric = central_difference(loss, w, 1e-4)
    report = compare_gradients(loss, w, wrong)
    return {
        "ratio": float((numeric / wrong).mean()),
        "error": float(report.worst.error) if report.verdict == "mistake" else 0.0,
    }


# --- scalars


def small_graph() -> tuple[Value, dict[str, Value]]:
    """(w x - y)^2 + 0.1 w^2: one weight, used twice."""
    w, x, y = Value(1.5, "w"), Value(2.0, "x"), Value(2.85, "y")
    p = (w * x).named("p")
    e = (p - y).named("e")
    s, q = (e**2).named("s"), (w**2).named("q")
    loss = (s + 0.1 * q).named("L")
    return loss, {"w": w, "x": x, "y": y, "p": p, "e": e}


@claim(
    {
        "e": near(0.15, abs=1e-9),
        "loss": near(0.2475, abs=1e-9),
        "received": near(0.3, abs=1e-9),
        "local": near(2, abs=1e-9),
        "passes": near(0.6, abs=1e-9),
        "penalty": near(0.3, abs=1e-9),
        "total": near(0.9, abs=1e-9),
        "torch": below(1e-12),
        "differences": below(1e-9),
    },
    why="a closed form; central differences of a quadratic have no truncation error, and 1e-16 / 1e-5 of rounding",
)
def trace() -> dict[str, float]:
    loss, nodes = small_graph()
    w, p, e = nodes["w"], nodes["p"], nodes["e"]
    messages = list(loss.trace())
    through_p = next(m for m in messages if m.node is p and m.parent is w)
    through_penalty = next(m for m in messages if m.node is not p and m.parent is w)
    loss.backward()
    w_torch = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    ((w_torch * 2 - 2.85) ** 2 + 0.1 * w_torch**2).backward()

    def at(weight: float) -> float:
        return (weight * 2.0 - 2.85) ** 2 + 0.1 * weight**2

    return {
        "e": e.data,
        "loss": loss.data,
        "received": through_p.received,
        "local": through_p.local,
        "passes": through_p.passes,
        "penalty": through_penalty.passes,
        "total": w.grad,
        "torch": abs(w.grad - w_torch.grad.item()),
        "differences": abs(w.grad - (at(1.5 + 1e-5) - at(1.5 - 1e-5)) / 2e-5),
    }


@claim(exactly(2), why="whole numbers")
def two_passes() -> float:
    """The gradient of a in (a + b) * 1 after two backward passes; infinite where PyTorch does not say the same."""
    a, b = Value(3.0), Value(2.0)
    e = (a + b) * Value(1.0)
    a_torch = torch.tensor(3.0, requires_grad=True)
    e_torch = (a_torch + 2.0) * 1.0
    for _ in range(2):
        e.backward()
        e_torch.backward(retain_graph=True)
    return a.grad if a.grad == a_torch.grad.item() else math.inf


def neuron_network(inputs: Sequence[Value]) -> Value:
    """A network of single numbers, 8 tanh units and one output, with fixed weights."""
    rng = np.random.default_rng(0)
    hidden = []
    for _ in range(8):
        z = Value(rng.normal())
        for x in inputs:
            z = z + x * rng.normal()
        hidden.append(z.tanh())
    output = Value(rng.normal())
    for a in hidden:
        output = output + a * rng.normal()
    return output


def derivative_forward(output: Value, source: Value) -> float:
    """The derivative of `output` by one `source`, the other way round: from the source up, in the forward pass."""
    tangent = {source: 1.0}
    for node in topological(output):
        if node.parents:
            terms = zip(node.parents, node.local, strict=True)
            tangent[node] = sum(local * tangent.get(parent, 0.0) for parent, local in terms)
    return tangent[output]


@claim(
    {
        "operations": exactly(1624),
        "messages": exactly(3240),
        "per_operation": near(1.995, abs=0.001),
        "forward_mode": exactly(324_000),
        "apart": below(1e-12),
    },
    why="counted, not timed",
)
def scalar_cost() -> dict[str, float]:
    """Multiplications of a backward pass, and of forward mode for the same 100 derivatives."""
    inputs = [Value(value) for value in np.random.default_rng(1).normal(size=100)]
    output = neuron_network(inputs)
    nodes = topological(output)
    messages = len(list(output.trace()))
    output.backward()
    forward = [derivative_forward(output, x) for x in inputs]
    operations = sum(bool(node.parents) for node in nodes)
    return {
        "operations": operations,
        "messages": messages,
        "per_operation": messages / operations,
        "forward_mode": len(inputs) * sum(len(node.parents) for node in nodes),
        "apart": max(abs(f - x.grad) for f, x in zip(forward, inputs, strict=True)),
    }


# --- arrays


def random_networks() -> Iterator[tuple[str, Sequential, Array, np.ndarray]]:
    """20 activations, networks with batch normalisation, inputs and labels; no two of the four sizes are equal."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, inputs, hidden, outputs = (int(size) for size in rng.choice(np.arange(2, 14), 4, replace=False))
        name, function = [("relu", relu), ("tanh", tanh), ("sigmoid", sigmoid)][seed % 3]
        net = Sequential(Linear(inputs, hidden, rng=rng), BatchNorm(hidden), function, Linear(hidden, outputs, rng=rng))
        yield name, net, Array(rng.normal(size=(n, inputs)), "x"), rng.integers(outputs, size=n)


@claim(below(1e-10), why=ROUNDING, seeds="0 to 19")
def engine_against_autograd() -> float:
    """The largest relative distance of a gradient, over 20 networks of random shapes with batch normalisation."""
    worst = 0.0
    for name, mine, x, labels in random_networks():
        first, second = (layer for layer in mine.layers() if isinstance(layer, Linear))
        (hidden, inputs), outputs = first.weight.shape, second.weight.shape[0]
        other = torch.nn.Sequential(
            torch.nn.Linear(inputs, hidden),
            torch.nn.BatchNorm1d(hidden),
            {"relu": torch.nn.ReLU(), "tanh": torch.nn.Tanh(), "sigmoid": torch.nn.Sigmoid()}[name],
            torch.nn.Linear(hidden, outputs),
        ).double()
        with torch.no_grad():
            for theirs, ours in zip(other.parameters(), mine.parameters(), strict=True):
                theirs.copy_(torch.tensor(ours.data))
        x_torch = torch.tensor(x.data, requires_grad=True)
        softmax_cross_entropy(mine(x), labels).backward()
        torch.nn.functional.cross_entropy(other(x_torch), torch.tensor(labels)).backward()
        scale = max(float(p.grad.abs().max()) for p in other.parameters())
        pairs = [*zip(mine.parameters(), other.parameters(), strict=True), (x, x_torch)]
        worst = max(worst, *(_apart(ours.grad, theirs.grad.numpy()) / scale for ours, theirs in pairs))
    return worst


@claim(exactly(20), why="counted: every check has to agree", seeds="0 to 19")
def engine_against_differences() -> float:
    """Of the same 20 networks, those of which a gradient check of parameters and inputs says that they are right."""
    return sum(
        check_gradients(
            lambda net=net, x=x, y=labels: softmax_cross_entropy(net(x), y), [*net.parameters(), x], entries=10
        ).verdict
        == "agrees"
        for _, net, x, labels in random_networks()
    )


def products_that_fit(n: int, inputs: int, outputs: int) -> int:
    """How many products of delta and X, each perhaps transposed, in either order, have the shape of W."""
    delta, x = np.ones((n, outputs)), np.ones((n, inputs))
    fit = 0
    for a, b in itertools.permutations((delta, x)):
        for one, other in itertools.product((a, a.T), (b, b.T)):
            fit += one.shape[1] == other.shape[0] and (one @ other).shape == (outputs, inputs)
    return fit


@claim({"square": exactly(8), "unequal": exactly(1)}, why="counted")
def transposes() -> dict[str, float]:
    return {"square": products_that_fit(3, 3, 3), "unequal": products_that_fit(4, 3, 2)}


@claim({"autograd": below(1e-12), "differences": below(1e-7), "checked": exactly(160)}, why=ROUNDING, seeds="0")
def by_hand() -> dict[str, float]:
    """`dense` on the digits: against autograd, and against differences in up to 50 entries of each array."""
    net, x, labels = _digits_torch(), *_digits()[0]
    x, labels = x[:50], labels[:50]
    weights = [p.detach().numpy().copy() for p in net.parameters() if p.ndim == 2]
    biases = [p.detach().numpy().copy() for p in net.parameters() if p.ndim == 1]
    _, d_weights, d_biases = dense.loss_and_gradients(x, labels, weights, biases)
    torch.nn.functional.cross_entropy(net(torch.tensor(x)), torch.tensor(labels)).backward()
    expected = [p.grad.numpy() for p in net.parameters()]
    found = [g for pair in zip(d_weights, d_biases, strict=True) for g in pair]

    checks = []
    for arrays, gradients in ((weights, d_weights), (biases, d_biases)):
        for i, (array, gradient) in enumerate(zip(list(arrays), gradients, strict=True)):

            def loss(at: np.ndarray, arrays: list[np.ndarray] = arrays, i: int = i) -> float:
                before, arrays[i] = arrays[i], at
                value = dense.loss_and_gradients(x, labels, weights, biases)[0]
                arrays[i] = before
                return value

            checks.append(compare_gradients(loss, array, gradient, entries=50))
    return {
        "autograd": max(_apart(a, b) / float(np.abs(b).max()) for a, b in zip(found, expected, strict=True)),
        "differences": max(check.error if check.verdict == "agrees" else math.inf for check in checks),
        "checked": sum(len(check.entries) for check in checks),
    }


@claim({"double": below(1e-7), "single": between(3e-4, 2e-2)}, why="rounding of the differences: its size", seeds="0")
def what_a_check_can_see() -> dict[str, float]:
    """The relative error that a gradient check of a small network could not see, in either precision."""
    resolutions = []
    for dtype in (np.float64, np.float32):
        rng = np.random.default_rng(0)
        model = MLP([3, 8, 2], activation=tanh, rng=rng, dtype=dtype)
        x, labels = rng.normal(size=(6, 3)).astype(dtype), rng.integers(2, size=6)
        report = check_gradients(lambda m=model, x=x, y=labels: softmax_cross_entropy(m(x), y), model.parameters())
        resolutions.append(report.resolution if report.verdict == "agrees" else math.inf)
    return {"double": resolutions[0], "single": resolutions[1]}


@claim(
    {"float64": near(709.78, abs=0.01), "float32": near(88.72, abs=0.01), "fused": below(1e-12)},
    why="the largest number that the format holds",
)
def overflow() -> dict[str, float]:
    """Where exp overflows, and the error of the fused gradient at logits that are 100 times as large as that."""
    shifted = np.array([[1e5, 1e5 - 1, 1e5 - 2]])
    logits = Array(shifted)
    softmax_cross_entropy(logits, [0]).backward()
    p = np.exp([0.0, -1, -2])
    return {
        "float64": math.log(np.finfo(np.float64).max),
        "float32": math.log(float(np.finfo(np.float32).max)),
        "fused": _apart(logits.grad[0], p / p.sum() - [1, 0, 0]),
    }


@claim(
    {
        "composed": below(1e-12),
        "torch": below(1e-12),
        "column_sum": below(1e-12),
        "along_x": below(1e-4),
        "constants": near(0.566, rel=0.01),
        "nodes": exactly(9),
    },
    why="rounding; the share of the missing terms is that of one draw of 8 rows",
    seeds="0",
)
def batch_norm_backward() -> dict[str, float]:
    rng = np.random.default_rng(0)
    data, gain, g = rng.normal(3, 2, (8, 5)), rng.normal(size=5), rng.normal(size=(8, 5))
    x, same, x_torch = Array(data), Array(data), torch.tensor(data, requires_grad=True)
    batch_norm(x, gain, np.zeros(5)).backward(g)
    composed = batch_norm_composed(same, gain, np.zeros(5))
    composed.backward(g)
    torch.nn.functional.batch_norm(
        x_torch, None, None, torch.tensor(gain), torch.zeros(5, dtype=torch.float64), training=True
    ).backward(torch.tensor(g))
    centred = data - data.mean(0)
    frozen = gain / np.sqrt(data.var(0) + 1e-5) * g  # mean and standard deviation taken for constants
    return {
        "composed": _apart(x.grad, same.grad),
        "torch": _apart(x.grad, x_torch.grad.numpy()),
        "column_sum": float(np.abs(x.grad.sum(0)).max()),
        "along_x": float(np.abs((x.grad * centred).sum(0)).max()),
        "constants": float(np.linalg.norm(frozen - x.grad) / np.linalg.norm(x.grad)),
        "nodes": sum(bool(node.parents) for node in topological(composed)),
    }


# --- what it costs


@claim(
    {
        "parameters": exactly(4810),
        "forward": exactly(4736),
        "backward": exactly(5376),
        "passes": near(2.135, abs=0.001),
    },
    why="multiplications, counted by PyTorch",
)
def reverse_cost() -> dict[str, float]:
    """Multiplications per row of the digits network, forward and backward, and both passes over the forward one."""
    net = _digits_torch()
    x = torch.tensor(_digits()[0][0][:64])
    counts = []
    for backward in (False, True):
        with FlopCounterMode(display=False) as counter:
            loss = net(x).sum()
            if backward:
                loss.backward()
        counts.append(counter.get_total_flops() / 2 / len(x))
    forward, both = counts
    return {
        "parameters": sum(p.numel() for p in net.parameters()),
        "forward": forward,
        "backward": both - forward,
        "passes": both / forward,
    }


def checkpointed(segments: Sequence[Any], x: np.ndarray, loss_of: Callable[[Array], Array]) -> None:
    """Gradients of all parameters, keeping one array for each segment instead of one for each operation."""
    entries = [x]
    for segment in segments[:-1]:
        entries.append(segment(entries[-1]).data)  # the graph inside is let go
    g = None
    for segment, entry in zip(reversed(segments), reversed(entries), strict=True):
        start = Array(entry)
        end = segment(start)  # the second forward pass, of this segment alone
        loss_of(end).backward() if g is None else end.backward(g)
        g = start.grad
        del start, end  # or the graph of this segment would live on beside that of the next


@cache
def _deep_tanh() -> tuple[list[Sequential], np.ndarray, list[int]]:
    """64 layers in 8 segments, the rows, and a count of layers that were computed."""
    rng, calls = np.random.default_rng(0), [0]

    def counted(x: Array) -> Array:
        calls[0] += 1
        return tanh(x)

    layers = [Linear(16, 16, init="xavier_normal", rng=rng) for _ in range(64)]
    segments = [
        Sequential(*(part for layer in layers[i : i + 8] for part in (layer, counted))) for i in range(0, 64, 8)
    ]
    return segments, rng.normal(size=(512, 16)), calls


@claim(
    {
        "memory": near(6.2, rel=0.1),
        "layers_plain": exactly(64),
        "layers": exactly(120),
        "work": near(1.29, abs=0.01),
        "apart": below(1e-15),
    },
    why="bytes that NumPy asked for, counted by tracemalloc; its small objects differ between versions of Python",
    seeds="0",
)
def checkpointing() -> dict[str, float]:
    """Peak memory of a backward pass of 64 layers, plain over checkpointed in 8 segments."""
    segments, x, calls = _deep_tanh()
    parameters = [parameter for segment in segments for parameter in segment.parameters()]

    def plain() -> None:
        a: Any = x
        for segment in segments:
            a = segment(a)
        a.sum().backward()

    peaks, layers, gradients = [], [], []
    for run in (plain, lambda: checkpointed(segments, x, lambda out: out.sum())):
        for parameter in parameters:
            parameter.grad = None
        calls[0] = 0
        tracemalloc.start()
        run()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        layers.append(calls[0])
        gradients.append([parameter.grad for parameter in parameters])
    apart = max(_apart(a, b) / float(np.abs(b).max()) for a, b in zip(*gradients, strict=True))
    return {
        "memory": peaks[0] / peaks[1],
        "layers_plain": layers[0],
        "layers": layers[1],
        "work": (layers[1] + 2 * 64) / (layers[0] + 2 * 64),  # a backward pass counts for two forward passes
        "apart": apart,
    }


# --- gradient checking

STEPS = tuple(10.0**-k for k in range(1, 13))


@cache
def difference_errors(precision: str, kind: str) -> tuple[float, ...]:
    """Relative errors of the differences of sum(tanh(x)^3) for each of STEPS: rms over ten points of 100 entries."""
    difference = {"forward": forward_difference, "central": central_difference}[kind]

    def f(at: np.ndarray) -> Any:
        return (np.tanh(at) ** 3).sum()

    errors = np.empty((10, len(STEPS)))
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=100).astype(precision)
        t = np.tanh(x.astype(np.float64))
        errors[seed] = [_relative(difference(f, x, h), 3 * t**2 * (1 - t**2)) for h in STEPS]
    return tuple(np.sqrt(np.square(errors).mean(axis=0)).tolist())


def _error(precision: str, kind: str, h: float) -> float:
    return difference_errors(precision, kind)[STEPS.index(h)]


def _slope(kind: str) -> float:
    """Decades of error for a decade of h, between 1e-1 and 1e-4, where truncation rules."""
    errors = np.log10(difference_errors("float64", kind)[:4])
    return float(-np.polyfit(range(4), errors, 1)[0])


@claim(
    {
        "forward_slope": near(1.0, abs=0.03),
        "central_slope": near(2.0, abs=0.03),
        "forward_best": between(1e-8, 2e-7),
        "central_best": between(2e-11, 6e-10),
        "central_single": between(3e-5, 3e-4),
        "central_single_popular": between(2e-3, 4e-2),
        "central_tiny": between(1e-5, 1e-3),
        "complex": below(1e-15),
    },
    why="slopes are mathematics; the errors at the best step are rounding, of which only the size is stable",
    seeds="0",
)
def difference_table() -> dict[str, float]:
    x = np.random.default_rng(0).normal(size=100)
    t = np.tanh(x)
    complex_step = (np.tanh(x + 1e-30j) ** 3).imag / 1e-30
    return {
        "forward_slope": _slope("forward"),
        "central_slope": _slope("central"),
        "forward_best": _error("float64", "forward", 1e-8),
        "central_best": _error("float64", "central", 1e-5),
        "central_single": _error("float32", "central", 1e-2),
        "central_single_popular": _error("float32", "central", 1e-5),
        "central_tiny": _error("float64", "central", 1e-12),
        "complex": _relative(complex_step, 3 * t**2 * (1 - t**2)),
    }


@claim(
    {
        "double_h": near(6.06e-6, rel=1e-2),
        "double_error": near(3.67e-11, rel=1e-2),
        "single_h": near(4.92e-3, rel=1e-2),
        "single_error": near(2.42e-5, rel=1e-2),
        "forward": near(1.49e-8, rel=1e-2),
    },
    why="powers of the machine epsilon",
)
def best_steps() -> dict[str, float]:
    """The step at which truncation and rounding balance, and the error there, for f and derivatives of size 1."""
    double, single = float(np.finfo(np.float64).eps), float(np.finfo(np.float32).eps)
    return {
        "double_h": double ** (1 / 3),
        "double_error": double ** (2 / 3),
        "single_h": single ** (1 / 3),
        "single_error": single ** (2 / 3),
        "forward": double**0.5,
    }


@claim({"numeric": near(0.75, abs=1e-9), "exact": exactly(1)}, why=CLOSED)
def kink() -> dict[str, float]:
    """The central difference of relu half a step above its kink."""
    h = 1e-3
    x = Array(np.array([h / 2]))
    relu(x).sum().backward()
    return {
        "numeric": float(central_difference(lambda at: float(np.maximum(at, 0).sum()), x.data, h)[0]),
        "exact": float(x.grad[0]),
    }


@claim({"dead": exactly(0), "alive": above(0.01)}, why="exactly zero, since relu passes nothing back", seeds="0")
def exact_zeros() -> dict[str, float]:
    """Gradients of the weights of a unit that is off for every row, and the largest of the others."""
    rng = np.random.default_rng(0)
    layer = Linear(3, 4, rng=rng)
    assert layer.bias is not None
    layer.bias.data[1] = -100
    (relu(layer(rng.normal(size=(8, 3)))) ** 2).sum().backward()
    return {"dead": float(np.abs(layer.weight.grad[1]).max()), "alive": float(np.abs(layer.weight.grad).max())}


# --- initialisation

WIDTH, ROWS, SEEDS = 256, 32, 10


def layers_of(init: str, bias: bool, seed: int) -> Iterator[Linear]:
    """50 layers of 256 units; init "narrow" has the standard deviation 1/sqrt(n)."""
    rng = np.random.default_rng(seed)
    for _ in range(50):
        layer = Linear(WIDTH, WIDTH, bias=bias, init="he_normal" if init == "narrow" else init, rng=rng)
        if init == "narrow":
            layer.weight.data /= np.sqrt(2)
        yield layer


@cache
def depths(init: str, bias: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """[seeds, layers]: the rms of ReLU activations after each layer, and how much they differ between rows over it."""
    rms, across = np.empty((SEEDS, 50)), np.empty((SEEDS, 50))
    for seed in range(SEEDS):
        a = np.random.default_rng(1000 + seed).normal(size=(ROWS, WIDTH))
        for i, layer in enumerate(layers_of(init, bias, seed)):
            a = relu(layer(a)).data
            rms[seed, i] = np.sqrt(np.square(a).mean())
            across[seed, i] = np.sqrt(a.var(axis=0).mean()) / rms[seed, i]
    return rms, across


def _typical(values: np.ndarray) -> float:
    """The geometric mean over seeds."""
    return float(np.exp(np.log(values).mean()))


@claim(
    {
        "narrow_20": near(9.5e-4, rel=0.3),
        "narrow_50": near(2.6e-8, rel=0.6),
        "he_20": between(0.7, 1.3),
        "he_50": between(0.6, 1.5),
        "he_least": above(0.2),
        "he_most": below(4),
        "default_20": near(1.6e-8, rel=0.3),
        "default_50": near(3.2e-20, rel=0.6),
        "factor": near(0.408, abs=0.004),
        "factor_predicted": near(0.408, abs=0.0005),
        "biased_20": near(0.028, rel=0.15),
        "biased_50": near(0.028, rel=0.15),
        "biased_predicted": near(0.02795, rel=1e-3),
        "across_10": near(2.6e-3, rel=0.3),
        "across_20": near(3.4e-7, rel=0.4),
        "across_ratio": near(1.286e-4, rel=0.15),
        "across_predicted": near(1.286e-4, rel=1e-3),
        "across_50": below(1e-14),
        "he_across_50": near(0.21, abs=0.05),
    },
    why="3 standard errors of the mean of ln over 10 seeds, whose spread at depth 50 is 0.6",
    seeds="0 to 9",
)
def depth() -> dict[str, float]:
    narrow, he = depths("narrow")[0], depths("he_normal")
    default, biased = depths("default")[0], depths("default", bias=True)
    return {
        "narrow_20": _typical(narrow[:, 19]),
        "narrow_50": _typical(narrow[:, 49]),
        "he_20": _typical(he[0][:, 19]),
        "he_50": _typical(he[0][:, 49]),
        "he_least": float(he[0].min()),
        "he_most": float(he[0].max()),
        "default_20": _typical(default[:, 19]),
        "default_50": _typical(default[:, 49]),
        "factor": _typical(default[:, 49] / default[:, 9]) ** (1 / 40),
        "factor_predicted": math.sqrt(1 / 6),
        "biased_20": _typical(biased[0][:, 19]),
        "biased_50": _typical(biased[0][:, 49]),
        "biased_predicted": 1 / math.sqrt(5 * WIDTH),
        "across_10": _typical(biased[1][:, 9]),
        "across_20": _typical(biased[1][:, 19]),
        "across_ratio": _typical(biased[1][:, 19] / biased[1][:, 9]),
        "across_predicted": 6.0**-5,
        "across_50": _typical(biased[1][:, 49]),
        "he_across_50": _typical(he[1][:, 49]),
    }


@claim(
    {
        "default": near(2.3026, abs=0.003),
        "he": between(0.15, 0.7),
        "default_ratio": near(3.1e-4, rel=0.8),
        "predicted_ratio": near(3.15e-4, rel=0.01),
        "he_ratio": between(0.3, 3),
        "steps": exactly(135),
    },
    why="one training each; the ratio of gradients is a product over ten random matrices",
    seeds="0",
)
def deep_digits() -> dict[str, float]:
    """Ten hidden layers on the digits: gradient of the first over the last, and the loss after 3 epochs."""
    losses, ratios = {}, {}
    (x, labels), _ = _digits()
    for init in ("default", "he_normal"):
        model = MLP([64, *[64] * 10, 10], init=init, rng=np.random.default_rng(0))
        loss = softmax_cross_entropy(model(x), labels)
        loss.backward()
        norms = [float(np.linalg.norm(node.grad)) for node in topological(loss) if node.op == "relu"]
        ratios[init] = norms[0] / norms[-1]
        optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
        _train_engine(model, optimizer, _batches(3))
        losses[init] = softmax_cross_entropy(model(x), labels).item()
    return {
        "default": losses["default"],
        "he": losses["he_normal"],
        "default_ratio": ratios["default"],
        "predicted_ratio": 6 ** (-9 / 2),
        "he_ratio": ratios["he_normal"],
        "steps": len(_batches(3)),
    }


# --- vanishing, exploding, NaN


@claim(
    {
        "bound": near(9.54e-7, rel=1e-3),
        "chain": near(1024, rel=1e-9),
        "norm": near(1.10, abs=0.06),
        "default": between(5e-10, 5e-9),
    },
    why="the chain is a closed form; the network is a product over ten random matrices",
    seeds="0",
)
def sigmoids() -> dict[str, float]:
    """Ten sigmoids in a row: 0.25^10, a chain with weight 8 and bias -4, and a network at PyTorch's initialisation."""
    start = Value(0.5)
    a = start
    for _ in range(10):
        a = (8 * a - 4).sigmoid()
    a.backward()
    rng = np.random.default_rng(0)
    layers = [Linear(64, 64, rng=rng) for _ in range(10)]
    x = Array(rng.normal(size=(1, 64)))
    out: Array = x
    for layer in layers:
        out = sigmoid(layer(out))
    seed = rng.normal(size=(1, 64))
    out.backward(seed)
    return {
        "bound": 0.25**10,
        "chain": start.grad,
        "norm": float(np.mean([np.linalg.norm(layer.weight.data, 2) for layer in layers])),
        "default": float(np.linalg.norm(x.grad) / np.linalg.norm(seed)),
    }


@claim(
    {
        "start": near(3146.2, rel=1e-4),
        "end": near(0.0730, rel=0.01),
        "thousands": near(3.1462, rel=1e-4),
        "same": below(1e-10),
        "bias": near(19.377, abs=0.01),
    },
    why=CLOSED,
)
def gradient_norms() -> dict[str, float]:
    """A healthy run on the bonus data, with the bonus in euros and in thousands of euros."""
    x, y = bonus()
    w, w_thousands = np.zeros((4, 1)), np.zeros((4, 1))
    for _ in range(5000):
        w = w - 0.006 * bonus_gradient(w)
        w_thousands = w_thousands - 0.006 * (2 / len(x) * x.T @ (x @ w_thousands - y / 1000))
    return {
        "start": float(np.linalg.norm(bonus_gradient(np.zeros((4, 1))))),
        "end": float(np.linalg.norm(bonus_gradient(w))),
        "thousands": float(np.linalg.norm(2 / len(x) * x.T @ (y / 1000))),
        "same": _apart(w, 1000 * w_thousands) / float(np.abs(w).max()),
        "bias": float(w[3, 0]),
    }


@claim(
    {
        "factor": near(2.38, abs=0.01),
        "loss_infinite": near(86, abs=2),
        "weights_lost": near(188, abs=3),
        "small": below(1e-2),
        "nan": exactly(2),
    },
    why="float32 overflows at 3.4e38, which growth by a fixed factor reaches at a fixed step",
)
def explosion() -> dict[str, float]:
    """Learning rate 0.01 on the bonus data in float32; and a NaN out of a gradient that was small."""
    x, y = (torch.tensor(part, dtype=torch.float32) for part in bonus())
    w = torch.zeros(4, 1, requires_grad=True)
    losses: list[float] = []
    while w.isfinite().all():
        loss = torch.nn.functional.mse_loss(x @ w, y)
        w.grad = None
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            w -= 0.01 * w.grad
    target = np.array([1.0, 2.0])
    gradients = []
    for distance in (1e-3, 0.0):
        at = Array(target + distance)
        with np.errstate(all="ignore"):
            distances = backprop.sqrt(backprop.square(at - target).sum())
            (distances * distances).backward()
        assert at.grad is not None
        gradients.append(at.grad)
    return {
        "factor": losses[21] / losses[20],
        "loss_infinite": losses.index(math.inf),
        "weights_lost": len(losses),
        "small": float(np.linalg.norm(gradients[0])),
        "nan": float(np.isnan(gradients[1]).sum()),
    }


# --- the loop


def amplitudes(steps: int, product: float = 0.01) -> np.ndarray:
    """x after each step of lr * curvature = `product` on x^2 / 2 from x = 1, with no zero_grad."""
    x = Array(np.array(1.0))
    optimizer = SGD([x], lr=product)
    path = []
    for _ in range(steps):
        (x * x / 2).backward()
        optimizer.step()
        path.append(x.item())
    return np.array(path)


def _period(path: np.ndarray) -> float:
    """Mean distance of falling passages through zero, each placed between its two steps by a straight line."""
    before = np.flatnonzero((path[:-1] > 0) & (path[1:] <= 0))
    places = before + path[before] / (path[before] - path[before + 1])
    return float(np.diff(places).mean())


@claim(
    {
        "measured": near(62.806, abs=0.005),
        "exact": near(62.806, abs=0.001),
        "approximate": near(62.832, abs=0.001),
        "largest": near(1.0013, abs=0.0003),
        "steps": exactly(4000),
        "momentum": below(1e-12),
    },
    why="a linear recursion; the passages through zero are placed between steps",
)
def missing_zero_grad() -> dict[str, float]:
    path = amplitudes(4000)
    x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=0.01, momentum=1.0)
    same = []
    for _ in range(4000):
        optimizer.zero_grad()
        (x * x / 2).backward()
        optimizer.step()
        same.append(x.item())
    return {
        "measured": _period(path),
        "exact": 2 * math.pi / math.acos(1 - 0.01 / 2),
        "approximate": 2 * math.pi / math.sqrt(0.01),
        "largest": float(np.abs(path).max()),
        "steps": len(path),
        "momentum": _apart(path, np.array(same)),
    }


@claim(
    {
        "start": near(20_115.64, abs=0.01),
        "right": near(1.395, rel=0.01),
        "forgotten": near(16_052, rel=0.01),
        "predicted": near(16_052, rel=0.001),
        "unmoved": exactly(0),
    },
    why="a linear recursion on fixed data; 500 steps hold no whole number of periods",
)
def loops() -> dict[str, float]:
    """The bonus data after 2000 steps: zeroed, never zeroed (mean loss of the last 500), zeroed before the step."""
    x, y = bonus()
    lr = 0.006
    curvatures, directions = np.linalg.eigh(2 / len(x) * x.T @ x)
    distances = directions.T @ np.linalg.lstsq(x, y, rcond=None)[0][:, 0]
    # half of lambda e^2 / 2, for an amplitude that the first step has made a little larger
    means = curvatures * distances**2 / 4 / (1 - lr * curvatures / 4)
    results: dict[str, float] = {}
    for order in ("right", "forgotten", "unmoved"):
        w = Array(np.zeros((4, 1)))
        optimizer = SGD([w], lr=lr)
        losses = []
        for _ in range(2000):
            if order == "right":
                optimizer.zero_grad()
            loss = mse(x @ w, y)
            loss.backward()
            if order == "unmoved":
                optimizer.zero_grad()
            optimizer.step()
            losses.append(loss.item())
        results["start"] = losses[0]
        results[order] = losses[-1]
        if order == "forgotten":
            results[order] = float(np.mean(losses[-500:]))
        if order == "unmoved":
            results[order] = float(np.abs(w.data).max())
    return results | {"predicted": float(means.sum())}


# --- the digits


@cache
def _digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Rows of 64 pixels and their labels, to train on and to judge by."""
    data = digits()
    train, validation = (
        (rows.inputs.double().flatten(1).numpy(), rows.targets.numpy()) for rows in (data.train, data.validation)
    )
    return train, validation


def _digits_torch() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)).double()


@cache
def _batches(epochs: int) -> tuple[np.ndarray, ...]:
    rng, rows = np.random.default_rng(0), len(_digits()[0][0])
    orders = [rng.permutation(rows) for _ in range(epochs)]
    return tuple(order[i : i + 32] for order in orders for i in range(0, rows, 32))


def _train_engine(model: Sequential, optimizer: SGD, batches: Sequence[np.ndarray]) -> None:
    (x, labels), _ = _digits()
    for rows in batches:
        optimizer.zero_grad()
        softmax_cross_entropy(model(x[rows]), labels[rows]).backward()
        optimizer.step()


@claim(
    {"engine": near(96.94, abs=0.6), "torch": near(96.94, abs=0.6), "apart": below(1e-10), "steps": exactly(450)},
    why="2 of the 359 images: rounding may move one across the border",
    seeds="0",
)
def digits_accuracy() -> dict[str, float]:
    """Ten epochs with the same first weights and the same batches: per cent right of the validation images."""
    (x, labels), (x_validation, truth) = _digits()
    net, mine = _digits_torch(), MLP([64, 64, 10])
    for ours, theirs in zip(mine.parameters(), net.parameters(), strict=True):
        ours.data[:] = theirs.detach().numpy()
    batches = _batches(10)
    _train_engine(mine, SGD(mine.parameters(), lr=0.1, momentum=0.9), batches)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x_torch, labels_torch = torch.tensor(x), torch.tensor(labels)
    for rows in batches:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x_torch[rows]), labels_torch[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        outputs = net(torch.tensor(x_validation)).numpy()
    return {
        "engine": 100 * float((mine(x_validation).data.argmax(1) == truth).mean()),
        "torch": 100 * float((outputs.argmax(1) == truth).mean()),
        "apart": max(
            _apart(ours.data, theirs.detach().numpy())
            for ours, theirs in zip(mine.parameters(), net.parameters(), strict=True)
        ),
        "steps": len(batches),
    }


# --- helpers


def _apart(one: Any, other: Any) -> float:
    """The largest absolute difference; infinite where there is no gradient."""
    return math.inf if one is None or other is None else float(np.abs(np.asarray(one) - np.asarray(other)).max())


def _relative(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
