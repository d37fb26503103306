"""Addresses of documents. A document id may hold any character, slashes too: all are escaped."""

from __future__ import annotations

from urllib.parse import quote


def document_path(collection: str, document_id: str) -> str:
    """`/v1/collections/{collection}/documents/{id}`, the id percent-encoded as one segment."""
    return f"/v1/collections/{collection}/documents/{quote(document_id, safe='')}"


def image_path(collection: str, document_id: str) -> str:
    return f"{document_path(collection, document_id)}/image"


def thumbnail_path(collection: str, document_id: str) -> str:
    return f"{document_path(collection, document_id)}/thumbnail"
