"""4.2 The best heavy ball for a quadratic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    size, kappa = ((2, 5.0), (4, 40.0), (6, 300.0))[variant]
    turn, _ = np.linalg.qr(draw.normal(size=(size, size)))
    values = np.exp(np.linspace(0, np.log(kappa), size)) * draw.uniform(0.1, 3)
    hessian = turn @ np.diag(values) @ turn.T
    low, high = np.sqrt(values[[0, -1]])
    answer = yours.best_heavy_ball(hessian.copy())
    lr, beta = answer if isinstance(answer, tuple | list) and len(answer) == 2 else (answer, None)
    of = f"for a hidden quadratic with {size} curvatures and condition number {kappa:g}"
    yield expect_close(f"the best learning rate {of}", lr, (2 / (low + high)) ** 2, rel=1e-3)
    yield expect_close(f"the best momentum {of}", beta, ((high - low) / (high + low)) ** 2, rel=1e-3)
    momentum = float(draw.uniform(0.3, 0.95))
    yield expect_close(
        f"the largest stable learning rate with momentum {momentum:.3f}",
        yours.max_stable_lr(hessian.copy(), momentum),
        (2 + 2 * momentum) / values[-1],
        rel=1e-3,
    )


heavy_ball = Exercise(
    number="4.2",
    title="The best heavy ball for a quadratic",
    anchor="the-heavy-ball-on-a-quadratic",
    minutes=10,
    task="""
The loss is the quadratic w.T H w / 2, and H is symmetric with positive eigenvalues. For momentum in the convention
of PyTorch (v = beta v + g, then w - lr v) write:

- best_heavy_ball(H): the pair (lr, beta) with which the error shrinks fastest in the long run
- max_stable_lr(H, beta): the learning rate at which momentum with this beta stops converging
""",
    starter='''
import numpy as np


def best_heavy_ball(H):
    """The pair (lr, beta) with the fastest rate."""
    raise NotImplementedError


def max_stable_lr(H, beta):
    """Where momentum stops converging."""
    raise NotImplementedError
''',
    hints=(
        "Along an eigenvector the errors obey z^2 - (1 + beta - lr lambda) z + beta = 0. When are both roots "
        "inside the unit circle?",
        "Where the roots are complex their size is the root of beta. Put the smallest and the largest eigenvalue just "
        "there.",
        "Only the square roots of the smallest and largest eigenvalue enter: their sum for the rate, difference "
        "over sum for the momentum, both squared.",
    ),
    explanation="""
While the roots are complex, every mode shrinks by the root of beta, whatever its curvature. The smallest beta that
keeps both ends of the spectrum complex is the best, and gives gradient descent's rate with the root of the
condition number in place of the condition number. The range grows from 2 / lambda to (2 + 2 beta) / lambda, nearly
twice as much, which is why a learning rate that diverges without momentum may converge with it.
""",
    check=check,
)
