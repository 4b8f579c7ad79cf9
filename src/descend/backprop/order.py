"""The order of a backward pass: a node comes after everything that was made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable


@runtime_checkable
class HasParents(Protocol):
    """A node of a computation graph: it knows what it was made of."""

    @property
    def parents(self) -> Sequence[HasParents]: ...


Node = TypeVar("Node", bound=HasParents)


def topological(root: Node) -> list[Node]:
    """Every node that `root` was made of and `root` itself, parents before children, each once.

    Read backwards it is the order of a backward pass. A loop and not a recursion: Python stops at a depth of 1000.
    """
    done: list[Node] = []
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, parents_are_done = stack.pop()
        if parents_are_done:
            done.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((parent, False) for parent in reversed(node.parents))  # type: ignore[misc]
    return done
