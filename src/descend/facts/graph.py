"""What the autograd graph of a loss tells: which loss it is, what it was given, and which parameters it reaches.

Read before the backward pass, while the graph holds the tensors it saved. Nothing here changes the graph.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

Node = Any  # torch.autograd.graph.Node, whose saved tensors are attributes that its type does not declare

LOSSES: Final = {
    "NllLoss": "nll",
    "NllLoss2D": "nll",
    "MseLoss": "mse",
    "L1Loss": "l1",
    "HuberLoss": "huber",
    "SmoothL1Loss": "huber",
    "BinaryCrossEntropy": "bce",
    "BinaryCrossEntropyWithLogits": "bce_with_logits",
}
PRODUCTS: Final = frozenset(f"{name}Backward{number}" for name in ("Mul", "Div") for number in (0, 1))
SUM: Final = 2
REDUCTIONS: Final = {1: "mean", SUM: "sum"}
VIEWS: Final = frozenset(
    {
        *("View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "T", "Transpose", "Permute"),
        *("Expand", "Select", "Slice", "Clone", "ToCopy", "Alias", "Flatten", "Index", "Cat", "Stack", "Movedim"),
    }
)
ACTIVATIONS: Final = {
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Gelu": "gelu",
    "Silu": "silu",
    "Softplus": "softplus",
    "LogSigmoid": "log_sigmoid",
}
ARITHMETIC: Final = frozenset({"Add", "Sub", "Mul", "Div", "Neg", "Mean", "Sum", "MaskedFill", *VIEWS})
NEAR: Final = 512  # nodes from the root within which losses are looked for: a sum over a sequence has two a position
DEEP: Final = 40  # operations that `ops` lists


@dataclass
class Reading:
    """What one loss was made of. `output` and `target` are what the loss function was given, detached."""

    loss: str | None = None
    output: Tensor | None = None
    target: Tensor | None = None
    given: dict[str, Any] = field(default_factory=dict)
    last_op: str | None = None
    ops: list[str] = field(default_factory=list)
    terms: int = 1  # losses of this kind that were added up: those of the positions of a sequence
    share: float = 1.0  # what the whole is to be multiplied by to be the mean of its terms
    mixed: bool = False  # whether losses of other kinds were added to it


def name_of(node: Node) -> str:
    """ "MseLoss" for MseLossBackward0."""
    return _short(node.name())


@functools.cache
def _short(name: str) -> str:
    return name.rsplit("::", 1)[-1].rstrip("0123456789").removesuffix("Backward")


def unscaled(node: Node | None) -> tuple[Node, float, list[Tensor]]:
    """The node of a loss before it was multiplied by numbers; the product of plain numbers, and tensors to divide by.

    A GradScaler multiplies by a float32 tensor; the number by which a user multiplies is kept as float64.
    """
    number, tensors = 1.0, list[Tensor]()
    if node is None or node.name() not in PRODUCTS:
        return node, number, tensors
    while node is not None and (name := name_of(node)) in ("Mul", "Div"):
        other = getattr(node, "_saved_other", None)
        if isinstance(other, Tensor) and (other.dim() or other.requires_grad):
            break
        following = [each for each, _ in node.next_functions if each is not None]
        if other is None or len(following) != 1:
            break
        if isinstance(other, Tensor) and (other.device.type != "cpu" or (name, other.dtype) == ("Mul", torch.float32)):
            tensors.append(other.detach() if name == "Mul" else 1 / other.detach())
        else:
            number = number * float(other) if name == "Mul" else number / float(other)
        node = following[0]
    return node, number, tensors


def compiled(root: Tensor) -> bool:
    """Whether `torch.compile` made the graph near a loss."""
    nodes = walk([root.grad_fn] if root.grad_fn is not None else [], NEAR)
    return any("CompiledFunction" in node.name() for node in nodes)


def reached(roots: Sequence[Tensor]) -> set[int] | None:
    """The ids of the leaves that a backward pass from `roots` will reach; None where the graph does not show them."""
    found: set[int] = set()
    for node in walk([root.grad_fn for root in roots if root.grad_fn is not None]):
        if "CheckpointFunction" in node.name():
            return None  # what is inside has a graph of its own, made during the backward pass
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            found.add(id(leaf))
    return found


def read(root: Tensor, model_output: Tensor | None = None, *, closely: bool = True) -> Reading:
    """What `root`, a loss, was made of. `model_output` is what the model put out, where the graph does not keep it.

    Unless `closely`, the values are not looked at: `given` is empty, and `output` may be log-probabilities.
    """
    node, number, _ = unscaled(root.grad_fn)
    if node is None:
        return Reading()
    losses = _losses_in(node)
    if not losses:
        return Reading(ops=_ops(node))
    found = losses[0]
    reading = _reading(*found)
    reading.terms = sum(kind == found[0] for kind, _ in losses)
    reading.mixed = reading.terms < len(losses)
    averaged = name_of(node) == "Mean" or abs(number * reading.terms - 1) < 1e-6
    reading.share = 1.0 if averaged else 1 / reading.terms
    if model_output is not None and (reading.output is None or (closely and _made(model_output, reading))):
        reading.output = model_output
    if not closely:
        return reading
    reading.given = _given(reading, *found) | {"reduction": _reduction(found[1], node, number)}
    return reading


def _made(output: Tensor, reading: Reading) -> bool:
    """Whether the log-probabilities that the graph holds were made of these logits, which it does not hold."""
    if reading.loss != "cross_entropy" or reading.last_op or output.dim() < 2 or reading.output is None:
        return False
    return output.shape == reading.output.shape and torch.allclose(
        output.log_softmax(1).float(), reading.output.float()
    )


# --- which loss it is -------------------------------------------------------------------------------------------------


def _losses_in(node: Node) -> list[tuple[str, Node]]:
    """The losses that were added up to make this node, the nearest first."""
    found: list[tuple[str, Node]] = []
    for each in walk([node], NEAR, through=lambda each: name_of(each) in ARITHMETIC):
        name = name_of(each)
        if name in LOSSES:
            found.append((LOSSES[name], each))
        elif name == "Pow" and getattr(each, "_saved_exponent", None) == 2 and _next(each, "Sub"):
            found.append(("mse", each))
        elif name == "Abs" and _next(each, "Sub"):
            found.append(("l1", each))
        elif name == "LogSoftmax" and not any(_next(loss, "LogSoftmax") is each for _, loss in found):
            found.append(("cross_entropy", each))  # with targets that are probabilities, or written out by hand
    return found


def _next(node: Node, name: str) -> Node | None:
    """The node behind this one, if it is called so."""
    following = [each for each, _ in node.next_functions if each is not None]
    return following[0] if following and name_of(following[0]) == name else None


def _behind_views(node: Node | None, *, expansions: bool = True) -> Node | None:
    """The first node that does more than rearrange; `expansions` says whether to go past broadcasting."""
    while node is not None and name_of(node) in VIEWS and (expansions or name_of(node) != "Expand"):
        node = next((each for each, _ in node.next_functions if each is not None), None)
    return node


def _output_edge(node: Node) -> Node | None:
    """The node that made what the loss was given."""
    if name_of(node) in ("Pow", "Abs"):  # of a difference
        node = _next(node, "Sub")
    return next((each for each, _ in node.next_functions if each is not None), None)


def _reading(loss: str, node: Node) -> Reading:
    """The tensors that the loss function was given, as far as the graph holds them."""
    target = saved(node, "_saved_target")
    target = None if target is None else _unexpanded(target)
    output = saved(node, "_saved_self") if name_of(node) in LOSSES else None
    edge = _output_edge(node) if name_of(node) != "LogSoftmax" else node
    names = [name_of(node)]
    if loss in ("nll", "cross_entropy"):
        behind = _behind_views(edge)
        if behind is not None and name_of(behind) == "LogSoftmax":
            loss, output = "cross_entropy", saved(behind, "_saved_result")
            edge = next((each for each, _ in behind.next_functions if each is not None), None)
            names = list(dict.fromkeys((name_of(node), "LogSoftmax")))
        if target is not None and output is not None and target.dim() != output.dim() - 1:
            shape = output.shape[:1] + output.shape[2:]
            if target.numel() == math.prod(shape):
                target = target.reshape(shape)
            else:  # a log-softmax over the last axis, before positions were laid out flat
                output = output.reshape(*target.shape, -1)
    behind = _behind_views(edge)
    last_op = ACTIVATIONS.get(name_of(behind)) if behind is not None else None
    if loss == "cross_entropy" and last_op is not None and behind is not None:
        before = saved(behind, "_saved_result")
        output = before if before is not None and output is not None and before.shape == output.shape else output
    return Reading(loss, output, target, last_op=last_op, ops=[*names, *_ops(edge)])


def saved(node: Node | None, name: str) -> Tensor | None:
    """A saved tensor; None where there is none, or where it was overwritten since."""
    try:
        value = getattr(node, name, None)
    except RuntimeError:
        return None
    return value.detach() if isinstance(value, Tensor) else None


def _given(reading: Reading, loss: str, node: Node) -> dict[str, Any]:
    """Shapes and values of what the loss function was given."""
    output, target = reading.output, reading.target
    output_shape = None if output is None else list(output.shape)
    edge = _output_edge(node)
    while edge is not None and name_of(edge) in VIEWS:
        if name_of(edge) == "Expand" and reading.loss not in ("cross_entropy", "nll"):
            output_shape = list(edge._saved_self_sym_sizes)
            break
        edge = next((each for each, _ in edge.next_functions if each is not None), None)
    target_shape = None if target is None else list(target.shape)
    difference = saved(node, "_saved_self")
    given: dict[str, Any] = {
        "output_shape": output_shape,
        "target_shape": target_shape,
        "target_dtype": None if target is None else str(target.dtype).removeprefix("torch."),
        "broadcast": None,
    }
    if reading.loss in ("mse", "l1", "huber", "bce", "bce_with_logits"):
        if output_shape is not None and target_shape is not None:
            given["broadcast"] = output_shape != target_shape
        elif output_shape is not None and difference is not None:
            given["broadcast"] = math.prod(output_shape) != difference.numel()
    for part, values in (("output", output), ("target", target)):
        if values is not None and values.numel():
            # torch has no least or largest of bfloat16 on some devices
            least, largest = torch.aminmax(values.float() if values.is_floating_point() else values)
            given |= {f"{part}_min": least.item(), f"{part}_max": largest.item()}
    if output is not None and output.dim() > 1 and output.shape[1] > 1:
        sums = output.float().sum(1)
        given["rows_sum_to_one"] = bool(((sums - 1).abs() < 1e-3).all())
    return given


def _unexpanded(tensor: Tensor) -> Tensor:
    """A tensor before it was broadcast: along a new axis, or one that repeats a single number, its stride is 0."""
    while tensor.dim() > 1 and tensor.stride(0) == 0 and len(tensor) > 1:
        tensor = tensor[0]
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def _reduction(loss: Node, root: Node, number: float) -> str | None:
    """How the rows were put together; None where that cannot be told, as in a sum that was divided by something."""
    saved = REDUCTIONS.get(getattr(loss, "_saved_reduction", 0))
    reduction = saved or {"Mean": "mean", "Sum": "sum"}.get(name_of(root))
    return None if reduction == "sum" and number != 1 else reduction


# --- walking ----------------------------------------------------------------------------------------------------------


def _ops(node: Node | None) -> list[str]:
    """Operations from here to the nearest parameter, along the first input of each."""
    names: list[str] = []
    while node is not None and len(names) < DEEP:
        if getattr(node, "variable", None) is not None:
            break
        names.append(name_of(node))
        following = [each for each, _ in node.next_functions if each is not None]
        if any(hasattr(each, "variable") for each in following):
            break
        node = following[0] if following else None
    return names


def walk(
    nodes: list[Node], most: float = math.inf, *, through: Callable[[Node], bool] = lambda node: True
) -> Iterator[Node]:
    """Each node once, nearest first; what lies behind a node only where `through` says so."""
    queue, seen = list(nodes), set(nodes)
    position = 0
    while position < len(queue) and position < most:
        node = queue[position]
        position += 1
        yield node
        for each, _ in node.next_functions if through(node) else ():
            if each is not None and each not in seen:
                seen.add(each)
                queue.append(each)
