"""The update rules of the catalog as compiled loops: the arithmetic of `rule.step`, written out for many numbers.

What all numbers share (1 - beta1**t, ...) is computed once a step, in double precision as Python would, and the rest in
the precision of the parameters. For a network, one run, the numbers lie in a row:

    update(start, stop, t, lr, hyper, param, grad, state)

moves param[start:stop]; hyper is [names] and state [slots, numbers]. For lanes, many runs, a number is a row with one
value a run, and each run has its own hyperparameters:

    update(start, stop, t, lr, hyper, alive, param, grad, state, powers, shared)

lr is [lanes], hyper [names, lanes], param [numbers, lanes] and state [slots, numbers, lanes]; `powers` and `shared` are
[SLOTS * LANES], memory to work in. Runs that are not alive stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from numba import types

from descend.catalog import OPTIMIZERS
from descend.compiled._jit import arrays, calls, part
from descend.compiled._store import module_of
from descend.compiled._trace import Node, Trace, trace
from descend.optim import UpdateRule

LANES: Final = 128  # the most runs side by side: what they work on, some 30 KB, stays in the first-level cache
SLOTS: Final = 32  # values that the numbers of a run may share; Adam has 8

_HEAD: Final = '"""{name}: {source}"""\n\nfrom math import exp, log, nan, sqrt, tanh\n\n\n'

_NETWORK: Final = """\
def update(start, stop, t, lr, hyper, param, grad, state):
    number = param.dtype.type
    param, grad{rows} = param[start:stop], grad[start:stop]{cuts}
{once}
    for i in range(len(param)):
{each}
"""

_LANES: Final = """\
def update(start, stop, t, lr, hyper, alive, param, grad, state, powers, shared):
    lanes = param.shape[1]
{powers}
    for lane in range(lanes):
{once}
    for i in range(start, stop):
        for lane in range(lanes):
{each}
"""

# the powers of runs beside each other are mostly the same, and one takes as long as forty multiplications
_POWER: Final = """\
    base, exponent, power = nan, nan, nan
    for lane in range(lanes):
        if {base} != base or {exponent} != exponent:
            base, exponent = {base}, {exponent}
            power = base**exponent
        {power} = power
"""


@cache
def rule(optimizer: str, dtype: str, lanes: bool) -> Any:
    """The address of the compiled update of a rule. Raises UntraceableError where it cannot be compiled."""
    module = module_of(
        f"{optimizer}_{'lanes' if lanes else 'network'}", source(optimizer, OPTIMIZERS[optimizer], lanes)
    )
    return part(module.update, signature(dtype, lanes))


@cache
def signature(dtype: str, lanes: bool) -> Any:
    """numba's type of an update."""
    row, matrix, cube = arrays(dtype)
    wide_row, wide_matrix, _ = arrays("float64")
    counts = types.int64, types.int64, types.int64
    if lanes:
        mask, *_ = arrays("bool")
        return types.void(*counts, wide_row, wide_matrix, mask, matrix, matrix, cube, wide_row, row)
    return types.void(*counts, types.float64, wide_row, row, row, matrix)


update_network = calls(lambda dtype: signature(dtype, lanes=False))
update_lanes = calls(lambda dtype: signature(dtype, lanes=True))


def source(name: str, rule: UpdateRule, lanes: bool) -> str:
    """The update of a rule as Python. Raises UntraceableError where it cannot be written."""
    return _HEAD.format(name=name, source=rule.source) + _Writer(trace(rule), lanes).text()


class _Writer:
    """One trace on its way to being text: what each value is called, and the lines so far."""

    def __init__(self, trace: Trace, lanes: bool) -> None:
        self.trace, self.lanes = trace, lanes
        lane = ", lane" if lanes else ""
        self.names = {"t": "t", "lr": "lr[lane]" if lanes else "lr"}
        self.names |= {name: f"hyper[{k}{lane}]" for k, name in enumerate(trace.hyper) if name != "lr"}
        self.names |= {"param": f"param[i{lane}]", "grad": f"grad[i{lane}]"}
        row = "state[{}, i, lane]" if lanes else "state{}[i]"
        self.names |= {f"state_{name}": row.format(slot) for slot, name in enumerate(trace.state)}
        self.called: dict[Node, str] = {}
        self.shared: dict[Node | float, str] = {}
        self.powers: list[str] = []
        self.once: list[str] = []
        self.each: list[str] = []

    def text(self) -> str:
        for node in self.trace.nodes():
            if node.varies:
                self.called[node] = f"x{len(self.each)}"
                self.each.append(f"{self.called[node]} = {self._formula(node, self._in_loop)}")
            elif self.lanes and "**" in node.form:
                self._power(node)
            else:
                self.called[node] = f"h{len(self.once)}"
                self.once.append(f"{self.called[node]} = {self._formula(node, self._outside)}")
        moved = self._in_loop(self.trace.moved)
        stay = f" if alive[lane] else {self.names['param']}" if self.lanes else ""
        self.each.append(f"{self.names['param']} = {moved}{stay}")
        for name, value in self.trace.state.items():
            self.each.append(f"{self.names[f'state_{name}']} = {self._in_loop(value)}")
        if self.lanes:
            powers = "".join(self.powers).rstrip()
            return _LANES.format(powers=powers, once=_indented(self.once, 8), each=_indented(self.each, 12))
        rows = "".join(f", state{slot}" for slot in range(len(self.trace.state)))
        cuts = "".join(f", state[{slot}, start:stop]" for slot in range(len(self.trace.state)))
        return _NETWORK.format(rows=rows, cuts=cuts, once=_indented(self.once, 4), each=_indented(self.each, 8))

    def _formula(self, node: Node, name: Callable[[Node | float], str]) -> str:
        return node.form.format(*map(name, node.operands))

    def _outside(self, value: Node | float) -> str:
        """What a value that all numbers share is called outside the loop over them."""
        if isinstance(value, float):
            return repr(value)
        return self.called.get(value) or self.names[value.name]

    def _in_loop(self, value: Node | float) -> str:
        """What a value is called in the loop over numbers, where what they share has their precision."""
        if isinstance(value, Node) and value.varies:
            return self._outside(value)
        if value not in self.shared:
            slot = len(self.shared)
            self.shared[value] = f"shared[{slot * LANES} + lane]" if self.lanes else f"s{slot}"
            wide = self._outside(value)
            self.once.append(f"{self.shared[value]} = {wide if self.lanes else f'number({wide})'}")
        return self.shared[value]

    def _power(self, node: Node) -> None:
        self.called[node] = f"powers[{len(self.powers) * LANES} + lane]"
        base, exponent = map(self._outside, node.operands)
        self.powers.append(_POWER.format(base=base, exponent=exponent, power=self.called[node]))


def _indented(lines: list[str], spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in lines)
