"""Metadata from paths."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.path_pattern import checked, compiled

MATCHES = [
    (
        "{kind}/{year}/{id}.jpg",
        "shoes/2024/7.jpg",
        {"kind": "shoes", "year": "2024", "id": "7"},
    ),
    ("{kind}/{year}/{id}.jpg", "shoes/2024/7.png", None),
    ("{kind}/{year}/{id}.jpg", "shoes/2024/more/7.jpg", None),
    ("{kind}/{year}/{id}.jpg", "shoes/7.jpg", None),
    ("{id}.*", "a.b.jpg", {"id": "a.b"}),
    ("{id}.{suffix}", "a.b.jpg", {"id": "a.b", "suffix": "jpg"}),
    ("{id}.*", "a", None),
    ("{id}", "a.jpg", {"id": "a.jpg"}),
    ("{date}-{rest}.jpg", "x-y-z.jpg", {"date": "x", "rest": "y-z"}),
    ("{name}-final.jpg", "a-final-final.jpg", {"name": "a-final"}),
    ("{name}-final/*", "a-final-final/b.jpg", {"name": "a-final"}),
    ("**/{id}.jpg", "7.jpg", {"id": "7"}),
    ("**/{id}.jpg", "a/b/7.jpg", {"id": "7"}),
    ("{kind}/**/{id}.jpg", "a/b/c/7.jpg", {"kind": "a", "id": "7"}),
    ("{kind}/**/{id}.jpg", "a/7.jpg", {"kind": "a", "id": "7"}),
    ("IMG_{number}.*", "IMG_0042.HEIC", {"number": "0042"}),
    ("IMG_{number}.*", "img_0042.heic", None),
    ("a+(b)/{id}.*", "a+(b)/7.jpg", {"id": "7"}),
    ("{ort}/*", "Köln am Rhein/a b.jpg", {"ort": "Köln am Rhein"}),
    ("{id}.jpg", ".jpg", None),
    ("{id}.jpg", "7.jpg\n", None),
]


@pytest.mark.parametrize(("pattern", "path", "parts"), MATCHES)
def test_what_a_pattern_finds_in_a_path(pattern, path, parts) -> None:
    assert compiled(pattern)(path) == parts


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{kind/{id}.jpg", "has a brace without a name"),
        ("{kind}}/a.jpg", "has a brace without a name"),
        ("{}/a.jpg", "has a brace without a name"),
        ("{1st}/a.jpg", "has a brace without a name"),
        ("{_own}/a.jpg", "has a brace without a name"),
        ("*.jpg", "names nothing"),
        ("", "names nothing"),
        ("{a}/{a}.jpg", "{a} stands twice"),
        ("{exif}/a.jpg", "Lookalike's own"),
        ("{file}.jpg", "Lookalike's own"),
        ("{a}{b}.jpg", "put a text between {a} and {b}"),
        ("{a}*.jpg", "put a text between {a} and *"),
        ("**/{a}/**/b.jpg", "has **/ twice"),
        ("{a}/x**.jpg", "for whole folders alone"),
        ("{a}/**", "for whole folders alone"),
        ("/photos/{id}.jpg", "no relative path"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(pattern, said) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        checked(pattern)
    assert said in str(refused.value)


@given(st.text(max_size=60), st.sampled_from([pattern for pattern, _, _ in MATCHES]))
def test_any_path_matches_or_not(path: str, pattern: str) -> None:
    parts = compiled(pattern)(path)
    assert parts is None or all(text and "/" not in text for text in parts.values())


@given(st.text("{}*/.-ab", max_size=20))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert checked(text) == text


def test_a_name_made_for_it_takes_no_longer() -> None:
    match = compiled("-".join(f"{{p{i}}}" for i in range(16)) + "x/**/{id}.jpg")
    begun = time.process_time()
    assert match("-" * 250 + "/" + "a/" * 1800 + "b.png") is None
    assert time.process_time() - begun < 0.1
