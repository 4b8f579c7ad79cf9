import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from descend.train.stop import EarlyStopping

LOSSES = st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30)


def weighted(value: float) -> nn.Module:
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, value)
    return model


@given(LOSSES, st.integers(1, 5), st.floats(0, 10))
def test_it_stops_after_patience_evaluations_in_a_row_without_a_better_loss(losses, patience, min_delta):
    stopper = EarlyStopping(patience, min_delta)
    best, since = math.inf, 0
    for step, loss in enumerate(losses):
        stopper.see(loss, step, weighted(step))
        better = loss < best - min_delta
        best, since = (loss, 0) if better else (best, since + 1)
        assert stopper.exhausted == (since >= patience)


def test_nan_is_never_better():
    stopper = EarlyStopping(patience=2)
    for step, loss in enumerate([math.nan, 1.0, math.nan]):
        stopper.see(loss, step, weighted(step))
    assert (stopper.best_loss, stopper.best_step, stopper.evaluations_since) == (1.0, 1, 1)


def test_it_restores_a_real_copy_of_the_best_weights():
    stopper, model = EarlyStopping(patience=3), weighted(5.0)
    stopper.see(1.0, 0, model)
    with torch.no_grad():
        model.weight.fill_(7.0)  # in place: a reference to the weights would follow
    stopper.see(2.0, 1, model)
    stopper.restore(model)
    assert model.weight.item() == 5.0
    with torch.no_grad():
        model.weight.fill_(9.0)
    stopper.restore(model)
    assert model.weight.item() == 5.0, "what was restored is not tied to the copy"


def test_without_patience_nothing_is_kept_or_stopped():
    stopper, model = EarlyStopping(), weighted(5.0)
    for step, loss in enumerate([1.0, 2.0, 3.0]):
        stopper.see(loss, step, model)
    assert not stopper.exhausted
    assert stopper.best_weights is None
