"""Addresses of the API. Every name is escaped whole: a document id may hold slashes."""

from __future__ import annotations

from urllib.parse import quote

from lookalike import _arguments as arguments


def retriever(retriever_id: str) -> str:
    return f"/v1/retrievers/{_segment(retriever_id, 'retriever_id')}"


def collection(name: str) -> str:
    return f"/v1/collections/{_segment(name, 'collection')}"


def document(collection_name: str, document_id: str) -> str:
    return f"{collection(collection_name)}/documents/{_segment(document_id, 'document_id')}"


def deletion(collection_name: str, document_id: str) -> str:
    return f"{collection(collection_name)}/deletions/{_segment(document_id, 'document_id')}"


def duplicate_scan(collection_name: str, scan_id: str) -> str:
    return f"{collection(collection_name)}/duplicate-scans/{_segment(scan_id, 'scan_id')}"


def batch(batch_id: str) -> str:
    return f"/v1/batches/{_segment(batch_id, 'batch_id')}"


def _segment(name: str, what: str) -> str:
    text = arguments.text(name, what)
    if not text or text in (".", ".."):
        raise ValueError(f"{what} {text!r} cannot be part of an address")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ValueError(f"{what} {text!r} is not Unicode text: half of a surrogate pair") from None
