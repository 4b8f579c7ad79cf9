"""5.2 The update ratio: how long a step is, in lengths of the weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    widths = ((3, 5), (8, 4, 6), (2, 10, 10, 2))[variant]
    before = {
        f"layer{number}": draw.normal(0, 10.0 ** draw.uniform(-3, 2), (wide, wide + 1))
        for number, wide in enumerate(widths)
    }
    before["bias"] = np.zeros(4)
    after = {
        name: value + draw.normal(0, 1, value.shape) * 10.0 ** draw.uniform(-4, 0) for name, value in before.items()
    }
    before["zero"] = after["zero"] = np.zeros(3)
    given = (
        {name: value.copy() for name, value in before.items()},
        {name: value.copy() for name, value in after.items()},
    )
    answer = yours.update_ratios(*given)
    known = answer if isinstance(answer, dict) else {}
    for name in before:
        size, step = np.linalg.norm(after[name]), np.linalg.norm(after[name] - before[name])
        yield expect_close(
            f"the ratio of {'a tensor of zeros that stays so' if name == 'zero' else name}",
            known.get(name),
            step / size if size else 0.0,
            rel=1e-6,
            absolute=1e-12,
        )
    step = np.sqrt(sum(((after[name] - before[name]) ** 2).sum() for name in before))
    size = np.sqrt(sum((value**2).sum() for value in after.values()))
    yield expect_close("the ratio of all parameters as one vector", known.get("all"), step / size, rel=1e-6)
    thousandfold = yours.update_ratios(
        *({name: 1000 * value for name, value in part.items()} for part in (before, after))
    )
    known = thousandfold if isinstance(thousandfold, dict) else {}
    yield expect_close(
        "the ratio of all, with weights and updates in other units (times 1000)",
        known.get("all"),
        step / size,
        rel=1e-6,
    )


update_ratios = Exercise(
    number="5.2",
    title="A signal without a unit",
    anchor="signals-without-a-unit",
    minutes=10,
    task="""
Write update_ratios(before, after), where both are dicts of NumPy arrays by name: the parameters of a network before and
after one step of an optimizer.

Return a dict: for every name the Euclidean length of the update over the Euclidean length of the parameter *after* the
update, and under the name "all" the same of all parameters together as one long vector. Where a parameter is exactly
zero after the update, its ratio is 0.
""",
    starter='''
import numpy as np


def update_ratios(before, after):
    """A dict of ratios by name, and "all"."""
    raise NotImplementedError
''',
    hints=(
        "The length of an array of any shape is the root of the sum of its squares (np.linalg.norm of it, flattened).",
        "For the whole, lengths cannot be added and ratios cannot be averaged. What can be added?",
        "Squared lengths of the parts add up to the squared length of the long vector, for updates and for weights.",
    ),
    explanation="""
A gradient is measured in loss per weight, so its size says nothing until you know both units. An update divided by what
it changes has none: about 1e-3 is usual for any loss, data and optimizer, 1e-7 means that nothing happens, 0.1 that
what was learned is overwritten. The length after the update is taken so that a bias that starts at zero has the ratio 1
at its first step, not infinity.
""",
    check=check,
)
