"""Numbers that remember how they were made, so that the chain rule can be read off them.

    a, b = Value(2.0, "a"), Value(3.0, "b")
    loss = a * b + a
    loss.backward()
    a.grad  # 4.0: the derivative of a*b + a by a is b + 1

Each operation writes down its local derivatives while it computes its value. The backward pass multiplies and adds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from descend.backprop.order import topological


class Value:
    """A number in a computation graph: `data`, its `grad`, its `parents` and the `local` derivative by each of them.

    `op` is the sign or name of the operation that made it, empty for a number that you wrote. `name` is for people.
    """

    def __init__(
        self,
        data: float,
        name: str = "",
        *,
        op: str = "",
        parents: tuple[Value, ...] = (),
        local: tuple[float, ...] = (),
    ) -> None:
        self.data = float(data)
        self.grad = 0.0
        self.name = name
        self.op = op
        self.parents = parents
        self.local = local

    def named(self, name: str) -> Value:
        """This value, called `name` from now on."""
        self.name = name
        return self

    def __add__(self, other: Value | float) -> Value:
        other = _value(other)
        return Value(self.data + other.data, op="+", parents=(self, other), local=(1.0, 1.0))

    def __sub__(self, other: Value | float) -> Value:
        other = _value(other)
        return Value(self.data - other.data, op="-", parents=(self, other), local=(1.0, -1.0))

    def __mul__(self, other: Value | float) -> Value:
        other = _value(other)
        return Value(self.data * other.data, op="*", parents=(self, other), local=(other.data, self.data))

    def __truediv__(self, other: Value | float) -> Value:
        other = _value(other)
        local = (1 / other.data, -self.data / other.data**2)
        return Value(self.data / other.data, op="/", parents=(self, other), local=local)

    def __pow__(self, exponent: float) -> Value:
        if isinstance(exponent, Value):
            raise TypeError("The exponent of ** is a plain number here. For a Value write (exponent * x.log()).exp().")
        slope = exponent * self.data ** (exponent - 1) if exponent else 0.0
        return Value(self.data**exponent, op=f"**{exponent:g}", parents=(self,), local=(slope,))

    def __neg__(self) -> Value:
        return Value(-self.data, op="neg", parents=(self,), local=(-1.0,))

    def __radd__(self, other: float) -> Value:
        return _value(other) + self

    def __rsub__(self, other: float) -> Value:
        return _value(other) - self

    def __rmul__(self, other: float) -> Value:
        return _value(other) * self

    def __rtruediv__(self, other: float) -> Value:
        return _value(other) / self

    def exp(self) -> Value:
        """e to this power, which is its own derivative."""
        out = math.exp(self.data)
        return Value(out, op="exp", parents=(self,), local=(out,))

    def log(self) -> Value:
        """The natural logarithm, with derivative 1/x."""
        return Value(math.log(self.data), op="log", parents=(self,), local=(1 / self.data,))

    def tanh(self) -> Value:
        """The hyperbolic tangent t, with derivative 1 - t^2."""
        out = math.tanh(self.data)
        return Value(out, op="tanh", parents=(self,), local=(1 - out**2,))

    def sigmoid(self) -> Value:
        """s = 1 / (1 + e^-x), with derivative s (1 - s), at most 1/4."""
        out = (1 + math.tanh(self.data / 2)) / 2  # the same function, and it cannot overflow
        return Value(out, op="sigmoid", parents=(self,), local=(out * (1 - out),))

    def relu(self) -> Value:
        """The larger of x and 0, with derivative 1 above 0 and 0 below; at 0 we say 0, as PyTorch does."""
        return Value(max(self.data, 0.0), op="relu", parents=(self,), local=(float(self.data > 0),))

    def trace(self, seed: float = 1.0) -> Iterator[Message]:
        """The messages of a backward pass from here, in the order in which they are sent. No `grad` is changed.

        A node speaks only when it has heard from all that use it: what it has received is then the sum over them.
        """
        received = {self: seed}
        for node in reversed(topological(self)):
            for parent, local in zip(node.parents, node.local, strict=True):
                passes = received[node] * local
                before = received.get(parent)
                received[parent] = passes if before is None else before + passes  # fan-out: gradients add up
                yield Message(node, parent, received[node], local, passes, before)

    def backward(self, seed: float = 1.0) -> None:
        """Add the derivative of this value (times `seed`) by each node to that node's `grad`.

        Add, not set: a second call accumulates, until `zero_grad`.
        """
        messages = list(self.trace(seed))
        self.grad += seed
        for message in messages:
            message.parent.grad += message.passes

    def zero_grad(self) -> None:
        """Forget the gradients of this value and of all it was made of."""
        for node in topological(self):
            node.grad = 0.0

    @property
    def expression(self) -> str:
        """How it was made, one step back: `a * b`; for a number that you wrote, the number."""
        if not self.op:
            return f"{self.data:.4g}"
        of = [parent.label for parent in self.parents]
        if self.op in ("+", "-", "*", "/"):
            return f"{of[0]} {self.op} {of[1]}"
        if self.op.startswith("**"):
            return f"{of[0]}{self.op}"
        return f"-{of[0]}" if self.op == "neg" else f"{self.op}({of[0]})"

    @property
    def label(self) -> str:
        """What to call it in a sentence: its name, or else its expression."""
        if self.name or not self.op:
            return self.name or self.expression
        return f"({self.expression})" if len(self.expression) <= 40 else f"({self.op} of {len(self.parents)})"

    def __repr__(self) -> str:
        name = f", {self.name!r}" if self.name else ""
        return f"Value({self.data:g}{name}, grad={self.grad:g})"


@dataclass(frozen=True)
class Message:
    """One step of a backward pass: `node` received a gradient and passes it on to one `parent`."""

    node: Value
    parent: Value
    received: float
    """The derivative of the end result by `node`, all that use `node` summed."""
    local: float
    """The derivative of `node` by `parent`."""
    passes: float
    """received * local"""
    before: float | None
    """What `parent` had received before this message; None if this is the first."""

    @property
    def total(self) -> float:
        """What `parent` has received after this message."""
        return self.passes if self.before is None else self.before + self.passes

    def __str__(self) -> str:
        node = f"{self.node.name} = {self.node.expression}" if self.node.name else self.node.expression
        to = self.parent.label
        sentence = (
            f"{node} received {self.received:.4g} from above, its local derivative by {to} is {self.local:.4g}, "
            f"it passes {self.passes:.4g} to {to}."
        )
        if self.before is None:
            return sentence
        return f"{sentence} {to} had {self.before:.4g} already, the sum is {self.total:.4g}."


def _value(number: Value | float) -> Value:
    return number if isinstance(number, Value) else Value(number)
