"""The REST routes on collections, aliases, payload indexes and points, health, and the controls.

`/__faults` and `/__collections` are the stand-in's own: no fault and no key stands before them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from grpc import StatusCode
from pydantic import TypeAdapter, ValidationError
from qdrant_client import models
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from tests.qdrant_server.faults import Faults, Gate
from tests.qdrant_server.refusals import Refusal
from tests.qdrant_server.store import Store

Answer = Callable[[Store, dict[str, str], Any], Any]
"""From the store, the path's parameters and the body to the `result`."""


def rest_app(store: Store, gate: Gate) -> Starlette:
    """Everything under the HTTP port."""

    def route(path: str, verb: str, method: str, body: Any, answer: Answer) -> Route:
        async def endpoint(request: Request) -> Response:
            return await _answered(request, store, gate, method, body, answer)

        return Route(path, endpoint, methods=[verb], name=method)

    async def faults(request: Request) -> Response:
        if request.method == "POST":
            try:
                gate.set(Faults.model_validate_json(await request.body()))
            except ValidationError as error:
                return PlainTextResponse(str(error), status_code=400)
        elif request.method == "DELETE":
            gate.set(Faults())
        return JSONResponse({"faults": gate.faults.model_dump(), "calls": gate.calls})

    async def lose(request: Request) -> Response:
        return JSONResponse({"deleted": store.delete_collection(request.path_params["name"])})

    return Starlette(
        routes=[
            Route("/", _health(gate, lambda: _version(store))),
            *(
                Route(path, _health(gate, lambda: PlainTextResponse("all shards are ready")))
                for path in ("/healthz", "/livez", "/readyz")
            ),
            Route("/__faults", faults, methods=["GET", "POST", "DELETE"]),
            Route("/__collections/{name}", lose, methods=["DELETE"]),
            *(route(*each) for each in _ROUTES),
        ]
    )


def _version(store: Store) -> Response:
    return JSONResponse({"title": "qdrant - vector search engine", "version": store.version})


def _health(gate: Gate, response: Callable[[], Response]) -> Callable[..., Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            # A server tells anybody whether it is well: no key is asked for.
            return await gate.passed("Qdrant/HealthCheck", None, response, open_to_all=True)
        except Refusal as refusal:
            return PlainTextResponse(refusal.text, status_code=refusal.http_status)

    return endpoint


async def _answered(
    request: Request, store: Store, gate: Gate, method: str, body: Any, answer: Answer
) -> Response:
    started = time.perf_counter()
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    key = request.headers.get("api-key") or bearer or None
    try:
        sent = TypeAdapter(body).validate_json(await request.body() or b"null")
        result = await gate.passed(method, key, lambda: answer(store, request.path_params, sent))
    except ValidationError as error:
        return _refused(f"Format error in JSON body: {error}", 400, started)
    except Refusal as refusal:
        return _refused(refusal.text, refusal.http_status, started)
    seconds = time.perf_counter() - started
    encoded = TypeAdapter(Any).dump_python(result, mode="json")
    return JSONResponse({"result": encoded, "status": "ok", "time": seconds})


def _refused(text: str, status: int, started: float) -> Response:
    content = {"status": {"error": text}, "time": time.perf_counter() - started}
    return JSONResponse(content, status_code=status)


def _index(store: Store, path: dict[str, str], sent: models.CreateFieldIndex) -> Any:
    if sent.field_schema is None:
        raise Refusal(StatusCode.INVALID_ARGUMENT, "Wrong input: field_schema is missing")
    store.create_index(path["name"], sent.field_name, sent.field_schema)
    return _DONE


def _drop_index(store: Store, path: dict[str, str], sent: None) -> Any:
    store.delete_index(path["name"], path["key"])
    return _DONE


def _upsert(store: Store, path: dict[str, str], sent: models.PointsList) -> Any:
    store.upsert(path["name"], sent.points)
    return _DONE


def _retrieve(store: Store, path: dict[str, str], sent: models.PointRequest) -> Any:
    with_payload = True if sent.with_payload is None else sent.with_payload
    return store.retrieve(path["name"], sent.ids, with_payload, sent.with_vector or False)


def _scroll(store: Store, path: dict[str, str], sent: models.ScrollRequest) -> Any:
    records, following = store.scroll(path["name"], sent)
    return {"points": records, "next_page_offset": following}


def _query_batch(store: Store, path: dict[str, str], sent: models.QueryRequestBatch) -> Any:
    return [{"points": points} for points in store.query(path["name"], sent.searches)]


def _delete(store: Store, path: dict[str, str], sent: models.PointsSelector) -> Any:
    store.delete(path["name"], sent)
    return _DONE


def _selected(sent: models.SetPayload) -> Any:
    return models.FilterSelector(filter=sent.filter) if sent.points is None else sent.points


def _set_payload(store: Store, path: dict[str, str], sent: models.SetPayload) -> Any:
    store.set_payload(path["name"], sent.payload, _selected(sent), sent.key)
    return _DONE


def _overwrite_payload(store: Store, path: dict[str, str], sent: models.SetPayload) -> Any:
    store.overwrite_payload(path["name"], sent.payload, _selected(sent))
    return _DONE


_DONE = models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)
_COLLECTION = "/collections/{name}"
_POINTS = f"{_COLLECTION}/points"
_ROUTES: list[tuple[str, str, str, Any, Answer]] = [
    (
        "/collections",
        "GET",
        "Collections/List",
        None,
        lambda store, path, _: {"collections": [{"name": name} for name in store.names()]},
    ),
    (
        "/collections/aliases",
        "POST",
        "Collections/UpdateAliases",
        models.ChangeAliasesOperation,
        lambda store, path, sent: store.change_aliases(sent.actions),
    ),
    (
        "/aliases",
        "GET",
        "Collections/ListAliases",
        None,
        lambda store, path, _: {"aliases": store.aliases()},
    ),
    (
        f"{_COLLECTION}/aliases",
        "GET",
        "Collections/ListCollectionAliases",
        None,
        lambda store, path, _: {"aliases": store.aliases(path["name"])},
    ),
    (
        f"{_COLLECTION}/exists",
        "GET",
        "Collections/CollectionExists",
        None,
        lambda store, path, _: {"exists": store.exists(path["name"])},
    ),
    (_COLLECTION, "GET", "Collections/Get", None, lambda store, path, _: store.info(path["name"])),
    (
        _COLLECTION,
        "PUT",
        "Collections/Create",
        models.CreateCollection,
        lambda store, path, sent: store.create(path["name"], sent),
    ),
    (
        _COLLECTION,
        "PATCH",
        "Collections/Update",
        models.UpdateCollection,
        lambda store, path, sent: store.update(path["name"], sent),
    ),
    (
        _COLLECTION,
        "DELETE",
        "Collections/Delete",
        None,
        lambda store, path, _: store.delete_collection(path["name"]),
    ),
    (f"{_COLLECTION}/index", "PUT", "Points/CreateFieldIndex", models.CreateFieldIndex, _index),
    (f"{_COLLECTION}/index/{{key:path}}", "DELETE", "Points/DeleteFieldIndex", None, _drop_index),
    (
        f"{_COLLECTION}/points/count",
        "POST",
        "Points/Count",
        models.CountRequest,
        lambda store, path, sent: {"count": store.count(path["name"], sent.filter)},
    ),
    (_POINTS, "PUT", "Points/Upsert", models.PointsList, _upsert),
    (_POINTS, "POST", "Points/Get", models.PointRequest, _retrieve),
    (f"{_POINTS}/scroll", "POST", "Points/Scroll", models.ScrollRequest, _scroll),
    (f"{_POINTS}/query/batch", "POST", "Points/QueryBatch", models.QueryRequestBatch, _query_batch),
    (f"{_POINTS}/delete", "POST", "Points/Delete", models.PointsSelector, _delete),
    (f"{_POINTS}/payload", "POST", "Points/SetPayload", models.SetPayload, _set_payload),
    (f"{_POINTS}/payload", "PUT", "Points/OverwritePayload", models.SetPayload, _overwrite_payload),
    (
        f"{_COLLECTION}/facet",
        "POST",
        "Points/Facet",
        models.FacetRequest,
        lambda store, path, sent: {"hits": store.facet(path["name"], sent)},
    ),
]
