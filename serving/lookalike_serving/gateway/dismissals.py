"""`/v1/collections/{collection}/duplicates/dismissals`: "these two are not duplicates"."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lookalike_crds.failures import NOT_FOUND
from lookalike_serving.copies import dismissals
from lookalike_serving.copies.dismissals import Dismissal, dismissals_of
from lookalike_serving.documents import ids
from lookalike_serving.documents.ids import DOCUMENT_ID
from lookalike_serving.gateway.bodies import read_json
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.openapi import json_body, problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import CollectionName
from lookalike_serving.problems import Problem, wrong

router = APIRouter(tags=["duplicates"])
_PATH = "/v1/collections/{collection}/duplicates/dismissals"
ContentHash = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]
_Id = Annotated[str, Field(json_schema_extra=DOCUMENT_ID)]


class DismissalRequest(BaseModel):
    """Two documents that are not duplicates of each other; or one document and the picture of a
    question, of which it is no copy."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"documents": ["a.jpg", "b.jpg"]}],
            "oneOf": [
                {"properties": {"documents": {"minItems": 2}, "content_hash": {"type": "null"}}},
                {
                    "properties": {
                        "documents": {"maxItems": 1},
                        "content_hash": {"type": "string"},
                    },
                    "required": ["content_hash"],
                },
            ],
        },
    )

    documents: list[_Id] = Field(
        min_length=1,
        max_length=2,
        description="Ids of two documents; of one, with `content_hash`.",
        json_schema_extra={"uniqueItems": True},
    )
    content_hash: ContentHash | None = Field(
        default=None, description="Of the picture, as the answer to the question says it."
    )


class DismissalView(BaseModel):
    documents: list[str]
    content_hash: str | None = Field(
        default=None, description="Of the picture that the one document is no copy of."
    )
    dismissed_at: str = Field(description="RFC 3339, UTC.")


class DismissalList(BaseModel):
    items: list[DismissalView]
    next_cursor: str | None


@router.post(
    _PATH,
    status_code=201,
    summary="Say that two documents are not duplicates",
    response_model=None,
    responses={201: {"model": DismissalView}, **problems(404, 415, 422, 503, 507)},
    openapi_extra=json_body(DismissalRequest),
)
async def dismiss(collection: CollectionName, request: Request) -> Response:
    asked = await read_json(request, DismissalRequest)
    named = sorted(ids.asked(id, f"documents[{at}]") for at, id in enumerate(asked.documents))
    if len(named) == 2 and named[0] == named[1]:
        raise wrong("documents", "names one document twice: name two")
    if len(named) + (asked.content_hash is not None) != 2:
        raise wrong("documents", "name two documents, or one document and a content_hash")
    said = await dismissals.dismiss(service_of(request), collection, named, asked.content_hash)
    return json_response(request, _json(said), 201)


@router.get(
    _PATH,
    summary="Documents of which somebody said that they are not duplicates",
    response_model=None,
    responses={200: {"model": DismissalList}, **problems(404, 503)},
)
async def list_dismissals(collection: CollectionName, request: Request) -> Response:
    said = await dismissals_of(service_of(request), collection)
    items = [_json(each) async for each in said.all()]
    return json_response(request, {"items": items, "next_cursor": None})


@router.delete(
    _PATH,
    status_code=204,
    summary="Let two documents be duplicates again",
    responses=problems(404, 422, 503, 507),
)
async def lift(
    collection: CollectionName,
    request: Request,
    document: Annotated[
        list[_Id],
        Query(
            min_length=1,
            max_length=2,
            description="The ids of the two documents; of one, with content_hash.",
        ),
    ],
    content_hash: Annotated[ContentHash | None, Query(description="Of the picture.")] = None,
) -> Response:
    named = sorted(ids.asked(id, "document") for id in document)
    said = await dismissals_of(service_of(request), collection)
    if not await said.lift(named, content_hash):
        pair = " and ".join(map(repr, [*named, *([] if content_hash is None else [content_hash])]))
        raise Problem(NOT_FOUND, f"Nobody said of {pair} that they are different.")
    return Response(status_code=204)


def _json(dismissal: Dismissal) -> dict[str, object]:
    told = asdict(dismissal)
    return {name: told[name] for name in DismissalView.model_fields if told[name] is not None}
