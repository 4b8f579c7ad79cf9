"""Observation: one property of an answer, what was observed of it, and the band that was expected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy

LONGEST: Final = 100  # characters of a value that is shown
FEW: Final = 8  # entries of an array that are shown one by one


@dataclass(frozen=True)
class Observation:
    """Whether a property `holds`; `what` names it, `observed` and `expected` say it in words and numbers."""

    what: str
    observed: str
    expected: str
    holds: bool


def expect_between(what: str, observed: object, low: float = -math.inf, high: float = math.inf) -> Observation:
    """`observed` is a finite number, or an array of them of any shape, from `low` to `high`."""
    assert not low > high, f"the band of {what!r} is empty: from {low} to {high}"
    values = _numbers(observed)
    if values is None or values.size == 0:
        return Observation(what, told(observed), f"a number {_band(low, high)[1]}", False)
    import numpy as np

    return _compare(what, values, np.full_like(values, low), np.full_like(values, high))


def expect_close(
    what: str, observed: object, expected: object, *, rel: float = 1e-4, absolute: float = 0.0
) -> Observation:
    """`observed`, a number, list, array or tensor, has the shape of `expected` and its values.

    The band is `absolute`, or `rel` times the largest entry (in size) of `expected` where that is more.
    """
    values, right = _numbers(observed), _numbers(expected)
    assert right is not None, f"expected is {expected!r}, which holds no numbers"
    if values is None:
        return Observation(what, told(observed), _kind(right), False)
    if values.shape != right.shape:
        return Observation(what, _kind(values), _kind(right), False)
    margin = max(absolute, rel * float(abs(right).max(initial=0)))
    return _compare(what, values, right - margin, right + margin)


def expect_equal(what: str, observed: object, expected: object) -> Observation:
    """For words, whole numbers, true and false, and lists of them. A list may be a tuple, a whole number 3.0."""
    observed = _plain(observed)
    mine, right = _numbers(observed), _numbers(expected)
    if right is not None and mine is not None:
        same = mine.shape == right.shape and bool((mine == right).all())
    elif isinstance(expected, list | tuple):
        same = isinstance(observed, list | tuple) and list(observed) == list(expected)
    else:
        same = isinstance(observed, type(expected)) and observed == expected
    return Observation(what, told(observed), told(expected), same)


def expect_true(what: str, holds: object, *, observed: str, expected: str) -> Observation:
    """Whatever needs words: `observed` and `expected` say what is seen if it does not hold."""
    return Observation(what, observed, expected, bool(holds))


def told(value: object) -> str:
    """A value in a line: numbers in four digits, an array of many by its shape, the rest by its type and value."""
    if value is None:
        return "None (nothing was returned)"
    if isinstance(value, bool | str):
        return _short(repr(value))
    if isinstance(value, int | float):
        return digits(value)
    if (values := _numbers(value)) is not None:
        if values.ndim == 0:
            return digits(values.item())
        few = values.ndim == 1 and values.size <= FEW
        return f"[{', '.join(map(digits, values.tolist()))}]" if few else _kind(values)
    name = type(value).__name__
    try:
        shown = repr(value)
    except Exception:  # a class of the reader's
        shown = "<>"
    # "<generator object at 0x7f...>" says no more than "a generator"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}" if shown.startswith("<") else _short(f"{name} {shown}")


def digits(value: float, count: int = 4) -> str:
    if isinstance(value, int):
        return str(value) if abs(value) < 10**12 else f"{float(value) if value.bit_length() < 1000 else math.inf:.4g}"
    return f"{value:.{count}g}" if math.isfinite(value) else "NaN" if math.isnan(value) else f"{value}inite"


def _plain(value: object) -> object:
    """The true, false or number that an array or tensor of no dimension holds."""
    scalar = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    return value.item() if scalar else value  # type: ignore[attr-defined]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def _numbers(value: object) -> numpy.ndarray[Any, Any] | None:
    """A number, list, array or tensor as float64; None for what holds no real numbers, or ragged rows of them."""
    import numpy as np

    if isinstance(value, bool | str | bytes | None):
        return None  # a bool is a number to Python, and a mistake here
    try:
        array = np.asarray(_detached(value))
        return array.astype(np.float64) if array.dtype.kind in "iufb" else None
    except Exception:  # whatever a foreign object raises when it is asked for numbers
        return None


def _detached(value: Any) -> Any:
    """Tensors, also those in lists, as arrays that know of no gradient."""
    if isinstance(value, list | tuple):
        return [_detached(entry) for entry in value]
    return value.detach().cpu().double().numpy() if hasattr(value, "detach") else value


def _kind(values: numpy.ndarray[Any, Any]) -> str:
    return "one number" if values.ndim == 0 else f"an array of shape {values.shape}"


def _compare(
    what: str,
    values: numpy.ndarray[Any, Any],
    low: numpy.ndarray[Any, Any],
    high: numpy.ndarray[Any, Any],
) -> Observation:
    """The entry furthest outside its band, with its place."""
    import numpy as np

    outside = ~((values >= low) & (values <= high) & np.isfinite(values))
    if not outside.any():
        return Observation(what, "", "", True)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        beyond = np.maximum(low - values, values - high)
    beyond = np.where(outside, np.nan_to_num(beyond, nan=np.inf, posinf=np.inf), -1)
    place = np.unravel_index(int(beyond.argmax()), values.shape)
    band = _band(float(low[place]), float(high[place]), float(values[place]))
    where = f" at [{', '.join(str(index) for index in place)}]" if values.ndim else ""
    return Observation(what, band[0] + where, band[1] + (" there" if where else ""), False)


def _band(low: float, high: float, value: float = math.nan) -> tuple[str, str]:
    """The value, and the band in words, with as many digits as it takes to tell them apart."""
    texts = [""]
    for count in range(4, 18):
        texts = [digits(number, count) for number in (value, low, high)]
        if texts[0] not in texts[1:] and (texts[1] != texts[2] or low == high):
            break
    shown, bottom, top = texts
    if low == high:
        return shown, f"exactly {bottom}"
    if math.isinf(low) or math.isinf(high):
        ends = [f"of at least {bottom}"] * math.isfinite(low) + [f"of at most {top}"] * math.isfinite(high)
        return shown, " ".join(ends) or "that is finite"
    return shown, f"between {bottom} and {top}"
