"""Spanish and French: two genders, adjectives behind the noun and in agreement with it.

The tables are written so that a line can be checked by reading it:

    noun       `taza:f`, or `chapeau:m:chapeaux` if the plural is not regular
    adjective  `rojo|roja`, `azul` if both genders are the same, `naranja=` if it never changes;
               with a space in it, it is a phrase that never changes: `a rayas`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lookalike_serving.demo.said import Language, Said, joined, pick

Table = Mapping[str, str]
"""Of each kind, colour or pattern its words, separated by commas; the usual one comes first."""


@dataclass(frozen=True, slots=True)
class Romance:
    name: str
    tag: str
    kinds: Table
    colours: Table
    patterns: Table
    negations: tuple[str, ...]
    """Words that alone make a pattern plain: `sin`."""
    articles: Mapping[str, tuple[str, str, str, str]]
    """Masculine, feminine, and the plurals of both."""
    leads: tuple[tuple[str, str], ...]
    """Words before the noun, and the article that follows them or nothing."""
    tails: tuple[str, ...]
    in_colour: tuple[str, ...]
    """`de color`"""
    something: tuple[str, str]
    """Instead of a kind, before an adjective and before a phrase."""
    others: tuple[str, ...]
    """Adjectives that say nothing of kind, colour or pattern."""
    both: str
    """And."""
    small: tuple[str, ...]
    """Words inside the phrases of the tables that name nothing."""
    plural: Callable[[str], str]
    contracted: Callable[[str], str]
    """A sentence with its contractions: `de el` -> `del`."""
    unseen: Callable[[str, str, str, str, bool], tuple[str, ...]]
    """Noun, its plural, colour and pattern in agreement, and whether the noun is feminine."""


def language(of: Romance) -> Language:
    """What the tables of `of` can say."""

    def sentence(said: Said, rng: np.random.Generator) -> str:
        colour = pick(rng, _words(of.colours[said.colour])) if said.colour else ""
        pattern = pick(rng, _words(of.patterns[said.pattern])) if said.pattern else ""
        parts = [p for p in (colour, pattern) if p]
        if rng.random() < 0.3:
            parts.reverse()
        tail = pick(rng, of.tails)
        if said.kind is None:
            if rng.random() < 0.4:
                something = of.something[" " in parts[0]]
                words = [_agreeing(of, part, False, False) for part in parts]
                return of.contracted(joined(something, *words, tail))
            many, feminine = rng.random() < 0.2, rng.random() < 0.4
            return joined(*(_agreeing(of, part, feminine, many) for part in parts), tail)
        one, feminine, several = _noun(of, pick(rng, _words(of.kinds[said.kind])))
        if rng.random() < 0.2:  # as people type: bare words in any order
            words = [
                one,
                *(_agreeing(of, p, feminine and rng.random() < 0.5, False) for p in parts),
            ]
            if rng.random() < 0.3:
                words.reverse()
            return joined(*words)
        many = rng.random() < 0.25
        lead, article = pick(rng, of.leads)
        before = of.articles[article][2 * many + feminine] if article else ""
        if rng.random() < 0.12:
            parts.insert(0, pick(rng, of.others))
        words = [
            joined(pick(rng, of.in_colour), _agreeing(of, part, False, False))
            if part == colour and rng.random() < 0.15
            else _agreeing(of, part, feminine, many)
            for part in parts
        ]
        if len(words) == 2 and " " not in words[0] and rng.random() < 0.15:
            words.insert(1, of.both)
        return of.contracted(joined(lead, before, several if many else one, *words, tail))

    def plain(said: Said) -> str:
        noun, feminine = "", False
        if said.kind:
            noun, feminine, _ = _noun(of, _words(of.kinds[said.kind])[0])
        parts = [_words(of.colours[said.colour])[0]] if said.colour else []
        parts += [_words(of.patterns[said.pattern])[0]] if said.pattern else []
        return joined(noun, *(_agreeing(of, part, feminine, False) for part in parts))

    def unseen(said: Said, rng: np.random.Generator) -> str:
        assert said.kind
        assert said.colour
        assert said.pattern
        one, feminine, several = _noun(of, pick(rng, _words(of.kinds[said.kind])))
        colour, pattern = (
            _agreeing(of, pick(rng, _words(table)), feminine, False)
            for table in (of.colours[said.colour], of.patterns[said.pattern])
        )
        return pick(rng, of.unseen(one, several, colour, pattern, feminine))

    return Language(of.name, of.tag, sentence, plain, unseen, _names(of), _fillers(of))


def _words(line: str) -> list[str]:
    return line.split(", ")


def _noun(of: Romance, text: str) -> tuple[str, bool, str]:
    """The noun, whether it is feminine, and its plural."""
    one, gender, *irregular = text.split(":")
    first, *rest = one.split(" ")
    several = irregular[0] if irregular else joined(of.plural(first), *rest)
    return one, gender == "f", several


def _agreeing(of: Romance, adjective: str, feminine: bool, many: bool) -> str:
    if " " in adjective:
        return adjective
    if adjective.endswith("="):
        return adjective[:-1]
    masculine, _, other = adjective.partition("|")
    word = (other or masculine) if feminine else masculine
    return of.plural(word) if many else word


def _forms(of: Romance, adjective: str) -> set[str]:
    return {_agreeing(of, adjective, f, m) for f in (False, True) for m in (False, True)}


def _names(of: Romance) -> tuple[str, ...]:
    texts, nouns = set(of.negations), set[str]()
    for line in of.kinds.values():
        for word in _words(line):
            one, _, several = _noun(of, word)
            nouns |= {one, several}
    for table in (of.colours, of.patterns):
        for line in table.values():
            for word in _words(line):
                texts |= _forms(of, word)
    names = {word for text in texts for word in text.split()}
    return tuple(sorted((names - set(of.small)) | nouns))


def _fillers(of: Romance) -> tuple[str, ...]:
    texts = [*(lead for lead, _ in of.leads), *of.tails, *of.in_colour, *of.something, of.both]
    texts += [word for words in of.articles.values() for word in words]
    texts += [form for other in of.others for form in _forms(of, other)]
    words = {word for text in texts for word in of.contracted(text).replace("'", " ").split()}
    return tuple(sorted(words | set(of.small)))
