"""Documents: an image under an id, with metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from lookalike._arguments import mapping, plain, text
from lookalike._exchange import Answer, Call, Operation, Part, Request, call
from lookalike._images import Address, image
from lookalike._operations import paths
from lookalike._operations.pages import Pages
from lookalike.types import Deleted, Document, Filters, ImageValue


def upload(
    collection: str,
    image: ImageValue,
    *,
    document_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    on_duplicate: Literal["allow", "link", "reject"] | None = None,
) -> Operation[Document]:
    """Store an image. Searches find it when this returns.

    image: a path, encoded bytes, an open binary file, a PIL image (sent as PNG), or a URL that the
        server fetches.
    document_id: an existing document with this id is replaced. Default: derived from the bytes of
        the image, so that storing the same image twice creates one document.
    metadata: JSON; keys that the collection's `fields` name must hold their type.
    on_duplicate: what happens if the collection has this picture, or a copy of it, under another
        id: "allow", the default, stores it; "link" stores it with `duplicate_of`; "reject" raises
        APIError (409, code `duplicate`).
    """
    request = _upload(collection, image, document_id, metadata, on_duplicate)
    return (yield from call(Call(request, _document)))


def get(
    collection: str, document_id: str, *, include: Literal["vector"] | None = None
) -> Operation[Document]:
    """One document; with its vector where asked for. Raises NotFound."""
    params = {"include": include} if include else {}
    request = Request("GET", paths.document(collection, document_id), params=params)
    return (yield from call(Call(request, _document)))


def update(
    collection: str, document_id: str, *, metadata: Mapping[str, Any]
) -> Operation[Document]:
    """Set these metadata keys of a document; `None` removes a key; the others stay."""
    body = {"metadata": _metadata(metadata)}
    request = Request("PATCH", paths.document(collection, document_id), json=body)
    return (yield from call(Call(request, _document)))


def delete(collection: str, document_id: str, *, forget: bool = False) -> Operation[None]:
    """Delete a document and its uploaded image. Raises NotFound.

    Ingestion does not add it again until its object changes. If the deletion is repeated after a
    broken connection and had succeeded before, that is not an error.

    forget: keep no note of the deletion and remove an earlier one, so that the next ingestion may
    add the document again.
    """
    params = {"forget": "true"} if forget else {}
    request = Request("DELETE", paths.document(collection, document_id), params=params)
    return (yield from call(Call(request, lambda answer: None, done_already=404)))


def delete_matching(
    collection: str, filters: Filters, *, forget: bool = False, dry_run: bool = False
) -> Operation[Deleted]:
    """Delete the documents that match the filters, at most 10,000 of them. Call it again as long as
    `remaining` is not 0.

    forget: as in `delete`.
    dry_run: only return how many match, as `remaining`.
    """
    filters = mapping(filters, "filters", '{"status": "old"}')
    params = {"filters": json.dumps(plain(filters, "filters"))}
    params |= {"forget": "true"} if forget else {}
    params |= {"dry_run": "true"} if dry_run else {}
    request = Request("DELETE", f"{paths.collection(collection)}/documents", params=params)
    return (yield from call(Call(request, lambda answer: Deleted.model_validate(answer.json()))))


def listing(
    collection: str,
    *,
    filters: Filters | None = None,
    limit: int | None = None,
    include: Literal["vector"] | None = None,
) -> Pages[Document]:
    """Every document that matches the filters, page by page as you iterate.

    limit: the number of documents per request, not in total.
    """
    params: dict[str, str] = {}
    if filters:
        filters = mapping(filters, "filters", '{"status": "active"}')
        params["filters"] = json.dumps(plain(filters, "filters"))
    if include:
        params["include"] = include
    if limit is not None:
        params["limit"] = str(limit)
    return Pages(f"{paths.collection(collection)}/documents", params, _listed)


def image_bytes(collection: str, document_id: str) -> Operation[bytes]:
    """The image of the document, as it was stored."""
    request = Request("GET", f"{paths.document(collection, document_id)}/image")
    return (yield from call(Call(request, lambda answer: answer.content)))


def thumbnail(collection: str, document_id: str, *, size: int | None = None) -> Operation[bytes]:
    """A thumbnail of the document's image.

    size: its longest side in pixels, 16 to 1024; the server rounds up to an available size.
    """
    params = {"size": str(size)} if size is not None else {}
    path = f"{paths.document(collection, document_id)}/thumbnail"
    request = Request("GET", path, params=params)
    return (yield from call(Call(request, lambda answer: answer.content)))


def _upload(
    collection: str,
    value: ImageValue,
    document_id: str | None,
    metadata: Mapping[str, Any] | None,
    on_duplicate: str | None,
) -> Request:
    path = f"{paths.collection(collection)}/documents"
    found = image(value)
    if document_id is not None:
        document_id = text(document_id, "document_id")
    written = _metadata(metadata or {})
    if isinstance(found, Address):
        body: dict[str, Any] = {"image": found.text, "metadata": written}
        if document_id is not None:
            body["document_id"] = document_id
        if on_duplicate is not None:
            body["on_duplicate"] = on_duplicate
        return Request("POST", path, json=body)
    parts = {
        "image": Part(found.content, found.media_type, found.filename or "image"),
        "metadata": Part(json.dumps(written).encode(), "application/json"),
    }
    if document_id is not None:
        parts["document_id"] = Part(document_id.encode(), "text/plain; charset=utf-8")
    if on_duplicate is not None:
        parts["on_duplicate"] = Part(on_duplicate.encode(), "text/plain; charset=utf-8")
    return Request("POST", path, parts=parts)


def _metadata(metadata: Mapping[str, Any]) -> Any:
    return plain(mapping(metadata, "metadata", '{"price": 9.5}'), "metadata")


def _document(answer: Answer) -> Document:
    return _listed(answer.json(), answer)


def _listed(item: Any, answer: Answer) -> Document:
    for name in ("image_url", "thumbnail_url"):
        if name in item:
            item[name] = answer.absolute(item[name])
    return Document.model_validate(item)
