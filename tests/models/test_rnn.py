"""The recurrent network against its cells' equations, one position at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from descend.models._shape import Shape
from descend.models.rnn import CELLS, rnn

SEEDS = st.integers(0, 2**16)
WIDTH, FEATURES = 4, 3

every_cell = pytest.mark.parametrize("cell", list(CELLS))
law = settings(max_examples=15)


def tanh_cell(x, state, w, u, b, c):
    return torch.tanh(x @ w.T + b + state @ u.T + c), None


def gru_cell(x, state, w, u, b, c):
    (xr, xz, xn), (hr, hz, hn) = (x @ w.T + b).chunk(3, -1), (state @ u.T + c).chunk(3, -1)
    reset, update = (xr + hr).sigmoid(), (xz + hz).sigmoid()
    return (1 - update) * torch.tanh(xn + reset * hn) + update * state, None


def lstm_cell(x, state, w, u, b, c, memory=0.0):
    write, forget, candidate, read = (x @ w.T + b + state @ u.T + c).chunk(4, -1)
    memory = forget.sigmoid() * memory + write.sigmoid() * candidate.tanh()
    return read.sigmoid() * memory.tanh(), memory


EQUATIONS = {"tanh": tanh_cell, "gru": gru_cell, "lstm": lstm_cell}


def slow_states(cell, sequence, parameters):
    """[rows, positions, width] states of one layer."""
    state, memory, states = torch.zeros(len(sequence), WIDTH).double(), 0.0, []
    for x in sequence.unbind(1):
        extra = (memory,) if cell == "lstm" else ()
        state, memory = EQUATIONS[cell](x, state, *parameters, *extra)
        states.append(state)
    return torch.stack(states, 1)


@every_cell
@law
@given(depth=st.integers(1, 2), positions=st.integers(1, 6), seed=SEEDS)
def test_states_follow_the_cells_equations(cell, depth, positions, seed):
    torch.manual_seed(seed)
    shape = Shape((positions, FEATURES), 2, every_position=True)
    model = rnn(shape, depth=depth, width=WIDTH, cell=cell).double()
    states = sequence = torch.randn(3, positions, FEATURES).double()
    for layer in range(depth):
        names = (f"{kind}_l{layer}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        states = slow_states(cell, states, [getattr(model.recurrent, name) for name in names])
    torch.testing.assert_close(model(sequence), model.head(states), rtol=1e-12, atol=1e-12)


@every_cell
@law
@given(changed=st.integers(1, 5), seed=SEEDS)
def test_a_later_position_changes_no_earlier_answer(cell, changed, seed):
    torch.manual_seed(seed)
    model = rnn(Shape((6,), 2, tokens=5, every_position=True), depth=2, width=WIDTH, cell=cell)
    tokens = torch.randint(5, (3, 6))
    other = tokens.clone()
    other[:, changed] = (other[:, changed] + 1) % 5
    before, after = model(tokens), model(other)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert not torch.equal(before[:, changed:], after[:, changed:])


@every_cell
def test_one_answer_an_example_is_the_answer_at_the_last_position(cell):
    torch.manual_seed(0)
    one, every = (rnn(Shape((6,), 2, tokens=5, every_position=each), width=WIDTH, cell=cell) for each in (False, True))
    one.load_state_dict(every.state_dict())
    tokens = torch.randint(5, (3, 6))
    torch.testing.assert_close(one(tokens), every(tokens)[:, -1])
