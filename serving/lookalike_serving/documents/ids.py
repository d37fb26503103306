"""What may be a document's id: one rule for ingestion, uploads, batches and addresses.

An id is a name that people gave: letters of any script, spaces of any kind and the joiners inside
emoji and Indic words are part of it. What nobody can see or type, what reorders the text around it
and what no address can carry is refused where the id comes in, so that every document that is
stored can be shown, changed and deleted.

The same name is written in two ways, composed (é is one code point, as most programs write it) and
decomposed (two, as macOS writes file names). Both are one id: it is kept composed (NFC).
"""

from __future__ import annotations

import unicodedata
from typing import Any

MAX_DOCUMENT_ID_LENGTH = 512
"""Characters, once composed."""

DOCUMENT_ID: dict[str, Any] = {
    "minLength": 1,
    "maxLength": MAX_DOCUMENT_ID_LENGTH,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+$",
    "not": {"enum": [".", ".."]},
}
"""The rule as far as a JSON schema can say it: for the description of the API."""

_ENDS_A_LINE = {"Zl", "Zp"}
_REORDERS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Embeddings, overrides and isolates: a name with them is read as another one (Unicode TR 36)."""


class BadDocumentId(ValueError):
    """The text cannot be a document's id; the message says why and what to do."""


def canonical(text: str) -> str:
    """The one spelling of a name: NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def checked(text: str) -> str:
    """The id that a text stands for. Raises BadDocumentId."""
    document_id = canonical(text)
    if not 1 <= len(document_id) <= MAX_DOCUMENT_ID_LENGTH:
        raise BadDocumentId(
            f"has {len(document_id):,} characters: 1 to {MAX_DOCUMENT_ID_LENGTH} are possible"
        )
    if document_id in {".", ".."}:
        raise BadDocumentId(f"{document_id!r} cannot be part of an address: choose another")
    for position, character in enumerate(document_id):
        if reason := _refused(character):
            raise BadDocumentId(
                f"holds {reason} (U+{ord(character):04X}) at position {position}: leave it out"
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
