"""What a terminal would obey is shown, and what people write is left alone."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_cli.printable import printable, printable_line

ANY = st.text(st.characters())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("\x1b[2J\x1b]0;title\x07", "\\u001b[2J\\u001b]0;title\\u0007"),
        ("\x9b31m", "\\u009b31m"),
        ("one\rtwo\x7f", "one\\u000dtwo\\u007f"),
        ("\u2066\u2069\u200e\u200f\u061c", "\\u2066\\u2069\\u200e\\u200f\\u061c"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("line\u2028end\u2029", "line\\u2028end\\u2029"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_what_a_terminal_obeys_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "two\nlines\tand a tab",
        "Foto\u202f12.30\u3000Uhr\u00a0",
        "👩\u200d👩\u200d👧",
        "می\u200cخواهم",
        "\u0600١٢",
        "ë e\u0308 Ñ 寿司 עברית",
    ],
)
def test_words_are_left_alone(text: str) -> None:
    assert printable(text) == text


def test_a_value_within_a_line_ends_no_line() -> None:
    assert printable_line("one\ntwo\tthree") == "one\\ntwo\\tthree"


@given(ANY)
def test_nothing_is_left_that_a_terminal_obeys_or_that_hides(text: str) -> None:
    shown = printable(text)
    assert not {"Cc", "Cs", "Zl", "Zp"} & {
        unicodedata.category(c) for c in shown if c not in "\n\t"
    }
    assert not any(unicodedata.bidirectional(c) in _DIRECTIONS for c in shown)
    assert printable(shown) == shown


_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(ANY)
def test_in_json_the_escapes_mean_what_they_stand_for(text: str) -> None:
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text
