"""English. The model learns it beside the pictures, from the sentences of `captions`.

Those hold no words such as "my" or "and". They are learned later, with the other languages.
"""

from __future__ import annotations

import numpy as np

from lookalike_serving.demo import captions
from lookalike_serving.demo.products import COLOUR_WORDS, KIND_WORDS, PATTERN_NOUNS, PATTERN_WORDS
from lookalike_serving.demo.said import Language, Said, joined, pick

_BEFORE = ("my", "a new", "a nice", "an", "my new", "similar to", "like my", "something like", "")
_OF_COLOUR = ("coloured", "colored", "color", "colour", "", "", "")
_OF_PATTERN = ("patterned", "pattern", "", "", "")


def _sentence(said: Said, rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        return captions.sentence(said, rng)
    hue = pattern = noun = ""
    if said.colour:
        hue = joined(pick(rng, COLOUR_WORDS[said.colour]), pick(rng, _OF_COLOUR))
    if said.pattern:
        pattern = joined(pick(rng, PATTERN_WORDS[said.pattern]), pick(rng, _OF_PATTERN))
    if said.kind:
        noun = pick(rng, KIND_WORDS[said.kind])
    linked = pick(rng, ("and", "or", "")) if hue and pattern else ""
    before = pick(rng, _BEFORE)
    if noun and rng.random() < 0.3:
        return joined(before, noun, pick(rng, ("that is", "in", "")), hue, linked, pattern)
    return joined(before, hue, linked, pattern, noun)


def _plain(said: Said) -> str:
    return joined(said.colour or "", said.pattern or "", said.kind or "")


def _plural(noun: str) -> str:
    if noun in ("trousers", "pants"):
        return noun
    return noun + ("es" if noun.endswith(("s", "sh", "ch")) else "s")


def _unseen(said: Said, rng: np.random.Generator) -> str:
    assert said.kind
    assert said.colour
    assert said.pattern
    noun, colour, having = (
        pick(rng, table)
        for table in (
            KIND_WORDS[said.kind],
            COLOUR_WORDS[said.colour],
            PATTERN_NOUNS[said.pattern],
        )
    )
    return pick(
        rng,
        (
            f"The {noun} that I saw yesterday: {colour}, with {having}",
            f"Do you have this {noun} with {having}, but in {colour}?",
            f"Present for my sister: {noun.upper()}, {colour}, {having}",
            f"{having.capitalize()} and {colour}: {_plural(noun)}",
        ),
    )


ENGLISH = Language(
    "English",
    "en",
    _sentence,
    _plain,
    _unseen,
    tuple(sorted(captions.names())),
    tuple(sorted({*captions.fillers(), "something"})),
)
