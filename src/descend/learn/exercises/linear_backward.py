"""1.2 The backward pass of a linear layer."""

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close, expect_true


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, inputs, outputs = ((4, 3, 2), (2, 5, 3), (3, 3, 3))[variant]
    delta, X = draw.normal(size=(rows, outputs)), draw.normal(size=(rows, inputs))
    W = draw.normal(size=(outputs, inputs))
    answer = yours.linear_backward(delta.copy(), X.copy(), W.copy())
    three = isinstance(answer, tuple | list) and len(answer) == 3
    seen = f"a {type(answer).__name__}{f' of {len(answer)}' if isinstance(answer, tuple | list) else ''}"
    yield expect_true("what is returned", three, observed=seen, expected="three arrays: dW, db, dX")
    dW, db, dX = answer
    where = f"for {rows} rows, {inputs} inputs and {outputs} outputs"
    yield expect_close(f"dW {where}", dW, np.einsum("ri,rj->ij", delta, X))
    yield expect_close(f"db {where}", db, np.einsum("ri->i", delta))
    yield expect_close(f"dX {where}", dX, np.einsum("ri,ij->rj", delta, W))


linear_backward = Exercise(
    number="1.2",
    title="The backward pass of a linear layer",
    anchor="the-backward-pass-of-a-linear-layer",
    minutes=10,
    task="""
A linear layer computes Z = X W' + b for a batch of rows. X is (rows, inputs), W is (outputs, inputs) as in PyTorch,
b is (outputs,). Write linear_backward(delta, X, W), which gets delta, the gradient of the loss with respect to Z,
an array (rows, outputs), and returns three arrays: the gradients with respect to W, b and X.

NumPy only, without autograd.
""",
    starter='''
import numpy as np


def linear_backward(delta, X, W):
    """The gradients dW, db and dX, each of the shape of what it belongs to."""
    raise NotImplementedError
''',
    hints=(
        "Each gradient has the shape of what it belongs to. Which products of delta and X have the shape of W?",
        "Z of one row and one output is a sum over inputs. Where does a single number W[i, j] appear in it?",
        "b is added to every row: its gradient collects what comes back from all of them, and nobody asked for a mean.",
    ),
    explanation="""
A small change dW changes the loss by the sum of delta * (X dW'), and ordered by entries of dW that is delta' X. The
same for X gives delta W. The bias is copied to every row, and copies send back a sum. With rows, inputs and outputs all
different only one product has the right shape, so such sizes find every transposed mistake; with equal sizes eight
products have it and seven are wrong.
""",
    check=check,
)
