"""What counts as a number of the prose, which claim it shows, and how a text is renewed."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.text import Shown, bare, formatted, quotes, renewed, shown, source, with_sources

TEXT = """\
# 2.1 Stability

The limit is **0.007863<!--=limit-->** and κ = 2,243<!--=kappa-->; accuracy 97.5 %<!--=optimizers.accuracy-->.

| lr | floor |
| --- | --- |
| `0.01` | 7.3e-11<!--=floor.a--> |

So $\\rho = 0.96$<!--=rate--> and $3.6\\times10^{-8}$<!--=tiny-->; from 0.3 to 0.5<!--=from_.low--><!--=from_.high-->.
"""


def test_every_marker_names_the_number_before_it() -> None:
    assert [(one.claim, one.value) for one in shown(TEXT, "gradient_descent")] == [
        ("gradient_descent.limit", 0.007863),
        ("gradient_descent.kappa", 2243.0),
        ("optimizers.accuracy", 97.5),
        ("gradient_descent.floor.a", 7.3e-11),
        ("gradient_descent.rate", 0.96),
        ("gradient_descent.tiny", 3.6e-8),
        ("gradient_descent.from_.low", 0.3),
        ("gradient_descent.from_.high", 0.5),
    ]


def test_nothing_is_bare_where_every_number_has_its_marker() -> None:
    assert bare(TEXT) == []


@pytest.mark.parametrize(
    "sentence",
    [
        "The loss falls by 97 %.",
        "It takes 3 times as long.",
        "It takes 2.5 seconds.",
        "There are 100 employees.",
        "The error is 1e-6.",
        "$\\beta = 0.9$ is usual.",
        "| 0.1 |",
        "A caption with 318 steps.",
        "# A heading without a number\n\n318 steps.",
        "It is 12 % of them, see [0.3](x.md).",
    ],
)
def test_a_number_without_a_marker_is_found(sentence: str) -> None:
    assert len(bare(f"First line.\n\n{sentence}\n")) >= 1


@pytest.mark.parametrize(
    "sentence",
    [
        "Two runs, 5 seeds and 12 layers.",
        "As `lr=0.01` has it (Kingma & Ba 2015), [see](https://arxiv.org/abs/1412.6980).",
        "For $2/\\lambda$, $10^{-6}$, $x_{100}$ and $\\frac{1}{2}$.",
        "Up to 8192<!--from: Goyal et al. 2017, abstract--> rows.",
        "```python\nlr = 0.01\n```",
        "1. First\n2. Second",
        "## 2.13 A heading",
        "<details><summary>Hint</summary>\n\nTry.\n\n</details>",
        "Where $a<b$ and $c>d$, it is $0.5$<!--=x-->.",
        "It is named w1, float32 and H100.",
    ],
)
def test_what_is_typed_quoted_or_part_of_the_language_claims_nothing(sentence: str) -> None:
    assert bare(f"{sentence}\n") == []


def test_a_marker_without_a_number_before_it_is_refused() -> None:
    with pytest.raises(ValueError, match="Line 2: no number stands right before <!--=x-->"):
        shown("The 5 are\nmany.<!--=x-->", "readme")


def test_markers_in_code_show_nothing() -> None:
    assert shown("`1<!--=x-->`\n\n```md\n2<!--=x-->\n```\n", "readme") == ()


def test_a_renewed_text_shows_the_measured_values_in_its_own_form() -> None:
    values = {"gradient_descent.limit": 0.0123456, "gradient_descent.kappa": 12345.6, "gradient_descent.tiny": 4.44e-9}
    text = renewed(TEXT, "gradient_descent", values)
    assert "**0.012346<!--=limit-->**" in text
    assert "12,346<!--=kappa-->" in text
    assert "$4.4\\times10^{-9}$<!--=tiny-->" in text
    assert [one.claim for one in shown(text, "gradient_descent")] == [
        one.claim for one in shown(TEXT, "gradient_descent")
    ]


@given(value=st.floats(-1e6, 1e6), decimals=st.integers(0, 6), exponent=st.booleans())
def test_a_formatted_value_is_read_back_to_half_its_last_digit(value: float, decimals: int, exponent: bool) -> None:
    like = f"{1.0:.{decimals}e}" if exponent else f"{1.0:.{decimals}f}"
    number = formatted(value, like)
    one = Shown("", number, 0, 0)
    assert abs(one.value - value) <= one.half_digit * (1 + 1e-6)


def test_a_quoted_source_is_the_source() -> None:
    text = "<!--source: descend.optim.adam.step-->\n\n```python\nold\n```\n"
    (quote,) = quotes(with_sources(text))
    from descend.optim import adam

    assert quote == ("descend.optim.adam.step", inspect.getsource(adam.step))
    assert source("descend.optim.adam.step") == quote[1]
