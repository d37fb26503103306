"""The sentences the demo model learns from, and which products are for training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lookalike_serving.demo.products import (
    COLOUR_WORDS,
    COLOURS,
    KIND_WORDS,
    KINDS,
    PATTERN_NOUNS,
    PATTERN_WORDS,
    PATTERNS,
)

Product = tuple[str, str, str]
"""Kind, colour, pattern."""

_SPLIT_SEED = 20261
_HELD_OUT = 0.2
_FILLERS = ("a", "the", "one", "")
_LEADS = ("a photo of", "picture of", "an image of", "show me", "i want", "find", "looking for", "")
_TAILS = (
    "on a table",
    "on white",
    "for sale",
    "please",
    "product photo",
    "in the studio",
    "",
    "",
    "",
    "",
)
_GLUE = (
    "and",
    "or",
    "my",
    "of",
    "that",
    "is",
    "with",
    "in",
    "pattern",
    "patterned",
    "coloured",
    "colored",
    "color",
    "colour",
    "similar",
    "to",
    "like",
    "new",
    "nice",
    "photo",
    "an",
)


def split() -> tuple[tuple[Product, ...], tuple[Product, ...]]:
    """(training, held out): every combination of kind, colour and pattern, a fifth held out.

    No picture and no complete caption of a held-out combination is used in training; each of its
    three parts is seen there in other combinations.
    """
    products = [(k, c, p) for k in KINDS for c in COLOURS for p in PATTERNS]
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(products))
    cut = int(len(products) * _HELD_OUT)
    held = sorted(int(i) for i in order[:cut])
    train = sorted(int(i) for i in order[cut:])
    return tuple(products[i] for i in train), tuple(products[i] for i in held)


@dataclass(frozen=True, slots=True)
class Caption:
    text: str
    kind: str | None
    colour: str | None
    pattern: str | None
    """What the sentence says; None if it leaves it open."""


def caption(product: Product, rng: np.random.Generator) -> Caption:
    """A random sentence that is true of the product and names one to three of its parts."""
    kind, colour, pattern = product
    roll = rng.random()
    says_kind = roll < 0.88
    says_colour = roll < 0.7 or 0.76 < roll < 0.82 or 0.88 < roll < 0.96
    says_pattern = roll < 0.62 or 0.82 < roll < 0.92 or roll > 0.96
    noun = _pick(rng, KIND_WORDS[kind]) if says_kind else ""
    hue = _pick(rng, COLOUR_WORDS[colour]) if says_colour else ""
    before, after = "", ""
    if says_pattern:
        if rng.random() < 0.7:
            before = _pick(rng, PATTERN_WORDS[pattern])
        else:
            after = "with " + _pick(rng, PATTERN_NOUNS[pattern])
    adjectives = [hue, before] if rng.random() < 0.75 else [before, hue]
    if says_kind and says_colour and rng.random() < 0.12:
        adjectives = [before]
        after = (after + " in " + hue).strip()
    words = [_pick(rng, _LEADS), _pick(rng, _FILLERS), *adjectives, noun, after, _pick(rng, _TAILS)]
    return Caption(
        " ".join(w for w in words if w),
        kind if says_kind else None,
        colour if says_colour else None,
        pattern if says_pattern else None,
    )


def vocabulary() -> tuple[str, ...]:
    """Every word a caption can hold, sorted."""
    phrases: list[str] = [*_FILLERS, *_LEADS, *_TAILS, *_GLUE]
    for table in (KIND_WORDS, COLOUR_WORDS, PATTERN_WORDS, PATTERN_NOUNS):
        for options in table.values():
            phrases.extend(options)
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
