"""Texts to numbers: the words that the demo model knows, of several languages at once.

A text need not say in which language it is. Letters are compared without case and diacritics, so
that `grün`, `GRUN` and `gruen` are one word. A word is looked up as a whole, then as a plural, then
by its parts at a hyphen. Several words may be one entry ("sac à dos"). Japanese has no spaces, so
the longest known words are cut out of it. One that touches an unknown character of its own script
is not believed: the 本 of 日本 is no book.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

PADDING = 0
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
"""A word of any script."""
_RANGES = ("\u3041-\u309f", "\u30a0-\u30ff", "\u3005\u3400-\u4dbf\u4e00-\u9fff")
"""Hiragana, katakana and Chinese characters."""
_SCRIPTS = tuple(re.compile(f"[{script}]") for script in _RANGES)
_UNSPACED = re.compile(f"[{''.join(_RANGES)}]")
_HIRAGANA = 0
_CERTAIN = 3
"""Letters of a word in hiragana that is believed wherever it stands: particles, which are shorter,
touch other words in hiragana everywhere."""
_LIGATURES = str.maketrans({"ß": "ss", "œ": "oe", "æ": "ae"})
_PLURALS = (("ies", "y"), ("es", ""), ("s", ""))
"""Endings in English, Spanish and French, and what the singular has instead."""
_UMLAUTS = (("ae", "a"), ("oe", "o"), ("ue", "u"))
"""Of German, as keyboards without them write them."""


class Word(NamedTuple):
    written: str
    """As in the text, in lower case."""
    known_as: str | None
    """The entry of the vocabulary; None if there is none."""


def folded(text: str) -> str:
    """Lower-case and without diacritics. Scripts other than Latin keep their marks (か and が)."""
    text = unicodedata.normalize("NFKC", text).lower().translate(_LIGATURES)
    return "".join(map(_bare, text))


def _bare(letter: str) -> str:
    base = unicodedata.normalize("NFD", letter)[0]
    return base if base.isascii() else letter


def _script(letter: str) -> int | None:
    """Which of `_SCRIPTS` a character belongs to."""
    return next((i for i, script in enumerate(_SCRIPTS) if script.match(letter)), None)


class Tokenizer:
    """Words to numbers. A word that training never saw is left out, and can be asked for.

    `fillers` are words that name nothing ("a", "photo", "mit"). A text of these alone says nothing.
    """

    def __init__(self, words: Sequence[str], context: int, fillers: Collection[str] = ()) -> None:
        self.words = tuple(words)
        self.context = context
        self._index = {word: i + 1 for i, word in enumerate(words)}
        self._fillers = frozenset(fillers)
        self._phrases = {tuple(word.split()): word for word in words if " " in word}
        self._longest = max(map(len, self._phrases), default=1)
        unspaced = [word for word in words if _UNSPACED.search(word)]
        longest_first = sorted(unspaced, key=len, reverse=True)
        self._unspaced = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def split(self, text: str) -> list[Word]:
        """The words of a text, in order."""
        found: list[Word] = []
        for match in _WORD.finditer(unicodedata.normalize("NFKC", text).lower()):
            word = match.group()
            if _UNSPACED.search(word):
                found.extend(self._cut(word))
            else:
                found.extend(self._look_up(word))
        return list(self._joined(found)) if self._phrases else found

    def unknown_words(self, text: str) -> list[str]:
        """Words of `text` that the model has never seen and ignores, in order."""
        words = self.split(text)
        if not words:
            return text.split()  # signs alone are as unknown as words
        return [word.written for word in words if word.known_as is None]

    def understands(self, text: str) -> bool:
        """Whether it knows any word of `text` that names something."""
        known = {word.known_as for word in self.split(text)} - {None}
        return not known <= self._fillers

    def left_out(self, text: str) -> str:
        """The known words of `text` that are past the context and therefore not read."""
        known = [word.written for word in self.split(text) if word.known_as is not None]
        return " ".join(known[self.context :])

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(n, context) int64, padded with 0; words past the context are left out."""
        rows = torch.full((len(texts), self.context), PADDING, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            entries = (word.known_as for word in self.split(text))
            known = [self._index[entry] for entry in entries if entry is not None]
            known = known[: self.context]
            row[: len(known)] = torch.tensor(known, dtype=torch.int64)
        return rows

    def _joined(self, words: list[Word]) -> Iterator[Word]:
        """Words in a row that are one entry, as one."""
        at = 0
        while at < len(words):
            for end in range(min(at + self._longest, len(words)), at, -1):
                phrase = self._phrases.get(tuple(folded(word.written) for word in words[at:end]))
                if phrase is not None:
                    yield Word(" ".join(word.written for word in words[at:end]), phrase)
                    break
            else:
                end = at + 1
                yield words[at]
            at = end

    def _look_up(self, word: str) -> list[Word]:
        entry = self._entry(word)
        if entry is None and "-" in word:
            return [Word(part, self._entry(part)) for part in word.split("-")]
        return [Word(word, entry)]

    def _entry(self, word: str) -> str | None:
        """The vocabulary's entry of a word with spaces around it."""
        return next((w for w in _spellings(folded(word)) if w in self._index), None)

    def _cut(self, word: str) -> Iterator[Word]:
        """The words of a text without spaces."""
        spans = [match.span() for match in self._unspaced.finditer(word)]
        unknown = [True] * len(word)
        for begin, end in spans:
            unknown[begin:end] = [False] * (end - begin)

        def touches(at: int, neighbour: int) -> bool:
            if not 0 <= neighbour < len(word) or not unknown[neighbour]:
                return False
            return _script(word[at]) == _script(word[neighbour])

        def doubtful(begin: int, end: int) -> bool:
            scripts = {_script(letter) for letter in word[begin:end]}
            if len(scripts) > 1 or (scripts == {_HIRAGANA} and end - begin >= _CERTAIN):
                return False
            return touches(begin, begin - 1) or touches(end - 1, end)

        for begin, end in (*spans, *reversed(spans)):  # what is not believed may touch the next
            if doubtful(begin, end):
                unknown[begin:end] = [True] * (end - begin)
        believed = [(begin, end) for begin, end in spans if not unknown[begin]]
        at = 0
        for begin, end in (*believed, (len(word), len(word))):
            if at < begin:
                gap = word[at:begin]
                yield from [Word(gap, None)] if _UNSPACED.search(gap) else self._look_up(gap)
            if begin < end:
                yield Word(word[begin:end], word[begin:end])
            at = end


def _spellings(word: str) -> Iterator[str]:
    """A folded word, then what it may be a plural or another spelling of."""
    yield word
    for ending, instead in _PLURALS:
        if word.endswith(ending):
            yield word.removesuffix(ending) + instead
    plain = word
    for written, letter in _UMLAUTS:
        plain = plain.replace(written, letter)
    if plain != word:
        yield plain
