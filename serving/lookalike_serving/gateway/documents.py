"""`/v1/collections/{collection}/documents`: upload, read, change, delete, list, show."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from lookalike_serving.copies.upload import OnDuplicate, store_checked
from lookalike_serving.documents import ids
from lookalike_serving.documents.ids import DOCUMENT_ID
from lookalike_serving.documents.links import document_path
from lookalike_serving.documents.metadata import METADATA
from lookalike_serving.documents.stored import (
    FoundDocument,
    change_metadata,
    document_json,
    find_document,
    read_record,
    remove_document,
    remove_documents,
)
from lookalike_serving.documents.upload import storage_warnings
from lookalike_serving.gateway.bodies import (
    REQUEST_PART,
    is_multipart,
    parse,
    parse_object,
    read_json,
    read_multipart,
)
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.cursors import read_cursor, write_cursor
from lookalike_serving.gateway.images import image_response
from lookalike_serving.gateway.openapi import (
    FILE_PART,
    json_body,
    json_or_multipart,
    problems,
    reference,
)
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import (
    JSON_FILTERS,
    CollectionName,
    DocumentIdInPath,
    PointCursor,
    form,
)
from lookalike_serving.images import ImageFile, checked_size
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.problems import wrong

router = APIRouter(tags=["documents"])

_DOCUMENTS = "/v1/collections/{collection}/documents"
_DOCUMENT = _DOCUMENTS + "/{document_id:path}"
_ON_DUPLICATE = (
    "What happens if the collection has this picture, or a copy of it, under another id. allow: it "
    "is stored. link: it is stored, with duplicate_of. reject: it is refused (409)."
)
_MOST_DELETED = 10_000
"""By one request: about as long as it takes, callers and proxies wait."""


class UploadForm(BaseModel):
    """The JSON of a multipart upload's `request` part."""

    model_config = ConfigDict(extra="forbid")

    document_id: str | None = Field(
        default=None,
        description="An existing document with this id is replaced. Default: derived from the "
        "content.",
        json_schema_extra=DOCUMENT_ID,
    )
    metadata: dict[str, Any] = Field(default_factory=dict, json_schema_extra=METADATA)
    on_duplicate: OnDuplicate = Field(default=OnDuplicate.ALLOW, description=_ON_DUPLICATE)


class UploadRequest(UploadForm):
    """One image and what to remember about it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "document_id": "mug-0042",
                    "image": "https://example.com/mug.jpg",
                    "metadata": {"kind": "mug", "price": 9.5, "status": "active"},
                }
            ]
        },
    )

    image: str = Field(min_length=1, description="An https URL, a data URL or base64.")


class PatchRequest(BaseModel):
    """Metadata keys to set; null removes a key, keys not named stay."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"metadata": {"status": "sold", "discount": None}}]},
    )

    metadata: dict[str, Any] = Field(json_schema_extra=METADATA)


class Document(BaseModel):
    """A stored document."""

    document_id: str
    collection: str
    metadata: dict[str, Any]
    image_url: str
    thumbnail_url: str
    source: str | None = Field(default=None, description="The source that provided the document.")
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    bytes: int | None = None
    duplicate_of: str | None = Field(
        default=None,
        description="The document of which this one is a copy, if it was uploaded with "
        "on_duplicate: link.",
    )
    created_at: str | None = None
    updated_at: str | None = None
    vector: list[float] | None = Field(default=None, description="With ?include=vector.")
    warnings: list[str] | None = Field(
        default=None, description="Warnings of the upload, if there are any."
    )


class DocumentList(BaseModel):
    items: list[Document]
    next_cursor: str | None
    total: int | None = Field(
        default=None, description="With ?total=true: the exact number of documents on all pages."
    )


_FORM = form(
    {
        "image": FILE_PART,
        "document_id": {"type": "string", **DOCUMENT_ID},
        "on_duplicate": {"enum": list(OnDuplicate)},
        "metadata": {"type": "object", "description": "As JSON.", **METADATA},
        REQUEST_PART: {
            **reference(UploadForm),
            "description": "The other fields in one JSON object.",
        },
    },
    "image",
)


@router.post(
    _DOCUMENTS,
    summary="Upload one image, which searches find when this returns",
    response_model=None,
    responses={
        200: {"model": Document, "description": "Replaced"},
        201: {"model": Document, "description": "Created"},
        **problems(400, 404, 409, 412, 413, 415, 422, 501, 503, 507),
    },
    openapi_extra=json_or_multipart(UploadRequest, _FORM),
)
async def upload(collection: CollectionName, request: Request) -> Response:
    service = service_of(request)
    service.collection(collection)
    asked: UploadForm
    if is_multipart(request):
        image, asked = await _uploaded_form(request)
    else:
        asked = body = await read_json(request, UploadRequest)
        image = await service.reader.read(body.image)
    only_new = request.headers.get("if-none-match", "").strip() == "*"
    file = await service.in_thread(ImageFile.of, image)
    stored = await store_checked(
        service,
        collection,
        file,
        asked.metadata,
        asked.document_id,
        only_new=only_new,
        on_duplicate=asked.on_duplicate,
    )
    told = document_json(service, collection, FoundDocument(stored.metadata, stored.origin))
    if warnings := [*storage_warnings(service), *stored.warnings]:
        told["warnings"] = warnings
    return json_response(
        request,
        told,
        201 if stored.created else 200,
        {"Location": document_path(collection, stored.document_id)},
    )


async def _uploaded_form(request: Request) -> tuple[bytes, UploadForm]:
    """The image of a multipart upload, and what is said of it. Raises Problem 422."""
    body = await read_multipart(request)
    for name in body.fields.keys() - {REQUEST_PART, "document_id", "metadata", "on_duplicate"}:
        told = "is not a part of an upload: send image, document_id, metadata, on_duplicate"
        raise wrong(name, told)
    if len(body.files) != 1:
        raise wrong(
            "image", f"send one image file, not {len(body.files)}; to send many, use batches"
        )
    form = UploadForm()
    if REQUEST_PART in body.fields:
        form = parse(UploadForm, body.fields[REQUEST_PART], REQUEST_PART)
    parts: dict[str, Any] = {
        name: body.fields[name] for name in ("document_id", "on_duplicate") if name in body.fields
    }
    if "metadata" in body.fields:
        parts["metadata"] = parse_object(body.fields["metadata"], "metadata")
    if "on_duplicate" in parts:
        parts["on_duplicate"] = parse_on_duplicate(parts["on_duplicate"])
    image = checked_size(
        next(iter(body.files.values())), service_of(request).config.fetch.max_bytes
    )
    return image, form.model_copy(update=parts)


def parse_on_duplicate(value: str) -> OnDuplicate:
    """Raises Problem 422."""
    try:
        return OnDuplicate(value)
    except ValueError:
        told = f"{value!r:.60} is not possible: write allow, link or reject"
        raise wrong("on_duplicate", told) from None


@router.get(
    _DOCUMENTS,
    summary="List documents, page by page",
    response_model=None,
    responses={200: {"model": DocumentList}, **problems(404, 422, 503)},
)
async def list_documents(
    collection: CollectionName,
    request: Request,
    filters: str | None = Query(
        None,
        max_length=65_536,
        description="Filters as in a search, as JSON.",
        json_schema_extra=JSON_FILTERS,
    ),
    cursor: PointCursor = None,
    limit: int = Query(100, ge=1, le=1000),
    include: str | None = Query(None, pattern="^vector$"),
    total: bool = Query(False, description="Also return how many documents match the filters."),
) -> Response:
    service = service_of(request)
    state = service.collection(collection)
    tree = parse_filters(parse_object(filters, "filters"), state.config.fields) if filters else None
    page = await state.index.scroll(
        filter=tree,
        limit=limit,
        after=read_cursor(cursor),
        with_vector=include == "vector",
    )
    items = [
        document_json(service, collection, found)
        for record in page.records
        if (found := read_record(record)) is not None
    ]
    told: dict[str, Any] = {"items": items, "next_cursor": write_cursor(page.next)}
    if total:
        told["total"] = await state.index.count(tree)
    return json_response(request, told)


@router.get(
    _DOCUMENT + "/image",
    summary="Get the image of a document, as it was stored",
    response_class=Response,
    responses={200: {"content": {"image/*": {}}}, **problems(404, 422, 502, 503)},
)
async def get_image(
    collection: CollectionName, document_id: DocumentIdInPath, request: Request
) -> Response:
    return await image_response(request, collection, decoded(document_id), None)


@router.get(
    _DOCUMENT + "/thumbnail",
    summary="Get a thumbnail of a document's image",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}, **problems(404, 422, 502, 503)},
)
async def get_thumbnail(
    collection: CollectionName,
    document_id: DocumentIdInPath,
    request: Request,
    size: int = Query(
        256, ge=16, le=512, description="Longest side in pixels, rounded up to an available size."
    ),
) -> Response:
    return await image_response(request, collection, decoded(document_id), size)


@router.get(
    _DOCUMENT,
    summary="One document",
    response_model=None,
    responses={200: {"model": Document}, **problems(404, 422, 503)},
)
async def get_document(
    collection: CollectionName,
    document_id: DocumentIdInPath,
    request: Request,
    include: str | None = Query(None, pattern="^vector$"),
) -> Response:
    service = service_of(request)
    found = await find_document(
        service, collection, decoded(document_id), with_vector=include == "vector"
    )
    return json_response(request, document_json(service, collection, found))


@router.patch(
    _DOCUMENT,
    summary="Change the metadata of a document",
    response_model=None,
    responses={200: {"model": Document}, **problems(404, 415, 422, 503, 507)},
    openapi_extra=json_body(PatchRequest),
)
async def patch_document(
    collection: CollectionName, document_id: DocumentIdInPath, request: Request
) -> Response:
    service = service_of(request)
    asked = await read_json(request, PatchRequest)
    changed = await change_metadata(service, collection, decoded(document_id), asked.metadata)
    return json_response(request, document_json(service, collection, changed))


class Deleted(BaseModel):
    """What came of a deletion by filter."""

    deleted: int
    remaining: int = Field(
        description="Documents that still match: call again. With ?dry_run=true all that match."
    )


@router.delete(
    _DOCUMENTS,
    summary="Delete the documents that match filters, at most 10,000 in one call",
    response_model=None,
    responses={200: {"model": Deleted}, **problems(404, 422, 503, 507)},
)
async def delete_documents(
    collection: CollectionName,
    request: Request,
    filters: str = Query(
        min_length=1,
        max_length=65_536,
        description="As in a search, as JSON.",
        json_schema_extra=JSON_FILTERS,
    ),
    forget: bool = Query(False, description="As for a single document."),
    dry_run: bool = Query(False, description="Only tell how many documents match."),
) -> Response:
    service = service_of(request)
    state = service.collection(collection)
    tree = parse_filters(parse_object(filters, "filters"), state.config.fields)
    if tree is None:
        raise wrong("filters", "is empty: say which documents are to be deleted")
    deleted = 0
    if not dry_run:
        deleted = await remove_documents(
            service, collection, tree, most=_MOST_DELETED, forget=forget
        )
    remaining = await state.index.count(tree)
    return json_response(request, {"deleted": deleted, "remaining": remaining})


@router.delete(
    _DOCUMENT,
    status_code=204,
    summary="Delete a document",
    response_class=Response,
    responses={**problems(404, 503, 507)},
)
async def delete_document(
    collection: CollectionName,
    document_id: DocumentIdInPath,
    request: Request,
    forget: bool = Query(
        False,
        description="Do not note the deletion, and forget an earlier one: the next ingestion may "
        "bring the document again. Left out, ingestion leaves it away until its object changes.",
    ),
) -> Response:
    await remove_document(service_of(request), collection, decoded(document_id), forget=forget)
    return Response(status_code=204)


def decoded(document_id: str) -> str:
    """The id in a path (see `middleware.EscapedDocumentIds`). Raises Problem 422."""
    try:
        return ids.asked(unquote_to_bytes(document_id).decode())
    except UnicodeDecodeError:
        raise wrong("document_id", "is not UTF-8: percent-encode its UTF-8 bytes") from None
