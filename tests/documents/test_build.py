"""One builder of documents: what uploads, batches and ingestion store has the same facts."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from lookalike_serving.documents.build import Seen, document
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, split
from lookalike_serving.embed.results import ImageFacts
from lookalike_serving.images import ImageFile

DATA = b"the bytes of an image"
SEEN = Seen(ImageFile.of(DATA), np.ones(4, np.float32), ImageFacts(40, 30, "PNG"))
LONG_AGO = "2020-01-01T00:00:00.000Z"


def made(metadata=None, **changes):
    told = {"image": "file:///a.png", "fingerprint": "v1|m1", **changes}
    return document("shop", "mug", SEEN, metadata or {"kind": "mug"}, **told)


def test_a_point_holds_the_documents_facts_and_metadata():
    point = made(source="folder").point
    metadata, origin = split(point.payload)
    assert point.id == point_id("shop", "mug")
    assert metadata == {"kind": "mug"}
    assert (origin.document_id, origin.image, origin.source) == ("mug", "file:///a.png", "folder")
    assert (origin.width, origin.height, origin.format) == (40, 30, "PNG")
    assert (origin.bytes, origin.sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())


def test_a_new_document_is_created_when_it_is_changed():
    origin = made().origin
    assert origin.created_at == origin.updated_at


@pytest.mark.parametrize("created", [LONG_AGO, None])
def test_a_document_that_is_replaced_keeps_when_it_was_created(created):
    origin = made(before=Origin("mug", "file:///old.png", created_at=created)).origin
    assert origin.created_at == (created or origin.updated_at)
    assert origin.updated_at > LONG_AGO


def test_the_reserved_key_is_refused():
    with pytest.raises(ValueError, match="reserved: rename it"):
        made({"_lookalike": 1})
