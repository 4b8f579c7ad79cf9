"""5.1 What the first loss must be, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from descend.learn import Answer, Exercise, Observation, expect_between, expect_close


def check(yours: Answer, draw: np.random.Generator, variant: int) -> Iterator[Observation]:
    classes, rows = ((2, 40), (5, 120), (10, 300))[variant]
    shares = draw.dirichlet(np.full(classes, 2.0))
    labels = np.concatenate([np.arange(classes), draw.choice(classes, rows, p=shares)])
    frequency = np.bincount(labels, minlength=classes) / len(labels)
    targets = draw.normal(draw.uniform(20, 60), draw.uniform(1, 5), rows)
    yield expect_close(
        f"the first cross-entropy of a network that finds {classes} classes equally likely",
        yours.loss_of_guessing(labels.copy(), classes),
        np.log(classes),
        rel=1e-6,
    )
    bias = yours.prior_bias(labels.copy(), classes)
    yield expect_between("the biases of the last layer", bias, low=-1e6, high=1e6)
    yield expect_close("the number of biases", np.shape(bias), (classes,))
    with np.errstate(all="ignore"):
        answered = np.exp(np.asarray(bias, dtype=float) - np.max(np.asarray(bias, dtype=float)))
        answered = answered / answered.sum()
    yield expect_close(
        "the probabilities that a softmax makes of your biases, on hidden labels", answered, frequency, rel=1e-6
    )
    yield expect_close(
        "the first cross-entropy with these biases, on hidden labels",
        yours.loss_at_the_prior(labels.copy(), classes),
        -np.log(frequency[labels]).mean(),
        rel=1e-6,
    )
    yield expect_close(
        "the first mean squared error of a network that answers 0",
        yours.first_squared_loss(targets.copy()),
        targets @ targets / rows,
        rel=1e-6,
    )
    yield expect_close(
        "the least mean squared error of one and the same answer to every row",
        yours.squared_loss_of_guessing(targets.copy()),
        targets.var(),
        rel=1e-6,
    )


first_losses = Exercise(
    number="5.1",
    title="What the first loss must be",
    anchor="the-first-loss",
    minutes=12,
    task="""
Say what a new network must lose before its first step, from the targets alone. `labels` is an array of class numbers
from 0 to classes - 1, each of which occurs; `targets` is an array of real numbers. Losses are means over the rows.

- loss_of_guessing(labels, classes): the cross-entropy if every class gets the same probability.
- prior_bias(labels, classes): biases of the last layer, one a class, with which a network whose other weights are zero
answers each class with its frequency.
- loss_at_the_prior(labels, classes): the cross-entropy with these biases.
- first_squared_loss(targets): the mean squared error of a network that answers 0 to everything.
- squared_loss_of_guessing(targets): that of the best answer that is the same for every row.
""",
    starter='''
import numpy as np


def loss_of_guessing(labels, classes):
    """A number."""
    raise NotImplementedError


def prior_bias(labels, classes):
    """An array of as many numbers as there are classes."""
    raise NotImplementedError


def loss_at_the_prior(labels, classes):
    """A number."""
    raise NotImplementedError


def first_squared_loss(targets):
    """A number."""
    raise NotImplementedError


def squared_loss_of_guessing(targets):
    """A number."""
    raise NotImplementedError
''',
    hints=(
        "A cross-entropy is the mean of -ln(probability of the right class). Which probability is it each time?",
        "A softmax turns logits into probabilities proportional to their exponentials. Which logits give p?",
        "At the prior a row of class k loses -ln p_k, and a share p_k of the rows is of class k: that is an entropy.",
        "The mean of squares is the variance plus the squared mean. The best constant answer leaves only the first.",
    ),
    explanation="""
The first loss is the cheapest test there is: you know its value before you run anything. Above it the network is sure
of wrong answers, far below it the labels leak. The difference between guessing evenly and guessing the frequencies is
what the first steps of training learn if you do not give it to the last bias; on targets far from zero that difference
is the squared mean, which is most of the loss.
""",
    check=check,
)
