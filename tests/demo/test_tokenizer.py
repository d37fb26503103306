"""How the demo model reads texts of several languages, with the words that it ships with."""

from __future__ import annotations

import pytest
import torch

from lookalike_serving.demo.model import load_demo_model
from lookalike_serving.demo.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_demo_model().tokenizer


def test_words_never_seen_are_named_and_plurals_are_not_among_them(tokenizer: Tokenizer) -> None:
    assert tokenizer.unknown_words("Red MUGS with xyzzy stripes") == ["xyzzy"]
    assert torch.equal(tokenizer(["red mugs"]), tokenizer(["red xyzzy mug"]))


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("rotes Luftschiff", ["luftschiff"]),
        ("Läufer: GRÜNE Tasse", ["läufer"]),
        ("dirigible rojo a rayas", ["dirigible"]),
        ("une montgolfière à pois", ["montgolfière"]),
        ("赤い飛行船", ["飛行船"]),
        ("xyzzyの赤いシャツ", ["xyzzy"]),
        ("미술 작품", ["미술", "작품"]),
        ("???", ["???"]),
        ("", []),
    ],
)
def test_unknown_words_are_named_as_they_are_written(
    tokenizer: Tokenizer, text: str, unknown: list[str]
) -> None:
    assert tokenizer.unknown_words(text) == unknown


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("grüne Tasse", "GRUENE TASSE"),
        ("weiße Stühle", "weisse Stuehle"),
        ("cojín rosa", "COJIN ROSA"),
        ("théière étoilée", "theiere etoilee"),
        ("tazas rojas", "Tazas rojas"),
        ("Tシャツ", "Ｔシャツ"),
        ("ﾏｸﾞｶｯﾌﾟ", "マグカップ"),
        ("red t-shirt", "RED T-Shirt"),
    ],
)
def test_case_diacritics_and_width_make_no_difference(
    tokenizer: Tokenizer, text: str, same: str
) -> None:
    assert tokenizer.unknown_words(text) == []
    assert torch.equal(tokenizer([text]), tokenizer([same]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("赤い縞模様のマグカップ", ["赤い", "縞模様", "の", "マグカップ"]),
        ("靴下と靴", ["靴下", "と", "靴"]),
        ("花瓶 青", ["花瓶", "青"]),
        ("きのうみたやかん", [None, "やかん"]),
        ("そのお皿", ["その", "お皿"]),
    ],
)
def test_japanese_is_cut_into_its_longest_words(
    tokenizer: Tokenizer, text: str, words: list[str]
) -> None:
    assert [word.known_as for word in tokenizer.split(text)] == words


def test_words_that_mean_something_else_together_are_read_together(tokenizer: Tokenizer) -> None:
    assert [word.known_as for word in tokenizer.split("un SAC À DOS à fleurs")] == [
        "un",
        "sac a dos",
        "a",
        "fleurs",
    ]


@pytest.mark.parametrize("text", ["日本", "のりもの", "カップル", "黒猫"])
def test_a_part_of_an_unknown_japanese_word_is_not_believed(
    tokenizer: Tokenizer, text: str
) -> None:
    assert tokenizer.unknown_words(text) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "a photo of a dog",
        "ein Foto von einem Hund",
        "una foto de un perro",
        "une photo",
        "犬の写真",
    ],
)
def test_words_that_name_nothing_are_no_reason_to_search(tokenizer: Tokenizer, text: str) -> None:
    assert not tokenizer.understands(text)


@pytest.mark.parametrize("text", ["no pattern", "ohne Muster", "sin estampado", "sans motif"])
def test_a_negation_is_understood(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.understands(text)


def test_what_is_past_the_context_is_named_as_it_is_written(tokenizer: Tokenizer) -> None:
    assert tokenizer.left_out("rot " * 16 + "GRÜNE Tasse") == "grüne tasse"


def test_a_vocabulary_without_fillers_understands_all_its_words() -> None:
    assert Tokenizer(["a", "mug"], 4).understands("a")
