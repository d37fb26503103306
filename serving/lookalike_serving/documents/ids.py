"""A document's id: which ids are allowed, the id of a document without one, and the id of its
point.

There is one rule for ingestion, uploads, batches, searches and addresses.

An id is a name that people chose: letters of any script, spaces of any kind and the joiners inside
emoji and Indic words are allowed. Characters that nobody can see or type, that reorder the text
around them, or that no address can carry are refused when an id is first used, so that every stored
document can be shown, changed and deleted.

The same name can be written in two ways, composed (é is one code point, as most programs write it)
and decomposed (two, as macOS writes file names). Both are the same id, which is stored composed
(NFC).
"""

from __future__ import annotations

import hashlib
import unicodedata
import uuid
from typing import Any

from lookalike_serving.problems import wrong

MAX_DOCUMENT_ID_LENGTH = 512
"""The largest number of characters, after composition."""

DOCUMENT_ID: dict[str, Any] = {
    "minLength": 1,
    "maxLength": MAX_DOCUMENT_ID_LENGTH,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+$",
    "not": {"enum": [".", ".."]},
}
"""The rule as far as a JSON schema can express it, for the description of the API."""

_GENERATED_LENGTH = 32
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://lookalike.dev/documents")
_ENDS_A_LINE = {"Zl", "Zp"}
_REORDERS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Embeddings, overrides and isolates: a name with them is read as another one (Unicode TR 36)."""


class BadDocumentId(ValueError):
    """The text cannot be a document's id; the message says why and what to do."""


def canonical(text: str) -> str:
    """The one spelling of a name: NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def point_id(collection: str, document_id: str) -> str:
    """The point id of a document: UUIDv5 of collection and document id.

    Deterministic, so that writing a document twice – a retry, a killed run, two runs at
    once – leaves one point. Both spellings of one name (NFC, NFD) are one document.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{collection}\x00{canonical(document_id)}"))


def generated(content_key: str, repetition: int = 0) -> str:
    """The id of a document whose caller gave none, fixed before any work is done.

    `content_key` is the SHA-256 (hex) of the image's bytes, or of its URL in a batch: the same
    request sent twice leaves the same documents. An image that occurs again within its batch
    (`repetition` 1, 2, …) is a document of its own.
    """
    if repetition:
        content_key = hashlib.sha256(f"{content_key}/{repetition}".encode()).hexdigest()
    return content_key[:_GENERATED_LENGTH]


def asked(text: str, path: str = "document_id") -> str:
    """The id that a request names at `path`. Raises Problem 422 if it cannot be one."""
    try:
        return checked(text)
    except BadDocumentId as bad:
        raise wrong(path, str(bad)) from None


def checked(text: str) -> str:
    """The id that a text stands for. Raises BadDocumentId."""
    document_id = canonical(text)
    if not 1 <= len(document_id) <= MAX_DOCUMENT_ID_LENGTH:
        raise BadDocumentId(
            f"has {len(document_id):,} characters: 1 to {MAX_DOCUMENT_ID_LENGTH} are allowed"
        )
    if document_id in {".", ".."}:
        raise BadDocumentId(f"{document_id!r} cannot be part of an address: choose another")
    for position, character in enumerate(document_id):
        if reason := _refused(character):
            raise BadDocumentId(
                f"has {reason} (U+{ord(character):04X}) at position {position}: remove it"
            )
    return document_id


def _refused(character: str) -> str | None:
    if " " <= character <= "~":
        return None
    category = unicodedata.category(character)
    if category == "Cc":
        return "a control character"
    if category == "Cs":
        return "bytes that are not UTF-8, or half of a surrogate pair"
    if category in _ENDS_A_LINE:
        return "a line break"
    return "a character that reorders text" if character in _REORDERS else None
