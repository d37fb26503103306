"""Which part of a text a model does not read, because the text is longer than the model's context.

Tokenizers cut silently, and each in its own way. So the tokenizer itself is asked: the end of a
text is not read if the tokens are the same without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Tokens = Sequence[int]

_SPECIAL = 2
"""Tokens that mark the beginning and the end of a text."""
_ANOTHER_WORD = " x"
_WORD = 20
"""Characters of the longest word; what is longer is a text of a script without spaces."""


def left_out(text: str, tokens: Callable[[str], Tokens], context: int) -> str:
    """The end of `text` that is not among its tokens; empty if all of it is.

    `tokens` gives the tokens of a text, cut to the context. `context` is the length of the
    longest. Takes no time for a text that is certainly short enough, and otherwise about ten calls
    of `tokens`.
    """
    text = text.rstrip()
    if len(text.encode()) + _SPECIAL <= context:
        return ""  # no tokenizer makes more tokens than there are bytes
    whole = list(tokens(text))
    if list(tokens(text + _ANOTHER_WORD)) != whole:
        return ""  # one more word would have been read

    def suffices(end: int) -> bool:
        return list(tokens(text[:end])) == whole

    words = [match.end() for match in re.finditer(r"\S+", text)]
    first = _first(words, suffices)
    begin = words[first - 1] if first else 0
    ends = range(begin + 1, words[first] + 1)
    end = ends[_first(ends, suffices)]
    if not any(letter.isalnum() for letter in text[end : words[first]]):
        end = words[first]  # the word is read; signs at its end have no tokens
    elif words[first] - begin <= _WORD:
        end = begin  # a word that is read in part is named as a whole
    return text[end:].strip()


def _first(ends: Sequence[int], suffices: Callable[[int], bool]) -> int:
    """The position of the first end that suffices; the last one always does."""
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if suffices(ends[middle]):
            high = middle
        else:
            low = middle + 1
    return low
