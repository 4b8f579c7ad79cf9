"""Wrong answers as small changes of the right one."""

from __future__ import annotations


def replace(solution: str, *changes: str) -> str:
    """The solution with `old` replaced by `new`, for each pair of them. Refuses a change that changes nothing."""
    assert len(changes) % 2 == 0, "give old, new, old, new, ..."
    mutant = solution
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in mutant, f"{old!r} does not stand in the solution"
        mutant = mutant.replace(old, new)
    assert mutant != solution, "the mutant is the solution"
    return mutant
