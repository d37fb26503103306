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
from lookalike_serving.demo.said import Said, pick

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
GLUE = (
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
    said = parts(product, rng)
    return Caption(sentence(said, rng), said.kind, said.colour, said.pattern)


def parts(product: Product, rng: np.random.Generator) -> Said:
    """One to three of a product's parts, chosen at random."""
    kind, colour, pattern = product
    roll = rng.random()
    says_kind = roll < 0.88
    says_colour = roll < 0.7 or 0.76 < roll < 0.82 or 0.88 < roll < 0.96
    says_pattern = roll < 0.62 or 0.82 < roll < 0.92 or roll > 0.96
    return Said(
        kind if says_kind else None,
        colour if says_colour else None,
        pattern if says_pattern else None,
    )


def sentence(said: Said, rng: np.random.Generator) -> str:
    """A random English sentence that says it."""
    noun = pick(rng, KIND_WORDS[said.kind]) if said.kind else ""
    hue = pick(rng, COLOUR_WORDS[said.colour]) if said.colour else ""
    before, after = "", ""
    if said.pattern:
        if rng.random() < 0.7:
            before = pick(rng, PATTERN_WORDS[said.pattern])
        else:
            after = "with " + pick(rng, PATTERN_NOUNS[said.pattern])
    adjectives = [hue, before] if rng.random() < 0.75 else [before, hue]
    if noun and hue and rng.random() < 0.12:
        adjectives = [before]
        after = (after + " in " + hue).strip()
    words = [pick(rng, _LEADS), pick(rng, _FILLERS), *adjectives, noun, after, pick(rng, _TAILS)]
    return " ".join(w for w in words if w)


def names() -> frozenset[str]:
    """Every English word that names a kind, colour or pattern."""
    tables = (KIND_WORDS, COLOUR_WORDS, PATTERN_WORDS, PATTERN_NOUNS)
    phrases = [phrase for table in tables for options in table.values() for phrase in options]
    return frozenset(word for phrase in phrases for word in phrase.split()) - {"pattern"}


def fillers() -> frozenset[str]:
    """Every other word that a caption can hold, and some that none holds."""
    phrases = [*_FILLERS, *_LEADS, *_TAILS, *GLUE, "pattern"]
    return frozenset(word for phrase in phrases for word in phrase.split()) - names()


def vocabulary() -> tuple[str, ...]:
    """Every word a caption can hold, sorted."""
    return tuple(sorted(names() | fillers()))
