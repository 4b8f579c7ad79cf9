"""Text for a small language model: predict every next character of sentences from a small grammar.

The grammar is ours and chooses each word at random, so the least cross-entropy that any model can reach is known:
the entropy of a sentence divided by its mean length in characters (Shannon 1948). A subject agrees with its verb
("the miller near the barns follows ..."), which takes memory beyond the last word.
"""

from __future__ import annotations

import math
import re
from bisect import bisect
from functools import cache
from itertools import accumulate
from typing import Final

import numpy as np

from descend.catalog import Count, Fraction, Whole
from descend.data._build import assemble
from descend.data._dataset import Dataset
from descend.data._split import split_in_order

# Each rule lists expansions, the likely ones first: the i-th is drawn with a weight of 1/i (Zipf's law).
# No string can be derived in two ways, else the entropy of the choices would not be that of the text.
_RULES: Final = {
    "sentence": ("{clause}.\n", "{clause} and {clause}.\n", "{when}, {clause}.\n", "{clause}, but only {when}.\n"),
    "clause": ("{one} {verb}s {object}", "{many} {verb} {object}"),
    "object": ("{one}", "{many}", "{nobody}"),
    "one": ("the {noun}", "the {adjective} {noun}", "the {noun} {near} {landmark}"),
    "many": ("the {noun}s", "the {adjective} {noun}s", "the {noun}s {near} {landmark}"),
    "landmark": ("the {place}", "the {place}s", "the {adjective} {place}"),
    "nobody": ("nobody", "everybody", "a friend"),
    "when": ("in the morning", "at noon", "before the rain", "after harvest", "every winter", "on quiet days"),
    "near": ("near", "behind", "beyond", "above"),
    "noun": ("miller", "pupil", "dog", "farmer", "sailor", "crow", "teacher", "goat", "singer", "baker", "traveller"),
    "place": ("river", "mill", "barn", "garden", "hill", "bridge", "harbour", "village", "tower"),
    "verb": ("follow", "help", "know", "remember", "find", "greet", "visit", "call", "paint", "forget", "answer"),
    "adjective": ("old", "small", "quiet", "young", "clever", "tired", "brown", "lonely", "cheerful", "distant"),
}
_SLOT: Final = re.compile(r"\{(\w+)\}")


def characters(
    *,
    rows: Count = 2000,
    context: Count = 64,
    data_seed: Whole = 0,
    validation: Fraction = 0.1,
    test: Fraction = 0.0,
) -> Dataset:
    """`rows` stretches of `context` characters, one after the other in one text; int64 character numbers.

    Targets are the inputs shifted by one. The parts are consecutive pieces of the text.
    """
    parts = split_in_order(rows, source="characters", validation=validation, test=test)
    alphabet = sorted(set("".join(_SLOT.sub("", text) for rule in _RULES.values() for text in rule)))
    number = {character: code for code, character in enumerate(alphabet)}
    # Each part ends in a row's last target, which is not part of its inputs: one character more a part.
    text = _text(rows * context + len(parts), np.random.default_rng(data_seed))
    codes = np.array([number[character] for character in text])
    begins = np.arange(rows) * context + np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    windows = codes[begins[:, None] + np.arange(context + 1)]
    return assemble(
        "characters",
        windows[:, :-1],
        windows[:, 1:],
        parts,
        classes=tuple(alphabet),
        tokens=len(alphabet),
        every_position=True,
        bayes_error=_entropy("sentence") / _length("sentence"),
    )


def _text(length: int, draw: np.random.Generator) -> str:
    """The first `length` characters of a sequence of independent sentences."""
    sentences: list[str] = []
    while length > 0:
        sentences.append(_derive("sentence", draw))
        length -= len(sentences[-1])
    return "".join(sentences)[: length or None]


def _derive(symbol: str, draw: np.random.Generator) -> str:
    """A random text of a rule."""
    reached = list(accumulate(_chances(symbol)))
    chosen = _RULES[symbol][min(bisect(reached, draw.random()), len(reached) - 1)]
    return _SLOT.sub(lambda slot: _derive(slot[1], draw), chosen)


@cache
def _chances(symbol: str) -> tuple[float, ...]:
    weights = [1 / place for place in range(1, len(_RULES[symbol]) + 1)]
    return tuple(weight / sum(weights) for weight in weights)


@cache
def _entropy(symbol: str) -> float:
    """Of the texts of a rule, in nats: that of the choice, and the mean of those within what is chosen."""
    return sum(
        chance * (sum(map(_entropy, _SLOT.findall(text))) - math.log(chance))
        for chance, text in zip(_chances(symbol), _RULES[symbol], strict=True)
    )


@cache
def _length(symbol: str) -> float:
    """The mean length of the texts of a rule, in characters."""
    return sum(
        chance * (sum(map(_length, _SLOT.findall(text))) + len(_SLOT.sub("", text)))
        for chance, text in zip(_chances(symbol), _RULES[symbol], strict=True)
    )
