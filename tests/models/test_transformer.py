"""The transformer against torch's own encoder, and what causal attention promises."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from descend.errors import RecipeError
from descend.models._shape import Shape
from descend.models.transformer import Attention, Sinusoidal, transformer

SEEDS = st.integers(0, 2**16)
HEADS = st.sampled_from([1, 2, 4])
WIDTH, TOKENS, POSITIONS = 8, 5, 6

law = settings(max_examples=15)


def causal(**options):
    """A model of tokens with an answer at every position."""
    return transformer(Shape((POSITIONS,), 2, tokens=TOKENS, every_position=True), width=WIDTH, **options)


def twin_of(block, heads, activation):
    """torch's encoder layer with the weights of a block."""
    twin = nn.TransformerEncoderLayer(
        WIDTH, heads, 4 * WIDTH, dropout=0.0, activation=activation, batch_first=True, norm_first=True
    ).double()
    attention = block.attention
    weights = [attention.query.weight, attention.key.weight, attention.value.weight]
    twin.load_state_dict(
        {
            "self_attn.in_proj_weight": torch.cat(weights),
            "self_attn.in_proj_bias": torch.zeros(3 * WIDTH),
        }
        | {
            f"{theirs}.{kind}": getattr(ours, kind)
            for theirs, ours in {
                "self_attn.out_proj": attention.mix,
                "norm1": block.attention_norm,
                "norm2": block.norm,
                "linear1": block.expand,
                "linear2": block.contract,
            }.items()
            for kind in ("weight", "bias")
        }
    )
    return twin


@law
@given(heads=HEADS, activation=st.sampled_from(["relu", "gelu"]), seed=SEEDS)
def test_a_block_is_torchs_pre_norm_encoder_layer_with_a_causal_mask(heads, activation, seed):
    torch.manual_seed(seed)
    block = causal(depth=1, heads=heads, activation=activation).double().blocks[0]
    x = torch.randn(3, POSITIONS, WIDTH).double()
    mask = nn.Transformer.generate_square_subsequent_mask(POSITIONS, dtype=torch.float64)
    torch.testing.assert_close(block(x), twin_of(block, heads, activation)(x, mask), rtol=1e-12, atol=1e-12)


@law
@given(positions=st.integers(1, 6), heads=HEADS, seed=SEEDS)
def test_attention_is_the_softmax_of_scaled_products_over_the_past(positions, heads, seed):
    torch.manual_seed(seed)
    attention, x = Attention(WIDTH, heads, 0.0).double(), torch.randn(2, positions, WIDTH).double()
    size, expected = WIDTH // heads, torch.empty(2, positions, WIDTH).double()
    queries, keys, values = attention.query(x), attention.key(x), attention.value(x)
    for row in range(2):
        for now in range(positions):
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                scores = keys[row, : now + 1, part] @ queries[row, now, part] / math.sqrt(size)
                expected[row, now, part] = scores.softmax(0) @ values[row, : now + 1, part]
    torch.testing.assert_close(attention(x), attention.mix(expected), rtol=1e-12, atol=1e-12)


@law
@given(changed=st.integers(1, POSITIONS - 1), seed=SEEDS)
def test_a_later_position_changes_no_earlier_answer(changed, seed):
    torch.manual_seed(seed)
    model, tokens = causal().double(), torch.randint(TOKENS, (3, POSITIONS))
    other = tokens.clone()
    other[:, changed] = (other[:, changed] + 1) % TOKENS
    before, after = model(tokens), model(other)
    torch.testing.assert_close(before[:, :changed], after[:, :changed], rtol=0, atol=1e-14)
    assert (before - after)[:, changed:].abs().amax() > 1e-6


@law
@given(length=st.integers(1, POSITIONS), seed=SEEDS)
def test_a_shorter_sequence_is_answered_like_the_start_of_a_longer_one(length, seed):
    torch.manual_seed(seed)
    model, tokens = causal().double(), torch.randint(TOKENS, (3, POSITIONS))
    torch.testing.assert_close(model(tokens[:, :length]), model(tokens)[:, :length], rtol=1e-12, atol=1e-12)


def test_one_answer_an_example_is_the_answer_at_the_last_position():
    torch.manual_seed(0)
    every, one = causal(), transformer(Shape((POSITIONS,), 2, tokens=TOKENS), width=WIDTH)
    one.load_state_dict(every.state_dict())
    tokens = torch.randint(TOKENS, (3, POSITIONS))
    torch.testing.assert_close(one(tokens), every(tokens)[:, -1])


@law
@given(seed=SEEDS)
def test_without_positions_one_block_sees_the_past_as_a_set(seed):
    torch.manual_seed(seed)
    model = causal(depth=1).double()
    nn.init.zeros_(model.positions.table.weight)
    tokens = torch.randint(TOKENS, (3, POSITIONS))
    shuffled = torch.cat([tokens[:, torch.randperm(POSITIONS - 1)], tokens[:, -1:]], dim=1)
    torch.testing.assert_close(model(tokens)[:, -1], model(shuffled)[:, -1], rtol=1e-12, atol=1e-12)


def test_blocks_whose_branches_end_in_zero_pass_their_input_on():
    torch.manual_seed(0)
    model, x = causal(), torch.randn(3, POSITIONS, WIDTH)
    for block in model.blocks:
        for layer in (block.attention.mix, block.contract):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
    assert torch.equal(model.blocks(x), x)


@given(width=st.integers(1, 9))
def test_sinusoidal_positions_are_the_papers(width):
    table = Sinusoidal(4, width)(torch.zeros(1, 4, width))[0]
    for position in range(4):
        for column in range(width):
            angle = position / 10_000 ** (column // 2 * 2 / width)
            expected = math.cos(angle) if column % 2 else math.sin(angle)
            assert table[position, column].item() == pytest.approx(expected, abs=1e-6)  # float32


def test_sinusoidal_positions_are_neither_trained_nor_saved():
    learned, fixed = causal(), causal(positions="sinusoidal")
    assert set(learned.state_dict()) - set(fixed.state_dict()) == {"positions.table.weight"}


def test_second_derivatives_exist_outside_the_fused_kernel():
    torch.manual_seed(0)
    model, tokens = causal(), torch.randint(TOKENS, (3, POSITIONS))
    parameters = list(model.parameters())
    with sdpa_kernel(SDPBackend.MATH):
        gradients = torch.autograd.grad(model(tokens).square().mean(), parameters, create_graph=True)
        curvature = torch.autograd.grad(sum(g.square().sum() for g in gradients), parameters)
    assert all(c.isfinite().all() for c in curvature)


def test_heads_that_do_not_divide_the_width_are_refused_with_those_that_do():
    with pytest.raises(RecipeError, match=r"heads is 3, but must divide width, which is 8: one of 1, 2, 4, 8\."):
        causal(heads=3)
