"""1.3 The gradient of softmax with cross-entropy."""

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    rows, classes = ((4, 3), (7, 10), (2, 5))[variant]
    logits, labels = draw.normal(size=(rows, classes)), draw.integers(classes, size=rows)

    def gradient(logits: np.ndarray) -> np.ndarray:
        """Column by column, from log-probabilities."""
        log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        return np.column_stack([np.exp(log_p[:, k]) - (labels == k) for k in range(classes)]) / rows

    where = f"the gradient for {rows} rows of {classes} logits"
    yield expect_close(where, yours.softmax_gradient(logits.copy(), labels.copy()), gradient(logits))
    large = 2000 * logits
    yield expect_close("the same with logits in the thousands", yours.softmax_gradient(large, labels), gradient(large))


softmax_gradient = Exercise(
    number="1.3",
    title="Softmax with cross-entropy",
    anchor="softmax-and-cross-entropy",
    minutes=10,
    task="""
The loss of a classifier is the mean over rows of -log softmax(logits)[label]. Write softmax_gradient(logits, labels),
the gradient of that mean with respect to the logits. logits is an array (rows, classes), labels holds for each row the
number of its class. Logits may be large: thousands are no reason for infinities or NaN.

NumPy only, without autograd.
""",
    starter='''
import numpy as np


def softmax_gradient(logits, labels):
    """The gradient of the mean cross-entropy by the logits, an array of their shape."""
    raise NotImplementedError
''',
    hints=(
        "Write the loss of one row as log(sum(exp(z))) - z[label], and differentiate by z[k].",
        "The result is short: what the network says, less what it should have said. And the loss is a mean.",
        "exp overflows near 710. Adding a number to all logits of a row changes no probability: which one helps?",
    ),
    explanation="""
The gradient is (p - y) / rows, with y the labels as one-hot rows. Every row of it sums to zero and no entry is larger
than 1 / rows, however wrong the network is. Softmax and logarithm belong together: apart, the probability underflows to
0 and its logarithm is infinite. With the largest logit subtracted the largest power is exp(0) = 1, so nothing can
overflow.
""",
    check=check,
)
