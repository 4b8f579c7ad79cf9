"""An update rule as a list of operations: `rule.step` is called once with symbols, which write down what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from descend.errors import DescendError
from descend.optim import UpdateRule
from descend.optim._optimizer import declared


class UntraceableError(DescendError):
    """A rule does what cannot be compiled; the message says what, in a sentence."""


@dataclass(frozen=True, eq=False)
class Node:
    """One number of the computation: an input by `name`, or an operation on others written as Python, `{0} * {1}`.

    `varies` tells what differs between the numbers of a parameter from what they share, such as 1 - beta1**t.
    """

    name: str = ""
    form: str = ""
    operands: tuple[Node | float, ...] = ()
    varies: bool = False


@dataclass(frozen=True)
class Trace:
    """What a rule computes for one number: its new value, and each number of its new state by name."""

    moved: Node | float
    state: dict[str, Node | float]
    hyper: tuple[str, ...]  # names of the hyperparameters, in the order in which they are declared

    def nodes(self) -> Iterator[Node]:
        """Every operation that the results need, once, each after its operands."""
        done: set[int] = set()

        def visit(node: Node | float) -> Iterator[Node]:
            if isinstance(node, Node) and id(node) not in done:
                done.add(id(node))
                for operand in node.operands:
                    yield from visit(operand)
                if node.form:
                    yield node

        for result in (self.moved, *self.state.values()):
            yield from visit(result)


def trace(rule: UpdateRule) -> Trace:
    """Write down the arithmetic of a rule. Raises UntraceableError where it does more than arithmetic on numbers."""
    if not rule.elementwise:
        raise UntraceableError("works on whole matrices, not number by number")
    hyper = tuple(declared(rule))
    state = rule.init(torch.zeros(1))
    if any(bool(value.any()) for value in state.values()):
        raise UntraceableError("has a state that does not begin at zero")
    moved, after = rule.step(
        _symbol(Node("param", varies=True)),
        _symbol(Node("grad", varies=True)),
        {name: _symbol(Node(f"state_{name}", varies=True)) for name in state},
        _Count(1),
        **{name: _symbol(Node(name)) for name in hyper},
    )
    return Trace(_node(moved), {name: _node(after[name]) for name in state}, hyper)


class _Symbol(Tensor):
    """A tensor without numbers: what torch is asked to do with it is written down in `node`."""

    node: Node

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        kinds: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(function, "__name__", str(function)).strip("_")
        if name not in _FORMS:
            raise UntraceableError(f"calls {name}, which the compiler does not know")
        try:
            return _symbol(_FORMS[name](*args, **(kwargs or {})))
        except TypeError as error:
            raise UntraceableError(f"calls {name} with arguments that the compiler does not know ({error})") from None


def _symbol(node: Node) -> _Symbol:
    symbol = torch.zeros(1).as_subclass(_Symbol)
    symbol.node = node
    return symbol


class _Count(int):
    """The number of the step, `t`: an int, as rules expect, whose arithmetic is written down."""

    node: Final = Node("t")


def _symbolic(operator: str) -> Callable[[_Count, Any], Any]:
    return lambda count, other: getattr(_symbol(count.node), operator)(other)


for _operator in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow"):
    setattr(_Count, f"__{_operator}__", _symbolic(f"__{_operator}__"))


def _node(value: Any) -> Node | float:
    if isinstance(value, _Symbol | _Count):
        return value.node
    if isinstance(value, bool | int | float):
        return float(value)
    raise UntraceableError(f"computes with a {type(value).__name__}, which the compiler does not know")


def _operation(form: str, *operands: Any) -> Node:
    nodes = tuple(map(_node, operands))
    return Node("", form, nodes, varies=any(isinstance(node, Node) and node.varies for node in nodes))


def _written(form: str) -> Callable[..., Node]:
    return lambda *operands: _operation(form, *operands)


def _plus(form: str, scaled: str) -> Callable[..., Node]:
    """An operation whose last operand is multiplied by a number, `alpha` or `value`, unless that is one."""

    def node(*operands: Any, **factor: Any) -> Node:
        values = [value for value in factor.values() if type(value) not in (int, float) or value != 1]
        return _operation(scaled, *operands, *values) if values else _operation(form, *operands)

    return node


def _power(base: Any, exponent: Any) -> Node:
    known = {0.5: "sqrt({0})", 1: "{0}", 2: "{0} * {0}", 3: "{0} * {0} * {0}"}
    if type(exponent) in (int, float) and exponent in known:
        return _operation(known[exponent], base)
    return _operation("{0} ** {1}", base, exponent)


def _clamp(value: Any, min: Any = None, max: Any = None) -> Node:
    if min is not None:
        value = _symbol(_operation("max({0}, {1})", value, min))
    return _operation("min({0}, {1})", value, max) if max is not None else value.node


_FORMS: Final[Mapping[str, Callable[..., Node]]] = {
    "add": _plus("{0} + {1}", "{0} + {2} * {1}"),
    "radd": _written("{0} + {1}"),
    "sub": _plus("{0} - {1}", "{0} - {2} * {1}"),
    "rsub": lambda a, b: _operation("{1} - {0}", a, b),
    "mul": _written("{0} * {1}"),
    "rmul": _written("{0} * {1}"),
    "div": _written("{0} / {1}"),
    "rdiv": lambda a, b: _operation("{1} / {0}", a, b),
    "reciprocal": lambda a: _operation("{1} / {0}", a, 1.0),
    "neg": _written("-{0}"),
    "pow": _power,
    "rpow": lambda a, b: _power(b, a),
    "square": _written("{0} * {0}"),
    "sqrt": _written("sqrt({0})"),
    "rsqrt": lambda a: _operation("{1} / sqrt({0})", a, 1.0),
    "exp": _written("exp({0})"),
    "log": _written("log({0})"),
    "tanh": _written("tanh({0})"),
    "abs": _written("abs({0})"),
    "sign": lambda a: _operation("({1} if {0} > {2} else {3} if {0} < {2} else {0})", a, 1.0, 0.0, -1.0),
    "maximum": _written("max({0}, {1})"),
    "minimum": _written("min({0}, {1})"),
    "clamp": _clamp,
    "clamp_min": _written("max({0}, {1})"),
    "clamp_max": _written("min({0}, {1})"),
    "lerp": _written("{0} + {2} * ({1} - {0})"),
    "addcmul": _plus("{0} + {1} * {2}", "{0} + {3} * {1} * {2}"),
    "addcdiv": _plus("{0} + {1} / {2}", "{0} + {3} * {1} / {2}"),
    "clone": _written("{0}"),
    "zeros_like": lambda a: _operation("{0}", 0.0),
    "gt": _written("{0} > {1}"),
    "ge": _written("{0} >= {1}"),
    "lt": _written("{0} < {1}"),
    "le": _written("{0} <= {1}"),
    "where": _written("({1} if {0} else {2})"),
}
"""What torch's functions and operators are, number by number."""
