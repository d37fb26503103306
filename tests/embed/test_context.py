"""Texts that are longer than a model's context: what was not read is named."""

from __future__ import annotations

import open_clip
import pytest

from lookalike_serving.demo.model import WEIGHTS, load_demo_model
from lookalike_serving.embed.context import left_out

WORDS = "a photograph of an old wooden boat that lies on a stony beach before the storm".split()


@pytest.fixture(scope="module")
def clip() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer()


def unread(tokenizer: open_clip.SimpleTokenizer, text: str) -> str:
    return left_out(text, lambda part: tokenizer([part])[0].tolist(), tokenizer.context_length)


def read(tokenizer: open_clip.SimpleTokenizer, text: str) -> int:
    """How many tokens a text has, without the two that mark its ends."""
    return len(tokenizer.encode(text))


@pytest.mark.parametrize("count", [1, 15, 60, 74, 75, 76, 77, 150, 400])
def test_exactly_what_is_past_the_context_is_named(
    clip: open_clip.SimpleTokenizer, count: int
) -> None:
    text = " ".join((WORDS * 30)[:count])
    assert read(clip, text) == count, "each word is one token"
    assert unread(clip, text).split() == text.split()[75:]


def test_a_text_without_spaces_is_cut_between_characters(clip: open_clip.SimpleTokenizer) -> None:
    text = "古い木の舟が嵐の前に石の浜にある" * 4
    rest = unread(clip, text)
    assert rest
    assert text.endswith(rest)
    kept = text.removesuffix(rest)
    assert read(clip, kept) >= 75 > read(clip, kept[:-1]) - 3


def test_a_word_that_is_read_in_part_is_named_as_a_whole(clip: open_clip.SimpleTokenizer) -> None:
    word = "zwxqvkjbp"
    assert read(clip, word) > 3
    text = " ".join(["boat"] * 74 + [word, "boat"])
    assert unread(clip, text) == f"{word} boat"
    exactly = " ".join(["boat"] * 75) + " , boat"
    assert unread(clip, exactly) == ", boat"


@pytest.mark.parametrize("text", ["", "  ", "red mug", "x" * 70])
def test_a_short_text_is_read_as_a_whole(clip: open_clip.SimpleTokenizer, text: str) -> None:
    assert unread(clip, text) == ""


def test_the_demo_model_reads_sixteen_words_that_it_knows() -> None:
    tokenizer = load_demo_model(WEIGHTS).tokenizer
    sixteen = " ".join(["red"] * 8 + ["mug"] * 8)
    assert tokenizer.left_out(f"{sixteen} zeppelin") == ""
    assert tokenizer.left_out(f"zeppelin {sixteen} blue dotted zeppelin") == "blue dotted"
