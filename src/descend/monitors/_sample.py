"""Which numbers are looked at, where looking at all of them would slow training down.

Rows are taken evenly spaced and not from the top: a batch may be sorted, and so may the rows of an embedding.
"""

from __future__ import annotations

from typing import Final

from jaxtyping import Shaped
from torch import Tensor

NUMBERS: Final = 2**13  # of an activation: enough to know a mean and a standard deviation to 1 %
EXAMPLES: Final = 8  # of an activation with many numbers an example
ROWS: Final = 32  # of a parameter: their norm tells that of all rows to a few percent


def some_examples(output: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "some ..."]:
    """Examples of a batch with at least 8,192 numbers, and at least 8 examples, as far as there are as many."""
    return _spaced(output, max(EXAMPLES, NUMBERS * len(output) // output.numel())).contiguous()


def some_rows(parameter: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """32 to 63 rows of a matrix (or a convolution) with more; all of any other parameter. A view."""
    return _spaced(parameter, ROWS) if parameter.dim() > 1 else parameter


def _spaced(tensor: Tensor, count: int) -> Tensor:
    """`count` to 2 count - 1 rows, or all where there are not as many."""
    apart = len(tensor) // count
    return tensor[::apart] if apart > 1 else tensor
