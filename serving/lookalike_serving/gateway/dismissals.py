"""`/v1/collections/{collection}/duplicates/dismissals`: "these two are not duplicates"."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from lookalike_crds.failures import NOT_FOUND
from lookalike_crds.moments import now_text
from lookalike_serving.copies.dismissals import Dismissal, dismissals_of, image_of
from lookalike_serving.documents import ids
from lookalike_serving.documents.ids import DOCUMENT_ID
from lookalike_serving.documents.stored import find_document
from lookalike_serving.gateway.bodies import read_json
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.openapi import json_body, problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import CollectionName
from lookalike_serving.problems import Problem, wrong

router = APIRouter(tags=["duplicates"])
_PATH = "/v1/collections/{collection}/duplicates/dismissals"
_Id = Annotated[str, Field(json_schema_extra=DOCUMENT_ID)]


class DismissalRequest(BaseModel):
    """Two documents that are not duplicates of each other."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"documents": ["a.jpg", "b.jpg"]}]},
    )

    documents: list[_Id] = Field(
        min_length=2,
        max_length=2,
        description="Their ids.",
        json_schema_extra={"uniqueItems": True},
    )


class DismissalView(BaseModel):
    documents: list[str]
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
    one, other = sorted(ids.asked(id, f"documents[{at}]") for at, id in enumerate(asked.documents))
    if one == other:
        raise wrong("documents", "names one document twice: name two")
    service = service_of(request)
    found = [await find_document(service, collection, id) for id in (one, other)]
    images = image_of(found[0].origin), image_of(found[1].origin)
    dismissal = Dismissal((one, other), images, now_text("milliseconds"))
    await (await dismissals_of(service, collection)).note(dismissal)
    return json_response(request, _json(dismissal), 201)


@router.get(
    _PATH,
    summary="Documents of which somebody said that they are not duplicates",
    response_model=None,
    responses={200: {"model": DismissalList}, **problems(404, 503)},
)
async def list_dismissals(collection: CollectionName, request: Request) -> Response:
    dismissals = await dismissals_of(service_of(request), collection)
    items = [_json(each) async for each in dismissals.all()]
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
        list[_Id], Query(min_length=2, max_length=2, description="The ids of the two documents.")
    ],
) -> Response:
    one, other = (ids.asked(id, "document") for id in document)
    dismissals = await dismissals_of(service_of(request), collection)
    if not await dismissals.lift(one, other):
        raise Problem(NOT_FOUND, f"Nobody said of {one!r} and {other!r} that they are different.")
    return Response(status_code=204)


def _json(dismissal: Dismissal) -> dict[str, object]:
    told = asdict(dismissal)
    return {"documents": told["documents"], "dismissed_at": told["dismissed_at"]}
