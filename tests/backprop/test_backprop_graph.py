"""The drawn graph: valid, complete, readable aloud, and no box stands on another."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from descend.backprop import MLP, Array, Value, graph_svg, softmax_cross_entropy, tanh
from descend.backprop.graph import HEIGHT, WIDTH
from descend.backprop.order import topological

SVG = "{http://www.w3.org/2000/svg}"


def scalars():
    a, b, c = Value(2.0, "a"), Value(-3.0, "b"), Value(10.0, "c < d & e")
    return (((a * b).named("e") + c).tanh() * (a + b * c) + a * a).named("L")


def network():
    rng = np.random.default_rng(0)
    model = MLP([5, 4, 3], activation=tanh, rng=rng)
    return softmax_cross_entropy(model(rng.normal(size=(7, 5))), [0, 1, 2, 0, 1, 2, 0]).named("loss")


def boxes(tree):
    return [(float(r.get("x")), float(r.get("y"))) for r in tree.iter(SVG + "rect")]


@pytest.mark.parametrize("make", [scalars, network])
def test_every_node_has_a_box_every_use_an_arrow_and_none_overlap(make):
    root = make()
    root.backward()
    tree = ElementTree.fromstring(graph_svg(root))
    nodes = topological(root)
    assert len(boxes(tree)) == len(nodes)
    arrows = [path for path in tree.iter(SVG + "path") if path.get("marker-end")]
    assert len(arrows) == sum(len(set(node.parents)) for node in nodes)
    for (x, y), (u, v) in combinations(boxes(tree), 2):
        assert abs(x - u) >= WIDTH or abs(y - v) >= HEIGHT
    width, height = (float(tree.get(side)) for side in ("width", "height"))
    assert all(0 <= x <= width - WIDTH and 0 <= y <= height - HEIGHT for x, y in boxes(tree))


def test_arrows_lead_from_left_to_right():
    tree = ElementTree.fromstring(graph_svg(scalars()))
    for path in tree.iter(SVG + "path"):
        if path.get("marker-end"):
            start, end = path.get("d")[1:].split()[0], path.get("d").split()[-2]
            assert float(start) < float(end)


def test_values_and_gradients_are_written_and_names_escaped():
    root = scalars()
    root.backward()
    texts = [text.text for text in ElementTree.fromstring(graph_svg(root)).iter(SVG + "text")]
    a = next(node for node in topological(root) if node.name == "a")
    assert {"a", "value 2", f"gradient {a.grad:.4g}", "c < d & e", "e = ×"} <= set(texts)


def test_arrays_show_their_shapes():
    root = network()
    texts = [text.text for text in ElementTree.fromstring(graph_svg(root)).iter(SVG + "text")]
    assert {"weight", "shape 4 × 5", "shape 7 × 4", "no gradient", "constant"} <= set(texts)
    root.backward()
    assert any(text.startswith("‖gradient‖ ") for text in [
        text.text for text in ElementTree.fromstring(graph_svg(root)).iter(SVG + "text")])  # fmt: skip


def test_a_screen_reader_is_told_the_title_and_every_node_and_the_dark_is_provided_for():
    svg = graph_svg(scalars(), title="Product and sum")
    tree = ElementTree.fromstring(svg)
    assert tree.get("role") == "img"
    assert tree.find(SVG + "title").text == "Product and sum"
    assert "a: value 2, gradient 0" in tree.find(SVG + "desc").text
    assert "prefers-color-scheme:dark" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert ElementTree.fromstring(graph_svg(scalars(), description="One.")).find(SVG + "desc").text == "One."


def test_one_node_alone_is_drawn():
    assert len(boxes(ElementTree.fromstring(graph_svg(Array([1.0]))))) == 1
