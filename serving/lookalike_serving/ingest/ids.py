"""Document ids within one run: what a source puts before its own, and two that claim the same.

An id has one picture. Which of two has it is settled by order – who is in the index, or is listed
first – and the other is a failure that names both, never written over.
"""

from __future__ import annotations

from dataclasses import replace

from lookalike_crds.failures import ENTRY_BAD_ID
from lookalike_crds.sources import SourceSpec
from lookalike_serving.documents.ids import BadDocumentId, canonical, checked
from lookalike_serving.documents.layout import Origin
from lookalike_serving.ingest.sources import Entry, Item, Rejected


def prefixed(entry: Entry, source: SourceSpec) -> Entry:
    """An entry under the id that its source's prefix makes of its own."""
    if not isinstance(entry, Item) or not source.id_prefix:
        return entry
    try:
        return replace(entry, document_id=checked(source.id_prefix + entry.document_id))
    except BadDocumentId as bad:
        told = f"its document id with idPrefix {bad}"
        return Rejected(entry.key, told, entry.uri, ENTRY_BAD_ID)


def taken(item: Item, source: str, by_source: str, by_key: str) -> str:
    """Why an item whose id another entry of the run has cannot come in."""
    whose = f"(id {item.document_id!r}, taken by {by_key!r} of source {by_source})"
    if by_source != source:
        return (
            f"its document id is that of a picture of source {by_source}: set idPrefix of one of "
            f"the two sources {whose}"
        )
    if by_key != item.key and canonical(by_key) == canonical(item.key):
        return (
            "its document id is that of another file, whose name differs only in how its letters "
            f"are composed: rename one {whose}"
        )
    return f"its document id is that of another picture of the source: make ids unique {whose}"


def held(item: Item, stored: Origin) -> str:
    """Why an item whose id the index has a picture of another source under cannot come in."""
    return (
        f"its document id is that of a document of source {stored.source}: set idPrefix of one of "
        f"the two sources, or delete that document if its picture has moved here "
        f"(id {item.document_id!r}, held by {stored.image})"
    )
