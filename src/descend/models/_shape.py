"""What a model must fit: the shape of one example and of one answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """`inputs` is one example without the batch axis: (3,) features, (1, 8, 8) an image, (50, 2) a sequence.

    `outputs` numbers are answered per example, or per position where `every_position` is true.
    `tokens` is the vocabulary's size where inputs are token numbers of shape (positions,), else None.
    """

    inputs: tuple[int, ...]
    outputs: int
    tokens: int | None = None
    every_position: bool = False
