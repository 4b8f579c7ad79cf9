"""A computation graph as SVG: what you wrote on the left, the loss on the right, value and gradient in each box.

The picture carries its own layout and style, needs nothing else, and follows the page into the dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from descend.backprop.array import Array
from descend.backprop.order import topological
from descend.backprop.scalar import Value

WIDTH, HEIGHT, GAP, ROW, MARGIN = 132, 62, 56, 84, 16
STYLE = """
svg{--ink:#1f2328;--quiet:#59636e;--box:#ffffff;--leaf:#eaf2fb;--line:#8c959f;--grad:#9a3412}
@media (prefers-color-scheme:dark){
svg{--ink:#e6edf3;--quiet:#9da7b1;--box:#161b22;--leaf:#152538;--line:#6e7681;--grad:#ffa657}}
text{font:13px system-ui,sans-serif;fill:var(--ink);text-anchor:middle}
.name{font-weight:600}.value{fill:var(--quiet)}.grad{fill:var(--grad)}
rect{fill:var(--box);stroke:var(--line);stroke-width:1.2}.leaf rect{fill:var(--leaf)}
path{fill:none;stroke:var(--line);stroke-width:1.4}marker path{fill:var(--line);stroke:none}
"""

Node = Value | Array


def graph_svg(root: Node, *, title: str = "Computation graph", description: str = "") -> str:
    """The graph behind `root` as the text of an SVG file. Arrays show their shape and the length of their gradient.

    `title` and `description` are what a screen reader says; without a description the nodes are read out.
    """
    nodes = topological(root)
    columns = _columns(nodes)
    layers = _ordered(nodes, columns)
    tallest = max(len(layer) for layer in layers)
    at: dict[object, tuple[float, float]] = {}
    for column, layer in enumerate(layers):
        top = MARGIN + (tallest - len(layer)) * ROW / 2
        for place, item in enumerate(layer):
            at[item] = (MARGIN + column * (WIDTH + GAP), top + place * ROW)
    width = 2 * MARGIN + len(layers) * (WIDTH + GAP) - GAP
    height = 2 * MARGIN + tallest * ROW - (ROW - HEIGHT)
    spoken = description or " ".join(f"{_sentence(node)}." for node in nodes)
    edges = [_edge([at[stop] for stop in _stops(parent, node, columns)]) for node in nodes for parent in _parents(node)]
    boxes = [_box(node, *at[node]) for node in nodes]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'role="img" aria-labelledby="graph-title graph-desc">',
            f'<title id="graph-title">{escape(title)}</title>',
            f'<desc id="graph-desc">{escape(spoken)}</desc>',
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0 8 4 0 8z"/></marker></defs>',
            *edges,
            *boxes,
            "</svg>",
        ]
    )


def _columns(nodes: Sequence[Node]) -> dict[Node, int]:
    """Each node as far to the right as its uses allow: one column left of the first of them."""
    steps = {nodes[-1]: 0}  # to the root, on the longest way
    for node in reversed(nodes):
        for parent in node.parents:
            steps[parent] = max(steps.get(parent, 0), steps[node] + 1)
    return {node: max(steps.values()) - count for node, count in steps.items()}


def _parents(node: Node) -> list[Node]:
    """Each parent once, also for x * x."""
    return list(dict.fromkeys(node.parents))


def _stops(parent: Node, node: Node, columns: dict[Node, int]) -> list[object]:
    """What an edge passes: its ends, and a place of its own in every column between, where no box will stand."""
    return [parent, *((parent, node, c) for c in range(columns[parent] + 1, columns[node])), node]


def _ordered(nodes: Sequence[Node], columns: dict[Node, int]) -> list[list[object]]:
    """The columns from top to bottom: everything is moved towards the mean of its neighbours, forth and back."""
    layers: list[list[object]] = [[] for _ in range(1 + max(columns.values()))]
    near: dict[object, tuple[list[object], list[object]]] = {}
    for node in nodes:
        layers[columns[node]].append(node)
        near[node] = ([], [])
    for node in nodes:
        for parent in _parents(node):
            stops = _stops(parent, node, columns)
            for c, stop in enumerate(stops[1:-1], columns[parent] + 1):
                layers[c].append(stop)
                near[stop] = ([], [])
            for left, right in pairwise(stops):
                near[left][1].append(right)
                near[right][0].append(left)
    for sweep in range(8):
        side = sweep % 2  # to the right by what is on the left, then back
        for layer in layers[1:] if side == 0 else layers[-2::-1]:
            place = {item: i - len(other) / 2 for other in layers for i, item in enumerate(other)}
            wish = {
                item: sum(place[n] for n in near[item][side]) / len(near[item][side])
                if near[item][side]
                else place[item]
                for item in layer
            }
            layer.sort(key=lambda item, wish=wish: wish[item])  # type: ignore[misc]
    return layers


def _edge(corners: Sequence[tuple[float, float]]) -> str:
    """A curve out of the right side of the first box into the left side of the last."""
    x, y = corners[0][0] + WIDTH, corners[0][1] + HEIGHT / 2
    path = f"M{x:g} {y:g}"
    for i, (left, top) in enumerate(corners[1:], 1):
        end, middle = top + HEIGHT / 2, (x + left) / 2
        path += f"C{middle:g} {y:g} {middle:g} {end:g} {left:g} {end:g}"
        x, y = left, end
        if i < len(corners) - 1:
            x += WIDTH
            path += f"H{x:g}"
    return f'<path d="{path}" marker-end="url(#tip)"/>'


def _box(node: Node, x: float, y: float) -> str:
    lines = (("name", _heading(node)), ("value", _value(node)), ("grad", _gradient(node)))
    texts = "".join(
        f'<text class="{kind}" x="{x + WIDTH / 2:g}" y="{y + 19 + 17 * i:g}">{escape(text)}</text>'
        for i, (kind, text) in enumerate(lines)
    )
    kind = "node" if node.parents else "leaf"
    box = f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
    return f'<g class="{kind}"><title>{escape(_sentence(node))}</title>{box}{texts}</g>'


def _heading(node: Node) -> str:
    sign = {"*": "×", "/": "÷", "-": "−", "neg": "−"}.get(node.op, node.op).replace("_", " ")
    text = f"{node.name} = {sign}" if node.name and sign and len(node.name + sign) < 14 else node.name or sign
    if not text:
        return "input" if isinstance(node, Value) or node.requires_grad else "constant"
    return text if len(text) <= 17 else text[:16] + "…"


def _value(node: Node) -> str:
    if isinstance(node, Value) or node.size == 1:
        return f"value {float(node.data.item() if isinstance(node, Array) else node.data):.4g}"
    return "shape " + " × ".join(map(str, node.shape))


def _gradient(node: Node) -> str:
    if isinstance(node, Value):
        return f"gradient {node.grad:.4g}"
    if node.grad is None:
        return "no gradient"
    if node.size == 1:
        return f"gradient {float(node.grad.item()):.4g}"
    return f"‖gradient‖ {float(np.linalg.norm(node.grad)):.3g}"


def _sentence(node: Node) -> str:
    made = f", made by {node.op} of {len(node.parents)}" if node.parents else ""
    return f"{node.name or node.op or 'input'}: {_value(node)}, {_gradient(node)}{made}"
