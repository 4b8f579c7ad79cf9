"""3.6 Learning rate and betas for another batch size: linear for SGD, by the square root for Adam."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    old, new = ((32, 128), (256, 64), (8, 200))[variant]
    lr, top = float(draw.uniform(0.001, 0.01)), float(draw.uniform(1, 4))
    beta1, beta2, eps = 0.98, 0.999, 1e-7
    many = new / old
    where = f"from batches of {old} to {new}"
    sgd = yours.scaled_sgd(lr, old, new, top)
    # the limit is put out of reach first, then within it
    far = yours.scaled_sgd(lr, old, new, 1e-3)
    yield expect_close(f"SGD's rate {where}, far below the limit", far, lr * many, rel=1e-6)
    yield expect_close(
        f"SGD's rate {where} with sharpness {top:.3g}", sgd, min(lr * many, max(lr, 0.5 / top)), rel=1e-6
    )
    steep = 1 / lr
    yield expect_close(
        f"SGD's rate {where} where the old one is beyond half of 1 / sharpness",
        yours.scaled_sgd(lr, old, new, steep),
        min(lr * many, lr),
        rel=1e-6,
    )
    expected = (lr * many**0.5, max(0.0, 1 - many * (1 - beta1)), max(0.0, 1 - many * (1 - beta2)), eps / many**0.5)
    names = ("learning rate", "beta1", "beta2", "eps")
    got = yours.scaled_adam(lr, beta1, beta2, eps, old, new)
    yield expect_close(f"how many numbers scaled_adam returns {where}", _count(got), 4)
    for name, one, right in zip(names, got, expected, strict=True):
        yield expect_close(f"Adam's {name} {where}", one, right, rel=1e-6, absolute=1e-12)
    low = yours.scaled_adam(lr, 0.9, beta2, eps, 16, 512)[1]
    yield expect_close("Adam's beta1 where the rule would make it negative", low, 0.0, absolute=1e-12)


def _count(values: object) -> int:
    return len(values) if isinstance(values, tuple | list | np.ndarray) else 1


batch_scaling = Exercise(
    number="3.6",
    title="Scale the rate with the batch",
    anchor="learning-rate-and-batch-size",
    minutes=15,
    task="""
A training was tuned for batches of `old` rows and shall now use `new` rows (more or fewer). Write

    scaled_sgd(lr, old, new, sharpness)
        the new learning rate: the linear scaling rule, but an increase goes no further than
        0.5 / sharpness, a quarter of the stability limit; a rate above that is not raised

    scaled_adam(lr, beta1, beta2, eps, old, new)
        the new (lr, beta1, beta2, eps): the square-root rule of Malladi et al.; betas are at
        least 0
""",
    starter='''
def scaled_sgd(lr, old, new, sharpness):
    """SGD's learning rate for batches of `new` rows."""
    raise NotImplementedError


def scaled_adam(lr, beta1, beta2, eps, old, new):
    """Adam's (lr, beta1, beta2, eps) for batches of `new` rows."""
    raise NotImplementedError
''',
    hints=(
        "With k = new / old: what happens to the noise of a batch, and what must happen to lr / B?",
        "Adam forgets 1 - beta of its averages at each step. With k times the batch a step stands for k times the "
        "examples, so it must forget k times as much.",
        "Where noise dominates, the gradient that Adam divides by shrinks with the square root of k, so eps goes down "
        "by it and lr goes up by it. For SGD take the smaller of two rates, and mind the case that is beyond the cap.",
    ),
    explanation="""
SGD's floor and path depend on lr / B, so k times the batch takes k times the rate, until curvature and not noise limits
the step: beyond a fraction of 2 / sharpness the rule promises what it cannot hold. Adam divides by the size of its
gradients, which noise of smaller variance makes smaller by the square root of k, so its steps keep their length by
themselves, and the rate needs only the square root. The betas are memory: in examples, not in steps, it stays the same.
""",
    check=check,
)
