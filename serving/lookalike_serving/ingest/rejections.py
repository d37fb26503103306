"""Images that `duplicates.onIngest: Reject` has left out, and would leave out again.

An image that was compared and left out is remembered in the books, so that the next run need not
read it. It is compared again once it has changed, once the document that it is a copy of has gone
or has another image, if the sensitivity is another one, and after a person has said of that
document that something is no copy of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from lookalike_crds.config import CollectionConfig
from lookalike_crds.image_collection import OnIngest
from lookalike_serving.books.record import Rejection
from lookalike_serving.books.store import Books
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import RESERVED, split
from lookalike_serving.index.protocol import PointStore
from lookalike_serving.ingest.accounts import Accounts
from lookalike_serving.ingest.sources import Caution

REJECTED = "copies of other documents, which duplicates.onIngest rejects"


async def note_rejection(
    books: Books,
    store: PointStore,
    collection: CollectionConfig,
    point: str,
    version: str,
    document: str,
) -> None:
    """`point`: that the image would have. `document`: id of the one that it is a copy of. Raises
    IndexFailure."""
    image = (await _images(store, collection.name, [document])).get(document)
    if image is not None:
        rejection = Rejection(version, document, image, _sensitivity(collection))
        await books.note_rejection(point, rejection)


async def still_rejected(
    accounts: Accounts,
    store: PointStore,
    collection: CollectionConfig,
    versions: Mapping[str, str],
) -> dict[str, Rejection]:
    """Those of some images that need not be read, by point id. `versions`: of each image now.

    Raises IndexFailure.
    """
    spec = collection.duplicates
    if spec is None or spec.on_ingest is not OnIngest.REJECT or not versions:
        return {}
    known = {
        id: each
        for id, each in (await accounts.rejections_of(list(versions))).items()
        if (each.version, each.sensitivity) == (versions[id], _sensitivity(collection))
    }
    documents = list(dict.fromkeys(each.document for each in known.values()))
    images = await _images(store, collection.name, documents)
    return {id: each for id, each in known.items() if images.get(each.document) == each.image}


async def _images(store: PointStore, collection: str, documents: list[str]) -> dict[str, str]:
    """SHA-256 of the images that documents have now."""
    if not documents:
        return {}
    points = [point_id(collection, each) for each in documents]
    records = await store.retrieve(points, with_payload=(RESERVED,))
    origins = [split(each.payload)[1] for each in records if RESERVED in each.payload]
    return {each.document_id: each.sha256 for each in origins if each.sha256 is not None}


def _sensitivity(collection: CollectionConfig) -> str:
    assert collection.duplicates is not None
    return collection.duplicates.sensitivity.value


def caution_of(document: str) -> Caution:
    """What a run tells of such an image; `document`: id of the one that it is a copy of."""
    return Caution(REJECTED, f"a copy of {document}")
