"""One rule for document ids: what is a name, what is refused, and that two spellings are one."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_serving.documents.ids import BadDocumentId, checked, generated, point_id

NAMES = {
    "a macOS screenshot": "Bildschirmfoto 2024-03-01 um 10.15.00\u202fPM.png",
    "an ideographic space": "青い\u3000花.jpg",
    "an emoji family": "👨\u200d👩\u200d👧.png",
    "the flag of England": "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "a Persian non-joiner": "می\u200cخواهم.jpg",
    "no-break and thin spaces": "1\u00a0000\u2009kg.png",
    "slashes, percent signs and quotes": "a/b%2Fc?d#e\"f'.png",
    "dots": "...",
    "spaces at its ends": " a ",
    "a private-use letter": "\uf8ff.png",
}
REFUSED = {
    "nothing": "",
    "a dot": ".",
    "two dots": "..",
    "a tab": "a\tb.png",
    "a newline": "a\nb.png",
    "a NUL": "a\0b",
    "a delete": "a\x7fb",
    "a C1 control": "a\x85b",
    "a line separator": "a\u2028b",
    "a right-to-left override": "gpj.\u202eexe",
    "an isolate": "a\u2067b",
    "half of a surrogate pair": "a\ud800b",
    "a byte that is not UTF-8": b"caf\xe9.png".decode("utf-8", "surrogateescape"),
    "too many characters": "x" * 513,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_what_people_call_files_is_an_id(name: str) -> None:
    assert checked(name) == name


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_seen_typed_or_sent_is_refused(name: str) -> None:
    with pytest.raises(BadDocumentId):
        checked(name)


def test_the_reason_names_the_character_and_its_place() -> None:
    with pytest.raises(BadDocumentId, match=r"U\+202E\) at position 4"):
        checked("gpj.\u202eexe")


@given(st.text())
def test_both_spellings_of_a_name_are_one_document(text: str) -> None:
    composed, apart = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert point_id("shop", composed) == point_id("shop", apart) == point_id("shop", text)


@given(st.text())
def test_an_id_is_what_it_is_kept_as(text: str) -> None:
    try:
        kept = checked(text)
    except BadDocumentId:
        return
    assert checked(kept) == kept == checked(unicodedata.normalize("NFD", text))


def test_an_image_without_a_name_gets_the_beginning_of_its_hash():
    assert generated("ab" * 32) == "ab" * 16


def test_the_same_image_twice_in_a_batch_makes_two_documents():
    first, second = (generated("ab" * 32, n) for n in (0, 1))
    assert first == "ab" * 16
    assert second != first
    assert len(second) == len(first)
