"""`POST /v1/retrievers/{retriever}/search`, as JSON or with images as multipart files."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from lookalike_serving.gateway.bodies import (
    REQUEST_PART,
    Multipart,
    is_multipart,
    parse,
    read_json,
    read_multipart,
)
from lookalike_serving.gateway.context import metrics_of, service_of
from lookalike_serving.gateway.openapi import FILE_PART, json_or_multipart, problems, reference
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import RetrieverName, form
from lookalike_serving.gateway.wanted import LONGEST_SECONDS, RequestTimeout, while_wanted
from lookalike_serving.problems import wrong
from lookalike_serving.search.pipeline import search
from lookalike_serving.search.request import (
    PART_PREFIX,
    QueryPart,
    QueryType,
    SearchRequest,
    SearchResponse,
)
from lookalike_serving.search.timing import Stopwatch

router = APIRouter(tags=["search"])

_FORM = form(
    {
        REQUEST_PART: {**reference(SearchRequest), "description": "The JSON body; optional."},
        "image": {
            **FILE_PART,
            "description": "Any name; the value of a query refers to it as `part:<name>`. Image "
            "queries without a value take the files in order; without queries, "
            "each file is a query.",
        },
    }
)


@router.post(
    "/v1/retrievers/{retriever}/search",
    summary="Find similar images by image, text, vector or a stored document",
    response_model=None,
    responses={
        200: {"model": SearchResponse, "description": "Best first"},
        **problems(400, 404, 409, 413, 415, 422, 503, 504),
    },
    openapi_extra=json_or_multipart(SearchRequest, _FORM),
)
async def search_retriever(
    retriever: RetrieverName, request: Request, timeout: RequestTimeout = LONGEST_SECONDS
) -> Response:
    clock = Stopwatch()
    service = service_of(request)
    config = service.retriever(retriever)
    if is_multipart(request):
        body = await read_multipart(request)
        asked, files = with_files(body)
    else:
        asked, files = await read_json(request, SearchRequest), {}
    searching = search(service, config, asked, files, clock)
    answer = await while_wanted(request, timeout, searching)
    metrics_of(request).observe_stages(clock.seconds)
    return json_response(request, answer)


def with_files(body: Multipart) -> tuple[SearchRequest, dict[str, bytes]]:
    """The request of a multipart body, its image queries bound to its files.

    Raises Problem 422 for a query that names no file and for a file that no query names.
    """
    for name in body.fields.keys() - {REQUEST_PART}:
        raise wrong(
            name, f"is not a part of a search: send JSON as {REQUEST_PART!r} and image files"
        )
    unused = list(body.files)
    if REQUEST_PART not in body.fields:
        if not unused:
            raise wrong("", f"the form is empty: send image files, or JSON as {REQUEST_PART!r}")
        queries = [QueryPart(type=QueryType.IMAGE, value=f"{PART_PREFIX}{name}") for name in unused]
        return SearchRequest(queries=queries), body.files
    asked = parse(SearchRequest, body.fields[REQUEST_PART], REQUEST_PART)
    images = [query for query in asked.queries if query.type is QueryType.IMAGE]
    for query in images:
        if isinstance(query.value, str) and query.value.startswith(PART_PREFIX):
            name = query.value.removeprefix(PART_PREFIX)
            unused = [other for other in unused if other != name]
    for query in images:
        if query.value in (None, "") and unused:
            query.value = f"{PART_PREFIX}{unused.pop(0)}"
    if unused:
        raise wrong(
            unused[0],
            f'no query uses this file: add {{"type": "image", "value": "part:{unused[0]}"}}',
        )
    return asked, body.files
