"""Is this gradient right? A comparison with finite differences that knows how far they can be trusted.

Three answers. "agrees": every entry lies within the error that the difference estimates of itself. "mistake": one lies
outside, and no kink explains it. "doubtful": x lies on a kink (ReLU at 0), where any slope between those to the left
and to the right is allowed, or the differences are too inexact to see anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from descend.backprop.array import Array, Floats
from descend.backprop.differences import Difference, Function, difference, noise_of

Verdict = Literal["agrees", "doubtful", "mistake"]
MARGIN = 10.0
"""A difference agrees within so many times its own estimated error. Of 40,000 smooth entries all were within 2.7."""
LADDER = (1.0, 0.1, 0.01, 0.001)
"""Steps that are tried for an entry, times eps^(1/3) max(1, |x|), until one is sharp."""


@dataclass(frozen=True)
class Entry:
    """One derivative, two ways."""

    name: str
    index: tuple[int, ...]
    analytic: float
    difference: Difference
    verdict: Verdict

    @property
    def numeric(self) -> float:
        """The central difference."""
        return self.difference.numeric

    @property
    def gap(self) -> float:
        """How far apart they are."""
        return abs(self.analytic - self.numeric)

    @property
    def error(self) -> float:
        """Relative error: the gap in parts of the larger of the two; 0 if both are 0."""
        return self.gap / (max(abs(self.analytic), abs(self.numeric)) or 1.0)

    @property
    def excess(self) -> float:
        """The gap in units of what the difference may be wrong: above 1 they disagree."""
        return self.gap / (MARGIN * self.difference.error or np.finfo(float).tiny)

    @property
    def place(self) -> str:
        """Such as `0.weight[3, 1]`."""
        return f"{self.name}[{', '.join(map(str, self.index))}]" if self.index else self.name


@dataclass(frozen=True)
class GradientCheck:
    """What came out. `print` it, or ask `verdict`, `worst`, `error` and `resolution`."""

    verdict: Verdict
    worst: Entry
    """The entry that decided the verdict: the one that is most wrong, or the largest relative to its trust."""
    entries: tuple[Entry, ...]
    error: float
    """The largest gap, in parts of the largest gradient of the same parameter."""
    resolution: float
    """The error, in the same parts, that these differences could not see."""
    size: int
    """How many entries there are; only `entries` were checked."""
    dtype: str

    def within(self, tolerance: float) -> bool:
        """Whether the gradient is right to this relative error. Refused where the differences cannot tell."""
        if self.verdict != "mistake" and tolerance < self.resolution:
            raise ValueError(
                f"Whether this gradient is right to {tolerance:.1e} cannot be seen: in {self.dtype} these differences "
                f"are good to {self.resolution:.1e}. Ask for less, or check in float64."
            )
        return self.verdict == "agrees" and self.error <= tolerance

    def __str__(self) -> str:
        worst, measured = self.worst, self.worst.difference
        checked = f"{len(self.entries)} of {self.size} entries checked, {self.dtype}"
        numbers = (
            f"{worst.place}: by backpropagation {worst.analytic:.6g}, by differences {worst.numeric:.6g}, "
            f"which is good to {measured.error:.1e} (truncation {measured.truncation:.1e}, "
            f"rounding {measured.rounding:.1e}, h {measured.h:.1e})"
        )
        if self.verdict == "agrees":
            seen = max(self.error, self.resolution)
            return f"agrees to {seen:.1e}, and the differences could not see less ({checked}). Worst {numbers}."
        if self.verdict == "mistake":
            return f"a mistake: relative error {worst.error:.1e} ({checked}). Worst {numbers}."
        if worst.difference.kink and worst.verdict == "doubtful":
            why = "there is a kink, where the slopes to the left and to the right differ. Move the point a little"
        else:
            why = "the differences are too inexact to see anything. Check in float64, or let h be chosen"
        return f"doubtful: {why} ({checked}). Worst {numbers}."


def check_gradients(
    loss: Callable[[], Array],
    parameters: Mapping[str, Array] | Sequence[Array],
    *,
    h: float | None = None,
    entries: int | None = 50,
    seed: int = 0,
) -> GradientCheck:
    """Compare what `loss().backward()` writes into the parameters with differences of `loss()`.

    Checks at most `entries` randomly chosen entries of each parameter (None: all), for five evaluations of the loss
    each and more where a kink is near. `h` is chosen for each entry unless given. The loss must be a function of the
    parameters alone: no dropout, no new batch. Gradients that the parameters hold are left as they were.
    """
    named = parameters if isinstance(parameters, Mapping) else _names(parameters)
    held = {name: parameter.grad for name, parameter in named.items()}
    for parameter in named.values():
        parameter.grad = None
    loss().backward()
    gradients = {name: np.zeros_like(p.data) if p.grad is None else p.grad for name, p in named.items()}
    for name, parameter in named.items():
        parameter.grad = held[name]

    def of(parameter: Array) -> Function:
        def f(data: Floats) -> float:
            before, parameter.data = parameter.data, data
            try:
                return loss().item()
            finally:
                parameter.data = before

        return f

    return _report(
        [_compare(of(p), p.data, gradients[name], name, h, entries, seed) for name, p in named.items()],
        sum(parameter.size for parameter in named.values()),
        str(np.result_type(*(parameter.dtype for parameter in named.values()))),
    )


def compare_gradients(
    f: Function,
    x: Floats,
    gradient: Floats,
    *,
    name: str = "x",
    h: float | None = None,
    entries: int | None = None,
    seed: int = 0,
) -> GradientCheck:
    """Compare a gradient of your own making with differences of `f`, a function from an array to one number."""
    if gradient.shape != x.shape:
        raise ValueError(f"The gradient has shape {gradient.shape} and x {x.shape}: they must be the same.")
    return _report([_compare(f, x, gradient, name, h, entries, seed)], x.size, str(x.dtype))


def _names(parameters: Sequence[Array]) -> dict[str, Array]:
    return {f"{i}.{p.name}" if p.name else f"parameter {i}": p for i, p in enumerate(parameters)}


def _compare(
    f: Function, x: Floats, gradient: Floats, name: str, h: float | None, entries: int | None, seed: int
) -> list[Entry]:
    """The chosen entries of one array, each judged by itself."""
    if not x.size:
        return []
    noise = noise_of(f, x)
    chosen = np.arange(x.size)
    if entries is not None and entries < x.size:
        chosen = np.sort(np.random.default_rng(seed).choice(x.size, entries, replace=False))
    judged = []
    for flat in chosen:
        index = tuple(int(i) for i in np.unravel_index(flat, x.shape))
        scale = float(np.cbrt(np.finfo(x.dtype).eps)) * max(1.0, abs(float(x[index])))
        steps = [h] if h is not None else [scale * rung for rung in LADDER]
        judged.append(_judge(f, x, index, float(gradient[index]), steps, noise, name))
    return judged


def _judge(
    f: Function, x: Floats, index: tuple[int, ...], analytic: float, steps: Sequence[float], noise: float, name: str
) -> Entry:
    """Try the first step; where it is neither sharp nor in agreement the others, and believe the most exact."""
    tried: list[Difference] = []
    for step in steps:
        tried.append(difference(f, x, index, step, noise))
        if _fits(analytic, tried[0]) and _sharp(analytic, tried[0]):
            break
    best = min(tried, key=lambda each: each.error)
    if _fits(analytic, best):
        return Entry(name, index, analytic, best, "agrees")
    if not any(each.kink for each in tried):
        return Entry(name, index, analytic, best, "mistake")
    for each in tried:  # a step that does not reach as far as the kink sees a smooth function
        if each.h < best.h and _fits(analytic, each) and not each.kink:
            return Entry(name, index, analytic, each, "agrees")
    between = any(abs(analytic - each.numeric) <= each.jump + MARGIN * each.error for each in tried if each.kink)
    return Entry(name, index, analytic, best, "doubtful" if between else "mistake")


def _fits(analytic: float, measured: Difference) -> bool:
    return abs(analytic - measured.numeric) <= MARGIN * measured.error


def _sharp(analytic: float, measured: Difference) -> bool:
    """Whether an error of a tenth would be seen."""
    return MARGIN * measured.error <= 0.1 * max(abs(analytic), abs(measured.numeric))


def _report(parameters: list[list[Entry]], size: int, dtype: str) -> GradientCheck:
    largest = [max((max(abs(e.analytic), abs(e.numeric)) for e in entries), default=0.0) for entries in parameters]
    floor = 1e-3 * max(largest, default=0.0)  # a parameter that moves nothing is compared with those that do
    error = resolution = 0.0
    for entries, peak in zip(parameters, largest, strict=True):
        scale = max(peak, floor) or 1.0
        smooth = [entry for entry in entries if entry.verdict != "doubtful"]
        error = max([error, *(entry.gap / scale for entry in smooth)])
        resolution = max([resolution, *(MARGIN * entry.difference.error / scale for entry in smooth)])
    every = [entry for entries in parameters for entry in entries]
    if not every:
        raise ValueError("There is nothing to check: no parameter has an entry.")
    wrong = [entry for entry in every if entry.verdict == "mistake"]
    kinks = [entry for entry in every if entry.verdict == "doubtful"]
    verdict: Verdict = "mistake" if wrong else "doubtful" if kinks or resolution > 0.5 else "agrees"
    worst = max(wrong, key=lambda e: e.gap) if wrong else max(kinks or every, key=lambda e: e.excess)
    return GradientCheck(verdict, worst, tuple(every), error, resolution, size, dtype)
