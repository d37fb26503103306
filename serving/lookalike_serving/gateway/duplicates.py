"""`POST /v1/collections/{c}/duplicates`: is this picture, or a copy of it, there already?"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from lookalike_serving.copies.find import MAX_TOP_K, FoundCopies, Match, find_copies
from lookalike_serving.copies.upload import sensitivity_of
from lookalike_serving.documents.stored import document_json
from lookalike_serving.duplicates.verdicts import Difference, Sensitivity, Verdict
from lookalike_serving.gateway.bodies import (
    REQUEST_PART,
    is_multipart,
    parse,
    read_json,
    read_multipart,
)
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.openapi import FILE_PART, json_or_multipart, problems, reference
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import CollectionName, form
from lookalike_serving.gateway.statuses import SimilarityShown
from lookalike_serving.gateway.wanted import LONGEST_SECONDS, RequestTimeout, while_wanted
from lookalike_serving.images import checked_size
from lookalike_serving.problems import wrong
from lookalike_serving.search.timing import Stopwatch
from lookalike_serving.service import Service

router = APIRouter(tags=["duplicates"])


class DuplicatesForm(BaseModel):
    """How copies are looked for."""

    model_config = ConfigDict(extra="forbid")

    sensitivity: Sensitivity | None = Field(
        default=None,
        description="How much evidence a copy needs. Default: spec.duplicates.sensitivity, or "
        "balanced.",
    )
    top_k: int = Field(default=10, ge=1, le=MAX_TOP_K, description="Number of matches.")
    similar: bool = Field(
        default=True,
        description="Also return pictures that only look alike, after all copies.",
    )
    target_fpr: float | None = Field(
        default=None,
        gt=0,
        le=0.1,
        description="The share of the pairs of different pictures that may be called similar by "
        "chance. Default: spec.duplicates.targetFpr, or 0.001. It decides about no copy.",
    )


class DuplicatesRequest(DuplicatesForm):
    """The picture, and how copies of it are looked for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"image": "https://example.com/mug.jpg", "sensitivity": "strict"}]
        },
    )

    image: str = Field(min_length=1, description="An https URL, a data URL or base64.")


class RegionShown(BaseModel):
    """Corners of the same region: top left, top right, bottom right, bottom left as the query shows
    it, as [x, y] in parts of the picture's width and height."""

    query: list[tuple[float, float]]
    document: list[tuple[float, float]]


class TransformShown(BaseModel):
    """How the query was made of the document, as far as it can be told."""

    edits: list[str] = Field(
        description="Of: crop, embed, scale, stretch, mirror, rotate, perspective, grey, recolour, "
        "cover."
    )
    crop: float = Field(description="Part of the document's area that the query shows.")
    cover: float = Field(description="Part of the query's area that the document covers.")
    scale: float = Field(description="Size of the document's pixels in the query.")
    rotation: float = Field(description="Degrees, clockwise.")
    mirror: bool


class EvidenceShown(BaseModel):
    """What was measured. What was not needed is missing."""

    content_hash: bool = Field(description="Whether the pixels are the same.")
    pdq: int | None = Field(default=None, description="Hamming distance, of 256 bits.")
    phash: int | None = Field(default=None, description="Hamming distance, of 64 bits.")
    cosine: float | None = Field(default=None, description="Of the embeddings.")
    inliers: int | None = Field(
        default=None, description="Keypoints that one transform maps onto each other."
    )
    inlier_ratio: float | None = Field(
        default=None, description="Their part of all keypoints that look alike."
    )
    coverage: float | None = Field(
        default=None, description="Part of the smaller picture that they span."
    )
    agreement: float | None = Field(
        default=None, description="Part of the blocks with texture whose pixels agree."
    )
    differs: list[Difference] | None = Field(
        default=None,
        description="Why it is no copy, at the place where the pictures agree best: parts have "
        "another `hue`, have moved (`place`), are brighter or darker than the whole "
        "(`brightness`), show something else (`pattern`), or there is too little to compare "
        "(`texture`).",
    )
    region: RegionShown | None = None
    transform: TransformShown | None = None


class DuplicateMatch(BaseModel):
    document_id: str
    verdict: Verdict
    confidence: float = Field(
        description="0 to 1. Orders the matches of one verdict; it is not a probability."
    )
    evidence: EvidenceShown
    metadata: dict[str, Any]
    image_url: str
    thumbnail_url: str


class HashCoverage(BaseModel):
    documents: int
    hashed: int = Field(description="Documents that have hashes.")
    featured: int = Field(description="Documents that have features, so that no image is opened.")
    feature_bytes: int = Field(description="Mean size of the features of one image, as stored.")


class DuplicatesAnswer(BaseModel):
    matches: list[DuplicateMatch] = Field(description="exact, then copy, then similar.")
    content_hash: str = Field(
        description="Of the picture's pixels: names it when a match is dismissed."
    )
    hashes: HashCoverage
    similarity: SimilarityShown | None = Field(
        description="From which score pictures were similar; null if `similar` is false."
    )
    took_ms: float
    warnings: list[str]


_FORM = form(
    {
        "image": FILE_PART,
        REQUEST_PART: {
            **reference(DuplicatesForm),
            "description": "The other fields in one JSON object.",
        },
    },
    "image",
)


@router.post(
    "/v1/collections/{collection}/duplicates",
    summary="Find the documents that are this picture, copies of it, or similar to it",
    response_model=None,
    responses={
        200: {"model": DuplicatesAnswer},
        **problems(400, 404, 413, 415, 422, 501, 502, 503, 504),
    },
    openapi_extra=json_or_multipart(DuplicatesRequest, _FORM),
)
async def find_duplicates(
    collection: CollectionName, request: Request, timeout: RequestTimeout = LONGEST_SECONDS
) -> Response:
    clock = Stopwatch()
    service = service_of(request)
    spec = service.collection(collection).config.duplicates
    asked: DuplicatesForm
    image: bytes | str
    if is_multipart(request):
        asked, image = await _form(request)
    else:
        asked = body = await read_json(request, DuplicatesRequest)
        image = body.image
    finding = _found(
        service,
        collection,
        image,
        sensitivity=asked.sensitivity or sensitivity_of(spec),
        top_k=asked.top_k,
        similar=asked.similar,
        target_fpr=asked.target_fpr,
    )
    found = await while_wanted(request, timeout, finding)
    answer = {
        **told(service, collection, found),
        "took_ms": round(clock.total() * 1000, 3),
        "warnings": list(found.warnings),
    }
    return json_response(request, answer)


async def _found(
    service: Service,
    collection: str,
    image: bytes | str,
    *,
    sensitivity: Sensitivity,
    top_k: int,
    similar: bool,
    target_fpr: float | None,
) -> FoundCopies:
    if isinstance(image, str):
        image = await service.reader.read(image)
    return await find_copies(
        service,
        collection,
        image,
        sensitivity=sensitivity,
        top_k=top_k,
        similar=similar,
        target_fpr=target_fpr,
    )


def told(service: Service, collection: str, found: FoundCopies) -> dict[str, Any]:
    coverage, similarity = found.coverage, found.similarity
    return {
        "matches": [match_json(service, collection, match) for match in found.matches],
        "content_hash": found.content_hash,
        "similarity": None if similarity is None else similarity.model_dump(),
        "hashes": {
            "documents": coverage.documents,
            "hashed": coverage.hashed,
            "featured": coverage.featured,
            "feature_bytes": round(coverage.feature_bytes / max(1, coverage.featured)),
        },
    }


def match_json(service: Service, collection: str, match: Match) -> dict[str, Any]:
    shown = document_json(service, collection, match.document)
    return {
        "document_id": shown["document_id"],
        "verdict": match.comparison.verdict,
        "confidence": round(match.comparison.confidence, 4),
        "evidence": match.comparison.evidence.as_json(),
        **{key: shown[key] for key in ("metadata", "image_url", "thumbnail_url")},
    }


async def _form(request: Request) -> tuple[DuplicatesForm, bytes]:
    body = await read_multipart(request)
    for name in body.fields.keys() - {REQUEST_PART}:
        raise wrong(name, f"is not a part of this request: send image and {REQUEST_PART}")
    if len(body.files) != 1:
        raise wrong("image", f"send one image file, not {len(body.files)}")
    asked = DuplicatesForm()
    if REQUEST_PART in body.fields:
        asked = parse(DuplicatesForm, body.fields[REQUEST_PART], REQUEST_PART)
    most = service_of(request).config.fetch.max_bytes
    return asked, checked_size(next(iter(body.files.values())), most)
